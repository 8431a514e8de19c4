"""A TF1 graph around one ``BasicLSTMCell``, for the backends that unroll it in their own way.

The cell stores one kernel (input + hidden, 4·hidden) for ``[x, h]``, gates i, j, f, o (j is g), and one
bias to whose f part it adds ``forget_bias`` at run time. Source: TensorFlow 2.21,
``tf.compat.v1.nn.rnn_cell.BasicLSTMCell``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tensorflow as tf
from msgspec.structs import replace

from harness.case import Case
from harness.dialect import DIALECTS, store
from harness.problem import Problem
from harness.trace import Parameter, Stopwatch, Trace

tf1 = tf.compat.v1
TF1 = DIALECTS["tf1"]

# From a cell, x (T, B, I), its first state and lengths (B,) or None, what to fetch: h, c_n, h_n, perhaps c.
Unroll = Callable[[Any, Any, Any, Any], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Graph:
    """A built graph with its session, its inputs by name, and what it computes."""

    session: Any
    inputs: dict[str, Any]
    fetches: dict[str, Any]
    assign: Any | None  # None where the initialisers have set the weights already
    variables: tuple[Parameter, ...]


def run(problem: Problem, unroll: Unroll) -> Trace:
    """Run ``problem`` through the graph that ``unroll`` builds, building it once per shape."""
    stopwatch = Stopwatch()
    with stopwatch("build"):
        graph = _graph(unroll, shape_of(problem.case))
    p = problem
    with stopwatch("run"):
        if graph.assign is not None:
            stored = store({"W": p.W, "R": p.R, "b": p.b}, replace(TF1, forget_bias=p.case.lstm.forget_bias))
            graph.session.run(graph.assign, {graph.inputs[name]: array for name, array in stored.items()})
        arrays = {name: getattr(p, name) for name in ("x", "h0", "c0", "lengths") if name in graph.inputs}
        found = graph.session.run(graph.fetches, {graph.inputs[name]: array for name, array in arrays.items()})
    device = graph.fetches["h_n"].device or "/device:CPU:0"
    return Trace(**found, parameters=graph.variables, device=device, seconds=stopwatch.seconds)


@dataclass(frozen=True)
class GraphShape:
    """What decides a graph: two cases alike in it share one."""

    timesteps: int
    batch: int
    input_size: int
    hidden_size: int
    dtype: str
    forget_bias: float
    ones: bool
    lengths: bool


def shape_of(case: Case) -> GraphShape:
    """Give the shape of a case's graph."""
    weights = case.run.values("weights")
    return GraphShape(
        *case.shape,
        dtype=case.run.dtype,
        forget_bias=case.lstm.forget_bias,
        ones=weights.kind == "ones" and weights.scale == 1,
        lengths=case.run.lengths is not None,
    )


@lru_cache(maxsize=16)
def _graph(unroll: Unroll, shape: GraphShape) -> Graph:
    T, B, I, H = shape.timesteps, shape.batch, shape.input_size, shape.hidden_size
    dtype = tf.as_dtype(shape.dtype)
    with tf.Graph().as_default() as graph:
        inputs = {
            "x": tf1.placeholder(dtype, (T, B, I), "x"),
            "h0": tf1.placeholder(dtype, (B, H), "h0"),
            "c0": tf1.placeholder(dtype, (B, H), "c0"),
        }
        if shape.lengths:
            inputs["lengths"] = tf1.placeholder(tf.int64, (B,), "lengths")
        # As in the question: the scope's initialiser makes the kernel one, the cell its bias zero.
        initializer = tf1.ones_initializer() if shape.ones else tf1.zeros_initializer()
        cell = tf1.nn.rnn_cell.BasicLSTMCell(H, forget_bias=shape.forget_bias, dtype=dtype)
        state = tf1.nn.rnn_cell.LSTMStateTuple(c=inputs["c0"], h=inputs["h0"])
        with tf1.variable_scope("lstm", initializer=initializer):
            fetches = unroll(cell, inputs["x"], state, inputs.get("lengths"))
        assign = None
        if not shape.ones:
            inputs["kernel"] = tf1.placeholder(dtype, (I + H, 4 * H), "kernel")
            inputs["bias"] = tf1.placeholder(dtype, (4 * H,), "bias")
            kernel, bias = cell.trainable_variables
            assign = tf.group(tf1.assign(kernel, inputs["kernel"]), tf1.assign(bias, inputs["bias"]))
        variables = tuple(Parameter(v.name, tuple(v.shape.as_list())) for v in tf1.global_variables())
        initialise = tf1.global_variables_initializer()
    session = tf1.Session(graph=graph)
    session.run(initialise)
    return Graph(session, inputs, fetches, assign, variables)

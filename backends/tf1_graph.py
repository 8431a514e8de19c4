"""A TF1 graph around LSTM cells, for the backends that unroll them in their own way.

The graph is built once for all cases that are alike in what decides it. Gradients are ``tf.gradients``. Source:
TensorFlow 2.21, ``tf.compat.v1``; cells and weights as ``backends.tf_cells`` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import tensorflow as tf

from lockstep.backends import inventory_tf1, tf_cells
from lockstep.backends.lanes import Ends
from lockstep.harness.adapters.inventory import inventory_of, readers_text
from lockstep.harness.adapters.trace import Parameter, Stopwatch, Trace
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane, has_weight_steps, lanes, name_of

tf1 = tf.compat.v1


@dataclass(frozen=True, eq=False)
class Network:
    """What is to be unrolled."""

    lstm: LSTM
    cells: dict[Lane, Any]
    x: Any  # (T, B, I)
    states: dict[Lane, Any]  # LSTMStateTuple
    ends: Ends

    def layers(self) -> list[list[Lane]]:
        """The lanes by layer, forward before reverse."""
        return [[lane for lane in self.cells if lane.layer == layer] for layer in range(self.lstm.num_layers)]


@dataclass(frozen=True, eq=False)
class Unrolled:
    """What an unrolling gives."""

    h: Any  # (T, B, D P), of the top layer
    final: dict[Lane, Any]  # LSTMStateTuple
    exposed: dict[str, Any] = field(default_factory=dict)  # what else a trace may hold, by its names there
    reads_each_step: bool = False  # whether every timestep reads the variables for itself


Unroll = Callable[[Network], Unrolled]


@dataclass(frozen=True, eq=False)
class Graph:
    """A built graph with its session, its inputs by name, and what it computes."""

    session: Any
    inputs: dict[str, Any]
    fetches: dict[str, Any]
    gradients: dict[tuple[Lane, str], Any]  # of a lane's variables, "" or "_t" for those of each timestep
    assign: Any | None  # None where the initialisers have set the weights already
    variables: tuple[Parameter, ...]

    def run(self, what: Any, arrays: Arrays) -> Any:
        """Compute ``what``; of ``arrays`` those that the graph knows are fed."""
        return self.session.run(what, {self.inputs[name]: a for name, a in arrays.items() if name in self.inputs})


def run(problem: Problem, unroll: Unroll) -> Trace:
    """Run ``problem`` through the graph that ``unroll`` builds, building it once per shape."""
    p, lstm = problem, problem.case.lstm
    stopwatch = Stopwatch()
    with stopwatch("build"):
        graph = _graph(unroll, shape_of(p.case))
    with stopwatch("run"):
        if graph.assign is not None:
            stored = {
                name_of(name, lane, lstm): array
                for lane, weights in p.lanes()
                for name, array in tf_cells.stored(weights, lstm).items()
            }
            graph.run(graph.assign, stored)
        tensors, gradients = graph.run((graph.fetches, graph.gradients), p.arrays())
    for (lane, timed), of_variables in gradients.items():
        for name, array in tf_cells.canonical(of_variables, lstm).items():
            tensors[name_of(name + timed, lane, lstm)] = array
    device = graph.fetches["h_n"].device or "/device:CPU:0"
    return Trace(**tensors, parameters=graph.variables, device=device, seconds=stopwatch.seconds)


def shape_of(case: Case) -> Case:
    """What decides a case's graph, as a case: two that are alike in it share one."""
    run, weights = case.run, case.run.values("weights")
    return Case(
        lstm=case.lstm,
        run=Run(
            timesteps=run.timesteps,
            batch=run.batch,
            dtype=run.dtype,
            weights="ones" if weights.kind == "ones" and weights.scale == 1 else "probe",
            lengths=None if run.lengths is None else (run.timesteps,) * run.batch,
            resets=None if run.resets is None else ((),) * run.batch,
            gradients=run.gradients,
        ),
    )


@lru_cache(maxsize=16)
def _graph(unroll: Unroll, case: Case) -> Graph:
    lstm, dtype, ones = case.lstm, tf.as_dtype(case.run.dtype), case.run.weights == "ones"
    with tf.Graph().as_default() as graph:
        inputs = _placeholders(case)
        ends = Ends(inputs.get("lengths"), inputs.get("resets"))
        # As in the question: the scope's initialiser makes the kernel one, the cell its bias zero.
        initializer = tf1.ones_initializer() if ones else tf1.zeros_initializer()
        cells = {lane: tf_cells.cell_of(lstm, dtype) for lane in lanes(lstm)}
        with tf1.variable_scope("lstm", initializer=initializer):
            unrolled = unroll(Network(lstm, cells, inputs["x"], _states(inputs, lstm), ends))
        fetches = {
            "h": unrolled.h,
            "c_n": _joined([unrolled.final[lane].c for lane in cells]),
            "h_n": _joined([unrolled.final[lane].h for lane in cells]),
            **unrolled.exposed,
        }
        by_lane = {lane: tf_cells.variables_of(cell) for lane, cell in cells.items()}
        gradients: dict[tuple[Lane, str], Any] = {}
        if case.run.gradients:
            reads = _reads(by_lane) if unrolled.reads_each_step and has_weight_steps(case) else {}
            of_inputs, gradients = _gradients(inputs, fetches, by_lane, reads)
            fetches |= of_inputs
        assign = None if ones else _assign(inputs, by_lane, lstm)
        variables = parameters_of(tf1.global_variables())
        initialise = tf1.global_variables_initializer()
    session = tf1.Session(graph=graph)
    session.run(initialise)
    return Graph(session, inputs, fetches, gradients, assign, variables)


def _placeholders(case: Case) -> dict[str, Any]:
    """Make the graph's inputs, but for weights."""
    T, B, I, _ = case.shape
    shapes = {"x": (T, B, I), "h0": case.natural_shape("h0"), "c0": case.natural_shape("c0")}
    if case.run.gradients:
        shapes |= {"dh": case.natural_shape("h"), "dc": case.natural_shape("c_n")}
    dtype = tf.as_dtype(case.run.dtype)
    inputs = {name: tf1.placeholder(dtype, shape, name) for name, shape in shapes.items()}
    if case.run.lengths is not None:
        inputs["lengths"] = tf1.placeholder(tf.int64, (B,), "lengths")
    if case.run.resets is not None:
        inputs["resets"] = tf1.placeholder(tf.bool, (T, B), "resets")
    return inputs


def _states(inputs: dict[str, Any], lstm: LSTM) -> dict[Lane, Any]:
    h0, c0 = ([inputs[name]] if lstm.single else tf.unstack(inputs[name]) for name in ("h0", "c0"))
    pairs = zip(lanes(lstm), c0, h0, strict=True)
    return {lane: tf1.nn.rnn_cell.LSTMStateTuple(c=c, h=h) for lane, c, h in pairs}


def _joined(of_lanes: list[Any]) -> Any:
    return of_lanes[0] if len(of_lanes) == 1 else tf.stack(of_lanes)


def reads_of(variables: list[Any]) -> dict[str, list[Any]]:
    """What was read of each variable in the graph so far, in order, by its name."""
    by_handle: dict[str, list[Any]] = {}
    for operation in tf1.get_default_graph().get_operations():
        # A variable is read once more where it is made, for nobody.
        if operation.type == "ReadVariableOp" and operation.outputs[0].consumers():
            by_handle.setdefault(operation.inputs[0].name, []).append(operation.outputs[0])
    return {v.op.name: by_handle[v.handle.name] for v in variables if v.handle.name in by_handle}


def parameters_of(variables: list[Any]) -> tuple[Parameter, ...]:
    """A graph's variables as a trace names them, with what reads each in it so far."""
    material = inventory_tf1.material(variables, None)
    read_by = {} if material is None else {v.name: readers_text(v) for v in inventory_of(material, "").variables}
    return tuple(Parameter(v.name, tuple(v.shape.as_list()), read_by.get(v.op.name)) for v in variables)


def _reads(by_lane: dict[Lane, dict[str, Any]]) -> dict[Lane, dict[str, list[Any]]]:
    """What each timestep has read, in order of time, by lane and variable."""
    by_variable = reads_of([variable for variables in by_lane.values() for variable in variables.values()])
    return {
        lane: {name: by_variable[v.op.name][:: -1 if lane.reverse else 1] for name, v in variables.items()}
        for lane, variables in by_lane.items()
    }


def _gradients(
    inputs: dict[str, Any],
    fetches: dict[str, Any],
    by_lane: dict[Lane, dict[str, Any]],
    reads: dict[Lane, dict[str, list[Any]]],
) -> tuple[dict[str, Any], dict[tuple[Lane, str], Any]]:
    """The gradients of sum(dh * h) + sum(dc * c_n): dx, dh0, dc0, and those of lanes' variables."""
    sources = ({f"d{name}": inputs[name] for name in ("x", "h0", "c0")}, by_lane, reads)
    loss = [fetches["h"], fetches["c_n"]]
    flat = tf1.gradients(loss, tf.nest.flatten(sources), grad_ys=[inputs["dh"], inputs["dc"]])
    of_inputs, summed, by_timestep = tf.nest.pack_sequence_as(sources, flat)
    of_lanes = {(lane, ""): of_variables for lane, of_variables in summed.items()}
    for lane, of_variables in by_timestep.items():
        of_lanes[lane, "_t"] = {name: tf.stack(of_steps) for name, of_steps in of_variables.items()}
    return of_inputs, of_lanes


def _assign(inputs: dict[str, Any], by_lane: dict[Lane, dict[str, Any]], lstm: LSTM) -> Any:
    """Make one input for each variable, and the operation that sets them all."""
    assigned = []
    for lane, variables in by_lane.items():
        for name, variable in variables.items():
            key = name_of(name, lane, lstm)
            inputs[key] = tf1.placeholder(variable.dtype.base_dtype, variable.shape, key)
            assigned.append(tf1.assign(variable, inputs[key]))
    return tf.group(assigned)

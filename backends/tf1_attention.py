"""An attention decoder as a TF1 graph, for the backends that get their variables in their own way.

The graph is built once for all cases that are alike in what decides it. Gradients are ``tf.gradients``; where each step
reads a variable for itself its part of the gradient is given too. An encoder is a ``BasicLSTMCell`` under
``static_rnn``. Source: TensorFlow 2.21, ``tf.compat.v1``; cells as ``backends.tf_cells`` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tensorflow as tf

from lockstep.backends import tf_cells
from lockstep.backends.tf1_graph import parameters_of, reads_of
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.decoder_problem import DecoderProblem, DecoderWeights
from lockstep.harness.cases.problem import Weights
from lockstep.harness.cases.tensors import case_weight_shapes, has_weight_steps

tf1 = tf.compat.v1


@dataclass(frozen=True, eq=False)
class Parts:
    """What one step is made of."""

    cell: Callable[[Any, Any], tuple[Any, Any]]  # (y, state) -> (h, state), as cells are called
    projections: Callable[[], dict[str, Any]]  # all but the cell's by name, as they are in this step


# Gives the parts of a decoder, of the shapes of its projections; called once, inside the graph.
MakeParts = Callable[[LSTM, dict[str, tuple[int, ...]], Any], Parts]


@dataclass(frozen=True, eq=False)
class Graph:
    """A built graph with its session, its inputs by name, and what it computes."""

    session: Any
    inputs: dict[str, Any]
    fetches: dict[str, Any]
    gradients: dict[str, dict[str, Any]]  # of all variables by their names, "" or "_t" for those of each step
    assign: Any
    variables: tuple[Any, ...]

    def run(self, what: Any, arrays: Arrays) -> Any:
        """Compute ``what``; of ``arrays`` those that the graph knows are fed."""
        return self.session.run(what, {self.inputs[name]: a for name, a in arrays.items() if name in self.inputs})


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    return None


def run(problem: DecoderProblem, make_parts: MakeParts) -> Trace:
    """Run ``problem`` through the graph around the given parts, building it once per shape."""
    p = problem
    stopwatch = Stopwatch()
    with stopwatch("build"):
        graph = _graph(make_parts, _shape_of(p.case))
    with stopwatch("run"):
        graph.run(graph.assign, _stored(p))
        tensors, gradients = graph.run((graph.fetches, graph.gradients), p.arrays())
    for timed, of_variables in gradients.items():
        tensors |= _canonical(of_variables, p.case, timed)
    return Trace(**tensors, parameters=graph.variables, device=graph.fetches["y"].device or "/device:CPU:0",
                 seconds=stopwatch.seconds)  # fmt: skip


def _shape_of(case: Case) -> Case:
    """What decides a case's graph, as a case."""
    run = case.run
    lengths = None if run.lengths is None else (1,) * run.batch
    shape = Run(timesteps=run.timesteps, batch=run.batch, dtype=run.dtype, lengths=lengths, gradients=run.gradients)
    return Case(lstm=case.lstm, attention_decoder=case.attention_decoder, run=shape)


@lru_cache(maxsize=16)
def _graph(make_parts: MakeParts, case: Case) -> Graph:
    decoder, lstm, dtype = case.attention_decoder, case.lstm, tf.as_dtype(case.run.dtype)
    assert decoder is not None
    T, B, A, H = case.shape
    S, E = decoder.source_timesteps, decoder.width(lstm)
    shapes = {"h0": (B, H), "c0": (B, H), "y0": (B, A)}
    shapes |= {"enc": (S, B, E)} if decoder.encoder is None else {"x": (S, B, decoder.encoder.input_size)}
    cotangents = {"dy": (T, B, A), "dlogit": (T, B, decoder.output_size)} if case.run.gradients else {}
    with tf.Graph().as_default() as graph:
        inputs = {name: tf1.placeholder(dtype, shape, name) for name, shape in {**shapes, **cotangents}.items()}
        if case.run.lengths is not None:
            inputs["lengths"] = tf1.placeholder(tf.int64, (B,), "lengths")
        lengths = inputs.get("lengths")
        enc = inputs["enc"] if decoder.encoder is None else _encode(decoder.encoder, inputs["x"], lengths)
        parts = make_parts(lstm, case_weight_shapes(case), dtype)
        fetches = _unroll(parts, enc, inputs, lengths, case)
        if decoder.encoder is not None:
            fetches["enc"] = enc
        variables = tf1.trainable_variables()
        gradients: dict[str, dict[str, Any]] = {}
        if case.run.gradients:
            reads = reads_of(variables) if has_weight_steps(case) else {}
            # static_rnn reads its cell's variables once and keeps what it read.
            reads = {name: read for name, read in reads.items() if len(read) == T and not name.startswith("encoder")}
            sources = ({f"d{name}": inputs[name] for name in shapes}, {v.op.name: v for v in variables}, reads)
            loss, weights = [fetches["y"], fetches["logit"]], [inputs["dy"], inputs["dlogit"]]
            flat = tf1.gradients(loss, tf.nest.flatten(sources), grad_ys=weights)
            of_inputs, summed, by_timestep = tf.nest.pack_sequence_as(sources, flat)
            fetches |= of_inputs
            gradients = {"": summed, "_t": {name: tf.stack(of_steps) for name, of_steps in by_timestep.items()}}
        assign = []
        for variable in variables:
            inputs[variable.op.name] = tf1.placeholder(dtype, variable.shape, f"set/{variable.op.name}")
            assign.append(tf1.assign(variable, inputs[variable.op.name]))
        assign = tf.group(assign)
        initialise = tf1.global_variables_initializer()
        parameters = parameters_of(tf1.global_variables())
    session = tf1.Session(graph=graph)
    session.run(initialise)
    return Graph(session, inputs, fetches, gradients, assign, parameters)


def _encode(encoder: LSTM, x: Any, lengths: Any) -> Any:
    """The encoder outputs (S, B, E), from zeros; 0 past a source's length."""
    with tf1.variable_scope("encoder", initializer=tf1.zeros_initializer()):
        cell = tf_cells.cell_of(encoder, x.dtype)
        outputs, _ = tf1.nn.static_rnn(cell, tf.unstack(x), dtype=x.dtype, sequence_length=lengths)
    return tf.stack(outputs)


def _unroll(parts: Parts, enc: Any, inputs: dict[str, Any], lengths: Any, case: Case) -> dict[str, Any]:
    into_cell = case.attention_decoder is not None and case.attention_decoder.context == "input"
    source = tf.transpose(enc, [1, 0, 2])  # (B, S, E)
    valid = None if lengths is None else tf.sequence_mask(lengths, enc.shape[0])
    if valid is not None:
        # What is not attended to has weight 0, and 0 times NaN would be NaN.
        source = tf.where(valid[..., None], source, tf.zeros_like(source))
    state, y = tf1.nn.rnn_cell.LSTMStateTuple(c=inputs["c0"], h=inputs["h0"]), inputs["y0"]
    rows: dict[str, list[Any]] = {}
    for _ in range(case.run.timesteps):
        if into_cell:
            w = parts.projections()
            attended = _attend(w, source, state.h, valid)
            h, state = parts.cell(tf.concat([attended["context"], y], axis=1), state)
        else:
            h, state = parts.cell(y, state)
            w = parts.projections()
            attended = _attend(w, source, h, valid)
        joined = tf.concat([attended["context"], h], axis=1)
        y = tf.tanh(tf.matmul(joined, w["W_tilde"], transpose_b=True) + w["b_tilde"])
        logit = tf.matmul(y, w["W_target"], transpose_b=True)
        for name, value in {"c": state.c, "h": h, **attended, "y": y, "logit": logit}.items():
            rows.setdefault(name, []).append(value)
    return {name: tf.stack(values) for name, values in rows.items()}


def _attend(w: dict[str, Any], source: Any, h: Any, valid: Any) -> dict[str, Any]:
    """Scores, attention and context of a state."""
    if "v_a" in w:
        keys = tf.einsum("bse,ue->bsu", source, w["W_k"])
        hidden = tf.tanh(tf.matmul(h, w["W_q"], transpose_b=True)[:, None] + keys)
        scores = tf.reduce_sum(hidden * w["v_a"], axis=2)
    else:
        query = tf.matmul(h, w["W_a"], transpose_b=True) if "W_a" in w else h
        scores = tf.matmul(source, query[:, :, None])[:, :, 0]
    shown = masked = scores
    if valid is not None:
        shown = tf.where(valid, scores, tf.zeros_like(scores))
        masked = tf.where(valid, scores, tf.fill(tf.shape(scores), scores.dtype.min))
    attention = tf.nn.softmax(masked)
    return {"scores": shown, "attention": attention, "context": tf.matmul(attention[:, None, :], source)[:, 0]}


def _stored(p: DecoderProblem) -> Arrays:
    """The weights as the graph's variables hold them, by their names."""
    w = p.weights
    named = {f"decoder/{name}": array for name, array in w.arrays().items() if name not in _CELLS}
    named |= _cell("decoder/lstm_cell", Weights(w.W, w.R, w.b), p.case.lstm)
    if p.decoder.encoder is not None:
        named |= _cell("encoder/rnn/basic_lstm_cell", _encoder_weights(w), p.decoder.encoder)
    return named


_CELLS = frozenset({"W", "R", "b", "W_encoder", "R_encoder", "b_encoder"})


def _encoder_weights(w: DecoderWeights) -> Weights:
    assert w.W_encoder is not None
    assert w.R_encoder is not None
    assert w.b_encoder is not None
    return Weights(w.W_encoder, w.R_encoder, w.b_encoder)


def _cell(scope: str, weights: Weights, lstm: LSTM) -> Arrays:
    return {f"{scope}/{name}": array for name, array in tf_cells.stored(weights, lstm).items()}


def _canonical(gradients: Arrays, case: Case, timed: str) -> Arrays:
    """The gradients of the graph's variables by the names they have in a trace."""
    decoder = case.attention_decoder
    assert decoder is not None
    canonical: dict[str, Array] = {}
    cells = [("decoder/lstm_cell", case.lstm, "")]
    cells += [("encoder/rnn/basic_lstm_cell", decoder.encoder, "_encoder")] if decoder.encoder else []
    for scope, lstm, suffix in cells:
        of_cell = {name.removeprefix(f"{scope}/"): a for name, a in gradients.items() if name.startswith(scope)}
        if of_cell:
            canonical |= {f"{name}{timed}{suffix}": a for name, a in tf_cells.canonical(of_cell, lstm).items()}
    canonical |= {
        f"d{name.removeprefix('decoder/')}{timed}": array
        for name, array in gradients.items()
        if name.startswith("decoder/") and not name.startswith("decoder/lstm_cell")
    }
    return canonical

"""An ONNX model of a case: one ``LSTM`` node for each layer, built with ``onnx.helper``; runtimes run it.

The opset is 14, which old runtimes read, too; for bfloat16, which is all that the operator of opset 22 has beyond that
of 14, it is 22.

Weights are initialisers of their standard names, gates i, o, f, c (c is g), two biases of which the first takes ``b``
and the second is zero; peepholes P, activations, ``input_forget``, ``direction``, ``sequence_lens`` and the initial
states are the node's own. Between layers the output (T, directions, B, H) becomes the input (T, B, directions H).
Source: ONNX operators, ``LSTM-14``, ``LSTM-22``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lockstep.backends import refusals
from lockstep.backends.kept import kept
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

Type = tuple[Any, tuple[int | str, ...]]  # dtype and shape, of which an axis may have a name
# A model in a runtime, as a function of what it is fed to its outputs, both in the model's order.
Loaded = Callable[[Arrays], list[Array]]

ONNX = DIALECTS["onnx"]
# The names of the operator's inputs and outputs, in their order.
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
OUTPUTS = ("Y", "Y_h", "Y_c")
# By dtype, and what is left.
OPSETS, OPSET = {"bfloat16": 22}, 14
# The version of the file format since an opset, the newest first; before 4 constants had to be inputs too.
IR_VERSIONS = {22: 10, 14: 7, 7: 4}

# Names as in a case, ``harness.cases.case.Activation``: operator, and alpha and beta of those that have them.
ACTIVATIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    "tanh": ("Tanh", ()),
    "sigmoid": ("Sigmoid", ()),
    "hard_sigmoid_0.2": ("HardSigmoid", (0.2, 0.5)),
    "hard_sigmoid_1/6": ("HardSigmoid", (1 / 6, 0.5)),
    "relu": ("Relu", ()),
    "linear": ("Affine", (1.0, 0.0)),
}


def unsupported(case: Case) -> str | None:
    """What of ``case`` the operator cannot express; None if it can express all."""
    lstm = case.lstm
    reasons = {
        "ONNX LSTM has no projection of the hidden state": bool(lstm.proj_size),
        **refusals.side_by_side(lstm, "ONNX LSTM"),
        "ONNX LSTM's clip holds the inputs of the activations, not the cell state": lstm.cell_clip is not None,
        "an inference runtime computes no gradients": case.run.gradients,
    }
    return refusals.of(reasons)


def lstm_node(given: dict[str, str], named: dict[str, str], attributes: dict[str, Any]) -> onnx.NodeProto:
    """One LSTM node.

    Args:
        given: The names that its inputs have in the graph, by their names in ``INPUTS``; others are left out.
        named: Likewise of its outputs, ``OUTPUTS``.
        attributes: Those that it names.
    """
    inputs, outputs = (
        [names.get(name, "") for name in all_names] for names, all_names in ((given, INPUTS), (named, OUTPUTS))
    )
    for names in (inputs, outputs):
        while not names[-1]:
            names.pop()
    return helper.make_node("LSTM", inputs, outputs, **attributes)


def model_around(
    nodes: list[onnx.NodeProto], fed: dict[str, Type], wanted: dict[str, Type], constants: Arrays, opset: int
) -> onnx.ModelProto:
    """A model of nodes.

    Args:
        nodes: In their order.
        fed: Its inputs, each with its dtype and shape.
        wanted: Its outputs, likewise.
        constants: Weights, and other arrays that are not fed.
        opset: The version of the operators.
    """
    inputs, outputs = (
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
            for name, (dtype, shape) in ends.items()
        ]
        for ends in (fed, wanted)
    )
    initialisers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "lstm", inputs, outputs, initialisers)
    ir = next(version for since, version in IR_VERSIONS.items() if opset >= since)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(model)
    return model


def model_of(problem: Problem) -> onnx.ModelProto:
    """Build the model, weights included."""
    case, lstm = problem.case, problem.case.lstm
    T, B, _, H = case.shape
    D, dtype, nodes, below = len(lstm.directions), dtype_of(case.run.dtype), [], "X"
    constants: Arrays = {"shape": np.array([T, B, D * H], np.int64)}
    wanted: dict[str, Type] = {}
    fed = inputs_of(problem)
    for k in range(lstm.num_layers):
        of_layer = _stored(problem, k)
        constants |= {f"{name}_{k}": array for name, array in of_layer.items()}
        lengths = {"sequence_lens": "sequence_lens"} if problem.lengths is not None else {}
        given = {name: f"{name}_{k}" for name in (*of_layer, "initial_h", "initial_c")}
        named = {name: f"{name}_{k}" for name in OUTPUTS}
        nodes.append(lstm_node({"X": below, **lengths, **given}, named, attributes_of(lstm)))
        nodes.append(helper.make_node("Transpose", [f"Y_{k}"], [f"by_batch_{k}"], perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [f"by_batch_{k}", "shape"], [f"h_{k}"]))
        below = f"h_{k}"
        wanted |= {named[name]: (dtype, (D, B, H)) for name in ("Y_h", "Y_c")}
    wanted = {below: (dtype, (T, B, D * H)), **wanted}
    types: dict[str, Type] = {name: (array.dtype, array.shape) for name, array in fed.items()}
    return model_around(nodes, types, wanted, constants, OPSETS.get(case.run.dtype, OPSET))


def run(problem: Problem, load: Callable[[onnx.ModelProto], Loaded]) -> Trace:
    """Run the LSTM of ``problem`` by a runtime.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    stopwatch = Stopwatch()
    with stopwatch("build"):
        loaded = _loader(load)(problem)
    with stopwatch("run"):
        h, *states = loaded(inputs_of(problem))
    h_n, c_n = np.concatenate(states[::2]), np.concatenate(states[1::2])
    single = problem.case.lstm.single
    return Trace(h=h, h_n=h_n[0] if single else h_n, c_n=c_n[0] if single else c_n, seconds=stopwatch.seconds)


@cache
def _loader(load: Callable[[onnx.ModelProto], Loaded]) -> Callable[[Problem], Loaded]:
    return kept(lambda problem: load(model_of(problem)))


def inputs_of(problem: Problem) -> Arrays:
    """What the model is fed."""
    D = len(problem.case.lstm.directions)
    fed = {"X": problem.x}
    if problem.lengths is not None:
        fed["sequence_lens"] = problem.lengths.astype(np.int32)
    for k in range(problem.case.lstm.num_layers):
        lanes_of_layer = slice(k * D, (k + 1) * D)
        fed |= {
            f"initial_h_{k}": problem.states("h0")[lanes_of_layer],
            f"initial_c_{k}": problem.states("c0")[lanes_of_layer],
        }
    return fed


def _stored(problem: Problem, layer: int) -> Arrays:
    """A layer's weights, both directions in one array."""
    stored = [store(weights.arrays(), ONNX) for weights in problem.weights[layer]]
    names = [name for name in stored[0] if name != "B" or problem.case.lstm.bias]
    return {name: np.concatenate([of_direction[name] for of_direction in stored]) for name in names}


def attributes_of(lstm: LSTM) -> dict[str, Any]:
    """The node's attributes; activations, when they are not the standard ones, for each direction.

    alpha and beta are "consumed in the order of activation functions": those that have none take none.
    """
    attributes: dict[str, Any] = {"hidden_size": lstm.hidden_size, "direction": lstm.direction}
    if lstm.input_forget:
        attributes["input_forget"] = 1
    names = (lstm.recurrent_activation, lstm.activation, lstm.cell_activation)
    if names != ("sigmoid", "tanh", "tanh"):
        all_of_them = [ACTIVATIONS[name] for name in names] * len(lstm.directions)
        attributes["activations"] = [operator for operator, _ in all_of_them]
        settings = [setting for _, setting in all_of_them if setting]
        if settings:
            attributes["activation_alpha"], attributes["activation_beta"] = map(list, zip(*settings, strict=True))
    return attributes

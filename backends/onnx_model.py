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

from typing import Any

import numpy as np
import onnx
from msgspec.structs import replace
from onnx import helper, numpy_helper

from lockstep.backends import refusals
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, dtype_of
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

ONNX = DIALECTS["onnx"]
# By dtype, and what is left: opset, and the version of the file format that came with it.
OPSETS, OPSET = {"bfloat16": (22, 10)}, (14, 7)

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


def shape_of(case: Case) -> Case:
    """What decides a case's model, as a case: two that are alike in it share one but for its weights."""
    lengths = None if case.run.lengths is None else (case.run.timesteps,) * case.run.batch
    run = replace(case.run, seed=0, weights="zeros", inputs="zeros", initial_state="zeros", lengths=lengths)
    return Case(lstm=replace(case.lstm, forget_bias=0.0), run=run)


def model_of(problem: Problem) -> onnx.ModelProto:
    """Build the model, weights included."""
    case, lstm = problem.case, problem.case.lstm
    T, B, _, H = case.shape
    D, nodes, weights, below = len(lstm.directions), [], [], "X"
    for k in range(lstm.num_layers):
        of_layer = _stored(problem, k)
        weights += [numpy_helper.from_array(array, f"{name}_{k}") for name, array in of_layer.items()]
        inputs = [below, f"W_{k}", f"R_{k}", f"B_{k}" if "B" in of_layer else ""]
        inputs += ["sequence_lens" if problem.lengths is not None else "", f"initial_h_{k}", f"initial_c_{k}"]
        inputs += [f"P_{k}"] if "P" in of_layer else []
        nodes.append(helper.make_node("LSTM", inputs, [f"Y_{k}", f"Y_h_{k}", f"Y_c_{k}"], **_attributes(lstm)))
        nodes.append(helper.make_node("Transpose", [f"Y_{k}"], [f"by_batch_{k}"], perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [f"by_batch_{k}", "shape"], [f"h_{k}"]))
        below = f"h_{k}"
    weights.append(numpy_helper.from_array(np.array([T, B, D * H], np.int64), "shape"))
    kind = helper.np_dtype_to_tensor_dtype(dtype_of(case.run.dtype))
    fed = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs_of(problem).items()
    ]
    wanted = [helper.make_tensor_value_info(below, kind, (T, B, D * H))]
    wanted += [
        helper.make_tensor_value_info(f"{name}_{k}", kind, (D, B, H))
        for k in range(lstm.num_layers)
        for name in ("Y_h", "Y_c")
    ]
    graph = helper.make_graph(nodes, "lstm", fed, wanted, weights)
    opset, ir = OPSETS.get(case.run.dtype, OPSET)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(model)
    return model


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


def traced(problem: Problem, outputs: Any) -> dict[str, Any]:
    """A trace's arrays of the model's outputs: h, and Y_h and Y_c of each layer."""
    h, *states = (np.asarray(output) for output in outputs)
    h_n, c_n = np.concatenate(states[::2]), np.concatenate(states[1::2])
    single = problem.case.lstm.single
    return {"h": h, "h_n": h_n[0] if single else h_n, "c_n": c_n[0] if single else c_n}


def _stored(problem: Problem, layer: int) -> Arrays:
    """A layer's weights, both directions in one array."""
    stored = [store(weights.arrays(), ONNX) for weights in problem.weights[layer]]
    names = [name for name in stored[0] if name != "B" or problem.case.lstm.bias]
    return {name: np.concatenate([of_direction[name] for of_direction in stored]) for name in names}


def _attributes(lstm: LSTM) -> dict[str, Any]:
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

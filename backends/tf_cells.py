"""TF1's LSTM cells: which one a case needs, its variables, and their gradients in canonical form.

``BasicLSTMCell`` is the standard cell; ``LSTMCell`` adds peepholes, clipping and a projection. Both store one kernel
(input + hidden, 4·hidden) for ``[x, h]``, gates i, j, f, o (j is g), and one bias to whose f part they add
``forget_bias`` at run time. Sources: TensorFlow 2.21, ``tf.compat.v1.nn.rnn_cell``; tf_keras 2.21,
``src/layers/rnn/legacy_cells.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from msgspec.structs import replace

from lockstep.backends import refusals
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.gates import reorder
from lockstep.harness.cases.problem import Weights
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

tf1 = tf.compat.v1
TF1 = DIALECTS["tf1"]

# As the cells take them: None is their own tanh, a text the name of a tf_keras activation, which for "hard_sigmoid" is
# 0.2 z + 0.5. TensorFlow has no name for the other hard sigmoid: users write it so.
ACTIVATIONS: dict[str, Any] = {
    "tanh": None,
    "sigmoid": "sigmoid",
    "hard_sigmoid_0.2": "hard_sigmoid",
    "hard_sigmoid_1/6": lambda z: tf.nn.relu6(z + 3) / 6,
    "relu": "relu",
    "linear": "linear",
}


def unsupported(case: Case) -> str | None:
    """Why no cell computes ``case``; None if one does."""
    lstm = case.lstm
    reasons = {
        "TF1's cells have sigmoid gates, and no setting for another recurrent_activation": (
            lstm.recurrent_activation != "sigmoid"
        ),
        "TF1's cells take one activation for both the candidate and the cell state: set activation and cell_activation "
        "alike": lstm.activation != lstm.cell_activation,
        "TF1's cells do not couple the forget gate to the input gate: CoupledInputForgetGateLSTMCell was part of "
        "tf.contrib, which is gone": lstm.input_forget,
    }
    return refusals.of(reasons)


def cell_of(lstm: LSTM, dtype: Any) -> Any:
    """Make the cell of one lane; its variables come with its first call."""
    H, settings = lstm.hidden_size, {"forget_bias": lstm.forget_bias, "activation": ACTIVATIONS[lstm.activation]}
    if not (lstm.peephole or lstm.proj_size or lstm.cell_clip is not None):
        return tf1.nn.rnn_cell.BasicLSTMCell(H, dtype=dtype, **settings)
    return tf1.nn.rnn_cell.LSTMCell(
        H,
        use_peepholes=lstm.peephole,
        cell_clip=lstm.cell_clip,
        num_proj=lstm.proj_size or None,
        dtype=dtype,
        **settings,
    )


def variables_of(cell: Any) -> dict[str, Any]:
    """A cell's variables by the names that dialect ``tf1`` has for them."""
    return {v.op.name.removeprefix(f"{cell.scope_name}/"): v for v in cell.trainable_variables}


def stored(weights: Weights, lstm: LSTM) -> Arrays:
    """A lane's weights as its cell's variables hold them. Without a bias the cell's own is zero."""
    return store(weights.arrays(), replace(TF1, forget_bias=lstm.forget_bias))


def canonical(gradients: Arrays, lstm: LSTM) -> Arrays:
    """The gradients of a cell's variables as those of W, R, b, P and p; timesteps may stand in front.

    ``forget_bias`` is a constant: the stored bias has the gradient of the canonical one.
    """
    kernel = np.swapaxes(_in_order(gradients["kernel"]), -1, -2)
    I = kernel.shape[-1] - lstm.output_size
    canonical_gradients = {"dW": kernel[..., :I], "dR": kernel[..., I:]}
    if lstm.bias:
        canonical_gradients["db"] = _in_order(gradients["bias"])
    if lstm.proj_size:
        canonical_gradients["dP"] = np.swapaxes(gradients[TF1.projection], -1, -2)
    if lstm.peephole:
        canonical_gradients["dp"] = np.stack([gradients[name] for name in TF1.peepholes], axis=-2)
    return {name: np.ascontiguousarray(array) for name, array in canonical_gradients.items()}


def _in_order(array: Array) -> Array:
    """Take the gates along the last axis from TF1's order to the canonical one."""
    return np.moveaxis(reorder(np.moveaxis(array, -1, 0), TF1.gates), 0, -1)

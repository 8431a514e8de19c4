"""Networks of ``layers.LSTM`` and ``layers.Bidirectional``, of Keras 3 and of tf_keras alike; engines run them.

Batch-major, ``return_sequences``, ``return_state``, ``zero_output_for_mask``, ``unroll=False`` and, as by default,
``use_cudnn="auto"``, which on a CPU takes the engine's own loop. The reverse direction is ``go_backwards``, its output
turned round; lengths are a mask. Layers are called one after the other, each with its initial state. Kernels are
transposed, gates i, f, c, o (c is g), one bias that holds the forget bias. Source: Keras documentation,
``keras.layers.LSTM``, ``keras.layers.Bidirectional``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lockstep.backends import lanes, refusals
from lockstep.harness.adapters.trace import Parameter
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store_cell

KERAS = DIALECTS["keras"]


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    lstm = case.lstm
    reasons = {
        "keras.layers.LSTM has no projection": bool(lstm.proj_size),
        "keras.layers.LSTM has no peepholes": lstm.peephole,
        "keras.layers.LSTM does not clip the cell state": lstm.cell_clip is not None,
        "keras.layers.LSTM does not couple its forget gate to its input gate": lstm.input_forget,
        "keras.layers.LSTM takes one activation for both the candidate and the cell state: set activation and "
        "cell_activation alike": lstm.activation != lstm.cell_activation,
    }
    return refusals.of(reasons)


def layers_of(keras: Any, activations: dict[str, Any], lstm: LSTM, dtype: str) -> list[Any]:
    """Make one layer of Keras for each layer of the network, and build it.

    Args:
        keras: keras or tf_keras.
        activations: By their names in a case.
        lstm: The network.
        dtype: Of weights and computation.
    """
    made = []
    for layer in range(lstm.num_layers):
        one = keras.layers.LSTM(
            lstm.hidden_size,
            activation=activations[lstm.activation],
            recurrent_activation=activations[lstm.recurrent_activation],
            use_bias=lstm.bias,
            # The orthogonal one that is the default cannot be drawn in float16 and bfloat16. Weights are set anyway.
            recurrent_initializer="glorot_uniform",
            return_sequences=True,
            return_state=True,
            go_backwards=lstm.direction == "reverse",
            zero_output_for_mask=True,
            dtype=dtype,
        )
        whole = keras.layers.Bidirectional(one, dtype=dtype) if lstm.direction == "bidirectional" else one
        whole.build((None, None, lstm.input_size_of(layer)))
        made.append(whole)
    return made


def variables_of(layers: list[Any]) -> list[Any]:
    """Give the variables of all lanes: kernel, recurrent_kernel and perhaps bias of each."""
    return [variable for layer in layers for variable in layer.trainable_variables]


def stored(problem: Problem) -> list[Array]:
    """Give the weights of all lanes in the order of ``variables_of``."""
    names = KERAS.names if problem.case.lstm.bias else KERAS.required
    return [store_cell(weights.arrays(), KERAS)[name] for _, weights in problem.lanes() for name in names]


def parameters_of(variables: list[Any], lstm: LSTM) -> tuple[Parameter, ...]:
    """Give the parameters for a trace."""
    names = KERAS.names if lstm.bias else KERAS.required
    return lanes.parameters(lstm, lanes.by_lane(variables, names))


def forward(
    call: Callable[[int, Any, list[Any], Any], Any], flip: Callable[[Any], Any], lstm: LSTM, x: Any, h0, c0, mask: Any
) -> tuple[Any, list[Any], list[Any]]:
    """Call all layers.

    Args:
        call: Of a layer's number, x (B, T, I), initial states h, c (of the reverse direction too) and mask (B, T) or
            None.
        flip: Turns (B, T, H) round in time.
        lstm: The network.
        x: (B, T, I).
        h0: (L D, B, H).
        c0: Likewise.
        mask: Which timesteps are valid.

    Returns:
        h of the top layer (B, T, D H), and h_n and c_n of all lanes.
    """
    h_n, c_n, D = [], [], len(lstm.directions)
    for layer in range(lstm.num_layers):
        first = [state for k in range(layer * D, (layer + 1) * D) for state in (h0[k], c0[k])]
        x, *states = call(layer, x, first, mask)
        if lstm.direction == "reverse":
            x = flip(x)
        h_n += states[::2]
        c_n += states[1::2]
    return x, h_n, c_n


def mask_of(problem: Problem) -> Array | None:
    """Give which timesteps are valid, (B, T)."""
    if problem.lengths is None:
        return None
    return np.arange(len(problem.x)) < problem.lengths[:, None]


def batch_major(array: Array) -> Array:
    """Exchange batch and time."""
    return np.ascontiguousarray(np.swapaxes(array, 0, 1))


def traced(problem: Problem, h: Array, h_n: Array, c_n: Array) -> Arrays:
    """Give a trace's arrays of h (B, T, D H) and of the final states (L D, B, H)."""
    one = problem.case.lstm.single
    return {"h": batch_major(h), "h_n": h_n[0] if one else h_n, "c_n": c_n[0] if one else c_n}


def traced_gradients(problem: Problem, dx: Array, dh0: Array, dc0: Array, of_variables: list[Array]) -> Arrays:
    """Give a trace's gradients of those of x (B, T, I), of the states (L D, B, H) and of ``variables_of``."""
    lstm = problem.case.lstm
    names = KERAS.names if lstm.bias else KERAS.required
    return lanes.gradients(lstm, KERAS, lanes.by_lane(of_variables, names), batch_major(dx), dh0, dc0)

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
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

KERAS = DIALECTS["keras"]

# Names as in a case, ``harness.cases.case.Activation``; of the two hard sigmoids each Keras has a name for one.
ACTIVATIONS = {"tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu", "linear": "linear"}


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
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
        activations: Those that are not in ``ACTIVATIONS``, by their names in a case.
        lstm: The network.
        dtype: Of weights and computation.
    """
    made, activations = [], {**ACTIVATIONS, **activations}
    for layer in range(lstm.num_layers):
        single = keras.layers.LSTM(
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
        both_ways = lstm.direction == "bidirectional"
        whole = keras.layers.Bidirectional(single, lstm.merge_mode, dtype=dtype) if both_ways else single
        # Built here, so that weights can be set before the first call.
        whole.build((None, None, lstm.input_size_of(layer)))
        made.append(whole)
    return made


def variables_of(layers: list[Any]) -> list[Any]:
    """The variables of all lanes: kernel, recurrent_kernel and perhaps bias of each."""
    return [variable for layer in layers for variable in layer.trainable_variables]


def stored(problem: Problem) -> list[Array]:
    """The weights of all lanes in the order of ``variables_of``."""
    stored_lanes = [store(weights.arrays(), KERAS) for _, weights in problem.lanes()]
    return [of_lane[name] for of_lane in stored_lanes for name in _names(problem.case.lstm)]


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
        # go_backwards leaves the outputs in the order in which they were computed.
        if lstm.direction == "reverse":
            x = flip(x)
        h_n += states[::2]
        c_n += states[1::2]
    return x, h_n, c_n


def mask_of(problem: Problem) -> Array | None:
    """Which timesteps are valid, (B, T)."""
    if problem.lengths is None:
        return None
    return np.arange(len(problem.x)) < problem.lengths[:, None]


def inputs_of(problem: Problem) -> tuple[Array, Array, Array]:
    """X (B, T, I), h0 and c0 (L D, B, H)."""
    return batch_major(problem.x), problem.states("h0"), problem.states("c0")


def cotangents_of(problem: Problem) -> tuple[Array, Array]:
    """Those of h (B, T, D H) and of c_n (L D, B, H), of a problem that has them."""
    assert problem.dh is not None
    return batch_major(problem.dh), problem.states("dc")


def batch_major(array: Array) -> Array:
    """Exchange batch and time."""
    return np.ascontiguousarray(np.swapaxes(array, 0, 1))


def trace_of(
    problem: Problem,
    variables: list[Any],
    outputs: tuple[Array, Array, Array],
    gradients: tuple[list[Array], Array, Array, Array] | None,
    **about: Any,
) -> Trace:
    """The trace of what ``forward`` gave.

    Args:
        problem: What was run.
        variables: As ``variables_of`` gives them.
        outputs: h (B, T, D H), h_n and c_n (L D, B, H).
        gradients: Those of the variables, of x (B, T, I), h0 and c0, if they were asked for.
        about: Device and seconds.
    """
    lstm, (h, h_n, c_n) = problem.case.lstm, outputs
    arrays: dict[str, Any] = {
        "h": batch_major(h),
        "h_n": h_n[0] if lstm.single else h_n,
        "c_n": c_n[0] if lstm.single else c_n,
    }
    if gradients is not None:
        of_variables, dx, dh0, dc0 = gradients
        of_weights = lanes.by_lane(of_variables, _names(lstm))
        arrays |= lanes.gradients(lstm, KERAS, of_weights, batch_major(dx), dh0, dc0)
    return Trace(parameters=lanes.parameters(lstm, lanes.by_lane(variables, _names(lstm))), **about, **arrays)


def _names(lstm: LSTM) -> tuple[str, ...]:
    """What Keras calls the variables of a lane."""
    return KERAS.names if lstm.bias else KERAS.required

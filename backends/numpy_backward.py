"""The gradients of ``backends.numpy_loop``: its loop backward, by the chain rule, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lockstep.backends.numpy_operations import ACTIVATIONS, SLOPES, keep, matmul
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.gates import split_gates
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.cases.tensors import Lane, has_weight_steps, name_of

if TYPE_CHECKING:
    from lockstep.backends.numpy_operations import Step


class Walk(NamedTuple):
    """One direction of one layer, as it was run."""

    lane: Lane
    weights: Weights
    x: Array  # (T, B, I), what it took in
    steps: list[Step]  # in order of time
    h: Array  # (T, B, P), 0 past a sequence's end


def gradients(problem: Problem, walks: list[Walk]) -> Arrays:
    """The gradients of sum(dh * h) + sum(dc * c_n), by their names in a trace."""
    lstm, directions = problem.case.lstm, len(problem.case.lstm.directions)
    steps_too = has_weight_steps(problem.case)
    by_name: Arrays = {}
    dh = problem.dh
    assert dh is not None
    for layer in reversed(range(lstm.num_layers)):
        lanes_of_layer = slice(layer * directions, (layer + 1) * directions)
        dh_own, dc = _of_directions(lstm, dh, walks[lanes_of_layer]), problem.states("dc")[lanes_of_layer]
        below = []
        for walk, dh_lane, dc_lane in zip(walks[lanes_of_layer], dh_own, dc, strict=True):
            arrays = lane_gradients(lstm, walk, dh_lane, dc_lane, problem.lengths, problem.resets, steps_too=steps_too)
            below.append(arrays.pop("dx"))
            by_name |= {name_of(kind, walk.lane, lstm): array for kind, array in arrays.items()}
        dh = sum(below[1:], start=below[0])  # both directions took in the same
    return {**by_name, "dx": dh}


def _of_directions(lstm: LSTM, dh: Array, walks: list[Walk]) -> list[Array]:
    """The cotangents of the h of each direction, of that of what their layer gives."""
    if not lstm.merged:
        return np.split(dh, len(walks), axis=-1)
    if lstm.merge_mode == "mul":
        forward, reverse = (walk.h for walk in walks)
        return [dh * reverse, dh * forward]
    return [dh / dh.dtype.type(2) if lstm.merge_mode == "ave" else dh] * 2


def lane_gradients(
    lstm: LSTM, walk: Walk, dh: Array, dc: Array, lengths: Array | None, resets: Array | None = None, *, steps_too: bool
) -> Arrays:
    """Go back through one lane.

    Args:
        lstm: The network.
        walk: The lane as it was run.
        dh: The cotangent of its h, (T, B, P).
        dc: That of its final cell state, (B, H).
        lengths: (B,), or None.
        resets: (T, B), or None: what started anew there has nothing to hand back.
        steps_too: Whether what each timestep adds to the weights' gradients is wanted too.

    Returns:
        dx, dh0, dc0, dW, dR, db, and dP, dp where there are such weights; dW_t, (T, 4H, I), and so on.
    """
    T, dtype = len(walk.x), walk.x.dtype
    weights = {name: array for name, array in walk.weights.arrays().items() if name != "b" or lstm.bias}
    # Sums over time are kept in float32 at least: in bfloat16 256 + 1 is 256.
    sums = {name: np.zeros(array.shape, np.promote_types(dtype, np.float32)) for name, array in weights.items()}
    by_timestep = {name: np.empty((T, *array.shape), dtype) for name, array in weights.items() if steps_too}
    dx, dh_after = np.empty_like(walk.x), np.zeros(dh.shape[1:], dtype)
    for t in range(T) if walk.lane.reverse else reversed(range(T)):
        valid = None if lengths is None else (t < lengths)[:, None]
        none_h, none_c = np.zeros_like(dh_after), np.zeros_like(dc)
        # Past its end a sequence's step takes no part.
        dh_t, dc_t = keep(valid, dh[t] + dh_after, none_h), keep(valid, dc, none_c)
        u = ACTIVATIONS[lstm.cell_activation](walk.steps[t].c)
        dz, dc_before = _step(lstm, walk.weights, walk.steps[t], u, dh_t, dc_t)
        dx[t] = matmul(dz, walk.weights.W)
        for name, added in _weights(walk, t, u, dz, dh_t).items():
            if name in sums:
                sums[name] += added
            if name in by_timestep:
                by_timestep[name][t] = added
        dh_before = matmul(dz, walk.weights.R)
        if resets is not None:
            dh_before, dc_before = (keep(~resets[t][:, None], d, np.zeros_like(d)) for d in (dh_before, dc_before))
        dh_after, dc = keep(valid, dh_before, dh_after), keep(valid, dc_before, dc)
    summed = {f"d{name}": array.astype(dtype, copy=False) for name, array in sums.items()}
    return (
        summed | {f"d{name}_t": array for name, array in by_timestep.items()} | {"dx": dx, "dh0": dh_after, "dc0": dc}
    )


def _step(lstm: LSTM, weights: Weights, step: Step, u: Array, dh: Array, dc: Array) -> tuple[Array, Array]:
    """Go back through one timestep: from dh (B, P), dc (B, H) to dz (B, 4H) and the dc of the step before."""
    gate, candidate, cell = (
        SLOPES[name] for name in (lstm.recurrent_activation, lstm.activation, lstm.cell_activation)
    )
    i, f, g, o, p = step.i, step.f, step.g, step.o, weights.p
    dm = dh if weights.P is None else matmul(dh, weights.P)
    dz_o = dm * u * gate(o)
    dc = dc + dm * o * cell(u)
    if p is not None:
        dc = dc + dz_o * p[2]
    if lstm.cell_clip is not None:
        dc = dc * (np.abs(f * step.c_before + i * g) < lstm.cell_clip).astype(dc.dtype)
    dz_g = dc * i * candidate(g)
    if lstm.input_forget:
        dz_i, dz_f = dc * (g - step.c_before) * gate(i), np.zeros_like(dc)
    else:
        dz_i, dz_f = dc * g * gate(i), dc * step.c_before * gate(f)
    dc_before = dc * f
    if p is not None:
        dc_before = dc_before + dz_i * p[0] + dz_f * p[1]
    return np.concatenate([dz_i, dz_f, dz_g, dz_o], axis=-1), dc_before


def _weights(walk: Walk, t: int, u: Array, dz: Array, dh: Array) -> Arrays:
    """What a timestep adds to the gradient of each weight, summed over the batch."""
    step = walk.steps[t]
    ones = np.ones((1, len(dz)), dz.dtype)
    added = {"W": dz.T @ walk.x[t], "R": dz.T @ step.h_before, "b": (ones @ dz)[0]}
    if walk.weights.P is not None:
        added["P"] = dh.T @ (step.o * u)
    if walk.weights.p is not None:
        dz_i, dz_f, _, dz_o = split_gates(dz)
        added["p"] = np.stack([(ones @ d)[0] for d in (dz_i * step.c_before, dz_f * step.c_before, dz_o * step.c)])
    return added

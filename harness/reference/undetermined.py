"""What no healthy implementation determines: where rounding alone decides, and what a dtype has no room for.

A chaotic network amplifies rounding until the values are all rounding. And where a number, or what rounding may make
of it, is beyond the largest of its dtype, an implementation may give an infinity, or NaN for infinity less infinity or
infinity times 0: which of them comes first is up to it. In both cases what depends on such a number is not determined
either: in its sequence all that comes after it and all that goes back through it, and the gradients of weights, which
are sums over sequences.

In expected values an infinite noise stands for the first, any finite number being as good as another; a noise of NaN
for the second, where anything goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import ml_dtypes
import numpy as np

from lockstep.harness.arrays import Array, by_rows
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.tensors import BACKWARD, WEIGHT_STEPS, Lane, Tensor, tensors_of, turned
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import LIMIT_SIGMA

Masks = dict[Lane, Array]  # bool, (T, B), or (S, B) for what an encoder gave

BY_SEQUENCE = frozenset({"dx", "denc", "dy0", "dh0", "dc0"})  # gradients that belong to one sequence: (..., B, n)


def onward(masks: Masks, lengths: Array | None) -> Masks:
    """All timesteps that depend on those of the masks: later ones of their lane, and of lanes above it."""
    reached: Masks = {}
    for lane, lane_mask in masks.items():
        # In the lane's own order of time, in which what is later depends on what is earlier.
        far = turned(lane_mask, lengths) if lane.reverse else lane_mask
        for below, mask in reached.items():
            if below.layer != lane.layer - 1:
                continue
            if len(mask) != len(far):
                far = far | mask.any(axis=0)  # a decoder looks at all of its source at each step
            else:
                far = far | (turned(mask, lengths) if lane.reverse else mask)
        far = np.logical_or.accumulate(far, axis=0)
        reached[lane] = turned(far, lengths) if lane.reverse else far
    return reached


def mark(arrays: dict[str, Array], masks: Masks, back: Array, case: Case, value: float) -> None:
    """Set to a value what depends on timesteps of the masks, which are to reach onward; in place.

    The way back goes through every state of a sequence; the weights' gradients are sums over all sequences. ``back``
    are further sequences, (B,), of which nothing on the way back is determined.
    """
    known = tensors_of(case)
    sequences = np.any([back, *(mask.any(axis=0) for mask in masks.values())], axis=0)
    for name, array in arrays.items():
        kind, mask = known[name].kind, masks.get(known[name].lane)
        if kind in BY_SEQUENCE:
            array[..., sequences, :] = value
        elif kind in BACKWARD and sequences.any():
            array[...] = value
        elif kind not in BACKWARD and mask is not None:
            array[mask if known[name].timed else mask.any(axis=0)] = value


def without_room(problem: AnyProblem, wider: Expected, first_order: Expected) -> Expected:
    """Expected values with a noise of NaN where the case's dtype has no room for them, or for their rounding.

    Where the problem itself has numbers that are not finite, what follows from them is defined, and nothing changes.
    The noise of ``first_order`` counts where, by the copies of ``wider``, rounding alone decides.
    """
    if not all(np.isfinite(array).all() for array in problem.arrays().values()):
        return wider
    case = problem.case
    largest = _largest(case)
    with np.errstate(all="ignore"):
        beyond = {name: _beyond(tensor, first_order[name].noise, largest) for name, tensor in wider.items()}
    if not any(mask.any() for mask in beyond.values()):
        return wider
    known = tensors_of(case)
    noise = {name: np.where(beyond[name], np.nan, tensor.noise) for name, tensor in wider.items()}
    masks = onward(_forward(beyond, known), problem.lengths)
    mark(noise, masks, _backward(beyond, known, case.run.batch), case, np.nan)
    return {name: ExpectedTensor(tensor.value, tensor.rest, noise[name]) for name, tensor in wider.items()}


def _beyond(tensor: ExpectedTensor, first_order: Array, largest: float) -> Array:
    """Where a number, or what rounding may make of it, is beyond the largest."""
    value, noise = tensor.value, tensor.noise

    def beyond(rows: slice) -> Array:
        counted = np.where(np.isinf(noise[rows]), first_order[rows], noise[rows])
        # Not `>`: NaN is beyond too.
        return ~(np.abs(value[rows]) + LIMIT_SIGMA * counted <= largest)

    mask = by_rows(beyond, value, noise, first_order)
    return mask if mask.any() else np.broadcast_to(np.False_, mask.shape)  # which takes no room


def notes_of(expected: Expected, case: Case) -> list[str]:
    """From where on nothing could be judged, and why."""
    notes = []
    hidden = [expected[name].noise for name, tensor in tensors_of(case).items() if tensor.kind == "h"]
    chaotic = _first(np.isinf(noise) for noise in hidden)
    if chaotic is not None:
        what = f"this network is chaotic: at timestep {chaotic} rounding has grown to the size of its values"
        notes.append(f"{what}, so what follows from there is not determined, and not judged")
    if any(_has_nan(tensor.noise) for tensor in expected.values()):
        full = _first(np.isnan(noise) for noise in hidden)
        where = "in the gradients" if full is None else f"from timestep {full} on"
        what = f"{where} numbers, or their rounding, are beyond the largest of {case.run.dtype}, {_largest(case):.6g}"
        notes.append(f"{what}: what becomes of them and of all that depends on them is not determined, and not judged")
    return notes


def _has_nan(noise: Array) -> bool:
    return bool(by_rows(lambda rows: np.isnan(noise[rows]), noise).any())


def _largest(case: Case) -> float:
    return float(ml_dtypes.finfo(case.run.dtype).max)


def _forward(beyond: Mapping[str, Array], known: Mapping[str, Tensor]) -> Masks:
    """The timesteps of each lane at which anything is beyond, lower lanes first."""
    masks: Masks = {}
    for name, mask in beyond.items():
        tensor = known[name]
        if tensor.timed and tensor.kind not in BACKWARD:
            masks[tensor.lane] = np.asarray(masks.get(tensor.lane, False) | mask.any(axis=-1))
    return dict(sorted(masks.items()))


def _backward(beyond: Mapping[str, Array], known: Mapping[str, Tensor], batch: int) -> Array:
    """The sequences of which the way back is beyond anywhere: (B,)."""
    sequences = np.zeros(batch, bool)
    for name, mask in beyond.items():
        if known[name].kind in BY_SEQUENCE:
            sequences |= mask.any(axis=-1).reshape(-1, batch).any(axis=0)
    if not sequences.any():
        # Where weights make them small on their way to dx, only a weight's gradient shows that they were too large.
        sequences[:] = any(mask.any() for name, mask in beyond.items() if known[name].kind in WEIGHT_STEPS)
    return sequences


def _first(masks: Iterable[Array]) -> int | None:
    """The first timestep at which any of some masks (T, B, n) is set."""
    timesteps = np.any([mask.any(axis=(1, 2)) for mask in masks], axis=0)
    return int(timesteps.argmax()) if timesteps.any() else None

"""How the arrays of a run lie: which axis is time, which are the sequences; and each array as a problem has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.tensors import Lane, lanes

_Order = Literal["time first", "batch first", "one sequence", "one timestep", "one timestep of one sequence"]
_TIMED = ("x", "h_seq", "c_seq", "i", "f", "g", "o", "dh", "dx")
_STATES = ("h0", "c0", "h_n", "c_n", "dc", "dh0", "dc0")


@dataclass(frozen=True)
class DumpAxes:
    """The axes of x, and how many timesteps and sequences they are."""

    order: _Order
    timesteps: int
    batch: int
    outputs_turned: bool = False  # of as many sequences as timesteps: outputs lie the other way than x


def axes_of(x: Array, *, batch_major: bool, one_step: bool) -> list[DumpAxes]:
    """How x may lie, the likeliest first: by the framework's habit, which may be to take one timestep a call."""
    match x.shape if x.size else None:
        case (a, b, _):
            ways: list[DumpAxes] = [DumpAxes("time first", a, b), DumpAxes("batch first", b, a)]
            ways = ways[::-1] if batch_major else ways
            # The dtypes of a square tell nothing: each way, then with outputs that lie otherwise.
            return ways + [DumpAxes(way.order, a, b, outputs_turned=True) for way in ways] if a == b else ways
        case (a, _):
            two: list[DumpAxes] = [DumpAxes("one sequence", a, 1), DumpAxes("one timestep", 1, a)]
            return two[::-1] if one_step else two
        case (_,):
            return [DumpAxes("one timestep of one sequence", 1, 1)]
    return []


def placed(role: str, array: Array, axes: DumpAxes, lstm: LSTM) -> Arrays | None:
    """An array as a problem or a trace has it, by that one's name; None where its shape does not fit.

    A final state of the top layer alone stands for that layer's lanes.
    """
    name = role.removesuffix("_seq")
    if role == "lengths":
        fits = array.shape == (axes.batch,) and not (array % 1).any()  # JSON has no whole numbers
        return {name: array.astype(np.int64)} if fits else None
    if role in _TIMED:
        timed = _timed(role, array, axes, lstm)
        if timed is not None:
            return {name: timed}
        return _states({"h_seq": "h_n", "c_seq": "c_n"}.get(role, ""), array, axes, lstm)
    return _states(role, array, axes, lstm)


def widths(role: str, lstm: LSTM) -> int:
    """How wide an array of one lane is; a timed one has its directions side by side."""
    if role in {"x", "dx"}:
        return lstm.input_size
    return lstm.output_size if role in {"h_seq", "dh", "h0", "h_n", "dh0"} else lstm.hidden_size


def expected_shapes(role: str, axes: DumpAxes, lstm: LSTM) -> str:
    """The shapes that would fit, in words."""
    T, B, width, count = axes.timesteps, axes.batch, widths(role, lstm), len(lanes(lstm))
    if role == "lengths":
        return f"({B},), whole numbers"
    if role in _TIMED:
        width *= 1 if role in {"x", "dx"} else len(lstm.directions)
        return f"(T, B, {width}) = {(T, B, width)} or (B, T, {width}) = {(B, T, width)}"
    return f"{(B, width)}" if count == 1 else f"{(count, B, width)}"


def _timed(role: str, array: Array, axes: DumpAxes, lstm: LSTM) -> Array | None:
    T, B = axes.timesteps, axes.batch
    width, count = widths(role, lstm), 1 if role in {"x", "dx"} else len(lstm.directions)
    if array.shape == (T, count, B, width):  # as ONNX gives it
        return np.ascontiguousarray(array.swapaxes(1, 2)).reshape(T, B, count * width)
    width *= count
    turned = (axes.order == "batch first") != (axes.outputs_turned and role not in {"x", "dx"})
    if array.ndim == 3 and array.shape in ({(B, T, width)} if turned else {(T, B, width)}):  # noqa: PLR2004
        return np.ascontiguousarray(array.swapaxes(0, 1)) if turned else array
    if T != B and role != "x" and array.shape in {(T, B, width), (B, T, width)}:
        return array if array.shape[0] == T else np.ascontiguousarray(array.swapaxes(0, 1))
    # Axes of length 1 that were left out; the final h of several timesteps has fewer numbers.
    if 1 in {T, B} and array.size == T * B * width and array.shape[-1:] == (width,) and T * B in array.shape[:-1]:
        return array.reshape(T, B, width)
    if T == B == 1 and array.shape == (width,):
        return array.reshape(1, 1, width)
    return None


def _states(role: str, array: Array, axes: DumpAxes, lstm: LSTM) -> Arrays | None:
    if role not in _STATES:
        return None
    B, width, all_lanes = axes.batch, widths(role, lstm), lanes(lstm)
    count, directions = len(all_lanes), len(lstm.directions)
    shape = (B, width) if count == 1 else (count, B, width)
    if array.shape in {shape, (count, B, width)} or (
        B == 1 and array.shape in {(width,) * (count == 1), (count, width)}
    ):
        return {role: array.reshape(shape)}
    if count > 1 and role in {"h_n", "c_n"} and array.shape == (B, directions * width):
        top: list[Lane] = all_lanes[-directions:]
        parts = np.split(array, directions, axis=1)
        return {role + lane.suffix: np.ascontiguousarray(part) for lane, part in zip(top, parts, strict=True)}
    return None


def past_the_end(h: Array, lengths: Array, after_end: str) -> tuple[Array, str | None]:
    """Outputs with zeros past each sequence's length, where a framework's way to fill those was kept; and a note.

    What is neither zeros nor the last valid row is left as it is: it may be what is wrong.
    """
    past = np.arange(len(h))[:, None] >= lengths[None, :]
    if not past.any() or not h[past].any():
        return h, None
    last = h[np.maximum(lengths - 1, 0), np.arange(h.shape[1])]
    repeated = np.array_equal(h[past], np.broadcast_to(last, h.shape)[past])
    if not repeated and after_end != "compute":
        return h, None
    how = "repeat the last valid one, as Keras does" if repeated else "go on over the padding, as its framework does"
    return np.where(past[..., None], h.dtype.type(0), h), f"rows past a sequence's length {how}: not compared"

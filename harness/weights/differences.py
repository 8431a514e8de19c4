"""The weights of two model files beside each other: where they differ, by how much, and what explains it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array
from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.cases.tensors import lanes, name_of
from lockstep.harness.text import number
from lockstep.harness.weights.dialect import GATES
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.model_file import Model


class WeightDifference(Struct, frozen=True, kw_only=True):
    """One array of a file against that of another, both in canonical form."""

    name: str
    count: int  # numbers that differ
    size: int
    largest: float  # the largest absolute difference
    at: tuple[int, ...]  # where
    one: float  # there, in the file
    other: float  # there, in the one it is compared with
    explanation: str | None = None  # what was done to the other's array that gives this one


class SettingDifference(Struct, frozen=True):
    """One setting of a file's network against that of another."""

    name: str
    one: str
    other: str


_SIZES = ("input_size", "hidden_size", "num_layers", "direction", "proj_size")
_SETTINGS = ("bias", "peephole", "activation", "recurrent_activation", "cell_activation", "input_forget", "cell_clip")


def misfit(one: Model, other: Model) -> str | None:
    """Say in which sizes two networks differ; None if they can be run with the same data."""
    found = _differing(one, other, _SIZES)
    return ", ".join(f"{own.name} is {own.one} here and {own.other} there" for own in found) or None


def setting_differences(one: Model, other: Model) -> list[SettingDifference]:
    """Give the settings in which two networks of the same sizes differ."""
    return _differing(one, other, _SETTINGS)


def _differing(one: Model, other: Model, names: tuple[str, ...]) -> list[SettingDifference]:
    pairs = ((name, getattr(one.lstm, name), getattr(other.lstm, name)) for name in names)
    return [SettingDifference(name, str(a), str(b)) for name, a, b in pairs if a != b]


def weight_differences(one: Model, other: Model) -> list[WeightDifference]:
    """Compare the weights of two networks of the same sizes, array by array; give those that differ."""
    own, theirs = one.arrays(), other.arrays()
    differing = [
        name for name in own
        if name in theirs and not np.array_equal(_wide(own[name]), _wide(theirs[name]), equal_nan=True)
    ]  # fmt: skip
    return [_difference(name, one, other) for name in differing]


def difference_lines(
    found: list[WeightDifference], settings: list[SettingDifference], count: int, one: str, other: str
) -> list[str]:
    """Say how the weights of two files differ, a line for each array, or for all that have one explanation.

    Args:
        found: The arrays that differ.
        settings: The settings that do.
        count: How many arrays there are.
        one: The file.
        other: The file that it is compared with.
    """
    lines = [f"{own.name} is {own.one}, and {own.other} in {other}" for own in settings]
    if not found:
        return [*lines, f"its weights are those of {other}, bit for bit"] if not settings else lines
    alike: dict[str, list[WeightDifference]] = {}
    for own in found:
        alike.setdefault(own.explanation or "", []).append(own)
    for explanation, group in sorted(alike.items(), key=lambda item: not item[0]):
        names = ", ".join(own.name for own in group) if len(group) < max(count, 2) else "all of them"
        if explanation:
            worst = max(group, key=lambda own: own.largest)
            lines.append(f"{names}: {explanation.format(one=one, other=other)} ({_size(worst)})")
        else:
            lines += [f"{own.name} differs from that of {other}: {_size(own)}" for own in group]
    return lines


def _size(own: WeightDifference) -> str:
    at = ", ".join(map(str, own.at))
    return (
        f"{own.count} of {own.size} numbers, by {number(own.largest)} at most: {own.name}[{at}] is {own.one:.9g}, not "
        f"{own.other:.9g}"
    )


def _difference(name: str, one: Model, other: Model) -> WeightDifference:
    a, b = _wide(one.arrays()[name]), _wide(other.arrays()[name])
    with np.errstate(invalid="ignore"):
        distance = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    distance = np.where(np.isnan(distance), np.inf, distance)
    at = np.unravel_index(int(np.argmax(distance)), a.shape)
    return WeightDifference(
        name=name, count=int(np.count_nonzero(distance)), size=a.size, largest=float(distance[at]),
        at=tuple(int(k) for k in at), one=float(a[at]), other=float(b[at]), explanation=_explained(name, one, other),
    )  # fmt: skip


def _explained(name: str, one: Model, other: Model) -> str | None:
    """Find what was done to the other's array that gives this one: the same numbers, or those rounded."""
    a = _wide(one.arrays()[name])
    for text, candidate in _candidates(name, one, other):
        if candidate.shape == a.shape and np.array_equal(a, candidate, equal_nan=True):
            return text
    rounding = _rounding(a, _wide(other.arrays()[name]))
    if rounding is not None:
        return rounding
    if name.startswith("b"):
        return _constant(a, _wide(other.arrays()[name]))
    return None


def _candidates(name: str, one: Model, other: Model) -> Iterator[tuple[str, Array]]:
    """Give what may have been done, the likeliest first; text has {one} and {other} for the files."""
    arrays = other.arrays()
    plain = arrays[name]
    kind = name.partition("_")[0]
    if kind == "b":
        halves = other.halves.get(name, ())
        for k, half in enumerate(halves):
            yield (
                f"the {('first', 'second')[k]} of the two biases of {{other}} alone: the other one is lost",
                _wide(half),
            )
        yield "the bias of {other} is lost: it is zero", np.zeros(plain.shape)
        yield "the bias of {other} twice", _wide(plain + plain)
    for lane in lanes(other.lstm):
        another = name_of(kind, lane, other.lstm)
        if another != name and another in arrays:
            yield f"that is {another} of {{other}}: lanes are exchanged", _wide(arrays[another])
    if kind not in {"W", "R", "b"}:
        return
    for array, how in _turned(kind, plain):
        for order in permutations(GATES):
            if order == tuple(GATES) and not how:
                continue
            blocks = array.reshape(4, len(array) // 4, *array.shape[1:])
            moved = blocks[[GATES.index(gate) for gate in order]].reshape(array.shape)
            words = [_order_text(order, one)] if order != tuple(GATES) else []
            yield " and ".join(filter(None, [*words, how])), _wide(moved)


def _turned(kind: str, array: Array) -> Iterator[tuple[Array, str]]:
    yield array, ""
    if kind == "b" or len(array) != 4 * array.shape[1]:
        return
    H = array.shape[1]
    each = array.reshape(4, H, H).transpose(0, 2, 1).reshape(array.shape)
    yield each, "each gate's block is transposed"
    yield array.T.reshape(array.shape), "the whole is reshaped where it should be transposed"
    # What (H, 4H) of the other convention gives when its numbers are taken as (4H, H), and then read by gates.
    yield array.reshape(array.shape[::-1]).T, "the whole is transposed where it should be reshaped"


def _order_text(order: tuple[str, ...], one: Model) -> str:
    """Say in which order the file stacks its gates, where it is read in another: i, f, g, o are read as ``order``."""
    # order[k] is the other's gate that is read as the canonical gate k; the file's blocks are read as one.gates.
    stacked = "".join(order[GATES.index(gate)] for gate in one.gates)
    known = sorted({dialect.name for dialect in DIALECTS.values() if dialect.gates == stacked} & _KNOWN)
    whose = f", as {' and '.join(known)} do{'es' if len(known) == 1 else ''}" if known else ""
    return f"gates are stacked {', '.join(stacked)}{whose}, and read as {', '.join(one.gates)}"


_KNOWN = {"torch", "keras", "tf1", "onnx"}


def _rounding(a: Array, b: Array) -> str | None:
    """Tell numbers that were rounded to a shorter format."""
    if not np.isfinite(b).all():
        return None
    for name in ("float32", "float16", "bfloat16"):
        with np.errstate(over="ignore"):
            if np.array_equal(a, b.astype(dtype_of(name)).astype(np.float64)):
                return f"the numbers of {{other}}, rounded to {name}"
    return None


def _constant(a: Array, b: Array) -> str | None:
    """Tell a bias whose forget part has a constant more or less than the other's, within rounding."""
    H = len(a) // 4
    change = a - b
    forget = change[H : 2 * H]
    constant = float(np.round(np.median(forget), 3))
    rest = np.delete(change, np.s_[H : 2 * H])
    rounding = 2.0**-20 * (1 + np.abs(b[H : 2 * H]))
    if constant and not np.any(rest) and np.all(np.abs(forget - constant) <= rounding):
        return (
            f"its forget part is that of {{other}} {'+' if constant > 0 else '-'} {abs(constant):g}: a forget bias "
            + ("is added once more" if constant > 0 else "is left out")
        )
    return None


def _wide(array: Array) -> Array:
    return np.asarray(array, np.float64)

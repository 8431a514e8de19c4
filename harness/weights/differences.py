"""The weights of two model files beside each other: where they differ, by how much, and what explains it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array
from lockstep.harness.cases.gates import GATES, block, blocks, reorder
from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.cases.tensors import lanes, name_of
from lockstep.harness.text import grouped, number
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.model_file import StoredModel
from lockstep.harness.weights.network_file import lane_text


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


# What two networks must have in common to be run with the same data.
_SIZES = ("input_size", "hidden_size", "num_layers", "direction", "proj_size")
_MOST_ROWS = 9  # of a table, beside its head
_MOST_NAMES = 4  # of arrays in one row

_SETTINGS = ("bias", "peephole", "activation", "recurrent_activation", "cell_activation", "input_forget", "cell_clip")


def misfit(model: StoredModel, reference: StoredModel) -> str | None:
    """In which sizes two networks differ, in words; None if they can be run with the same data."""
    sizes = _differing(model, reference, _SIZES)
    return ", ".join(f"{size.name} is {size.one} here and {size.other} there" for size in sizes) or None


def setting_differences(model: StoredModel, reference: StoredModel) -> list[SettingDifference]:
    """The settings in which two networks of the same sizes differ."""
    return _differing(model, reference, _SETTINGS)


def _differing(model: StoredModel, reference: StoredModel, names: tuple[str, ...]) -> list[SettingDifference]:
    pairs = ((name, getattr(model.lstm, name), getattr(reference.lstm, name)) for name in names)
    return [SettingDifference(name, str(a), str(b)) for name, a, b in pairs if a != b]


def weight_differences(model: StoredModel, reference: StoredModel) -> list[WeightDifference]:
    """Compare the weights of two networks of the same sizes, array by array; give those that differ."""
    ours, theirs = model.arrays(), reference.arrays()
    pairs = ((name, _wide(array), _wide(theirs[name])) for name, array in ours.items() if name in theirs)
    return [
        _difference(name, a, b, _explained(name, a, model, reference))
        for name, a, b in pairs if not np.array_equal(a, b, equal_nan=True)
    ]  # fmt: skip


class WeightRow(NamedTuple):
    """Some arrays of a file that differ from another's in the same way."""

    arrays: str
    numbers: str  # how many differ, of how many
    at_most: str
    instead: str  # what they are

    @property
    def sentence(self) -> str:
        """The row as a sentence without its dot."""
        return f"{self.arrays}: {self.instead} ({self.numbers} numbers, by {self.at_most} at most)"


def difference_rows(differences: list[WeightDifference], count: int, name: str, reference: str) -> list[WeightRow]:
    """What differs of the ``count`` weights of a file, in ten rows: arrays that differ alike share one."""
    alike = grouped(differences, lambda difference: difference.explanation or "")
    rows = [
        _row(group, count, explanation.format(one=name, other=reference))
        for explanation, group in sorted(alike.items())
        if explanation
    ]
    unlike = alike.get("", [])
    room = max(_MOST_ROWS - len(rows), 1)
    largest = sorted(unlike, key=lambda difference: -difference.largest)
    rest = largest[room - 1 :] if len(unlike) > room else []
    rows += [_row([each], count, f"other numbers: {_example(each)}") for each in unlike if each not in rest]
    rows += [_row(rest, count, "other numbers")._replace(arrays=f"{len(rest)} more arrays")] if rest else []
    if len(rows) > _MOST_ROWS:
        more = len(rows) - _MOST_ROWS + 1
        rows = [*rows[:-more], WeightRow(f"{more} more rows", "", "", "in the JSON")]
    return rows


def difference_lines(
    differences: list[WeightDifference], settings: list[SettingDifference], count: int, name: str, reference: str
) -> list[str]:
    """How the ``count`` weights of a file differ from those of another, in sentences, alike arrays together."""
    lines = _setting_lines(settings, reference)
    if not differences:
        return [*lines, f"its weights are those of {reference}, bit for bit"] if not settings else lines
    return [*lines, *(row.sentence for row in difference_rows(differences, count, name, reference))]


def difference_table(
    differences: list[WeightDifference], settings: list[SettingDifference], count: int, name: str, reference: str
) -> list[str]:
    """The same as a table of at most ten lines, settings before it."""
    if not differences:
        return [f"Weights: {line}." for line in difference_lines(differences, settings, count, name, reference)]
    head = WeightRow("weights", "numbers", "at most", f"what they are, beside {reference}'s")
    rows = [head, *difference_rows(differences, count, name, reference)]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    table = [
        f"{row.arrays:<{widths[0]}}  {row.numbers:>{widths[1]}}  {row.at_most:>{widths[2]}}  {row.instead}"
        for row in rows
    ]
    return [*(f"Weights: {line}." for line in _setting_lines(settings, reference)), *table]


def _setting_lines(settings: list[SettingDifference], reference: str) -> list[str]:
    return [f"{setting.name} is {setting.one}, and {setting.other} in {reference}" for setting in settings]


def _row(group: list[WeightDifference], count: int, instead: str) -> WeightRow:
    names = "all of them" if len(group) == count > 1 else _names([difference.name for difference in group])
    numbers, sizes = (sum(getattr(difference, key) for difference in group) for key in ("count", "size"))
    return WeightRow(names, f"{numbers} of {sizes}", number(max(difference.largest for difference in group)), instead)


def _names(names: list[str]) -> str:
    """The names of some arrays, those of many shortened."""
    return (
        ", ".join(names)
        if len(names) <= _MOST_NAMES
        else f"{', '.join(names[: _MOST_NAMES - 1])} and {len(names) - _MOST_NAMES + 1} more"
    )


def _example(difference: WeightDifference) -> str:
    at = ", ".join(map(str, difference.at))
    return f"{difference.name}[{at}] is {difference.one:.9g}, not {difference.other:.9g}"


def _difference(name: str, a: Array, b: Array, explanation: str | None) -> WeightDifference:
    with np.errstate(invalid="ignore"):
        distance = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    distance = np.where(np.isnan(distance), np.inf, distance)
    at = np.unravel_index(int(np.argmax(distance)), a.shape)
    return WeightDifference(
        name=name, count=int(np.count_nonzero(distance)), size=a.size, largest=float(distance[at]),
        at=tuple(int(k) for k in at), one=float(a[at]), other=float(b[at]), explanation=explanation,
    )  # fmt: skip


def _explained(name: str, a: Array, model: StoredModel, reference: StoredModel) -> str | None:
    """Find what was done to the other's array that gives this one: the same numbers, or those rounded."""
    for text, candidate in _candidates(name, model, reference):
        if candidate.shape == a.shape and np.array_equal(a, candidate, equal_nan=True):
            return text
    b = _wide(reference.arrays()[name])
    return _rounding(a, b) or (_constant(a, b) if name.startswith("b") else None)


def _candidates(name: str, model: StoredModel, reference: StoredModel) -> Iterator[tuple[str, Array]]:
    """What may have been done to the reference's array, likeliest first; {one} and {other} stand for the files."""
    arrays = reference.arrays()
    plain = arrays[name]
    kind = name.partition("_")[0]
    if kind == "b":
        for which, half in zip(("first", "second"), reference.halves.get(name, ()), strict=False):
            yield f"the {which} of the two biases of {{other}} alone: the other one is lost", _wide(half)
        yield "the bias of {other} is lost: it is zero", np.zeros(plain.shape)
        yield "the bias of {other} twice", _wide(plain + plain)
    for lane in lanes(reference.lstm):
        another = name_of(kind, lane, reference.lstm)
        if another != name and another in arrays:
            which = "another layer's" if _layer(another) != _layer(name) else "another direction's"
            yield f"what {{other}} has in {lane_text(lane)}: {which}", _wide(arrays[another])
    if kind not in {"W", "R", "b"}:
        return
    # Last, since there are many of them: 24 orders, of each form that the array may have been turned into.
    for array, how in _turned(kind, plain):
        for order in permutations(GATES):
            if order == tuple(GATES) and not how:
                continue
            words = [_order_text(order, model)] if order != tuple(GATES) else []
            yield " and ".join(filter(None, [*words, how])), _wide(reorder(array, GATES, order))


def _layer(name: str) -> str:
    return name.removesuffix("_reverse")


def _turned(kind: str, array: Array) -> Iterator[tuple[Array, str]]:
    yield array, ""
    if kind == "b" or len(array) != 4 * array.shape[1]:
        return
    yield blocks(array).transpose(0, 2, 1).reshape(array.shape), "each gate's block is transposed"
    yield array.T.reshape(array.shape), "the whole is reshaped where it should be transposed"
    # What (H, 4H) of the other convention gives when its numbers are taken as (4H, H), and then read by gates.
    yield array.reshape(array.shape[::-1]).T, "the whole is transposed where it should be reshaped"


def _order_text(order: tuple[str, ...], model: StoredModel) -> str:
    """In which order the file stacks its gates, in words, where i, f, g, o are read as ``order``."""
    # order[k] is the other's gate that is read as the canonical gate k; the file's blocks are read as its gates.
    stacked = "".join(order[GATES.index(gate)] for gate in model.gates)
    known = sorted({dialect.name for dialect in DIALECTS.values() if dialect.gates == stacked} & _KNOWN)
    whose = f", as {' and '.join(known)} do{'es' if len(known) == 1 else ''}" if known else ""
    return f"gates are stacked {', '.join(stacked)}{whose}, and read as {', '.join(model.gates)}"


# Of dialects with one order of gates these are told by name.
_KNOWN = {"torch", "keras", "tf1", "onnx"}


def _rounding(a: Array, b: Array) -> str | None:
    """Recognise numbers that were rounded to a shorter format."""
    if not np.isfinite(b).all():
        return None
    for name in ("float32", "float16", "bfloat16"):
        with np.errstate(over="ignore"):
            if np.array_equal(a, b.astype(dtype_of(name)).astype(np.float64)):
                return f"the numbers of {{other}}, rounded to {name}"
    return None


def _constant(a: Array, b: Array) -> str | None:
    """Recognise a bias whose forget part is the other's plus a constant, within rounding."""
    change = a - b
    forget = block(change, "f").copy()
    constant = float(np.round(np.median(forget), 3))
    block(change, "f")[:] = 0
    rounding = 2.0**-20 * (1 + np.abs(block(b, "f")))
    if constant and not np.any(change) and np.all(np.abs(forget - constant) <= rounding):
        return (
            f"its forget part is that of {{other}} {'+' if constant > 0 else '-'} {abs(constant):g}: a forget bias "
            + ("is added once more" if constant > 0 else "is left out")
        )
    return None


def _wide(array: Array) -> Array:
    return np.asarray(array, np.float64)

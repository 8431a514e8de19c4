"""What is measured, in fields by convention; and the deviations of ``harness.causes`` that it is.

A reading is a dictionary of the fields that differ from ``INTENDED``. Tuples of four are by gate: i, f, g, o.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.gates import GATES
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.faults.deviation import Deviation
from lockstep.harness.faults.table import find
from lockstep.harness.faults.weight_edits import CELL_MOVES, PARTS, WEIGHT_GROUPS, WEIGHT_MOVES, kept_part

Changes = dict[str, Any]
ONCE = (1.0, 1.0, 1.0, 1.0)
NONE = (0.0, 0.0, 0.0, 0.0)
INTENDED: Changes = {
    **{f"{array}_gates": GATES for array in "WRb"},  # the order in which blocks are taken for gates
    **{f"{array}_blocks": GATES for array in "WRb"},  # whose block each gate reads, after that
    **{f"{array}_layout": "" for array in "WRb"},  # moves of ``harness.faults.weight_edits``
    **{f"{array}_part": "" for array in "WR"},
    **{f"{array}_gain": ONCE for array in "WRb"},
    "kernels": "", "constant": NONE, "curves": ("sigmoid", "sigmoid", "tanh", "sigmoid"), "gain": ONCE, "offset": NONE,
    "cell": "f c + i g", "cell_curve": "tanh", "hidden": "o tanh(c)", "h0": "", "c0": "", "x_time": "",
}  # fmt: skip
# Fields with a number, or a curve, for each gate.
BY_GATE = frozenset({"W_gain", "R_gain", "b_gain", "constant", "curves", "gain", "offset"})

# Equations of c, of the old c; and the names of the deviations that they are.
CellUpdate = Callable[[Array, Array, Array, Array], Array]
CELLS: dict[str, tuple[CellUpdate, str]] = {
    "f c + i g": (lambda i, f, g, c: f * c + i * g, ""),
    "(1 - i) c + i g": (lambda i, f, g, c: (1 - i) * c + i * g, "coupling-of-f:1---i"),
    "f c + (1 - f) g": (lambda i, f, g, c: f * c + (1 - f) * g, "add.i:1---f"),
    "f c + g": (lambda i, f, g, c: f * c + g, "add.i:one"),
    "c + i g": (lambda i, f, g, c: c + i * g, "keep.f:one"),
    "c + g": (lambda i, f, g, c: c + g, "i-and-f-left-out:at-once"),
    "i g": (lambda i, f, g, c: i * g, "keep.f:zero"),
    "f c": (lambda i, f, g, c: f * c, "add.g:zero"),
    "f c + i": (lambda i, f, g, c: f * c + i, "add.g:one"),
    "f c - i g": (lambda i, f, g, c: f * c - i * g, "add.g:times--1"),
    "f (c + i g)": (lambda i, f, g, c: f * (c + i * g), "add.g:times-f"),
    "i (c + g)": (lambda i, f, g, c: i * (c + g), "keep.f:i"),
    "i (f c + g)": (lambda i, f, g, c: i * (f * c + g), "keep.f:times-i"),
    "f c i g": (lambda i, f, g, c: f * c * i * g, "equation-of-c:f-c-i-g"),
    "f + c + i g": (lambda i, f, g, c: f + c + i * g, "equation-of-c:f-+-c-+-i-g"),
    "f c + i + g": (lambda i, f, g, c: f * c + i + g, "equation-of-c:f-c-+-i-+-g"),
    "(f + c) (i + g)": (lambda i, f, g, c: (f + c) * (i + g), "equation-of-c:(f-+-c)-(i-+-g)"),
    "(1 - f) c + i g": (lambda i, f, g, c: (1 - f) * c + i * g, "keep.f:1---f"),
    "f c + (1 - i) g": (lambda i, f, g, c: f * c + (1 - i) * g, "add.i:1---i"),
    "(f c + i g) / 2": (lambda i, f, g, c: (f * c + i * g) / 2, "c:times-1/2"),
    "f tanh(c) + i g": (lambda i, f, g, c: f * np.tanh(c) + i * g, "keep.c:tanh-of-it"),
    "tanh(f c + i g)": (lambda i, f, g, c: np.tanh(f * c + i * g), "c:tanh-of-it"),
    "f c + c + i g": (lambda i, f, g, c: f * c + c + i * g, "keep.f:plus-+1"),
    "f c + i g + g": (lambda i, f, g, c: f * c + i * g + g, "add.i:plus-+1"),
    "max(f c, i g)": (lambda i, f, g, c: np.maximum(f * c, i * g), "equation-of-c:max(f-c,-i-g)"),
}
# Equations of h, of the new c, the old one and the cell's curve.
Hidden = Callable[[Array, Array, Array, Callable[[Array], Array]], Array]
HIDDEN: dict[str, tuple[Hidden, str]] = {
    "o tanh(c)": (lambda o, c, before, curve: o * curve(c), ""),
    "tanh(c)": (lambda o, c, before, curve: curve(c), "out.o:one"),
    "tanh(o c)": (lambda o, c, before, curve: curve(o * c), "equation-of-h:tanh(o-c)"),
    "o tanh(c before)": (lambda o, c, before, curve: o * curve(before), "tanh.c:c_in"),
    "o + tanh(c)": (lambda o, c, before, curve: o + curve(c), "equation-of-h:o-+-tanh(c)"),
    "c": (lambda o, c, before, curve: c, "h:c"),
    "o": (lambda o, c, before, curve: o, "out.u:one"),
    "o c tanh(c)": (lambda o, c, before, curve: o * c * curve(c), "out.o:times-c"),
    "tanh(o tanh(c))": (lambda o, c, before, curve: curve(o * curve(c)), "h:tanh-of-it"),
    "o o tanh(c)": (lambda o, c, before, curve: o * o * curve(c), "out.o:times-itself"),
    "(1 - o) tanh(c)": (lambda o, c, before, curve: (1 - o) * curve(c), "out.o:1---o"),
    "-o tanh(c)": (lambda o, c, before, curve: -o * curve(c), "out.o:times--1"),
}
INITIAL: dict[str, Callable[[Array, Array], Array]] = {
    "": lambda state, partner: state,
    "exchanged": lambda state, partner: partner,
    "zero": lambda state, partner: 0 * state,
}


def moved(array: Array, layout: str) -> Array:
    """An array (4H, n) or (4H,) as a move reads it.

    Raises:
        NoPlaceError: If its shape has no place for the move.
    """
    if layout == "absolute":
        return np.abs(array)
    changed = array if not layout else (CELL_MOVES | WEIGHT_MOVES)[layout](array)
    if changed.shape != array.shape:
        raise NoPlaceError
    return changed


def part_of(array: Array, part: str) -> Array:
    """A kernel (4H, n) of which a part alone is used."""
    return array * kept_part(part, array.shape) if part else array


LAYOUTS = ("", "absolute", *CELL_MOVES, *WEIGHT_MOVES)
KERNEL_PARTS = tuple(PARTS)


def merged(first: Changes, second: Changes) -> Changes | None:
    """Both sets of changes; None where they set the same thing to different values. Fields by gate are joined so."""
    joined = dict(first)
    for name, value in second.items():
        if name not in joined or joined[name] == value:
            joined[name] = value
        elif name not in BY_GATE:
            return None
        else:
            parts = []
            for of_first, of_second, neutral in zip(joined[name], value, INTENDED[name], strict=True):
                if of_first not in (of_second, neutral) and of_second != neutral:
                    return None
                parts.append(of_second if of_first == neutral else of_first)
            joined[name] = tuple(parts)
    return {name: value for name, value in joined.items() if value != INTENDED[name]}


def deviations_of(changes: Changes, problem: AnyProblem) -> tuple[Deviation, ...]:
    """The deviations that a reading is.

    Raises:
        NoPlaceError: If a problem has no place for one.
    """
    deviations = [find(name, problem) for name in names_of(changes)]
    if None in deviations:
        raise NoPlaceError
    return tuple(deviations)  # type: ignore[arg-type]


def names_of(changes: Changes) -> Iterator[str]:
    """The names of the deviations that a reading is, in the order in which they act."""
    fields = {**INTENDED, **changes}
    if fields["kernels"]:
        yield f"[W-R]:{_slug(fields['kernels'])}"
    for field, edits in (("layout", _plain), ("part", _plain), ("gates", _order), ("blocks", _blocks)):
        values = {array: fields[f"{array}_{field}"] for array in "WRb" if f"{array}_{field}" in fields}
        for value, group in _alike(values, INTENDED[f"W_{field}"]):
            yield from (f"{group}:{edit}" for edit in edits(value))
    yield from _gains(fields)
    yield from _by_gate("b", "plus", fields["constant"], 0.0)
    yield from _curves(fields)
    for gate, gain, offset in zip(GATES, fields["gain"], fields["offset"], strict=True):
        yield from [f"{gate}:times-{gain:.7g}"] if gain != 1 else []
        yield from [f"{gate}:plus-{offset:.7g}"] if offset else []
    yield from filter(None, (CELLS[fields["cell"]][1], HIDDEN[fields["hidden"]][1]))
    yield from _initial(fields)
    if fields["x_time"]:
        yield f"x.seq:{_slug(fields['x_time'])}"


def _slug(text: str) -> str:
    return text.replace(" ", "-")


def _plain(value: str) -> list[str]:
    return [_slug(value)]


def _order(value: str) -> list[str]:
    return [f"read-as-{value}"]


def _blocks(value: str) -> list[str]:
    return [f"block-{source}-for-{gate}" for gate, source in zip(GATES, value, strict=True) if gate != source]


def _alike(values: dict[str, Any], intended: Any) -> Iterator[tuple[Any, str]]:
    """Values that are not as intended, each with the group of arrays that share it."""
    for value in dict.fromkeys(values.values()):
        group = "".join(array for array in "WRb" if values.get(array) == value)
        if value != intended:
            yield from [(value, group)] if group in WEIGHT_GROUPS else [(value, array) for array in group]


def _gains(fields: Changes) -> Iterator[str]:
    values = {array: fields[f"{array}_gain"] for array in "WRb"}
    for value, group in _alike(values, ONCE):
        yield from _by_gate(group, "times", value, 1.0)


def _by_gate(group: str, verb: str, numbers: Sequence[float], neutral: float) -> Iterator[str]:
    # One deviation of all four gates is plainer than four.
    if len(set(numbers)) == 1 and numbers[0] != neutral:
        yield f"{group}:{_edit(verb, numbers[0])}"
        return
    for gate, number in zip(GATES, numbers, strict=True):
        if number != neutral:
            yield f"{group}.{gate}:{_edit(verb, number)}"


def _edit(verb: str, number: float) -> str:
    if verb == "times" and number == 0:
        return "zero"
    return f"{verb}-{ {0.5: '1/2'}.get(number, f'{number:.7g}') if verb == 'times' else f'{number:.7g}' }"


def _curves(fields: Changes) -> Iterator[str]:
    i, f, g, o = fields["curves"]
    if i == f == g == o:
        yield f"curve-of-all-gates:{i}"
    elif i == f == o != "sigmoid":
        yield f"curve-of-gates:{i}"
        yield from [f"curve-of-g:{g}"] if g != "tanh" else []
    else:
        for gate, curve, intended in zip(GATES, fields["curves"], INTENDED["curves"], strict=True):
            yield from [f"curve-of-{gate}:{curve}"] if curve != intended else []
    if fields["cell_curve"] != "tanh":
        yield f"curve-of-u:{fields['cell_curve']}"


def _initial(fields: Changes) -> Iterator[str]:
    h0, c0 = fields["h0"], fields["c0"]
    if h0 == c0 == "exchanged":
        yield "h0-and-c0:exchanged"
        return
    for name, value, partner in (("h0", h0, "c"), ("c0", c0, "h")):
        if value:
            yield f"{name}:zero" if value == "zero" else f"{name}:the-{partner}-of-that-place"

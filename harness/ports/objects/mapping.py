"""What each array of an object is taken for, and canonical weights written as the object holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import GATES, block
from lockstep.harness.cases.problem import Weights
from lockstep.harness.ports.objects.names import Claim, claimed_layout, gates_by_name, is_state, side_of, stacked_order
from lockstep.harness.ports.objects.rule import Rule
from lockstep.harness.ports.shape_errors import Shape
from lockstep.harness.text import counted, grouped
from lockstep.harness.weights.layout import uneven, with_forget_bias

_KERNELS = {"W", "R", "WR", "RW"}  # WR: one kernel of [x; h], RW: of [h; x]


class Sizes(NamedTuple):
    """The sizes of an object."""

    input_size: int
    hidden_size: int


class Kind(NamedTuple):
    """What an array may be by its shape."""

    role: str  # W, R, WR, b
    blocks: int  # of gates that it holds
    transposed: bool = False  # (in, rows), multiplied from the right
    stacked: bool = False  # gates have an axis of their own, in front


@dataclass(frozen=True)
class ParameterSlot:
    """One array of an object: what of the canonical weights it holds, and how."""

    path: str
    shape: Shape
    role: str
    gates: str  # in the order in which they lie in it
    transposed: bool = False
    stacked: bool = False
    part: str = "all"  # of a bias that is two: "first", "second", "none"
    lane: int = 0  # of a network: layer by layer, forward before reverse

    def value(self, weights: Weights) -> Array:
        """The array for canonical weights."""
        if self.part == "both":  # two biases one after the other, in one array
            halves = [np.concatenate([block(half, gate) for gate in self.gates]) for half in uneven(weights.b)]
            return np.concatenate(halves)
        if self.role == "b":
            matrix = self._bias(weights.b)
        else:
            matrix = np.hstack([{"W": weights.W, "R": weights.R}[part] for part in self.role])
        parts = [block(matrix, gate) for gate in self.gates]
        array = np.stack(parts) if self.stacked else np.concatenate(parts)
        if self.transposed and self.role != "b":
            array = array.swapaxes(-1, -2)
        return np.ascontiguousarray(array.reshape(self._shape_of(array)))

    def _bias(self, b: Array) -> Array:
        if self.part in {"first", "second"}:
            return uneven(b)[self.part == "second"]
        return np.zeros_like(b) if self.part == "none" else b

    def _shape_of(self, array: Array) -> Shape:
        """The shape of an array with the axes of length 1 that the object's has."""
        if len(self.shape) == array.ndim:
            return array.shape
        lengths = iter(array.shape)
        return tuple(1 if length == 1 else next(lengths) for length in self.shape)

    @property
    def text(self) -> str:
        """What it is taken for, in words."""
        what = {"W": "W, of x", "R": "R, of h", "WR": "W and R, of [x; h]", "RW": "R and W, of [h; x]", "b": "b"}[
            self.role
        ]
        half = {"first": ", a first part", "second": ", the rest", "none": ", zeros", "both": ", twice"}.get(
            self.part, ""
        )
        if self.role == "b":
            return f"{what}{half}"
        return f"{what}, {'transposed' if self.transposed else 'rows'}"


@dataclass(frozen=True)
class ParameterMap:
    """All slots of an object, and what adds to them."""

    sizes: Sizes
    slots: tuple[ParameterSlot, ...]
    others: tuple[str, ...]  # arrays that are no part of the LSTM
    layout: str = ""  # the dialect that the names claim
    claims: bool = False  # whether names say of which gate what is
    forget_bias: float = 0.0  # that the object adds at run time
    layers: int = 1
    directions: int = 1

    @property
    def lanes(self) -> int:
        """How many cells there are."""
        return self.layers * self.directions

    @property
    def biases(self) -> int:
        """How many biases each gate has."""
        held = [len(slot.gates) * (2 if slot.part == "both" else 1) for slot in self.slots if slot.role == "b"]
        return sum(held) // (len(GATES) * self.lanes)

    @property
    def order(self) -> str:
        """The order of gates in stacked arrays, or in lists of them."""
        return next((slot.gates for slot in self.slots if len(slot.gates) == len(GATES)), GATES)

    def arrays(self, weights: Sequence[Weights]) -> Arrays:
        """The object's arrays for canonical weights, those of each lane."""
        if self.forget_bias:
            weights = [replace(w, b=with_forget_bias(w.b, -self.forget_bias)) for w in weights]
        return {slot.path: slot.value(weights[slot.lane]) for slot in self.slots}

    @property
    def turned(self) -> ParameterMap | None:
        """The same with kernels of [h; x] in the place of [x; h]; None where there are none."""
        if not any(slot.role == "WR" for slot in self.slots):
            return None
        return replace(self, slots=tuple(replace(s, role="RW") if s.role == "WR" else s for s in self.slots))

    def reordered(self, gates: Mapping[str, str]) -> ParameterMap:
        """The same with other gates in the place of those that were assumed."""
        slots = tuple(replace(slot, gates="".join(gates[gate] for gate in slot.gates)) for slot in self.slots)
        return replace(self, slots=slots)


def kinds_of(shape: Sequence[int], sizes: Sizes) -> list[Kind]:
    """What an array of a shape may be in an LSTM of these sizes."""
    I, H = sizes
    squeezed = tuple(length for length in shape if length != 1) if 1 not in (I, H) else tuple(shape)
    kinds: list[Kind] = []
    widths = {"W": I, "R": H, "WR": I + H}
    for role, width in widths.items():
        for transposed in (False, True):
            forms = {(4 * H, width): (4, False), (H, width): (1, False)}
            turned = {(width, 4 * H): (4, False), (width, H): (1, False)}
            for form, (count, _) in (turned if transposed else forms).items():
                if squeezed == form:
                    kinds.append(Kind(role, count, transposed))
                if squeezed == (4, *form) and count == 1:
                    kinds.append(Kind(role, 4, transposed, stacked=True))
    if squeezed in {(4 * H,), (H,)}:
        kinds.append(Kind("b", 4 if squeezed == (4 * H,) else 1))
    if squeezed == (4, H):
        kinds.append(Kind("b", 4, stacked=True))
    if squeezed == (8 * H,):
        kinds.append(Kind("b", 8))
    return kinds


def find_sizes(shapes: Mapping[str, Shape], hints: Mapping[str, int]) -> Sizes | None:
    """The sizes of an object that is already made: by its attributes, else those that explain most of its arrays."""
    hidden, width = hints.get("hidden_size"), hints.get("input_size")
    dims = sorted({length for shape in shapes.values() for length in shape})
    hiddens = [hidden] if hidden else [H for H in range(1, max(dims, default=0) + 1) if H in dims or 4 * H in dims]
    best: tuple[int, Sizes] | None = None
    for H in hiddens:
        for I in [width] if width else sorted(set(dims) | {d - H for d in dims if d > H}):
            roles = [{kind.role: kind.blocks for kind in kinds_of(shape, Sizes(I, H))} for shape in shapes.values()]
            for kernels in ({"W", "R"}, {"WR"}):
                counts = {role: sum(of_array.get(role, 0) for of_array in roles) for role in kernels}
                # Of two readings the one that leaves fewer arrays over.
                score = sum(bool(of_array.keys() & {*kernels, "b"}) for of_array in roles)
                if min(counts.values()) >= len(GATES) and (best is None or score > best[0]):
                    best = (score, Sizes(I, H))
    return best[1] if best else None


def find_mapping(shapes: Mapping[str, Shape], sizes: Sizes, name: str, rule: Rule | None = None) -> ParameterMap:
    """What each array is taken for, by names and shapes.

    Raises:
        UserCodeError: If no reading makes an LSTM of them.
    """
    rule = rule or Rule()
    paths = [path for path in shapes if not is_state(path, list(shapes)) and (path, "ignore") not in rule.parameters]
    kept = {path: shapes[path] for path in paths}
    possible = {path: kinds_of(shape, sizes) for path, shape in kept.items()}
    claim = claimed_layout({path: {kind.role for kind in kinds if kind.blocks > 1} for path, kinds in possible.items()})
    if claim is not None and claim.prefix:
        kept = {path: shape for path, shape in kept.items() if path.startswith(claim.prefix)}
    if claim is not None and claim.layout == "torch" and any(map(_FURTHER.search, kept)):
        return _network(kept, sizes, claim, tuple(path for path in paths if path not in kept))
    slots = _explicit(kept, sizes, rule)
    rest = {path: shape for path, shape in kept.items() if path not in {slot.path for slot in slots}}
    by_kind = _by_kind(possible, rest, claim)
    order = rule.gates or (claim.gates if claim else None)
    told: list[bool] = [bool(rule.gates or claim)]
    for kind, of_kind in by_kind.items():
        found, by_names = _slots_of(kind, of_kind, order)
        slots += found
        told += [by_names] if found else []
    in_order = list(shapes)
    slots = sorted(_consistent(slots), key=lambda slot: in_order.index(slot.path))
    _check_complete(slots, shapes, sizes, name)
    used = {slot.path for slot in slots}
    return ParameterMap(
        sizes, tuple(_halved(slots)), tuple(path for path in shapes if path not in used and path in paths),
        layout=rule.layout or (claim.layout if claim else ""), claims=any(told) and (bool(order) or all(told[1:])),
        forget_bias=rule.forget_bias if rule.forget_bias is not None else (claim.forget_bias if claim else 0.0),
    )  # fmt: skip


_FURTHER = re.compile(r"_l(?:[1-9]\d*(?:_reverse)?|0_reverse)$")
_OF_TORCH = {
    "weight_ih": ("W", "all"),
    "weight_hh": ("R", "all"),
    "bias_ih": ("b", "first"),
    "bias_hh": ("b", "second"),
}


def _network(shapes: Mapping[str, Shape], sizes: Sizes, claim: Claim, others: tuple[str, ...]) -> ParameterMap:
    """The slots of several layers or directions, as torch names them."""
    names = {path: re.fullmatch(r"(\w+)_l(\d+)(_reverse)?", path.removeprefix(claim.prefix)) for path in shapes}
    found = {path: (name[1], int(name[2]), bool(name[3])) for path, name in names.items() if name is not None}
    strange = [path for path in shapes if path not in found or found[path][0] not in _OF_TORCH]
    if strange:
        raise UserCodeError(f"{', '.join(strange)}: of a network only plain cells can be checked as an object", "wrong")
    directions = 1 + any(reverse for _, _, reverse in found.values())
    slots = [
        ParameterSlot(path, tuple(shapes[path]), _OF_TORCH[kind][0], GATES, part=_OF_TORCH[kind][1],
                      lane=layer * directions + reverse)
        for path, (kind, layer, reverse) in found.items()
    ]  # fmt: skip
    layers = 1 + max(layer for _, layer, _ in found.values())
    return ParameterMap(sizes, tuple(slots), others, claim.layout, claims=True, layers=layers, directions=directions)


def _explicit(shapes: Mapping[str, Shape], sizes: Sizes, rule: Rule) -> list[ParameterSlot]:
    """The slots that a user's file names."""
    slots = []
    for path, text in rule.parameters:
        if text == "ignore":
            continue
        if path not in shapes:
            held = ", ".join(shapes) or "nothing"
            raise UserCodeError(f"the layout names {path}, and the object holds {held}", "wrong")
        words = text.split()
        role, _, gates = words[0].partition(".")
        transposed = "transposed" in words
        kinds = [kind for kind in kinds_of(shapes[path], sizes) if kind.role == {"RW": "WR"}.get(role, role)]
        # Of a square one the user says which way it lies; the shape of any other tells it.
        kind = next(iter([*(k for k in kinds if k.transposed == transposed), *kinds]), None)
        if kind is None or (gates and len(gates) != kind.blocks):
            I, H = sizes
            raise UserCodeError(
                f"the layout takes {path} {shapes[path]} for {text}, which does not fit an input size of {I} and a "
                f"hidden size of {H}",
                "wrong",
            )
        slots.append(_slot(path, shapes[path], kind._replace(role=role), gates or rule.gates or GATES))
    return slots


def _slot(path: str, shape: Shape, kind: Kind, gates: str) -> ParameterSlot:
    part = "both" if kind.blocks == 2 * len(GATES) else "all"
    return ParameterSlot(path, tuple(shape), kind.role, gates, kind.transposed, kind.stacked, part)


def _by_kind(
    possible: Mapping[str, list[Kind]], shapes: Mapping[str, Shape], claim: Claim | None
) -> dict[Kind, dict[str, Shape]]:
    """Arrays by what they may be; where a shape says two things, by what the name says."""
    chosen = {path: _side(path, possible[path], claim) for path in shapes if possible[path]}
    turned = next((kind.transposed for role in ("W", "WR") for kind in chosen.values() if kind.role == role), None)
    by_kind: dict[Kind, dict[str, Shape]] = {}
    for path, kind in chosen.items():
        # A square one lies as its sibling of x does, which is not square.
        as_sibling = kind._replace(transposed=turned) if turned is not None and kind.role == "R" else kind
        by_kind.setdefault(as_sibling if as_sibling in possible[path] else kind, {})[path] = shapes[path]
    return by_kind


def _side(path: str, kinds: list[Kind], claim: Claim | None) -> Kind:
    roles = {kind.role for kind in kinds}
    if {"W", "R"} <= roles:  # as wide as x is
        side = side_of(path)
        kinds = [kind for kind in kinds if kind.role == ("R" if side == "h" else "W")]
    transposing = claim is not None and claim.layout in {"keras", "tf1", "nnx_optimized"}
    return next((kind for kind in kinds if kind.transposed == transposing), kinds[0])


def _slots_of(kind: Kind, shapes: Mapping[str, Shape], order: str | None) -> tuple[list[ParameterSlot], bool]:
    """The slots of arrays of one kind, and whether their names say of which gates they are."""
    paths = list(shapes)
    if kind.blocks != 1:
        spelled = {path: stacked_order(path) for path in paths}
        return (
            [_slot(path, shapes[path], kind, spelled[path] or order or GATES) for path in paths],
            bool(order) or all(spelled.values()),
        )
    named = gates_by_name(paths)
    if named is None and kind.role == "b" and len(paths) > len(GATES):
        # Biases beside other vectors, of a normalisation or of peepholes: those of which the names say bias.
        biases = [path for path in paths if "b" in path.rpartition(".")[2][:1].lower()]
        paths, named = biases, gates_by_name(biases)
    if named is None and len(paths) % len(GATES) == 0:  # of a list: in the order in which they come
        in_order = (order or GATES) * (len(paths) // len(GATES))
        return [_slot(path, shapes[path], kind, gate) for path, gate in zip(paths, in_order, strict=True)], bool(order)
    return [_slot(path, shapes[path], kind, gate) for path, gate in (named or {}).items()], True


def _consistent(slots: list[ParameterSlot]) -> list[ParameterSlot]:
    """Without a second reading of the same: split or fused kernels, whichever is complete."""
    counts = {role: sum(len(slot.gates) for slot in slots if slot.role == role) for role in _KERNELS}
    fused, split = counts["WR"] + counts["RW"], min(counts["W"], counts["R"])
    if not fused:
        return slots
    leave = {"WR", "RW"} if len(GATES) <= split >= fused else {"W", "R"}
    return [slot for slot in slots if slot.role not in leave]


def _halved(slots: Sequence[ParameterSlot]) -> list[ParameterSlot]:
    """With the parts that biases have where a gate has more than one: that of x first, as far as names say."""
    halved = list(slots)
    biases = [k for k, slot in enumerate(slots) if slot.role == "b" and slot.part != "both"]
    if sum(len(slots[k].gates) for k in biases) <= len(GATES):
        return halved
    for of_gates in grouped(biases, lambda k: slots[k].gates).values():
        in_order = sorted(of_gates, key=lambda k: side_of(slots[k].path) == "h")
        for k, part in zip(in_order, ["first", "second", *["none"] * len(in_order)], strict=False):
            halved[k] = replace(slots[k], part=part)
    return halved


def _check_complete(slots: Sequence[ParameterSlot], shapes: Mapping[str, Shape], sizes: Sizes, name: str) -> None:
    gates = {role: sum(len(slot.gates) for slot in slots if slot.role == role) for role in (*_KERNELS, "b")}
    kernels = all(gates[role] == len(GATES) for role in ("W", "R")) or gates["WR"] + gates["RW"] == len(GATES)
    if kernels and gates["b"] % len(GATES) == 0:
        return
    I, H = sizes
    held = ", ".join(f"{path} {tuple(shape)}" for path, shape in shapes.items())
    several = gates["W"] > len(GATES) or gates["R"] > len(GATES) or gates["WR"] > len(GATES)
    what = (
        f"more than one LSTM: {counted(max(gates.values()), 'block')} of gates"
        if several
        else "no LSTM: it takes one kernel for each gate, or kernels of all four, of x and of h"
    )
    raise UserCodeError(
        f"{name} holds {held or 'no arrays'}, which is {what} (input size {I}, hidden size {H}). "
        "Name what is what in a file: --layout mapping.toml",
        "wrong",
    )

"""Measure which entry of each kernel and bias drives which gate of which unit, from which input.

Every pre-activation stands at one known value; then one entry at a time is moved, in a batch whose inputs and states
are all different. Each unit that answers shows by its c and h which gate was moved, and by how it varies over the
batch which input the entry was multiplied with. Order, transposition, reshape and exchanged halves come out by
themselves, irregular ones too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, permutations, product

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import GATES, reorder
from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.diagnosis.anatomy.black_box import BlackBox, Reach, ask_batches, problem_from_arrays
from lockstep.harness.diagnosis.anatomy.conventions import (
    CELLS,
    HIDDEN,
    INITIAL,
    INTENDED,
    KERNEL_PARTS,
    LAYOUTS,
    ONCE,
    Changes,
    moved,
    part_of,
)  # fmt: skip
from lockstep.harness.diagnosis.anatomy.curves import roots
from lockstep.harness.faults.weight_edits import FUSED
from lockstep.harness.reference.curves import CURVES

I, H, B = 3, 5, 6  # H is not 4: reading (H, 4) for (4, H) shows
BASE = 0.7  # pre-activation of every gate at rest: away from 0, where i would not show
MOVE = 0.5  # of one entry at a time: each effect is far above rounding
EFFECT_TOLERANCE = 4e-6  # of c and h in float32
COEFFICIENTS = (1.0, -1.0, 2.0, 0.5, 0.25, 4.0, -0.5, -2.0, 0.75, 1.5)


@dataclass(frozen=True)
class Drive:
    """One effect of a stored entry: it is added to ``gate`` of ``unit``, times ``source`` and a coefficient."""

    gate: str
    unit: int
    source: str  # "x[0]", "h[2]" or "1"
    coefficient: float


Entries = dict[tuple[str, int, int], tuple[Drive, ...]]  # by array, row and column


@dataclass
class KernelMap:
    """What was measured; ``undecided`` counts entries whose effect fits nothing."""

    entries: Entries
    undecided: int
    base_gain: tuple[float, float, float, float]
    input_size: int = I

    def is_silent(self, array: str) -> bool:
        """Whether no entry of an array drives anything."""
        return not any(drives for (name, _, _), drives in self.entries.items() if name == array)

    def effective(self, W: Array, R: Array, b: Array) -> tuple[Array, Array, Array]:
        """The kernels and the bias in effect when these are stored."""
        stored = {"W": W, "R": R, "b": b[:, None]}
        new_W, new_R, new_b = np.zeros_like(W), np.zeros_like(R), np.zeros_like(b)
        for (array, row, column), drives in self.entries.items():
            for drive in drives:
                to = GATES.index(drive.gate) * H + drive.unit
                value = drive.coefficient * stored[array][row, column]
                if drive.source == "1":
                    new_b[to] += value
                else:
                    (new_W if drive.source[0] == "x" else new_R)[to, int(drive.source[2:-1])] += value
        return new_W, new_R, new_b


class _Unit:
    """c and h of one unit for given pre-activations, under the curves that were measured."""

    def __init__(self, changes: Changes) -> None:
        self.fields = {**INTENDED, **changes}
        self.cell, hidden = CELLS[self.fields["cell"]][0], HIDDEN[self.fields["hidden"]][0]
        curve = CURVES[self.fields["cell_curve"]].value
        self.hidden = lambda o, c, before: hidden(o, c, before, curve)

    def __call__(self, z: Array, c0: Array) -> tuple[Array, Array]:
        """From z (..., 4) and c0 (...) give c and h."""
        names = ("gain", "curves", "b_gain", "constant", "offset")
        of_gates = zip(*(self.fields[name] for name in names), strict=True)
        a = [
            gain * CURVES[curve].value(slope * z[..., k] + constant) + offset
            for k, (gain, curve, slope, constant, offset) in enumerate(of_gates)
        ]
        c = self.cell(a[0], a[1], a[2], c0)
        return c, self.hidden(a[3], c, c0)


def _batch(rng: np.random.Generator, reach: Reach) -> tuple[Array, Array, Array]:
    """Inputs x (B, I), h0 (B, H), c0 (B, H): no two columns alike or opposite."""
    shape = B, reach.input_size(H, I)
    x = rng.uniform(0.2, 1.0, shape) * rng.choice([-1, 1], shape) * min(1.0, reach.largest_input)
    h0 = rng.uniform(0.2, 0.95, (B, H)) * rng.choice([-1, 1], (B, H))
    c0 = rng.uniform(0.3, 1.5, (B, H)) * rng.choice([-1, 1], (B, H))
    return x.astype(np.float32), h0.astype(np.float32), c0.astype(np.float32)


def measure_kernels(
    black_box: BlackBox, changes: Changes, *, batched: bool, initial: tuple[str, str] = ("", "")
) -> KernelMap | None:
    """Measure the map of all entries under the given curves; None if rest itself is not understood."""
    rng = np.random.default_rng(7)
    x, h0, c0 = _batch(rng, black_box.reach)
    input_size = x.shape[1]
    model = _Unit(changes)
    problem_at_rest = _problem(x, h0, c0, {})
    state = h0, c0
    fed_h, fed_c = INITIAL[initial[0]](h0, c0), INITIAL[initial[1]](c0, h0)
    moves = [(a, r, k) for a, shape in (("W", (4 * H, input_size)), ("R", (4 * H, H)), ("b", (4 * H, 1)))
             for r, k in product(range(shape[0]), range(shape[1]))]  # fmt: skip
    problems = [problem_at_rest, *(_problem(x, *state, {move: MOVE}) for move in moves)]
    answers = ask_batches(black_box, problems, batched=batched)
    if answers is None:
        return None
    at_rest = answers[0]
    base = _base(model, at_rest, fed_c)
    if base is None:
        return None
    resting = np.broadcast_to(BASE * np.array(base), (B, H, 4))
    entries, undecided = _entries(_Effects(model, resting, x, fed_h, fed_c), moves, answers)
    silent = [move for move in moves if not entries[move]]
    if silent and not base[GATES.index("g")]:
        # With g = 0 nothing of i is seen: open g by entries that are known to drive it.
        opened, resting = _with_g_open(entries, resting, x, fed_h)
        problems = [_problem(x, *state, opened), *(_problem(x, *state, {**opened, move: MOVE}) for move in silent)]
        answers = ask_batches(black_box, problems, batched=batched)
        if answers is None:
            return None
        more, unknown = _entries(_Effects(model, resting, x, fed_h, fed_c), silent, answers)
        entries, undecided = {**entries, **more}, undecided + unknown
    return KernelMap(entries, undecided, base, input_size)


def _entries(table: _Effects, moves: list[tuple[str, int, int]], answers: list[Arrays]) -> tuple[Entries, int]:
    entries: Entries = {}
    undecided = 0
    for move, answer in zip(moves, answers[1:], strict=True):
        entries[move], unknown = table.read(answer, answers[0])
        undecided += unknown
    return entries, undecided


def _with_g_open(
    entries: Entries, resting: Array, x: Array, h0: Array
) -> tuple[dict[tuple[str, int, int], float], Array]:
    """Choose for each unit one entry that drives g alone; give their values, and the pre-activations they make."""
    base, opened = resting.copy(), {}
    for unit in range(H):
        for move, drives in entries.items():
            if len(drives) == 1 and drives[0].gate == "g" and drives[0].unit == unit:
                drive = drives[0]
                kind, column = drive.source[0], int(drive.source[2:-1] or 0) if len(drive.source) > 1 else 0
                values = {"x": x[:, min(column, x.shape[1] - 1)], "h": h0[:, column], "1": np.ones(B)}[kind]
                opened[move] = 0.9
                base[:, unit, GATES.index("g")] += 0.9 * drive.coefficient * values
                break
    return opened, base


def _problem(x: Array, h0: Array, c0: Array, moved: dict[tuple[str, int, int], float]) -> Problem:
    W, R, b = np.zeros((4 * H, x.shape[1])), np.zeros((4 * H, H)), np.full(4 * H, BASE)
    arrays = {"W": W, "R": R, "b": b[:, None]}
    for (array, row, column), value in moved.items():
        arrays[array][row, column] += value
    return problem_from_arrays(W, R, b, x[None], h0, c0)


def _base(model: _Unit, at_rest: Arrays, c0: Array) -> tuple[float, float, float, float] | None:
    """Find how often the bias enters each gate, from the batch at rest."""
    gains = (1.0, 0.0, 2.0, 0.5, -1.0)
    # Alike for all gates first, then those of which most are as intended.
    order = sorted(product(gains, repeat=4), key=lambda four: (len(set(four)), sum(g != 1.0 for g in four)))
    with np.errstate(all="ignore"):
        for four in order:
            c, h = model(np.full((B, H, 4), BASE) * np.array(four), c0.astype(np.float64))
            if (
                np.abs(c - at_rest["c"][0]).max() < EFFECT_TOLERANCE * 3
                and np.abs(h - at_rest["h"][0]).max() < EFFECT_TOLERANCE * 3
            ):
                return four  # type: ignore[return-value]
    return None


class _Effects:
    """What every single effect would look like, to be compared with what was seen."""

    def __init__(self, model: _Unit, resting: Array, x: Array, h0: Array, c0: Array) -> None:
        self.sources = {f"x[{j}]": x[:, j] for j in range(x.shape[1])} | {f"h[{j}]": h0[:, j] for j in range(H)}
        self.sources["1"] = np.ones(B)
        self.model, self.c0 = model, c0.astype(np.float64)
        self.resting = resting.astype(np.float64)  # (B, H, 4)
        # An entry that drives one gate is plainer than one that drives several.
        self.gates = sorted((g for g in product((0, 1), repeat=4) if any(g)), key=sum)
        self.keys = [(gates, source, a) for gates in self.gates for a in COEFFICIENTS for source in self.sources]
        moved = np.stack([
            MOVE * a * np.array(gates)[None, :] * self.sources[source].astype(np.float64)[:, None]
            for gates, source, a in self.keys
        ])  # (K, B, 4)  # fmt: skip
        with np.errstate(all="ignore"):
            c, h = model(self.resting[None] + moved[:, :, None, :], self.c0[None])  # (K, B, H)
        self.c, self.h = c, h

    def read(self, answer: Arrays, at_rest: Arrays) -> tuple[tuple[Drive, ...], int]:
        """The effects that were seen, and in how many units an effect fits nothing."""
        drives: list[Drive] = []
        unknown = 0
        for unit in range(H):
            c, h = answer["c"][0, :, unit].astype(np.float64), answer["h"][0, :, unit].astype(np.float64)
            if (
                np.abs(c - at_rest["c"][0, :, unit]).max() < EFFECT_TOLERANCE
                and np.abs(h - at_rest["h"][0, :, unit]).max() < EFFECT_TOLERANCE
            ):
                continue
            with np.errstate(all="ignore"):
                distance = np.maximum(
                    np.abs(self.c[:, :, unit] - c).max(axis=1), np.abs(self.h[:, :, unit] - h).max(axis=1)
                )
            distance = np.where(np.isnan(distance), np.inf, distance)
            close = np.flatnonzero(distance < EFFECT_TOLERANCE)
            if not len(close):
                drive = self._odd_coefficient(c, h, unit)
                if drive is None:
                    unknown += 1
                else:
                    drives.append(drive)
                continue
            gates, source, a = self.keys[close[0]]
            drives += [Drive(GATES[k], unit, source, a) for k in range(4) if gates[k]]
        return tuple(drives), unknown

    def _odd_coefficient(self, c: Array, h: Array, unit: int) -> Drive | None:
        """The one drive that gives c and h (B,) of a unit with a coefficient that is none of the plain ones."""
        c0 = self.c0[:, unit]
        drives = list(product(range(4), self.sources))
        moves = np.stack([MOVE * self.sources[source][:, None] * (np.arange(4) == k) for k, source in drives])

        def residuals(coefficients: Array) -> Array:  # (K,) to (K, 2 B)
            new_c, new_h = self.model(self.resting[:, unit] + coefficients[:, None, None] * moves, c0)
            return np.concatenate([new_c - c, new_h - h], axis=1)

        with np.errstate(all="ignore"):
            coefficients = roots(residuals, np.ones(len(drives)), steps=15)
            fits = np.isfinite(coefficients) & (np.abs(residuals(coefficients)).max(axis=1) < EFFECT_TOLERANCE)
        if not fits.any():
            return None
        first = int(np.flatnonzero(fits)[0])
        k, source = drives[first]
        return Drive(GATES[k], unit, source, round(float(coefficients[first]), 4))


# -- rules -------------------------------------------------------------------------------------------------------


def unused_gates(changes: Changes) -> tuple[bool, bool, bool, bool]:
    """Whether the measured equations leave each gate out: what drives it cannot be seen then."""
    model = _Unit(changes)
    rng = np.random.default_rng(5)
    z, c0 = rng.uniform(-1, 1, (8, 4)), rng.uniform(-1, 1, 8)
    unused = []
    with np.errstate(all="ignore"):
        at_rest = model(z, c0)
        for k in range(4):
            moved = z.copy()
            moved[:, k] += 0.5
            unused.append(all(np.allclose(a, b, atol=1e-9) for a, b in zip(at_rest, model(moved, c0), strict=True)))
    return tuple(unused)  # type: ignore[return-value]


def kernel_rules(measured: KernelMap, unused: tuple[bool, ...] = (False,) * 4) -> Iterator[Changes]:
    """The readings of kernels and bias that make the measured map, the plainest first; it may be more than one."""
    rng = np.random.default_rng(11)
    # Numbers of which no two are alike: each rule gives arrays of its own, and one pair of them decides.
    shapes = (4 * H, measured.input_size), (4 * H, H), (4 * H,)
    W, R, b = (rng.uniform(1, 2, shape) * rng.choice([-1, 1], shape) for shape in shapes)
    new_W, new_R, new_b = measured.effective(W, R, b)
    rules_of_b = list(islice(_array_rules("b", b, new_b, unused), 3))
    if not rules_of_b:
        return
    for kernels, read in {"": lambda W, R: (W, R), **FUSED}.items():
        first, second = read(W, R)
        if first.shape != W.shape or second.shape != R.shape:
            continue
        for of_W in islice(_array_rules("W", first, new_W, unused), 3):
            for of_R in islice(_array_rules("R", second, new_R, unused), 3):
                for of_b in rules_of_b:
                    yield {**({"kernels": kernels} if kernels else {}), **of_W, **of_R, **of_b}


def is_regular(measured: KernelMap) -> bool:
    """Whether some rule makes the measured map."""
    return next(kernel_rules(measured), None) is not None


def _array_rules(array: str, stored: Array, effective: Array, unused: tuple[bool, ...]) -> Iterator[Changes]:
    """The ways to read one array: order, layout, part, gain."""
    orders = ["".join(letters) for letters in permutations(GATES)]
    tried = [(order, layout, "") for layout in LAYOUTS for order in orders]
    tried += [(GATES, "", part) for part in KERNEL_PARTS if array != "b"]
    shared = [GATES.replace(gate, source) for gate, source in permutations(GATES, 2)]
    if not np.any(effective):
        yield {f"{array}_gain": (0.0,) * 4}
        return
    for blocks in shared:
        M = reorder(stored, GATES, blocks)
        if _gain(M, effective, unused) == ONCE:
            yield {f"{array}_blocks": blocks}
            break
    for order, layout, part in tried:
        try:
            M = part_of(moved(stored, layout), part)
        except NoPlaceError:  # a vector has no columns
            continue
        gain = _gain(reorder(M, order), effective, unused)
        if gain is not None:
            yield {
                **({f"{array}_gates": order} if order != GATES else {}),
                **({f"{array}_layout": layout} if layout else {}),
                **({f"{array}_part": part} if part else {}),
                **({f"{array}_gain": gain} if gain != ONCE else {}),
            }


def _gain(M: Array, effective: Array, unused: tuple[bool, ...]) -> tuple[float, float, float, float] | None:
    """The factor for each gate that turns the given array into the effective one, if there is one."""
    gains = []
    for k in range(4):
        ours, theirs = M[k * H : (k + 1) * H], effective[k * H : (k + 1) * H]
        # A gate that the equations leave out answers to nothing, whatever is stored for it.
        if unused[k] and not theirs.any():
            gains.append(1.0)
            continue
        # By least squares; whether it is one factor for all entries is seen below.
        size = float((ours * ours).sum())
        factor = float((ours * theirs).sum()) / size if size else 1.0
        if np.abs(factor * ours - theirs).max() > 1e-4:  # noqa: PLR2004
            return None
        gains.append(round(factor, 4))
    return tuple(gains)  # type: ignore[return-value]


def misplaced_entries(measured: KernelMap, array: str = "") -> str:
    """Name the entries that do not drive their own gate, unit and input, row by row where a whole row agrees."""
    lines = []
    for name in array or "WRb":
        rows = sorted({row for array, row, _ in measured.entries if array == name})
        for row in rows:
            columns = sorted(column for array, at, column in measured.entries if (array, at) == (name, row))
            odd = {k: measured.entries[name, row, k] for k in columns if not _in_place(name, row, k, measured)}
            targets = {tuple((d.gate, d.unit, d.coefficient) for d in drives) for drives in odd.values()}
            in_column = all(d.source in {f"x[{k}]", f"h[{k}]", "1"} for k, drives in odd.items() for d in drives)
            if len(odd) == len(columns) and len(targets) == 1 and in_column:
                lines.append(f"{name}[{row}] drives {_effects(odd[columns[0]], source=False)}")
            else:
                lines += [
                    f"{name}[{row}{'' if name == 'b' else f', {k}'}] drives {_effects(drives, source=name != 'b')}"
                    for k, drives in odd.items()
                ]
    return "; ".join(lines)


def _in_place(array: str, row: int, column: int, measured: KernelMap) -> bool:
    source = "1" if array == "b" else f"{'x' if array == 'W' else 'h'}[{column}]"
    return measured.entries[array, row, column] == (Drive(GATES[row // H], row % H, source, 1.0),)


def _effects(drives: tuple[Drive, ...], *, source: bool) -> str:
    return (
        ", ".join(
            f"{'' if d.coefficient == 1 else f'{d.coefficient:g} times '}{d.gate}[{d.unit}]"
            f"{f' from {d.source}' if source else ''}"
            for d in drives
        )
        or "nothing"
    )

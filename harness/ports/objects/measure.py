"""What an object does, seen in what its results follow: which axis is time, which result is c, which gate is which.

Each question is one call, or a few, in which almost everything is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lockstep.harness.adapters.user_code import UserCodeError, text_of
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.gates import GATES, block
from lockstep.harness.cases.problem import Weights
from lockstep.harness.ports.objects.calling import Caller, Style, XForm
from lockstep.harness.ports.objects.holders import Holder
from lockstep.harness.ports.objects.mapping import ParameterMap, Sizes

_LENGTHS, _BATCHES = (7, 10, 13, 17), (4, 9, 11, 14)  # of questions: one is other than any size of the object
_SEEN = 1e-6  # a change that is one
_DRIVEN = 5.0  # opens a gate
_EVEN = 0.5  # drives a gate in its sensitive range
_MOST_H = 1.05  # of what went through a tanh


class Result(NamedTuple):
    """What one array of a result is."""

    path: str
    role: str  # "h_seq", "c_seq", "h", "c"
    batch_first: bool = False


class Acts(NamedTuple):
    """As which gate each block acts, by the gate as which it is written; and which gates act alike."""

    gates: dict[str, str]
    alike: tuple[str, ...] = ()


@dataclass
class Questions:
    """Asks an object with weights, inputs and states that tell something."""

    holder: Holder
    caller: Caller
    mapping: ParameterMap
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Choose how many timesteps and sequences there are, so that all axes are told from each other."""
        I, H = self.mapping.sizes
        taken = {I, H, 4 * H, I + H, 2 * H}
        self._most = tuple(next(n for n in lengths if n not in taken) for lengths in (_LENGTHS, _BATCHES))
        self.T, self.B = self._most

    def make_room(self, form: XForm) -> None:
        """Choose no more timesteps and sequences than a form needs: some are a call each."""
        self.T, self.B = self._most
        self.T = min(self.T, 3) if form.startswith("step") else self.T
        self.B = self.B if form in {"sequences", "step"} else 1

    def x(self, timesteps: int | None = None) -> Array:
        """Inputs (T, B, I) that are all 0."""
        return np.zeros((timesteps or self.T, self.B, self.sizes.input_size))

    @property
    def sizes(self) -> Sizes:
        """The sizes of the object that is asked."""
        return self.mapping.sizes

    @property
    def width(self) -> int:
        """Width of h of all timesteps: directions lie side by side."""
        return self.sizes.hidden_size * self.mapping.directions

    @property
    def state_shape(self) -> tuple[int, ...]:
        """The shape of a state, of several cells with an axis for them."""
        lanes = self.mapping.lanes
        return (*([lanes] if lanes > 1 else []), self.B, self.sizes.hidden_size)

    def ask(
        self, style: Style, weights: Sequence[Weights], x: Array, h0: Array | None = None, c0: Array | None = None
    ) -> Arrays:
        """What the object gives for weights of its own and inputs."""
        zeros = np.zeros(self.state_shape, self.dtype)
        as_asked = [a.astype(self.dtype) for a in (x, zeros if h0 is None else h0, zeros if c0 is None else c0)]
        with self.holder.evaluating(self.dtype), np.errstate(all="ignore"):
            self.holder.write(self.mapping.arrays(weights))
            return self.caller(style, *as_asked)

    def weights(self, *, zeros: bool = False) -> list[Weights]:
        """Weights that let everything be seen, or that are all 0."""
        I, H = self.sizes
        draw = np.random.default_rng(7)
        lanes = []
        for lane in range(self.mapping.lanes):
            width = I if lane < self.mapping.directions else self.width
            arrays = [np.zeros(s) if zeros else draw.uniform(-1, 1, s) for s in ((4 * H, width), (4 * H, H), (4 * H,))]
            lanes.append(Weights(*(array.astype(self.dtype) for array in arrays)))
        return lanes

    def driven(self, columns: Mapping[int, Mapping[str, float]]) -> list[Weights]:
        """Weights with which a feature of x drives gates, each by so much."""
        lanes = self.weights(zeros=True)
        for weights in lanes:
            for column, by in columns.items():
                for gate, amount in by.items():
                    block(weights.W, gate)[:, column] = amount
        return lanes


def find_style(questions: Questions, *, batch_first: bool | None = None) -> tuple[Style, Arrays, list[str]]:
    """How an object is called, what it then gives, and where it is not called as it says.

    Args:
        questions: Asks the object.
        batch_first: What the user says of x; None leaves that to the object.

    Raises:
        UserCodeError: If there is no way in which it gives h of all timesteps.
    """
    claimed = batch_first if batch_first is not None else _says_batch_first(questions.caller)
    weights, failure, without_time = questions.weights(), "", None
    for style in _styles(questions.caller, claimed=claimed):
        questions.make_room(style.x)
        x = np.random.default_rng(8).uniform(-1, 1, questions.x().shape)
        given, why = _tried(questions, style, weights, x)
        failure = failure or why
        if given is None:
            continue
        axis = 0 if style.x.startswith("step") else _time_axis(questions, style, weights, x, given)
        turned = replace(style, batch_first=not style.batch_first)
        if axis == 0:
            return style, given, []
        if axis == 1 and style.x == "sequences" and claimed is None:
            as_turned, _ = _tried(questions, turned, weights, x)
            return (style, given, []) if as_turned is None else (turned, as_turned, [])
        if axis == 1 and style.x == "sequences":
            said, axes = ("batch_first", "(B, T, I)") if claimed else ("time first", "(T, B, I)")
            return style, given, [f"it is {said}, and goes over the other axis as over time: it is given x {axes}"]
        without_time = without_time or (style, given, [])
        if axis == -1:
            break
    if without_time is not None:
        questions.make_room(without_time[0].x)
        return without_time
    questions.make_room("sequences")
    T, B, I = questions.x().shape
    raise UserCodeError(
        f"no way of calling it gave h of all timesteps, (T, B, H) = ({T}, {B}, {questions.sizes.hidden_size}), for x "
        f"({T}, {B}, {I}), also with the batch first, for one sequence, or step by step: {failure[:300].rstrip('.')}",
        "wrong",
    )


def _tried(questions: Questions, style: Style, weights: Sequence[Weights], x: Array) -> tuple[Arrays | None, str]:
    """What is given in a style; None, and why, where that is not h of all timesteps."""
    try:
        given = questions.ask(style, weights, x)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (the user's code, given what it may not be for)
        return None, f"it raises {type(error).__name__}: {text_of(error)}"
    if _sequences(given, questions):
        return given, ""
    shapes = ", ".join(str(array.shape) for array in given.values())
    return None, f"it returns {shapes or 'no arrays'}"


def _says_batch_first(caller: Caller) -> bool | None:
    """Whether an object says that its x has the batch first, in an attribute or as all layers of its framework."""
    said = getattr(caller.thing, "batch_first", None)
    if isinstance(said, bool):
        return said
    return True if caller.family in {"keras", "tensorflow"} and hasattr(caller.thing, "get_config") else None


def _styles(caller: Caller, *, claimed: bool | None) -> list[Style]:
    """The ways in which an object may be called, those that it is most likely for first."""
    entry, swapped = caller.entry, bool(caller.entry.swapped)
    x_forms: tuple[XForm, ...] = ("sequences", "one", "step", "step one", "column")
    if entry.needs_states and entry.x in {"x_t", "xt"}:
        x_forms = ("step", "step one", "sequences", "one", "column")
    styles: list[Style] = []
    for x_form in x_forms:
        batched = x_form == "sequences"
        both = [bool(claimed)] if claimed is not None or not batched else [False, True]
        lane_axes = (False, True) if batched else (False,)
        if entry.states:
            styles += [
                Style(x_form, first, states=True, swapped=swapped, lane_axis=lane_axis)
                for lane_axis in lane_axes
                for first in both
            ]
        if x_form.startswith("step"):
            continue
        if not entry.needs_states:
            styles += [Style(x_form, first) for first in both]
        elif len(entry.states) == 1:
            styles += [Style(x_form, first, states=True, h_alone=True) for first in both]
    return styles


def _sequences(given: Arrays, questions: Questions) -> list[str]:
    T, B, width = questions.T, questions.B, questions.width
    return [path for path, array in given.items() if array.shape in {(T, B, width), (B, T, width)}]


def _time_axis(questions: Questions, style: Style, weights: Sequence[Weights], x: Array, given: Arrays) -> int | None:
    """Along which axis of (T, B) an input is still seen later; None if along none, -1 if it is seen everywhere."""
    changed = x.copy()
    changed[1, 0] += 1
    again = questions.ask(style, weights, changed)
    axes, sequences = set(), _sequences(given, questions)
    for path in sequences:
        moved = np.abs(again[path] - given[path]).max(axis=-1)
        moved = moved if moved.shape == (questions.T, questions.B) else moved.T
        axes |= {0} if (moved[2:, 0] > _SEEN).any() or moved[0, 0] > _SEEN else set()
        axes |= {1} if (moved[1, 1:] > _SEEN).any() else set()
    if len(axes) < 2:  # noqa: PLR2004
        return axes.pop() if axes else None
    # What it keeps, or throws dice for, hides the axis: final states have the batch's.
    lengths = {length for path, array in given.items() if path not in sequences for length in array.shape}
    return 0 if questions.B in lengths else 1 if questions.T in lengths else -1


def find_results(questions: Questions, style: Style, given: Arrays) -> list[Result]:
    """Which array of the results is h of all timesteps, which c, and which are the final states."""
    T, B, H = questions.T, questions.B, questions.sizes.hidden_size
    columns = {0: dict.fromkeys(GATES, _DRIVEN)}
    x = questions.x()
    x[:, :, 0] = 1
    start = np.full(questions.state_shape, 3.0) if style.states and not style.swapped else None
    wide = questions.ask(style, questions.driven(columns), x, None, start)
    over = _sequences(given, questions)
    sequences = sorted(
        over, key=lambda path: float(np.abs(wide[path]).max()) > _MOST_H
    )  # h before c, else as they come
    found = [Result(sequences[0], "h_seq", given[sequences[0]].shape == (B, T, questions.width))]
    c_seq = next((path for path in sequences[1:] if _beyond(wide, path)), None)
    if c_seq is None and len(sequences) > 1 and not _same(given, sequences[0], sequences[1]):
        c_seq = sequences[1]
    if c_seq is not None:
        found.append(Result(c_seq, "c_seq", given[c_seq].shape == (B, T, questions.width)))
    finals = [
        path
        for path, array in given.items()
        if array.shape in {(B, H), (1, B, H), (B, 1, H), questions.state_shape} and path not in over
    ]
    if questions.mapping.lanes > 1:
        return found + [Result(path, role) for path, role in zip(finals, _of_network(finals, wide), strict=False)]
    return found + _finals(finals, given, wide, found[0])


def _of_network(finals: Sequence[str], wide: Arrays) -> Sequence[str]:
    """The roles of final states of several cells: that which went through a tanh is h."""
    exchanged = len(finals) > 1 and _beyond(wide, finals[0]) and not _beyond(wide, finals[1])
    return ("c", "h") if exchanged else ("h", "c")


def _finals(finals: list[str], given: Arrays, wide: Arrays, h_seq: Result) -> list[Result]:
    """Which of the final states is h: the one that is the last h, else the one that went through a tanh."""
    last = given[h_seq.path][:, -1] if h_seq.batch_first else given[h_seq.path][-1]
    equal = [path for path in finals if np.allclose(given[path].reshape(last.shape), last, atol=1e-5)]
    found: list[Result] = []
    for path in finals:
        is_c = path not in equal and (bool(equal) or _beyond(wide, path))
        role = "c" if is_c else "h"
        if role not in {result.role for result in found}:
            found.append(Result(path, role))
    if len(finals) > 1 and len(found) == 1:  # alike in all that tells them apart: in the order in which they come
        return [Result(finals[0], "h"), Result(finals[1], "c")]
    return found


def _beyond(wide: Arrays, path: str) -> bool:
    return float(np.abs(wide[path]).max()) > _MOST_H


def _same(given: Arrays, one: str, other: str) -> bool:
    return given[one].shape == given[other].shape and bool(np.allclose(given[one], given[other]))


def states_exchanged(questions: Questions, style: Style, h_seq: Result) -> bool | None:
    """Whether what is taken as (h, c) is used as (c, h), by which of them lasts without weights; None if neither."""
    x, weights = questions.x(), questions.weights(zeros=True)
    ones = np.ones(questions.state_shape)
    moved = [
        float(np.abs(questions.ask(style, weights, x, *states)[h_seq.path]).max()) > _SEEN
        for states in ((ones, None), (None, ones))
    ]
    return None if moved[0] == moved[1] else moved[0]


def behaving_order(questions: Questions, style: Style, h_seq: Result) -> Acts | None:
    """As which gate each block of W acts, that is written as gate i, f, g, o; None where it cannot be seen.

    All gates are driven alike, and in the first timestep one of them less. Of i and g all later h change, of o that of
    the first timestep alone, of f none, since there is no state yet; of g its sign does. What acts alike is taken in
    the order in which it lies.
    """
    if questions.mapping.lanes > 1:
        return None
    if questions.sizes.input_size < 2:  # noqa: PLR2004 (a feature for all gates, and one for one of them)
        return None
    x = questions.x(2)
    x[:, :, 0], x[0, :, 1] = 1, 1

    def h_of(*less: str) -> Array:
        weights = questions.driven({0: dict.fromkeys(GATES, _EVEN), 1: dict.fromkeys(less, -2 * _EVEN)})
        h = questions.ask(style, weights, x)[h_seq.path]
        return np.asarray(h.swapaxes(0, 1) if h_seq.batch_first else h, np.float64)[:, 0, 0]

    base = h_of()
    moved = {gate: h_of(gate) for gate in GATES}
    seen = {gate: tuple(np.abs(h - base) > _SEEN) for gate, h in moved.items()}
    of_cell = [gate for gate in GATES if seen[gate] == (True, True)]
    if not of_cell or not base[0]:
        return None
    # Of a candidate that is odd the sign changes; of a gate a part is left.
    of_cell.sort(key=lambda gate: round(-moved[gate][0] / base[0], 1))
    of_h = [gate for gate in GATES if seen[gate] == (True, False)]
    still = [gate for gate in GATES if gate not in {*of_cell, *of_h}]
    names = [*("ig" if len(of_cell) > 1 else "g"), *"o"[: len(of_h)]]
    names += [gate for gate in GATES if gate not in names]
    blocks = [*of_cell, *of_h, *still]
    if len(of_cell) > 2 or len(of_h) > 1:  # noqa: PLR2004
        return None
    share = [round(moved[gate][0] / base[0], 1) for gate in of_cell]
    groups = [of_cell if len(set(share)) < len(share) else [], still if len(still) > 1 else []]
    acts = dict(zip(blocks, names, strict=True))
    return Acts(acts, tuple(" and ".join(acts[gate] for gate in group) for group in groups if group))


def added_forget_bias(questions: Questions, style: Style, h_seq: Result) -> float | None:
    """What is added to the forget gate beside the weights, from how much of a state is kept; None if it is not seen."""
    x = questions.x(2)
    x[0, :, 0] = 1
    plain = replace(questions, mapping=replace(questions.mapping, forget_bias=0.0))
    h = plain.ask(style, questions.driven({0: {"g": 1.0}}), x)[h_seq.path].astype(np.float64)
    first, second = (h.swapaxes(0, 1) if h_seq.batch_first else h)[:, 0, 0]
    with np.errstate(all="ignore"):
        kept = np.arctanh(2 * second) / np.arctanh(2 * first)
        added = float(np.log(kept / (1 - kept)))
    return added if np.isfinite(added) else None

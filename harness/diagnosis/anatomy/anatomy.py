"""The anatomy of a black box: its dialect, measured convention by convention, and proved on fresh problems.

Each convention has its own small experiment, so that several faults at once do not hide each other. What was
measured is an execution; the reference runs it on problems that no experiment has used, and only where it reproduces
the black box to within rounding is it called what the black box does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array
from lockstep.harness.cases.problem import Problem
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.anatomy.black_box import BlackBox, Reach, problem_from_arrays, problem_of_sequence
from lockstep.harness.diagnosis.anatomy.conventions import Changes, deviations_of, merged
from lockstep.harness.diagnosis.anatomy.curves import (
    Reading,
    Response,
    read_curves,
    response,
)
from lockstep.harness.diagnosis.anatomy.kernels import (
    H,
    KernelMap,
    is_regular,
    kernel_rules,
    measure_kernels,
    misplaced_entries,
    unused_gates,
)
from lockstep.harness.diagnosis.anatomy.precision import measure_precision
from lockstep.harness.diagnosis.anatomy.table import (
    Convention,
    ConventionTable,
    as_asked,
    described_curves,
    precision_rows,
    repeatability_row,
)
from lockstep.harness.diagnosis.anatomy.wiring import measure_wiring
from lockstep.harness.diagnosis.clock import Clock
from lockstep.harness.diagnosis.diagnose import MEASURED_MAP
from lockstep.harness.diagnosis.explain_causes import Search
from lockstep.harness.diagnosis.fit import refined
from lockstep.harness.diagnosis.named_causes import JOIN, Found
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.screen import misses
from lockstep.harness.diagnosis.seen import Cause, Seen
from lockstep.harness.faults.wording.families import FAMILIES
from lockstep.harness.faults.wording.words import AND, Words
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import number

MOST_BASES = 12  # readings on top of which a search is made


class Anatomy(Struct, frozen=True):
    """All conventions of a black box, and whether the reference, run that way, reproduces it."""

    subject: str  # the name of the black box
    conventions: list[Convention]
    explanation: Diagnosis | None  # the deviations that were measured and proved; None if there are none or no proof
    proved: bool
    sigma: float | None  # of the proof
    calls: int


class _CallCounter:
    """Counts the calls of a black box."""

    def __init__(self, black_box: BlackBox) -> None:
        self.name, self.layout, self.reach = black_box.name, black_box.layout, black_box.reach
        self._black_box, self.calls = black_box, 0

    def ask(self, problems: Sequence[Problem]) -> list[Any]:
        self.calls += len(problems)
        return self._black_box.ask(problems)


def explain_measured(
    black_box: BlackBox, observations: Sequence[Observation], others: Sequence[Problem]
) -> list[Diagnosis]:
    """What measuring a black box finds to explain all observations; empty if nothing does."""
    search = Search.of(observations, LIMIT_SIGMA, layout=black_box.layout)
    clock = Clock("measured", math.inf if search is None else search.until)
    causes = [] if search is None else _upon_measured(black_box, search, clock)
    if search is not None and causes:
        return search.told(causes, others)
    misplaced = _misplaced_entries(black_box, clock)
    return [] if misplaced is None else [misplaced[0]]


def _upon_measured(black_box: BlackBox, search: Search, clock: Clock) -> list[Found]:
    """What explains everything on top of what was measured, by as few deviations as possible."""
    problem = search.first.problem

    def miss(changes: Changes) -> Array | None:
        try:
            return misses(search.first, [deviations_of(changes, problem)], search.first.forward_names)[0]
        except NoPlaceError:
            return None

    # Each base is measured when it is asked for.
    for base in takewhile(lambda _: not clock.is_over, islice(measured_bases(black_box), MOST_BASES)):
        for changes in (base, refined(base, miss)):
            if clock.is_over or changes is None:
                break
            try:
                causes = search.upon(deviations_of(changes, problem), clock)
            except NoPlaceError:
                continue
            if causes:
                fewest = min(len(cause) for cause, *_ in causes)
                return [each for each in causes if len(each.cause) == fewest]
    return []


def _misplaced_entries(black_box: BlackBox, clock: Clock) -> tuple[Diagnosis, Cause, KernelMap] | None:
    """Where entries are misplaced by no known rule: their measured table, if it reproduces fresh numbers."""
    batched = independent(black_box)
    for _, readings in _curve_readings(black_box, batched=batched):
        for reading in readings[:3]:
            if clock.is_over:
                return None
            measured = measure_kernels(black_box, reading.changes, batched=batched)
            if measured is None or measured.undecided or is_regular(measured):
                continue
            shapes = [{"T": T, "B": B, "I": measured.input_size, "H": H} for T, B in ((1, 1), (6, 1), (5, 3))]
            observations = observe(black_box, 500, shapes)
            # Handed the weights in effect, the reference needs no map.
            read = [
                Observation(_as_read(observation.problem, measured), observation.tensors)
                for observation in observations
            ]
            proved = _of_read(read, reading.changes, clock)
            if proved is not None:
                return _misplaced_diagnosis(measured, proved, Words(black_box.layout)), proved.cause, measured
    return None


def _of_read(observations: list[Observation], changes: Changes, clock: Clock) -> Found | None:
    """What explains observations of weights as they are in effect: what was measured beside, or that and one more."""
    search = Search.of(observations, LIMIT_SIGMA)
    if search is None:
        return (
            Found((), max(observation.sigma for observation in observations)) if observations and not changes else None
        )
    base = deviations_of(changes, search.first.problem)
    return next(iter(search.upon(base, clock)), None)


def _as_read(problem: Problem, measured: KernelMap) -> Problem:
    """The problem with the weights that are in effect."""
    W, R, b = measured.effective(*(array.astype(np.float64) for array in (problem.W, problem.R, problem.b)))
    return problem_from_arrays(W, R, b, problem.x, problem.h0, problem.c0)


def _misplaced_diagnosis(measured: KernelMap, explanation: Found, words: Words) -> Diagnosis:
    entries = misplaced_entries(measured)
    also = "".join(f"{AND}{words.message(deviation)}" for deviation in explanation.cause)
    return Diagnosis(
        fault=JOIN.join(["weights-misplaced", *(deviation.name for deviation in explanation.cause)]),
        message="Entries of the weights drive other gates, units or inputs than theirs "
        f"(measured at I = {measured.input_size}, H = {H}): "
        f"{entries}.{also}",
        fix=FAMILIES["kernel"].fix,
        sigma=explanation.sigma,
        evidence="The reference, with each entry where it was measured, reproduces fresh numbers to "
        f"{number(explanation.sigma)} sigma.",
        family="kernel",
        met=FAMILIES["kernel"].met,
        proof={MEASURED_MAP: entries},
    )


def independent(black_box: BlackBox) -> bool:
    """Whether a sequence's result does not depend on its neighbours in the batch."""
    problem = _random_problem(black_box.reach, 1, T=1, B=3, I=3, H=5)
    together = black_box.ask([problem])[0]
    alone = black_box.ask([problem_of_sequence(problem, b) for b in range(3)])
    if together is None or any(answer is None for answer in alone):
        return False
    return all(
        np.allclose(together[name][:, b : b + 1], answer[name], rtol=1e-4, atol=1e-5, equal_nan=True)
        for name in ("h", "c")
        if name in together
        for b, answer in enumerate(alone)
        if answer is not None and name in answer
    )


def measured_bases(black_box: BlackBox) -> Iterator[Changes]:
    """What one timestep shows, the plainest reading first."""
    batched = independent(black_box)
    for _, readings in _curve_readings(black_box, batched=batched):
        read = False
        for reading in readings:
            for changes in _kernel_readings(black_box, reading, batched=batched):
                read = True
                yield changes
        if not read:  # the curves alone are a base too, where the kernels take more calls than there are
            yield from (reading.changes for reading in readings)


def curve_facts(black_box: BlackBox) -> list[str]:
    """What was measured of the batch, and of the curves where no known ones make them all."""
    batched = independent(black_box)
    mixed = [] if batched else ["measured: what a sequence gives depends on the others of its batch"]
    reading = next(iter(_curve_readings(black_box, batched=batched)), None)
    return [*mixed, *([] if reading is None or reading[1] else described_curves(reading[0]))]


def _curve_readings(black_box: BlackBox, *, batched: bool) -> Iterator[tuple[Response, list[Reading]]]:
    for door in ("W", "R"):
        curve = response(black_box, door, batched=batched)
        # Where x or W counts for nothing, the curves still show through R.
        if curve is not None and np.ptp(curve.c[0.0]) > 0:
            yield curve, read_curves(curve)
            return


_INITIALS = (("", ""), ("exchanged", "exchanged"), ("exchanged", ""), ("", "exchanged"))


def _kernel_readings(black_box: BlackBox, reading: Reading, *, batched: bool) -> Iterator[Changes]:
    for h0, c0 in _INITIALS:
        measured = measure_kernels(black_box, reading.changes, batched=batched, initial=(h0, c0))
        if measured is None or measured.undecided:
            continue
        start = {name: value for name, value in (("h0", h0), ("c0", c0)) if value}
        read = [
            merged(reading.changes, {**rule, **start}) for rule in kernel_rules(measured, unused_gates(reading.changes))
        ]
        readings = [changes for changes in read if changes is not None]
        # What drives nothing at the first timestep may do so later: that comes before the less plain rules.
        yield from readings[:1]
        yield from _without_h0(reading, measured, start)
        yield from _without_x(reading, measured, start)
        yield from readings[1:]
        return


def _without_h0(reading: Reading, measured: KernelMap, start: Changes) -> Iterator[Changes]:
    """Where R drives nothing at the first timestep, h0 may be ignored and R read like W."""
    if not measured.is_silent("R"):
        return
    for rule in kernel_rules(measured, unused_gates(reading.changes)):
        like_w = {name.replace("W_", "R_"): value for name, value in rule.items() if name.startswith("W_")}
        like_b = {name.replace("b_", "R_"): value for name, value in rule.items() if name in {"b_gates", "b_layout"}}
        fields = {name: value for name, value in rule.items() if not name.startswith("R_")}
        for alike in (like_w, like_b, {}):
            changes = merged(reading.changes, {**fields, **alike, **start, "h0": "zero"})
            if changes is not None:
                yield changes


def _without_x(reading: Reading, measured: KernelMap, start: Changes) -> Iterator[Changes]:
    """Where W drives nothing at the first timestep, x may come late and W be read like R."""
    if not measured.is_silent("W"):
        return
    for rule in kernel_rules(measured, unused_gates(reading.changes)):
        alike = {name.replace("R_", "W_"): value for name, value in rule.items() if name.startswith("R_")}
        fields = {name: value for name, value in rule.items() if not name.startswith("W_")}
        changes = merged(reading.changes, {**fields, **alike, **start, "x_time": "1 late, zero there"})
        if changes is not None:
            yield changes


def _random_problem(
    reach: Reach,
    seed: int,
    *,
    T: int,
    B: int,
    I: int,
    H: int,
    lengths: Sequence[int] | None = None,
    dtype: str = "float32",
) -> Problem:
    rng, I = np.random.default_rng(seed), reach.input_size(H, I)

    def draw(*shape: int, bound: float = 1.0) -> Array:
        return rng.uniform(0.1 * bound, bound, shape) * rng.choice([-1.0, 1.0], shape)

    bound = 2 / np.sqrt(I + H)
    return problem_from_arrays(
        draw(4 * H, I, bound=bound), draw(4 * H, H, bound=bound), draw(4 * H, bound=bound),
        draw(T, B, I, bound=min(1.0, reach.largest_input)), draw(B, H),
        draw(B, H), None if lengths is None else np.array(lengths), dtype=dtype,
    )  # fmt: skip


# Shapes in which rules that fall together in one show themselves apart: even, odd, square, one unit, and wide.
FRESH_SHAPES = (
    {"T": 1, "B": 1, "I": 3, "H": 4}, {"T": 6, "B": 1, "I": 3, "H": 4}, {"T": 7, "B": 3, "I": 5, "H": 3},
    {"T": 4, "B": 4, "I": 4, "H": 4}, {"T": 5, "B": 2, "I": 1, "H": 1}, {"T": 9, "B": 5, "I": 2, "H": 7},
    {"T": 6, "B": 3, "I": 4, "H": 5, "lengths": (4, 2, 5)}, {"T": 6, "B": 4, "I": 3, "H": 4, "lengths": (6, 1, 3, 2)},
    {"T": 3, "B": 2, "I": 4, "H": 140},
)  # fmt: skip


def observe(black_box: BlackBox, seed: int, shapes: Iterable[dict[str, Any]] = FRESH_SHAPES) -> list[Observation]:
    """Ask for fresh problems; what gives nothing is left out."""
    reach = black_box.reach
    if not reach.over_time:  # sequences in the place of timesteps
        shapes = [{**shape, "T": 1, "B": shape["T"] * shape["B"], "lengths": None} for shape in shapes]
    problems = [_random_problem(reach, seed + k, **shape) for k, shape in enumerate(shapes)]
    answers = black_box.ask(problems)
    return [
        Observation(problem, {name: array for name, array in answer.items() if name != "c" or "c" in reach.proves})
        for problem, answer in zip(problems, answers, strict=True)
        if answer is not None
    ]


class Proof(NamedTuple):
    """What explains a black box, and how well that reproduces fresh problems."""

    cause: Cause | None  # of no deviation where it does as intended; None: nothing reproduces it
    explanation: Diagnosis | None
    sigma: float | None
    kernel_map: KernelMap | None = None  # of entries misplaced by no known rule


def anatomy(black_box: BlackBox) -> Anatomy:
    """Measure every convention of a black box."""
    counted = _CallCounter(black_box)
    wiring = measure_wiring(counted)
    batched = independent(counted)
    curves = next(iter(_curve_readings(counted, batched=batched)), None)
    kernel_map, first_reading = _first_map(counted, curves, batched=batched)
    proof = prove(counted)
    table = ConventionTable(proof.cause, sigma=proof.sigma, seen=_seen_in_a_step(kernel_map, first_reading))
    conventions = [
        *table.weights(proof.kernel_map or kernel_map), *table.curves(curves), *table.cell(), *table.state(wiring),
        *table.data(wiring), *table.padding(wiring), *table.returned(), *precision_rows(measure_precision(counted)),
        repeatability_row(wiring),
    ]  # fmt: skip
    proved = proof.cause is not None
    conventions = list(as_asked(conventions, black_box.reach))
    return Anatomy(black_box.name, conventions, proof.explanation, proved, proof.sigma, counted.calls)


def _first_map(
    black_box: BlackBox, curves: tuple[Response, list[Reading]] | None, *, batched: bool
) -> tuple[KernelMap | None, Changes | None]:
    """The kernels as measured under the first reading of the curves that makes sense of them; and that reading."""
    measured = None
    for reading in () if curves is None else curves[1]:
        measured = measure_kernels(black_box, reading.changes, batched=batched)
        if measured is not None and not measured.undecided:
            return measured, reading.changes
    return measured, None


def _seen_in_a_step(kernel_map: KernelMap | None, reading: Changes | None) -> Cause | None:
    """The deviations that one timestep shows, proved or not; None where it is not understood."""
    if kernel_map is None or reading is None:
        return None
    rule = next(kernel_rules(kernel_map, unused_gates(reading)), None)
    changes = None if rule is None else merged(reading, rule)
    try:
        return None if changes is None else deviations_of(changes, _random_problem(Reach(), 1, T=1, B=1, I=3, H=5))
    except NoPlaceError:
        return None


def prove(black_box: BlackBox, until: float = math.inf, *, pairs: bool = True) -> Proof:
    """Find what explains fresh problems, and hold it against other fresh problems.

    Args:
        black_box: What is measured.
        until: When to end, on the clock of ``time.process_time``.
        pairs: Whether two deviations at once are looked for, by no measurement.
    """
    observations, held = observe(black_box, seed=100), observe(black_box, seed=900)
    # What explains the first is held against the second, which no search has seen.
    if not observations or not held:
        return Proof(None, None, None)
    search = Search.of(observations, LIMIT_SIGMA, layout=black_box.layout)
    if search is None:
        sigma = max(observation.sigma for observation in held)
        return Proof(() if sigma <= LIMIT_SIGMA else None, None, sigma)
    search.until = until
    causes = search.causes(several=False) or _upon_measured(black_box, search, Clock("measured", search.until))
    if not causes:
        misplaced = _misplaced_entries(black_box, Clock("measured", until))
        if misplaced is not None:
            explanation, cause, kernel_map = misplaced
            return Proof(cause, explanation, explanation.sigma, kernel_map)
        causes = search.confirmed(search.pairs()) if pairs else []
    for (cause, *_), explanation in zip(causes, search.told(causes), strict=True):
        sigma = max(Seen.of(observation).sigma(cause) for observation in held)
        if sigma <= LIMIT_SIGMA:
            return Proof(cause, explanation, sigma)
    return Proof(None, None, None)

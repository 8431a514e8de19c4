"""Hold the interpreter against the reference: ``nox -s interpreters`` [--runs N] [--seed N] [--form NAME] [--jobs N].

Both compute what a problem should give, in two implementations: ``harness.reference`` by equations and their chain
rule, ``harness.causes`` by recorded operations that can be edited. With nothing edited they must agree on random
problems of every form, in values, in noise and in gradients. Of some problems deviations are then run many at a time,
along an axis of their own, and one by one: both must come to the same verdict.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import Pool
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem, problem_of
from lockstep.harness.cases.random_cases import DTYPES, MOST_SEED, RANDOM_FEATURES, draw_case, draw_decoder
from lockstep.harness.cases.tensors import BACKWARD, kind_of, tensors_of
from lockstep.harness.causes import tape
from lockstep.harness.causes.decoder_run import DecoderRun
from lockstep.harness.causes.edits import Edits, NoPlaceError
from lockstep.harness.causes.interpret import CopyKicks, expected_with, values_with
from lockstep.harness.causes.network_run import NetworkRun
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.screen import outcomes
from lockstep.harness.diagnosis.seen import Cause, Seen
from lockstep.harness.faults.deviation import Deviation, edits_of
from lockstep.harness.faults.table import backward_deviations, forward_deviations, in_part
from lockstep.harness.reference import activations
from lockstep.harness.reference.activations import NEAR_SIGMA
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import LIMIT_SIGMA, Noise

# Both sum in an order of their own, so they differ by rounding in what they compute in. That is judged as a port is: by
# the noise of the value, with the roundoff of the longer precision in the place of the dtype's.
MOST_SIGMA = LIMIT_SIGMA
# The rules for noise are the same; where gradients meet, the order of operations decides how often a rounding counts.
MOST_RATIO = 1.5
# A noise below the smallest normal number counts as that: in the reference once in each layer, in the interpreter once
# at the end. So many of them may come together in a sum, and a millionth of a tensor's largest noise decides nothing.
FLOORS, SMALL = 100, 1e-6
# Right on a corner, within the longer precision, the last bit decides which gradient is 0 and has no noise.
MOST_ON_CORNERS = 0.01  # of the problems of a form
# The rules jump within so many standard deviations of a corner (of relu, a hard sigmoid, the clip). Where the two lie
# on either side of that line, the reference has to be between the interpreter's noise with the line here and there.
NEARER, FARTHER = 0.99 * NEAR_SIGMA, 1.01 * NEAR_SIGMA
COPIES = 24
BARE = 10  # of so many problems one is run without noise too
CANDIDATES = 16
MOST_DRAWS = 20

_REST = ("initial state", "lengths", "no bias", "gradients")


class Form(NamedTuple):
    """What the problems of a form have, beside what each may have."""

    fixed: dict[str, Any]
    has: tuple[str, ...] = ()
    may: tuple[str, ...] = tuple(RANDOM_FEATURES)
    decoder: bool = False


TWO_WAYS = {"direction": "bidirectional"}
BACK = {"gradients": True}
FORMS = {
    "plain": Form({}, may=("initial state", "no bias", "gradients")),
    "two ways": Form(TWO_WAYS, may=_REST),
    "stacked": Form({}, has=("layers",), may=_REST),
    "stacked two ways": Form(TWO_WAYS, has=("layers",), may=_REST),
    "merged directions": Form(TWO_WAYS, has=("merged directions",), may=("layers", *_REST)),
    "lengths": Form({}, has=("lengths",)),
    "peepholes": Form({}, has=("peephole",)),
    "clip": Form({}, has=("clip",)),
    "projection": Form({}, has=("projection",)),
    "peepholes, clip, projection": Form({}, has=("peephole", "clip", "projection")),
    "coupled": Form({}, has=("coupling",)),
    "activations": Form({}, has=("activations",)),
    "resets": Form({}, has=("resets",)),
    "gradients": Form(
        BACK, may=("initial state", "lengths", "projection", "peephole", "clip", "activations", "coupling", "no bias")
    ),
    "gradients of a stack two ways": Form(BACK | TWO_WAYS, has=("layers",)),
    "decoder": Form({}, may=("initial state", "lengths", "no bias"), decoder=True),
    "decoder, general": Form({}, has=("general",), may=("initial state", "lengths", "no bias"), decoder=True),
    "decoder, encoder": Form(
        {}, has=("encoder",), may=("initial state", "general", "lengths", "no bias"), decoder=True
    ),
    "decoder, gradients": Form(BACK, may=("initial state", "general", "encoder", "lengths", "no bias"), decoder=True),
    "decoder, additive": Form(
        {}, has=("additive",), may=("initial state", "into the cell", "lengths", "no bias"), decoder=True
    ),
    "decoder into the cell, gradients": Form(
        BACK, has=("into the cell",), may=("initial state", "additive", "general", "encoder", "lengths"), decoder=True
    ),
}


def draw(form: Form, rng: np.random.Generator, dtype: str) -> Case:
    """Draw a case of a form; what it may have is there in every third."""

    def choose(name: str, options: Sequence[Any]) -> Any:
        if tuple(options) == (False, True):
            return name in form.has or bool(rng.integers(3) == 0)
        return options[int(rng.integers(len(options)))]

    features = tuple(dict.fromkeys(form.has + form.may))
    of_model = draw_decoder if form.decoder else draw_case
    return of_model(choose, int(rng.integers(MOST_SEED)), form.fixed | {"dtype": dtype}, features)


class Apart(NamedTuple):
    """How far two expected tensors are from each other."""

    name: str
    sigma: float  # of values, in the noise of the precision they are computed in
    low: float  # the interpreter's noise over the reference's: the smallest
    high: float  # and the largest

    @property
    def alike(self) -> bool:
        """Whether values differ as other orders of summation make them."""
        return self.sigma <= MOST_SIGMA

    @property
    def as_noisy(self) -> bool:
        """Whether noises are the same within the factor."""
        return self.low >= 1 / MOST_RATIO and self.high <= MOST_RATIO

    @property
    def agrees(self) -> bool:
        """Both."""
        return self.alike and self.as_noisy


def apart(problem: AnyProblem, *, bare: bool = True) -> list[Apart]:
    """How far the interpreter and the reference are apart, by tensor; ``bare``: also run it without noise."""
    right, run = expect(problem), expected_with(problem, Edits())
    assert right.keys() == run.keys(), right.keys() ^ run.keys()
    noise = Noise.of(problem.case.run.dtype)
    with np.errstate(all="ignore"):
        if bare:
            _same_without_noise(problem, run, noise)
        right = _before_overflow(problem, right)
        sigmas = {name: _sigma(run[name], tensor, noise) for name, tensor in right.items()}
        if max(sigmas.values()) > MOST_SIGMA:
            longer = _of_copies(problem, noise)
            sigmas = {name: _sigma(run[name], tensor, noise, longer[name]) for name, tensor in right.items()}
        ratios = {name: _ratios(tensor, run[name].noise, run[name].noise, noise) for name, tensor in right.items()}
        if any(low < 1 / MOST_RATIO or high > MOST_RATIO for low, high in ratios.values()):
            least, most = _about_corners(problem)
            ratios = {name: _ratios(tensor, least[name], most[name], noise) for name, tensor in right.items()}
    return [Apart(name, sigmas[name], *ratios[name]) for name in right]


def has_corners(case: Case) -> bool:
    """Whether slopes of a case jump somewhere."""
    lstm = case.lstm
    names = {lstm.activation, lstm.recurrent_activation, lstm.cell_activation}
    return lstm.cell_clip is not None or any(activations.ACTIVATIONS[name].corners for name in names)


def _same_without_noise(problem: AnyProblem, run: Expected, noise: Noise) -> None:
    for name, value in values_with(problem, Edits()).items():
        without_noise = ExpectedTensor.of(value, value * 0, noise)
        assert np.array_equal(without_noise.value, run[name].value, equal_nan=True), name


def _sigma(run: ExpectedTensor, right: ExpectedTensor, noise: Noise, longer: Array | None = None) -> float:
    """The largest difference of values, in the noise of the longer precision."""
    assert (run.value.shape, run.value.dtype) == (right.value.shape, right.value.dtype)
    unit = noise.taken(right.noise) * (_roundoff(noise) / np.sqrt(noise.u2))
    unit = _with_small(unit if longer is None else np.maximum(unit, longer), noise)
    value, expected = (noise.taken(tensor.value) + noise.taken(tensor.rest) for tensor in (run, right))
    same = (value == expected) | (np.isnan(value) & np.isnan(expected))
    sigma = np.where(same, 0, np.abs(value - expected) / unit)
    return float(np.nan_to_num(sigma, nan=np.inf).max(initial=0))


def _with_small(array: Array, noise: Noise) -> Array:
    """A noise, beside which what is small in its tensor does not count."""
    finite = array[np.isfinite(array)]
    return array + (FLOORS * np.sqrt(noise.floor) * _roundoff(noise) + SMALL * finite.max(initial=0))


def _ratios(right: ExpectedTensor, least: Array, most: Array, noise: Noise) -> tuple[float, float]:
    """The smallest and the largest ratio of noise; between the least and the most that it may be it is 1."""
    assert least.shape == right.noise.shape
    finite = right.noise[np.isfinite(right.noise)]
    small = FLOORS * np.sqrt(noise.floor) + SMALL * noise.taken(finite).max(initial=0)
    ratio = (np.clip(right.noise, least, most) + small) / (right.noise + small)
    same = (least == right.noise) | (np.isnan(least) & np.isnan(right.noise))
    ratio = np.nan_to_num(np.where(same, 1, ratio), nan=np.inf)
    return float(ratio.min(initial=1)), float(ratio.max(initial=1))


def _about_corners(problem: AnyProblem) -> list[Arrays]:
    """The interpreter's noise with its rules for corners reaching less far, and farther."""
    noises = []
    for reach in (NEARER, FARTHER):
        with patch.object(tape, "NEAR_SIGMA", reach), patch.object(activations, "NEAR_SIGMA", reach):
            noises.append({name: tensor.noise for name, tensor in expected_with(problem, Edits()).items()})
    return noises


def _roundoff(noise: Noise) -> Any:
    """The roundoff of the longer precision.

    From layer to layer, and on the way back, the reference goes on from values as they are kept: two float32 numbers
    hold 48 bits.
    """
    computed, kept = np.finfo(noise.precision).eps / 2, (np.finfo(noise.dtype).eps / 2) ** 2
    return noise.precision(max(computed, kept))


def _of_copies(problem: AnyProblem, noise: Noise) -> Arrays:
    """How far copies lie apart that are put off throughout by roundings of the longer precision, by tensor.

    For networks that amplify rounding: the noise of first order is too small there, or held at half a value's range.
    """
    number, kick = noise.precision, CopyKicks(np.random.default_rng(0))
    fine = replace(noise, u2=_roundoff(noise) ** 2, tiny2=number(0), floor=number(0))
    back = (problem.dlogit if isinstance(problem, DecoderProblem) else problem.dh) is not None
    run_of = DecoderRun if isinstance(problem, DecoderProblem) else NetworkRun
    exact = values_with(problem, Edits())
    squares = {name: np.zeros_like(value) for name, value in exact.items()}
    for _ in range(COPIES):
        operations = tape.NodeTape(fine, noisy=True, records=back, kick=kick)
        for name, (value, _) in run_of(problem, Edits(), operations, None, None).go().items():
            squares[name] += np.square(value - exact[name])
    return {name: np.sqrt(square / COPIES) for name, square in squares.items()}


def _before_overflow(problem: AnyProblem, right: Expected) -> Expected:
    """What is computed before a value is beyond the largest of its dtype, and is infinite, or before chaos.

    What comes of that is not determined (``harness.reference.undetermined``): the reference goes on from the infinity,
    the interpreter from the number. Where a network amplifies rounding until it is as large as the values, noise ends
    at their range, and tells nothing of how far two computations in a longer precision are from each other.
    """
    names = [name for name in tensors_of(problem.case) if name in right]
    beyond = [name for name in names if _is_undetermined(right[name])]
    if not beyond or not np.isfinite(problem.x).all():
        return right
    lane, before = beyond[0].removeprefix(kind_of(beyond[0])), names[: names.index(beyond[0])]
    for name in names[len(before) :]:
        of_lane = name.removeprefix(kind_of(name)) == lane and kind_of(name) not in BACKWARD
        if of_lane and np.isfinite(right[name].noise).all():
            before.append(name)
    return {name: right[name] for name in before}


def _is_undetermined(tensor: ExpectedTensor) -> bool:
    if not (np.isfinite(tensor.value) & np.isfinite(tensor.noise)).all():
        return True
    largest = np.abs(tensor.value).max(initial=0)
    return bool(largest > SMALL and tensor.noise.max(initial=0) >= largest)


class Verdict(NamedTuple):
    """Whether values under a cause come near what was returned, found out in two ways."""

    cause: Cause
    together: bool
    alone: bool


def verdicts(problem: AnyProblem, rng: np.random.Generator, count: int) -> Iterator[Verdict]:
    """Of a port with a random deviation, so many causes run along an axis and one by one; those that can join."""
    seen, causes = _observed(problem, rng, count)
    if seen is None or not seen.observation.tensors:
        return
    for cause, together in zip(causes, outcomes(seen, causes, set(seen.observation.tensors)), strict=True):
        if together is not None:
            yield Verdict(cause, together.passes, _alone(seen, cause))


def _observed(problem: AnyProblem, rng: np.random.Generator, count: int) -> tuple[Seen | None, list[Cause]]:
    """What a port with a deviation returned, all of it or part, and causes: that one, others, and pairs.

    As the search has it: of what goes forward in what goes forward, of the way back in everything.
    """
    back = backward_deviations(problem)
    goes_back = bool(back) and rng.random() < 0.5
    parts = in_part(problem, 1, 0) if problem.case.run.timesteps > 1 else ()
    kinds = [back] if goes_back else [forward_deviations(problem)] * 2 + [list(parts)]

    def any_of() -> Deviation:
        kind = [kind for kind in kinds if kind][int(rng.integers(sum(map(bool, kinds))))]
        return kind[int(rng.integers(len(kind)))]

    for _ in range(MOST_DRAWS):
        planted = any_of()
        try:
            with np.errstate(all="ignore"):
                values = values_with(problem, edits_of([planted], problem))
        except NoPlaceError:
            continue
        share = 1.0 if rng.random() < 0.5 else 0.5
        with np.errstate(over="ignore"):  # what overflows in a short format is infinite
            kept = {
                name: value.astype(problem.h0.dtype)
                for name, value in values.items()
                if rng.random() < share and (goes_back or kind_of(name) not in BACKWARD)
            }
        causes: list[Cause] = [(planted,)]
        causes += [(planted, any_of()) if n % 4 == 0 else (any_of(),) for n in range(count - 1)]
        return Seen.of(Observation(problem, kept)), causes
    return None, []


def _alone(seen: Seen, cause: Cause) -> bool:
    try:
        return seen.passes(cause)[0]
    except NoPlaceError:
        return False


@dataclass
class Row:
    """What was met in a form."""

    problems: int = 0
    on_corners: int = 0
    sigma: float = 0.0
    low: float = 1.0
    high: float = 1.0
    compared: int = 0  # causes
    passing: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, problem: AnyProblem) -> None:
        """Count a problem."""
        self.problems += 1
        tensors = apart(problem, bare=self.problems % BARE == 0)
        self.sigma = max(self.sigma, *(tensor.sigma for tensor in tensors))
        if has_corners(problem.case) and all(tensor.alike for tensor in tensors):
            self.on_corners += not all(tensor.as_noisy for tensor in tensors)
            tensors = [tensor for tensor in tensors if tensor.as_noisy]
        for tensor in tensors:
            self.low, self.high = min(self.low, tensor.low), max(self.high, tensor.high)
            if not tensor.agrees:
                self.wrong.append(f"{tensor} {problem.case}")

    def add_causes(self, problem: AnyProblem, rng: np.random.Generator) -> None:
        """Count causes of a problem."""
        for verdict in verdicts(problem, rng, CANDIDATES):
            self.compared += 1
            self.passing += verdict.alone
            if verdict.together != verdict.alone:
                names = " + ".join(deviation.name for deviation in verdict.cause)
                self.wrong.append(f"{names}: together {verdict.together}, alone {verdict.alone} {problem.case}")

    def join(self, other: Row) -> None:
        """Count what another process met."""
        self.problems, self.on_corners = self.problems + other.problems, self.on_corners + other.on_corners
        self.compared, self.passing = self.compared + other.compared, self.passing + other.passing
        self.sigma, self.low, self.high = (
            max(self.sigma, other.sigma), min(self.low, other.low), max(self.high, other.high),
        )  # fmt: skip
        self.wrong += other.wrong

    def line(self, name: str) -> str:
        """A row of the table."""
        return (
            f"| {name} | {self.problems} | {self.sigma:.1f} | {self.low:.2f} | {self.high:.2f} |"
            f" {self.on_corners} | {self.compared} | {self.passing} | {len(self.wrong)} |"
        )


PIECE = 100  # problems that one process is given at once


def run_piece(seed: int, every: int, piece: tuple[str, int, int]) -> tuple[str, Row]:
    """Some of the problems of a form: its name, the first, how many."""
    name, first, count = piece
    row = Row()
    for n in range(first, first + count):
        rng = np.random.default_rng((seed, list(FORMS).index(name), n))
        problem = problem_of(draw(FORMS[name], rng, DTYPES[n % len(DTYPES)]))
        row.add(problem)
        if every and n % every == 0:
            row.add_causes(problem, rng)
    return name, row


HEAD = [
    "| form | problems | largest difference | least noise ratio | largest | on a corner | causes | passing | wrong |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
]


def main() -> int:
    """Run all problems and print a table; exit status 1 if anything disagrees."""
    options, started = _options(), time.perf_counter()
    pieces = [
        (name, first, min(PIECE, options.first + options.runs - first))
        for name in options.form or FORMS
        for first in range(options.first, options.first + options.runs, PIECE)
    ]
    rows: dict[str, Row] = {}
    with Pool(options.jobs) as pool:
        for name, row in pool.imap(partial(run_piece, options.seed, options.every), pieces):
            rows.setdefault(name, Row()).join(row)
    wrong = [f"{name}: {message}" for name, row in rows.items() for message in row.wrong]
    for name, row in rows.items():
        if row.on_corners > max(1, MOST_ON_CORNERS * row.problems):
            wrong.append(f"{name}: the noise of {row.on_corners} problems differs about corners")
    lines = [*HEAD, *(row.line(name) for name, row in rows.items())]
    print("\n".join([*lines, "", *wrong, f"{time.perf_counter() - started:.0f} s"]))
    return int(bool(wrong))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5000, help="problems of each form")
    parser.add_argument("--first", type=int, default=0, help="the number of the first, to go on from an earlier run")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of problems")
    parser.add_argument("--form", action="append", choices=list(FORMS), help="may be repeated; else all")
    parser.add_argument("--every", type=int, default=50, help="of so many problems one is run with causes; 0: none")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""Causes that were found: by name, told apart from what is identical, and put into words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace as changed

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem, problem_of
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.causes.interpret import expected_with, values_with
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.seen import Cause, Seen, fitting_in
from lockstep.harness.faults.deviation import edits_of
from lockstep.harness.faults.table import find
from lockstep.harness.faults.wording.families import FAMILIES, family_of
from lockstep.harness.faults.wording.left_out import left_out
from lockstep.harness.faults.wording.words import AND, Words
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import number

JOIN = " + "  # between the names of deviations that hold together
ONLY_IN = "only_in"  # the cases that a proof is about, where it is not about all
FRESH = 77_003  # added to a seed for numbers that no search has seen
MOST_FOUND = 40  # causes that are told apart by a fresh problem


class Found(NamedTuple):
    """A cause that reproduces everything, and how well."""

    cause: Cause
    sigma: float
    only_in: tuple[str, ...] = ()  # the cases that it is about, where it is not about all

    @property
    def name(self) -> str:
        """Its stable name."""
        return JOIN.join(deviation.name for deviation in self.cause)


def expected_named(fault: str, problem: AnyProblem) -> Expected | None:
    """What comes out of a problem with the deviations of that name; None where it has no place for any."""
    cause = _named_in(fault, problem)
    try:
        return expected_with(problem, edits_of(cause, problem)) if cause else None
    except NoPlaceError:
        fitting = fitting_in(problem, cause)
        return expected_with(problem, edits_of(fitting, problem)) if fitting else None


def _named_in(fault: str, problem: AnyProblem) -> Cause:
    """The deviations of a name that a problem knows."""
    return tuple(deviation for name in fault.split(JOIN) if (deviation := find(name, problem)) is not None)


def holding(faults: Iterable[str], observations: Sequence[Observation], limit: float = LIMIT_SIGMA) -> set[str]:
    """Those names whose deviations reproduce every number of every observation."""
    return {
        fault
        for fault in faults
        if all(
            Seen.of(observation).sigma(_named_in(fault, observation.problem)) <= limit for observation in observations
        )
    }


def told(
    causes: list[Found], problems: Sequence[AnyProblem], others: Sequence[AnyProblem] = (), layout: str = "canonical"
) -> list[Diagnosis]:
    """Put causes into words; what gives other numbers than the first for a fresh problem is named beside it.

    Args:
        causes: What explains, the plainest first.
        problems: Those that were looked at.
        others: By which causes of the same numbers might be told apart.
        layout: In whose terms they are told.
    """
    two_ways = all(problem.case.lstm.direction == "bidirectional" for problem in problems)
    chunks = next((run.chunks for run in (problem.case.run for problem in problems) if run.chunks), ())
    in_pieces = all(problem.case.run.chunks for problem in problems)
    single = all(problem.case.lstm.single for problem in problems)
    words = Words(layout, bidirectional=two_ways, chunks=chunks, in_pieces=in_pieces, single=single)
    names = [proved.name for proved in causes]
    apart = _telling_problem(causes, others) if causes[1:] else None
    diagnoses = []
    for proved in causes:
        families = [family_of(deviation) for deviation in proved.cause]
        features = [left_out(deviation) for deviation in proved.cause]
        without = " and ".join(features) if all(features) else ""
        sentences = [words.message(deviation) for deviation in proved.cause]
        sentences[-1:] = [sentence + _only_in(proved, problems) for sentence in sentences[-1:]]
        diagnoses.append(
            Diagnosis(
                fault=proved.name,
                site=JOIN.join(deviation.site for deviation in proved.cause),
                edit=JOIN.join(deviation.edit for deviation in proved.cause),
                scope=JOIN.join(deviation.scope.suffix.removeprefix("@") or "everywhere" for deviation in proved.cause),
                message=AND.join(sentences),
                sentences=sentences if sentences[1:] else [],
                fix=" ".join(dict.fromkeys(words.fix(deviation) for deviation in proved.cause)),
                sigma=proved.sigma,
                left_out=without,
                evidence=_evidence(proved.sigma, len(problems), without),
                indistinguishable_from=[name for name in names if name != proved.name],
                told_apart_by=apart,
                family=families[0],
                met=FAMILIES[families[0]].met,
                proof={"deviations": proved.name.split(JOIN)}
                | ({ONLY_IN: [*proved.only_in]} if proved.only_in else {}),
            )
        )
    return diagnoses


def _only_in(proved: Found, problems: Sequence[AnyProblem]) -> str:
    """In which cases it holds, where others are right."""
    if not proved.only_in:
        return ""
    right = [problem.case.name for problem in problems if problem.case.name not in proved.only_in]
    return f" In {', '.join(proved.only_in)} only: {', '.join(right)} {'agrees' if len(right) == 1 else 'agree'}."


def _evidence(sigma: float, problems: int, without: str) -> str:
    """What the proof came to; of what leaves a feature out, ``without``, that it does so without a word."""
    over = "" if problems == 1 else f" of {problems} problems"
    how = f"to {number(sigma)} sigma" if sigma else "exactly"
    if without:
        return (
            f"It computes as if {without} had not been asked for, without a message: the reference without it "
            f"reproduces every number{over} {how}."
        )
    return f"The reference with this mistake reproduces every number{over} {how}."


def _telling_problem(causes: list[Found], others: Sequence[AnyProblem]) -> str | None:
    """The name of a problem for which the first cause gives other numbers than another."""
    for problem in others:
        first, *alternatives = (expected_named(proved.name, problem) for proved in causes)
        for alternative in alternatives:
            if first is not None and alternative is not None and _differ(first, alternative):
                return problem.case.name
    return None


def _differ(first: Expected, second: Expected) -> bool:
    """Whether two causes give h or c further apart than rounding could."""
    with np.errstate(all="ignore"):
        for name in first.keys() & {"h", "c"}:
            a, b = first[name], second[name]
            near = np.abs(a.value - b.value) <= LIMIT_SIGMA * (a.noise + b.noise)
            same = (np.isnan(a.value) & np.isnan(b.value)) | (a.value == b.value)
            if not (near | same).all():
                return True
    return False


def apart(causes: list[Found], observation: Observation) -> list[Found]:
    """The causes without those that are identical to one before: alike for a problem that no search has seen."""
    if not causes[1:]:
        return causes
    fresh = Seen(Observation(fresh_problem(observation.problem), {}))
    wanted = set(observation.tensors)
    kept: list[Found] = []
    known: list[dict[str, Array]] = []
    for proved in causes[:MOST_FOUND]:
        cause = proved.cause
        try:
            values = values_with(fresh.problem, edits_of(fresh.like(cause), fresh.problem), wanted)
        except NoPlaceError:  # it needs sizes that are alike
            kept.append(proved)
            continue
        if not any(_same(values, known_values) for known_values in known):
            kept.append(proved)
            known.append(values)
    return kept or causes[:1]


def _same(first: dict[str, Array], second: dict[str, Array]) -> bool:
    return all(np.allclose(array, second[name], rtol=1e-9, atol=1e-12, equal_nan=True) for name, array in first.items())


def fresh_problem(problem: AnyProblem) -> AnyProblem:
    """A problem of the same form with other numbers and sizes, so that none of them coincide."""
    case, run = problem.case, problem.case.run
    changes: dict[str, Any] = {"seed": run.seed + FRESH, "timesteps": run.timesteps + 1, "batch": run.batch + 1}
    changes |= {
        key: "probe"
        for key in ("weights", "inputs", "initial_state")
        if run.values(key).file or run.values(key).kind in {"ones", "zeros"}  # type: ignore[arg-type]
    }
    if run.chunks is not None:
        changes["chunks"] = (*run.chunks[:-1], run.chunks[-1] + 1)
    if run.values("cotangents").file:
        changes["cotangents"] = "probe"
    if run.lengths is not None:
        longest = problem.decoder.source_timesteps if isinstance(problem, DecoderProblem) else run.timesteps + 1
        # Several lengths, none of them whole.
        changes["lengths"] = tuple(max(1, longest - 1 - (k + 1) % 3) for k in range(run.batch + 1))
    if run.resets is not None:
        lengths = changes.get("lengths", (run.timesteps + 1,) * (run.batch + 1))
        # Every sequence has some, the further one those of the first.
        resets = zip((*run.resets, run.resets[0]), lengths, strict=True)
        changes["resets"] = tuple(tuple(t for t in timesteps if t < length) for timesteps, length in resets)
    lstm = case.lstm
    # A decoder's sizes depend on each other, as dot scores need E = H.
    if not isinstance(problem, DecoderProblem):
        lstm = changed(lstm, hidden_size=lstm.hidden_size + 1)
    return problem_of(changed(case, lstm=lstm, run=changed(run, **changes), expect=None))

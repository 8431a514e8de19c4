"""Why an implementation diverges: every explanation that holds, in words, with the fix; or what is known without one.

A recorded trace can only be matched: ``harness.diagnosis.search`` finds the deviation under which the reference
reproduces it. One that can be called is measured as well: see ``harness.diagnosis.anatomy.anatomy``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import asdict, replace

from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.search import Explanation, Search
from lockstep.harness.diagnosis.unexplained import explained_in_part, size_of, unexplained
from lockstep.harness.faults.execution import AS_INTENDED, Execution
from lockstep.harness.faults.interpret import interpret
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import names_text, number

MEASURED_MAP = "measured_map"  # a proof that holds for the shape of the measurement only
# A search looks at a few observations, an explanation is held against all of them.
MOST_WRONG = 4
MOST_RIGHT = 4
ONLY_IN = "only_in"  # the cases that a proof is about, where it is not about all
SEVERAL_SECONDS = 12.0  # after a measurement has failed
ROUNDS = 3  # a search is repeated with the observation that speaks against what it found
LARGE = 20_000  # numbers in x and W above which an observation only confirms


def diagnose(
    observations: Sequence[Observation],
    runs: Sequence[RunResult] = (),
    *,
    others: Sequence[Problem] = (),
    pairs: bool = True,
    two_biases: bool = False,
    limit: float = LIMIT_SIGMA,
) -> list[Diagnosis]:
    """Explain what one implementation returned.

    Args:
        observations: What it returned, right or wrong, and for which problems.
        runs: The results of the comparison, which tell what is known where nothing explains.
        others: Further problems, by which explanations of the same numbers might be told apart.
        pairs: Whether to look for two faults at once, which takes longer.
        two_biases: Whether it was handed b as two biases.
        limit: In sigma.

    Returns:
        The explanations, the plainest first; one that says "unexplained" if there is none; none if all agrees.
    """
    looked_at, candidates = most_telling(observations, limit), []
    for _ in range(ROUNDS):
        search = Search(looked_at, limit, two_biases=two_biases)
        if not search.wrong:
            return []
        candidates = search.explain(pairs=pairs)
        explanations = [explanation for explanation in candidates if confirmed(explanation, observations, limit)]
        if explanations:
            return diagnoses_of(explanations, [observation.problem for observation in observations], others)
        against = _against(candidates, observations, looked_at, limit)
        if against is None:
            break
        looked_at = [*looked_at, against]
    explanations = _in_some_cases(observations, others, limit, two_biases=two_biases)
    if explanations:
        return explanations
    part = _partly(observations, candidates, limit, two_biases=two_biases)
    if part is None:
        return [unexplained(observations, runs)]
    explained, left = part
    what = f"every case but {names_text([seen.problem.case.name for seen in left], 6)}"
    return [explained_in_part(unexplained(left, runs), diagnoses_of([explained], [], others)[0], what)]


def diagnose_runs(
    observations: Sequence[Observation], runs: Sequence[RunResult], limit: float = LIMIT_SIGMA, *, pairs: bool = True
) -> dict[str, list[Diagnosis]]:
    """Explain what one implementation returned for cases of any form.

    Args:
        observations: What it returned, right or wrong.
        runs: The results of the comparison.
        limit: In sigma.
        pairs: Whether to look for several faults of a plain layer at once, which takes longer.

    Returns:
        The explanations by case, for each that diverges. What plain layers do going forward is held against the
        faults of the catalogue, everything else against ``harness.causes``.
    """
    parts = {observation.problem.case.name: observation.plain_part for observation in observations}
    plain = [part for part in parts.values() if part is not None]
    of_plain = diagnose(plain, [run for run in runs if parts.get(run.case) is not None], pairs=pairs, limit=limit)
    wrong = {part.problem.case.name for part in plain if not part.sigma(AS_INTENDED) <= limit}
    others = [
        observation
        for observation in observations
        if observation.problem.case.name not in wrong and not observation.problem.case.plain
    ]
    causes = explain(others, limit)
    if not causes and any(run.status == "diverge" and run.case not in wrong for run in runs):
        other_runs = [run for run in runs if run.case not in wrong]
        nothing = unexplained(others or list(observations), other_runs)
        if of_plain and of_plain[0].sigma is not None:
            nothing = explained_in_part(nothing, of_plain[0], "what plain layers give going forward")
        causes = [nothing]
    diverging = [run.case for run in runs if run.status == "diverge"]
    return {case: of_plain if case in wrong else causes for case in diverging}


def _partly(
    observations: Sequence[Observation], candidates: Sequence[Explanation], limit: float, *, two_biases: bool
) -> tuple[Explanation, list[Observation]] | None:
    """What explains most of the cases, and those that it does not; None if it explains no wrong one.

    ``candidates``: what the search found to explain those that it looked at; else those without lengths are asked.
    """
    plain = [observation for observation in observations if observation.problem.lengths is None]
    wrong = [observation for observation in plain if not observation.sigma(AS_INTENDED) <= limit]
    if not candidates and wrong and len(plain) < len(observations):
        candidates = Search(most_telling(plain, limit), limit, two_biases=two_biases).explain(pairs=False)
    best: tuple[Explanation, list[Observation]] | None = None
    for explanation in candidates:
        left = [seen for seen in observations if not seen.sigma(explanation.execution) <= limit]
        helps = any(seen not in left and not seen.sigma(AS_INTENDED) <= limit for seen in observations)
        if helps and 2 * len(left) < len(observations) and (best is None or len(left) < len(best[1])):
            best = explanation, left
    return best


def _in_some_cases(
    observations: Sequence[Observation], others: Sequence[Problem], limit: float, *, two_biases: bool
) -> list[Diagnosis]:
    """Explain the cases that diverge alone: a fault that needs a size, lengths, or a batch to show."""
    wrong = [observation for observation in observations if not observation.sigma(AS_INTENDED) <= limit]
    if len(wrong) == len(observations):
        return []
    candidates = Search(most_telling(wrong, limit), limit, two_biases=two_biases).explain(pairs=False)
    explanations = [explanation for explanation in candidates if confirmed(explanation, wrong, limit)]
    if not explanations:
        return []
    right = [observation.problem.case.name for observation in observations if observation not in wrong]
    names = [observation.problem.case.name for observation in wrong]
    where = f" In {', '.join(names)} only: {', '.join(right)} {'agrees' if len(right) == 1 else 'agree'}."
    return [
        replace(cause, message=cause.message + where, proof={**cause.proof, ONLY_IN: names})
        for cause in diagnoses_of(explanations, [observation.problem for observation in wrong], others)
    ]


def explain_several(
    observations: Sequence[Observation],
    others: Sequence[Problem] = (),
    *,
    two_biases: bool = False,
    limit: float = LIMIT_SIGMA,
) -> list[Diagnosis]:
    """Look for several faults at once where no single one explains what was returned; empty if there are none."""
    search = Search(most_telling(observations, limit), limit, two_biases=two_biases)
    explanations = [
        explanation
        for explanation in search.explain_several(SEVERAL_SECONDS)
        if confirmed(explanation, observations, limit)
    ]
    return (
        diagnoses_of(explanations, [observation.problem for observation in observations], others)
        if explanations
        else []
    )


def _against(
    candidates: Sequence[Explanation], observations: Sequence[Observation], known: Sequence[Observation], limit: float
) -> Observation | None:
    """An observation that speaks against what was found without it."""
    for candidate in candidates[:1]:
        for observation in observations:
            if observation not in known and not observation.sigma(candidate.execution) <= limit:
                return observation
    return None


def most_telling(observations: Sequence[Observation], limit: float) -> list[Observation]:
    """Choose the observations that tell most: small ones, wrong and right."""
    by_size = sorted(
        observations,
        key=lambda observation: (_large(observation), observation.problem.x.size + observation.problem.W.size),
    )
    wrong = [observation for observation in by_size if not observation.sigma(AS_INTENDED) <= limit]
    right = [observation for observation in by_size if observation not in wrong]
    small = [observation for observation in wrong if not _large(observation)] or wrong[:1]
    kinds: dict[tuple[bool, bool, bool], list[Observation]] = {}
    for observation in small:
        T, B, _ = observation.problem.x.shape
        kinds.setdefault((observation.problem.lengths is not None, B > 1, T > 1), []).append(observation)
    # One of each kind, then the smallest of what is left.
    first = [of_kind[0] for of_kind in kinds.values()]
    others = [observation for observation in small if observation not in first]
    return [
        *first,
        *others[: max(MOST_WRONG - len(first), 0)],
        *[observation for observation in right if not _large(observation)][:MOST_RIGHT],
    ]


def _large(observation: Observation) -> bool:
    return size_of(observation) > LARGE


def confirmed(explanation: Explanation, observations: Sequence[Observation], limit: float) -> bool:
    """Whether an explanation reproduces every observation."""
    return all(observation.sigma(explanation.execution) <= limit for observation in observations)


def diagnoses_of(
    explanations: list[Explanation], problems: Sequence[Problem], others: Sequence[Problem]
) -> list[Diagnosis]:
    """Put explanations into words; those that these data cannot tell apart name each other."""
    names = [explanation.name for explanation in explanations]
    apart = _telling_problem(explanations, others) if len(explanations) > 1 else None
    return [
        Diagnosis(
            fault=explanation.name,
            message=explanation.message,
            fix=explanation.fix,
            sigma=explanation.sigma,
            evidence=evidence_of(explanation.sigma, len(problems)),
            indistinguishable_from=[name for name in names if name != explanation.name],
            told_apart_by=apart,
            family=explanation.faults[0].family,
            met=explanation.faults[0].met,
            proof=explanation.execution.changes(),
        )
        for explanation in explanations
    ]


def evidence_of(sigma: float, problems: int) -> str:
    """What the proof came to."""
    over = "" if problems == 1 else f" of {problems} problems"
    how = f"to {number(sigma)} sigma" if sigma else "exactly"
    return f"The reference with this mistake reproduces every number{over} {how}."


def _telling_problem(explanations: list[Explanation], others: Sequence[Problem]) -> str | None:
    """The name of a problem under which the first explanation differs from another."""
    first = explanations[0].execution
    for problem in others:
        for alternative in explanations[1:]:
            if differ(problem, first, alternative.execution):
                return problem.case.name
    return None


def differ(problem: Problem, first: Execution, second: Execution, limit: float = LIMIT_SIGMA) -> bool:
    """Whether two executions give h or c of a problem further apart than rounding could."""
    a, b = interpret(problem, first), interpret(problem, second)
    with np.errstate(all="ignore"):
        for name in ("h", "c"):
            distance = np.abs(a[name].value - b[name].value)
            near = distance <= limit * (a[name].noise + b[name].noise)
            same = np.isnan(a[name].value) & np.isnan(b[name].value)
            if not (near | same | (a[name].value == b[name].value)).all():
                return True
    return False


def execution_of(diagnosis: Diagnosis) -> Execution:
    """The execution that proves a diagnosis."""
    fields = {
        name: tuple(v) if isinstance(v, list) else v for name, v in diagnosis.proof.items() if name != ONLY_IN
    }  # fmt: skip
    return Execution(**{**asdict(AS_INTENDED), **fields})

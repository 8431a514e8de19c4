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
from lockstep.harness.diagnosis.match import explain
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.search import Explanation, Search
from lockstep.harness.diagnosis.unexplained import _size, unexplained
from lockstep.harness.faults.execution import CANONICAL, Execution
from lockstep.harness.faults.interpret import interpret
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import number

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
    looked_at = chosen(observations, limit)
    for _ in range(ROUNDS):
        search = Search(looked_at, limit, two_biases=two_biases)
        if not search.wrong:
            return []
        candidates = search.explain(pairs=pairs)
        found = [explanation for explanation in candidates if confirmed(explanation, observations, limit)]
        if found:
            return told(found, [one.problem for one in observations], others)
        against = _against(candidates, observations, looked_at, limit)
        if against is None:
            break
        looked_at = [*looked_at, against]
    found = _in_some_cases(observations, others, limit, two_biases=two_biases)
    if found:
        return found
    nothing = unexplained(looked_at, runs)
    return [replace(nothing, facts=[*nothing.facts, *_partly(observations, limit, two_biases=two_biases)])]


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
        faults of the catalogue, everything else against ``harness.faults.network_faults``.
    """
    parts = {one.problem.case.name: one.plain_part for one in observations}
    plain = [part for part in parts.values() if part is not None]
    of_plain = diagnose(plain, [run for run in runs if parts.get(run.case) is not None], pairs=pairs, limit=limit)
    wrong = {part.problem.case.name for part in plain if not part.sigma(CANONICAL) <= limit}
    rest = [one for one in observations if one.problem.case.name not in wrong and not one.problem.case.plain]
    found = explain(rest, limit)
    if not found and any(run.status == "diverge" and run.case not in wrong for run in runs):
        own = [run for run in runs if run.case not in wrong]
        nothing = unexplained(rest or list(observations), own)
        if of_plain and of_plain[0].sigma is not None:
            fact = f"plain forward layers are explained: {of_plain[0].message} [{of_plain[0].fault}]"
            nothing = replace(nothing, facts=[*nothing.facts, fact])
        found = [nothing]
    diverging = [run.case for run in runs if run.status == "diverge"]
    return {case: of_plain if case in wrong else found for case in diverging}


def _partly(observations: Sequence[Observation], limit: float, *, two_biases: bool) -> list[str]:
    """Say which fault explains every case without lengths, where there are others that it does not explain."""
    plain = [one for one in observations if one.problem.lengths is None]
    if len(plain) == len(observations) or all(one.sigma(CANONICAL) <= limit for one in plain):
        return []
    candidates = Search(chosen(plain, limit), limit, two_biases=two_biases).explain(pairs=False)
    for one in candidates:
        if confirmed(one, plain, limit):
            rest = ", ".join(o.problem.case.name for o in observations if not o.sigma(one.execution) <= limit)
            return [f"explains all but {rest}: {one.message} [{one.name}]"]
    return []


def _in_some_cases(
    observations: Sequence[Observation], others: Sequence[Problem], limit: float, *, two_biases: bool
) -> list[Diagnosis]:
    """Explain the cases that diverge alone: a fault that needs a size, lengths, or a batch to show."""
    wrong = [one for one in observations if not one.sigma(CANONICAL) <= limit]
    if len(wrong) == len(observations):
        return []
    candidates = Search(chosen(wrong, limit), limit, two_biases=two_biases).explain(pairs=False)
    found = [explanation for explanation in candidates if confirmed(explanation, wrong, limit)]
    if not found:
        return []
    right = [one.problem.case.name for one in observations if one not in wrong]
    names = [one.problem.case.name for one in wrong]
    where = f" In {', '.join(names)} only: {', '.join(right)} {'agrees' if len(right) == 1 else 'agree'}."
    return [
        replace(one, message=one.message + where, proof={**one.proof, ONLY_IN: names})
        for one in told(found, [one.problem for one in wrong], others)
    ]


def several(
    observations: Sequence[Observation],
    others: Sequence[Problem] = (),
    *,
    two_biases: bool = False,
    limit: float = LIMIT_SIGMA,
) -> list[Diagnosis]:
    """Look for several faults at once where no single one explains what was returned; empty if there are none."""
    search = Search(chosen(observations, limit), limit, two_biases=two_biases)
    found = [one for one in search.explain_several(SEVERAL_SECONDS) if confirmed(one, observations, limit)]
    return told(found, [one.problem for one in observations], others) if found else []


def _against(
    candidates: Sequence[Explanation], observations: Sequence[Observation], known: Sequence[Observation], limit: float
) -> Observation | None:
    """Give an observation that speaks against what was found without it."""
    for candidate in candidates[:1]:
        for one in observations:
            if one not in known and not one.sigma(candidate.execution) <= limit:
                return one
    return None


def chosen(observations: Sequence[Observation], limit: float) -> list[Observation]:
    """Choose the observations that tell most: small ones, wrong and right."""
    by_size = sorted(observations, key=lambda one: (_large(one), one.problem.x.size + one.problem.W.size))
    wrong = [one for one in by_size if not one.sigma(CANONICAL) <= limit]
    right = [one for one in by_size if one not in wrong]
    small = [one for one in wrong if not _large(one)] or wrong[:1]
    kinds: dict[tuple[bool, bool, bool], list[Observation]] = {}
    for one in small:
        T, B, _ = one.problem.x.shape
        kinds.setdefault((one.problem.lengths is not None, B > 1, T > 1), []).append(one)
    # One of each kind, then the smallest of what is left.
    first = [own[0] for own in kinds.values()]
    rest = [one for one in small if one not in first]
    return [*first, *rest[: max(MOST_WRONG - len(first), 0)], *[one for one in right if not _large(one)][:MOST_RIGHT]]


def _large(one: Observation) -> bool:
    return _size(one) > LARGE


def confirmed(explanation: Explanation, observations: Sequence[Observation], limit: float) -> bool:
    """Whether an explanation reproduces every observation."""
    return all(one.sigma(explanation.execution) <= limit for one in observations)


def told(found: list[Explanation], seen: Sequence[Problem], others: Sequence[Problem]) -> list[Diagnosis]:
    """Put explanations into words; those that these data cannot tell apart name each other."""
    names = [explanation.name for explanation in found]
    apart = _told_apart(found, others) if len(found) > 1 else None
    return [
        Diagnosis(
            fault=explanation.name,
            message=explanation.message,
            fix=explanation.fix,
            sigma=explanation.sigma,
            evidence=evidence_of(explanation.sigma, len(seen)),
            indistinguishable_from=[name for name in names if name != explanation.name],
            told_apart_by=apart,
            family=explanation.faults[0].family,
            met=explanation.faults[0].met,
            proof=explanation.execution.changes(),
        )
        for explanation in found
    ]


def evidence_of(sigma: float, problems: int) -> str:
    """Say what the proof came to."""
    over = "" if problems == 1 else f" of {problems} problems"
    how = f"to {number(sigma)} sigma" if sigma else "exactly"
    return f"The reference, run that way, reproduces every number{over} {how}."


def _told_apart(found: list[Explanation], others: Sequence[Problem]) -> str | None:
    """Name a problem under which the first explanation differs from another."""
    first = found[0].execution
    for problem in others:
        for other in found[1:]:
            if differ(problem, first, other.execution):
                return problem.case.name
    return None


def differ(problem: Problem, one: Execution, other: Execution, limit: float = LIMIT_SIGMA) -> bool:
    """Whether two executions give h or c of a problem further apart than rounding could."""
    a, b = interpret(problem, one), interpret(problem, other)
    with np.errstate(all="ignore"):
        for name in ("h", "c"):
            distance = np.abs(a[name].value - b[name].value)
            near = distance <= limit * (a[name].noise + b[name].noise)
            same = np.isnan(a[name].value) & np.isnan(b[name].value)
            if not (near | same | (a[name].value == b[name].value)).all():
                return True
    return False


# -- what is known without an explanation ------------------------------------------------------------------------


def proof_text(diagnosis: Diagnosis) -> str:
    """Write the fields of an execution that differ from the canonical one."""
    return ", ".join(f"{name} = {value!r}" for name, value in diagnosis.proof.items())


def execution_of(diagnosis: Diagnosis) -> Execution:
    """Give the execution that proves a diagnosis."""
    fields = {
        name: tuple(v) if isinstance(v, list) else v for name, v in diagnosis.proof.items() if name != ONLY_IN
    }  # fmt: skip
    return Execution(**{**asdict(CANONICAL), **fields})

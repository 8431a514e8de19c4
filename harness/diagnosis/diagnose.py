"""Why an implementation diverges: every explanation that holds, in words, with the fix; or what is known without one.

A recorded trace can only be matched: ``harness.diagnosis.explain_causes`` finds the deviation under which the reference
reproduces it. One that can be called is measured as well: see ``harness.diagnosis.anatomy.anatomy``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.clock import seldom_collecting
from lockstep.harness.diagnosis.explain_causes import Search
from lockstep.harness.diagnosis.isolate import Ask
from lockstep.harness.diagnosis.named_causes import Found, expected_named
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.unexplained import explained_in_part, first_wrong_text, known_of, unexplained
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import names_text

Measuring = Callable[[Search], list[Found]]
MEASURED_MAP = "measured_map"  # a proof that holds for the shape of the measurement only


def diagnose(
    observations: Sequence[Observation],
    runs: Sequence[RunResult] = (),
    *,
    others: Sequence[AnyProblem] = (),
    pairs: bool = True,
    layout: str = "canonical",
    limit: float = LIMIT_SIGMA,
    ask: Ask | None = None,
    measuring: Measuring | None = None,
    on_part: Callable[[str], None] = lambda words: None,
) -> list[Diagnosis]:
    """Explain what one implementation returned.

    Args:
        observations: What it returned, right or wrong, and for which problems of one form.
        runs: The results of the comparison, which tell what is known where nothing explains.
        others: Further problems, by which explanations of the same numbers might be told apart.
        pairs: Whether to look for two faults at once, which takes longer.
        layout: In which it was handed its weights.
        limit: In sigma.
        ask: What it returns for further problems, where it can be called.
        measuring: What explains with what is measured of it, where it can be called and is no plain layer.
        on_part: Told in words what is looked for, whenever that changes.

    Returns:
        The explanations, the plainest first; one that says "unexplained" if there is none; none if all agrees.
    """
    search = Search.of(observations, limit, layout=layout)
    if search is not None:
        search.ask, search.measuring, search.on_part = ask, measuring, on_part
    return diagnose_found(search, observations, runs, others=others, pairs=pairs)


def diagnose_found(
    search: Search | None,
    observations: Sequence[Observation],
    runs: Sequence[RunResult] = (),
    *,
    others: Sequence[AnyProblem] = (),
    pairs: bool = True,
) -> list[Diagnosis]:
    """As ``diagnose``, with a search that is gone on with afterwards."""
    if search is None:
        # All is right until a number overflows: a divergence without anything to search in.
        overflows = any(observation.finite is not observation for observation in observations)
        return [unexplained(observations, runs)] if overflows else []
    causes = search.causes(several=pairs) or search.in_some_cases()
    if causes:
        return search.told(causes, others)
    most = search.explaining_most()
    if most is None:
        nothing = unexplained(observations, runs)
        return [replace(nothing, facts=[*nothing.facts, *search.ended_facts])]
    explained, left = most
    what = f"every case but {names_text([observation.problem.case.name for observation in left], 6)}"
    part = search.told([explained])[0]
    telling = known_of(left, runs).observation
    computed = expected_named(part.fault, telling.problem)
    still_wrong = [] if computed is None else first_wrong_text(telling, computed)
    return [explained_in_part(unexplained(left, runs), part, what, still_wrong)]


@seldom_collecting()
def diagnose_runs(
    observations: Sequence[Observation],
    runs: Sequence[RunResult],
    limit: float = LIMIT_SIGMA,
    *,
    pairs: bool = True,
    layout: str = "canonical",
    ask: Ask | None = None,
    measuring: Measuring | None = None,
    on_part: Callable[[str], None] = lambda words: None,
) -> dict[str, list[Diagnosis]]:
    """Explain what one implementation returned for cases of any form.

    Args:
        observations: What it returned, right or wrong.
        runs: The results of the comparison.
        limit: In sigma.
        pairs: Whether to look for several faults at once, which takes longer.
        layout: In which it was handed its weights.
        ask: What it returns for further problems, where it can be called.
        measuring: What explains with what is measured of it, where it can be called and is no plain layer.
        on_part: Told in words what is looked for, whenever that changes.

    Returns:
        The explanations by case, for each that diverges: of plain layers, networks and decoders each by themselves.
    """
    decoders = [observation for observation in observations if isinstance(observation.problem, DecoderProblem)]
    layers = [observation for observation in observations if observation not in decoders]
    plain = [observation for observation in layers if observation.problem.case.plain]
    networks = [observation for observation in layers if observation not in plain]
    causes: dict[str, list[Diagnosis]] = {}
    for group in (decoders, plain, networks):
        names = {observation.problem.case.name for observation in group}
        diagnosis = diagnose(
            group, [run for run in runs if run.case in names], pairs=pairs, layout=layout, limit=limit, ask=ask,
            measuring=measuring, on_part=on_part,
        )  # fmt: skip
        causes |= dict.fromkeys(names, diagnosis)
    diverging = [run.case for run in runs if run.status == "diverge"]
    return {case: causes.get(case) or [unexplained(list(observations), runs)] for case in diverging}

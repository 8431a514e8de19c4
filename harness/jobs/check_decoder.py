"""Check a user's own attention decoder: run it over cases, say why it differs, and whether its steps share weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import DecoderProblem
from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.comparison.results import Diagnosis, Limit, RunResult
from lockstep.harness.diagnosis.counterfactual import with_counterfactuals
from lockstep.harness.diagnosis.sharing import diagnosis_of, unshared
from lockstep.harness.jobs.judge_run import FRESH_SEED, Problems, explained, judged, observed
from lockstep.harness.ports.port import LocalPort, Port
from lockstep.harness.reference.attention import expect_decoder


def check_decoder(
    port: Port | LocalPort,
    cases: Sequence[Case],
    *,
    limit: float | Limit | None = None,
    on_result: Callable[[RunResult], None] = lambda result: None,
    details: bool = False,
) -> list[RunResult]:
    """Run a port over attention decoders, judge what it returns, and explain it.

    A port goes forward alone: gradients that a case asks for are left out. Of a case with an encoder it is given what
    the reference's encoder gives.

    Args:
        port: What to check.
        cases: Over what.
        limit: Sigma beyond which a number diverges; None leaves it to each case.
        on_result: Called with each result.
        details: Whether results tell some places number by number, for a report.

    Raises:
        CaseError: If a case cannot be made concrete.
    """
    problems = Problems()
    asked = [as_given(DecoderProblem.from_case(case)) for case in cases]
    for problem in asked:
        problems.put(problem)
    # The first problem comes again when all others are through: what is remembered, or random, shows.
    *replies, again = port.call([*asked, asked[0]])
    runs = [
        judged(problem.case, port.name, reply, problems, limit, details=details)
        for problem, reply in zip(asked, replies, strict=True)
    ]
    runs[0] = _repeated(runs[0], replies[0], again, judged(asked[0].case, port.name, again, problems, limit))
    first = next((k for k, run in enumerate(runs) if run.status in {"agree", "diverge"}), None)
    repeats = runs[0].repeatable is not False or runs[0].status == "agree"
    not_shared = [] if first is None or not repeats else unshared(port, asked[first])
    if not_shared:
        runs = [replace(run, status="diverge") if run.status == "agree" else run for run in runs]
    for run in runs:
        on_result(run)
    if all(run.status != "diverge" for run in runs):
        return runs
    seen = observed(asked, replies)
    found_by_case = explained(port, seen, runs, _fresh)
    if not_shared:
        numbers = [one for diagnosis in found_by_case.values() for one in diagnosis if "-made-anew-" in one.fault]
        found = [diagnosis_of(one, _of_same(one.names, numbers)) for one in not_shared]
        found_by_case = {run.case: found for run in runs}
    runs = [
        replace(run, diagnosis=run.diagnosis or found_by_case.get(run.case, [])) if run.status == "diverge" else run
        for run in runs
    ]
    return with_counterfactuals(runs, seen)


def _of_same(names: Sequence[str], numbers: Sequence[Diagnosis]) -> Diagnosis | None:
    """Give the explanation by numbers that is about the same weights."""
    return next(
        (one for one in numbers if set(one.fault.partition("-made-anew-")[0].split("+")) - {"W_a"} == set(names)), None
    )


def as_given(problem: DecoderProblem) -> DecoderProblem:
    """Give a problem as a port gets it: forward alone, with encoder outputs in the place of an encoder."""
    case, w = problem.case, problem.weights
    decoder, enc = problem.decoder, problem.enc
    if enc is None:
        outputs = expect_decoder(problem)["enc"]
        enc = (outputs.value + outputs.rest).astype(dtype_of(case.run.dtype))
        decoder = replace(decoder, encoder=None, source_size=decoder.width(case.lstm))
    run = replace(case.run, gradients=False, cotangents=None)
    own = {name: array for name, array in w.arrays().items() if not name.endswith("_encoder")}
    given = replace(case, attention_decoder=decoder, run=run, expect=None)
    return DecoderProblem(
        given, type(w)(**own), problem.h0, problem.c0, problem.y0, enc=enc, lengths=problem.lengths
    )  # fmt: skip


def _repeated(run: RunResult, first: Outcome, again: Outcome, judged_again: RunResult) -> RunResult:
    """Say of the first case whether the same call gave the same numbers, or such as are right."""
    if first.trace is None or again.trace is None:
        return run
    a, b = first.trace.tensors(), again.trace.tensors()
    same = a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)
    if same or (run.status == judged_again.status == "agree"):
        return replace(run, repeatable=same)
    found = Diagnosis(
        fault="not-repeatable",
        message="Calls with the same arguments give other numbers: dropout or noise is active, weights are made anew, "
        "or something is remembered from call to call.",
        fix="Switch to inference mode (model.eval(), training=False), use the weights that are given, keep no state.",
        evidence="The same call gave other numbers when it was made again.",
        family="behaviour",
    )
    return replace(run, status="diverge", repeatable=False, diagnosis=[found])


def _fresh(problem: Any) -> DecoderProblem:
    """Give a problem of the same form with numbers that no search has seen, weights that are all alike replaced too."""
    run = problem.case.run
    changes: dict[str, Any] = {"seed": run.seed + FRESH_SEED}
    changes |= {key: "probe" for key in ("weights", "inputs") if run.values(key).kind in {"ones", "zeros"}}
    return DecoderProblem.from_case(replace(problem.case, run=replace(run, **changes)))

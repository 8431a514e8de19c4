"""What a trace comes to, judged as a run judges it."""

from __future__ import annotations

from msgspec.structs import replace

from harness.compare import compare, limit_for
from harness.reference import expect
from harness.results import RunResult, judge
from harness.spread import widened


def judged(case, problem, trace):
    """The result as a run gives it: beyond the limit, copies decide whether it is rounding that is amplified."""
    limit = limit_for(case)
    run = RunResult(case=case.name, backend="b", status="agree", limit=limit, timesteps=case.run.timesteps)
    expected = expect(problem)
    for kept in (lambda: expected, lambda: widened(problem, expected)):
        run = judge(replace(run, tensors=compare(trace, kept(), case, limit)), limit)
        if run.status == "agree":
            break
    return run

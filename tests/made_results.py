"""Results made by hand: for what is said and shown of them, where nothing need run."""

from __future__ import annotations

from lockstep.harness.comparison.results import (
    Diagnosis,
    Difference,
    First,
    Limit,
    PerTimestep,
    Results,
    RunResult,
    TensorResult,
)

HOSTILE = "`x`|<script>alert(1)</script>\n::error::no\x1b[31m\u202e\ud800[b](c)%0A,:" + "long" * 100
EXPLAINED = Diagnosis(
    fault="state-reset",
    message="The state is not carried.",
    fix="Feed the state back.",
    met="Somewhere.",
    family="state",
)


def made(case, backend, status="agree", *, sigma=None, diagnosis=(), **fields):
    """Give a result; with a ``sigma`` it has a tensor h whose worst number is that far off, at timestep 2."""
    tensors, first = {}, None
    if sigma is not None:
        worst = Difference(
            at=(2, 0, 1), observed=1.5, expected=1.0, sigma=sigma, ulp=9.0, abs=0.5, rel=0.5, timestep=2
        )  # fmt: skip
        steps = PerTimestep([sigma], [9.0], [0.5], [0.5], [(0, 1)], [1.5], [1.0], [1])
        beyond = worst if status == "diverge" else None
        tensors = {
            "h": TensorResult(verdict=status, worst=worst, first_divergence=beyond, per_timestep=steps, size=24)
        }  # fmt: skip
        first = First("h", 2) if status == "diverge" else None
    return RunResult(
        case=case, backend=backend, status=status, limit=Limit("derived", sigma=10.0), tensors=tensors,
        first_divergence=first, diagnosis=list(diagnosis), timesteps=3, **fields,
    )  # fmt: skip


def together(*runs):
    """Give the results of one command."""
    return Results(environment={"lockstep": "0.1.0", "reference": {"float32": "float64"}}, runs=list(runs))


def many(cases, backends, **fields):
    """Give a table full of results."""
    return [made(f"case-{k}", f"backend_{j}", **fields) for k in range(cases) for j in range(backends)]

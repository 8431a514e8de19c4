"""Results built by hand: each status, explanations, and hostile strings wherever a string may stand."""

from __future__ import annotations

import math
from typing import Any

from lockstep.harness.adapters.trace import Parameter
from lockstep.harness.cases.info import CaseInfo
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

LIMIT = Limit("derived", sigma=10.0)

HOSTILE = (
    """</script><script>window.ran = 1</script><img src=x onerror="window.ran = 1">'"`${1}{{ 1 }}&lt;"""
    "\x00\x1b[31m\u202e"
)


def make_results(*runs: RunResult, **fields: Any) -> Results:
    return Results(environment={"python": "3.11.7", "processors": 2}, runs=list(runs), **fields)


def every_status() -> Results:
    """Two cases, and each status that a run can have."""
    return make_results(
        make_run("ones", "numpy_loop", sigma={"c": [0.5, 1.0, 2.0], "h": [0.5, 1.5, 1.0]}),
        make_run("ones", "torch_lstm", sigma={"h": [1.0, 40.0, 790.0], "c_n": [3.0]}, rerun="lockstep run ones"),
        make_run("ones", "jax_scan", status="unsupported", message="JAX would narrow float64"),
        make_run("ones", "tf_loop", status="failed", message="ValueError: bad kernel", stderr="Traceback\n  line 7"),
        make_run("long", "numpy_loop", status="crashed", message="killed by SIGSEGV", stderr="core dumped"),
        make_run("long", "torch_lstm", status="timeout", message="no answer for 60 s"),
    )


def explained() -> Results:
    """A run that one of two faults explains, one that nothing explains, and an agreeing one, all with notes."""
    reset = Diagnosis(
        fault="state-reset", message="The state is not carried.", fix="Feed it into the next step.", sigma=1.4,
        evidence="The reference with this mistake reproduces every number to 1.4 sigma.",
        met="ChenRocks/fast_abs_rl#14.",
        indistinguishable_from=["state-zero"], told_apart_by="batch",
    )  # fmt: skip
    zero = Diagnosis(fault="state-zero", message="The state is zero.", fix="Keep it.", sigma=1.5)
    unknown = Diagnosis(
        fault="unexplained", message="Nothing reproduces these numbers.", evidence="What is known:",
        facts=["wrong units of h: all 7", "h follows from c"],
    )  # fmt: skip
    sigma = {"h": [1.0, 50.0]}
    return make_results(
        make_run("ones", "port", sigma=sigma, diagnosis=[reset, zero], notes=["x came as float64: converted"]),
        make_run("ones", "other", sigma=sigma, diagnosis=[unknown]),
        make_run("batch", "port", sigma={"h": [1.0]}, notes=["prints to stdout"]),
        make_run("batch", "other", sigma={"h": [1.0]}, diagnosis=[reset]),
    )


def hostile() -> Results:
    """Scripts, quotes, control characters and very long words wherever a string may stand."""
    long = "x" * 10_000
    names = [(HOSTILE, HOSTILE), (HOSTILE, long), (long, HOSTILE), ("plain", "plain")]
    words = Diagnosis(
        fault=HOSTILE, message=HOSTILE + long, fix=HOSTILE + long, evidence=HOSTILE, met=HOSTILE + long,
        indistinguishable_from=[HOSTILE, long], told_apart_by=HOSTILE,
    )  # fmt: skip
    facts = Diagnosis(fault=long, message=HOSTILE, facts=[HOSTILE, long])
    said = {"rerun": HOSTILE, "notes": [HOSTILE, long]}
    results = make_results(*(
        make_run(case, name, sigma={"h": [1.0, 2.0, 50.0]}, diagnosis=[why, words], **said)
        for (case, name), why in zip(names, [words, facts, words, facts], strict=True)
    ))  # fmt: skip
    printed = {"message": HOSTILE + long, "stderr": f"{HOSTILE}\n{long}\n\udc80\r\n"}
    info = CaseInfo(
        description=HOSTILE + long, features=[HOSTILE, long], timesteps=3, batch=1, input_size=1, hidden_size=1,
        dtype=HOSTILE, model=HOSTILE,
    )  # fmt: skip
    results.cases.update({HOSTILE: info, long: info})
    found = {
        "parameters": [Parameter(HOSTILE, (1,)), Parameter(long, (2,))],
        "device": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
        "seconds": {HOSTILE: 1.0},
    }
    results.runs.append(make_run("plain", HOSTILE, status="failed", **printed, **found))
    results.environment.update({HOSTILE: HOSTILE, long: long, "nested": {HOSTILE: [HOSTILE]}})
    return results


def make_run(
    case: str = "ones", backend: str = "torch_lstm", *, sigma: dict[str, list[float]] | None = None, **fields: Any
) -> RunResult:
    """Make one run: with numbers where ``sigma`` has them, else as its fields say."""
    tensors = {name: _tensor(name, series) for name, series in (sigma or {}).items()}
    diverging = [
        (tensor.first_divergence.timestep, name) for name, tensor in tensors.items() if tensor.first_divergence
    ]
    first = First(min(diverging)[1], min(diverging)[0]) if diverging else None
    found = {
        "status": "diverge" if first else "agree", "limit": LIMIT, "tensors": tensors, "first_divergence": first,
        "timesteps": max((len(series) for series in (sigma or {}).values()), default=0),
    }  # fmt: skip
    return RunResult(case=case, backend=backend, **{**found, **fields})


def _tensor(name: str, sigma: list[float]) -> TensorResult:
    T = len(sigma)
    beyond = [t for t, value in enumerate(sigma) if not value <= LIMIT.sigma]
    steps = PerTimestep(
        sigma=sigma, ulp=[1.0] * T, abs=[1e-7] * T, rel=[1e-7] * T, at=[(0, 0)] * T,
        observed=[0.5] * T, expected=[0.25] * T, beyond=[int(t in beyond) for t in range(T)],
    )  # fmt: skip
    worst = max(range(T), key=lambda t: math.inf if math.isnan(sigma[t]) else sigma[t])
    return TensorResult(
        verdict="diverge" if beyond else "agree",
        worst=_difference(name, steps, worst),
        first_divergence=_difference(name, steps, beyond[0]) if beyond else None,
        per_timestep=steps,
        size=4 * T,
    )


def _difference(name: str, steps: PerTimestep, t: int) -> Difference:
    return Difference(
        at=steps.at[t] if name in {"c_n", "h_n"} else (t, *steps.at[t]),
        observed=steps.observed[t], expected=steps.expected[t],
        sigma=steps.sigma[t], ulp=steps.ulp[t], abs=steps.abs[t], rel=steps.rel[t], timestep=t,
    )  # fmt: skip

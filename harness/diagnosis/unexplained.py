"""What is known of a divergence that nothing explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.execution import CANONICAL
from lockstep.harness.reference.curves import sigmoid
from lockstep.harness.reference.noise import LIMIT_SIGMA, roundoff

UNEXPLAINED = "unexplained"


NARROW = "all differences are as small as rounding to"


NOT_FINITE = "a number is not finite at"


def _size(one: Observation) -> int:
    return sum(array.size for name, array in one.problem.arrays().items() if name.startswith(("x", "enc", "W", "R")))


def unexplained(seen: Sequence[Observation], runs: Sequence[RunResult]) -> Diagnosis:
    """Say that nothing explains it, and what is known all the same."""
    first = next((run for run in runs if run.status == "diverge" and run.first_divergence is not None), None)
    wrong = [one for one in seen if not one.sigma(CANONICAL) <= LIMIT_SIGMA] or list(seen)
    # The case that tells most: several timesteps, sequences and units, and small.
    one = max(
        wrong, key=lambda o: (sum(n > 1 for n in (*o.problem.case.shape[:2], o.problem.case.shape[3])), -_size(o))
    )
    first = next((run for run in runs if run.case == one.problem.case.name), first)
    return Diagnosis(
        fault=UNEXPLAINED,
        message="No deviation of the catalogue, nor several together that were tried, reproduces these numbers.",
        facts=facts(one, first),
    )


def facts(one: Observation, run: RunResult | None) -> list[str]:
    """Say of one wrong observation where it is wrong, and whether its parts fit together."""
    found = [f'looked at in case "{one.problem.case.name}"'] if one.problem.case.name else []
    if run is not None and run.first_divergence is not None:
        found.append(f"first wrong: {run.first_divergence.tensor} at timestep {run.first_divergence.timestep}")
    if one.breaks_off:
        t = one.finite.problem.case.run.timesteps if one.finite.tensors else 0
        found.append(f"{NOT_FINITE} timestep {t}, and right before it")
    found += _affected(one)
    precision = _as_if_narrow(one)
    if precision:
        found.append(precision)
    if run is not None and run.local is not None:
        step = run.local.first_divergence
        found.append(
            "each step alone is right, given the state observed before it: the difference accumulates"
            if step is None
            else f"timestep {step} computes otherwise even from the state observed before it"
        )
    follows = _h_follows_from_c(one)
    if follows is not None:
        found.append(
            "h is o tanh(c) of the observed c"
            if follows
            else "h is not o tanh(c) of the observed c: its equation, or the output gate or what that is fed, differs"
        )
    return found


def _affected(one: Observation) -> list[str]:
    name = "h" if "h" in one.tensors else next(iter(one.tensors))
    wrong = ~(_sigma(one, name) <= LIMIT_SIGMA)
    found = []
    for axis, what in zip(range(wrong.ndim)[::-1], ("units", "sequences", "timesteps"), strict=False):
        others = tuple(k for k in range(wrong.ndim) if k != axis)
        places = np.flatnonzero(wrong.any(axis=others))
        count = wrong.shape[axis]
        found.append(f"{what} affected in {name}: {_listed(places, count)}")
    return found


def _listed(places: Array, count: int) -> str:
    if len(places) == count:
        return f"all {count}" if count > 1 else "the only one"
    shown = ", ".join(str(int(place)) for place in places[:8])
    return f"{shown}{', ...' if len(places) > 8 else ''} of {count}" if len(places) else "none"  # noqa: PLR2004


def _sigma(one: Observation, name: str) -> Array:
    expected = one.expected[name]
    with np.errstate(all="ignore"):
        return np.abs((one.tensors[name] - expected.value) - expected.rest) / expected.noise


def _as_if_narrow(one: Observation) -> str | None:
    """Tell numbers that are as far off as a narrower format's rounding would put them."""
    u = roundoff(one.problem.case.run.dtype)
    worst = max(float(np.nan_to_num(_sigma(one, name), nan=np.inf).max()) for name in one.tensors)
    for form, other in (("float32", 2.0**-24), ("float16 or tf32", 2.0**-11), ("bfloat16", 2.0**-8)):
        if other > 4 * u and worst * u / other <= LIMIT_SIGMA:
            return f"{NARROW} {form} could make them: some part may be computed so"
    return None


def _h_follows_from_c(one: Observation) -> bool | None:
    """Whether each h is o tanh(c), with o from the h observed before it and c as observed."""
    if not {"h", "c"} <= one.tensors.keys() or one.problem.lengths is not None or not one.problem.case.plain:
        return None
    p, h, c = one.problem, one.values["h"], one.values["c"]
    H = p.case.lstm.hidden_size
    before = np.concatenate([p.h0[None].astype(h.dtype), h[:-1]])
    with np.errstate(all="ignore"):
        o = sigmoid(p.x @ p.W[3 * H :].T + before @ p.R[3 * H :].T + p.b[3 * H :])
        return bool((np.abs(h - o * np.tanh(c)) <= one.near["h"]).all())

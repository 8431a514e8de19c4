"""What is known of a divergence that nothing explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.execution import AS_INTENDED
from lockstep.harness.reference.curves import sigmoid
from lockstep.harness.reference.noise import LIMIT_SIGMA, roundoff

UNEXPLAINED = "unexplained"


NARROW = "all errors are as small as rounding to"


NOT_FINITE = "a number is NaN or infinite at"


def _size(observation: Observation) -> int:
    return sum(
        array.size for name, array in observation.problem.arrays().items() if name.startswith(("x", "enc", "W", "R"))
    )


def unexplained(observations: Sequence[Observation], runs: Sequence[RunResult]) -> Diagnosis:
    """The diagnosis where nothing explains it: what is known all the same."""
    first = next((run for run in runs if run.status == "diverge" and run.first_divergence is not None), None)
    wrong = [observation for observation in observations if not observation.sigma(AS_INTENDED) <= LIMIT_SIGMA] or list(
        observations
    )
    # The case that tells most: several timesteps, sequences and units, and small.
    observation = max(
        wrong, key=lambda o: (sum(n > 1 for n in (*o.problem.case.shape[:2], o.problem.case.shape[3])), -_size(o))
    )
    first = next((run for run in runs if run.case == observation.problem.case.name), first)
    return Diagnosis(
        fault=UNEXPLAINED,
        message="No known mistake, alone or combined, gives these numbers.",
        facts=facts(observation, first),
    )


def facts(observation: Observation, run: RunResult | None) -> list[str]:
    """Where one wrong observation is wrong, and whether its parts fit together."""
    facts_found = [f'measured in case "{observation.problem.case.name}"'] if observation.problem.case.name else []
    if run is not None and run.first_divergence is not None:
        facts_found.append(f"first wrong: {run.first_divergence.tensor} at timestep {run.first_divergence.timestep}")
    if observation.breaks_off:
        t = observation.finite.problem.case.run.timesteps if observation.finite.tensors else 0
        facts_found.append(f"{NOT_FINITE} timestep {t}; all numbers before it are right")
    facts_found += _affected(observation)
    precision = _as_if_narrow(observation)
    if precision:
        facts_found.append(precision)
    if run is not None and run.local is not None:
        step = run.local.first_divergence
        facts_found.append(
            "replayed from your own previous state, every single timestep is right: the error accumulates over time"
            if step is None
            else f"replayed from your own previous state, timestep {step} is still wrong"
        )
    follows = _h_follows_from_c(observation)
    if follows is not None:
        facts_found.append(
            "h = o * tanh(c) holds for the observed c"
            if follows
            else "h = o * tanh(c) does not hold for the observed c: the equation of h, or the output gate, is wrong"
        )
    return facts_found


def _affected(observation: Observation) -> list[str]:
    name = "h" if "h" in observation.tensors else next(iter(observation.tensors))
    wrong = ~(_sigma(observation, name) <= LIMIT_SIGMA)
    lines = []
    for axis, what in zip(range(wrong.ndim)[::-1], ("units", "sequences", "timesteps"), strict=False):
        others = tuple(k for k in range(wrong.ndim) if k != axis)
        places = np.flatnonzero(wrong.any(axis=others))
        count = wrong.shape[axis]
        lines.append(f"wrong {what} of {name}: {_listed(places, count)}")
    return lines


def _listed(places: Array, count: int) -> str:
    if len(places) == count:
        return f"all {count}" if count > 1 else "the only one"
    shown = ", ".join(str(int(place)) for place in places[:8])
    return f"{shown}{', ...' if len(places) > 8 else ''} of {count}" if len(places) else "none"  # noqa: PLR2004


def _sigma(observation: Observation, name: str) -> Array:
    expected = observation.expected[name]
    with np.errstate(all="ignore"):
        return np.abs((observation.tensors[name] - expected.value) - expected.rest) / expected.noise


def _as_if_narrow(observation: Observation) -> str | None:
    """Tell numbers that are as far off as a narrower format's rounding would put them."""
    u = roundoff(observation.problem.case.run.dtype)
    worst = max(float(np.nan_to_num(_sigma(observation, name), nan=np.inf).max()) for name in observation.tensors)
    for form, unit_roundoff in (("float32", 2.0**-24), ("float16 or tf32", 2.0**-11), ("bfloat16", 2.0**-8)):
        if unit_roundoff > 4 * u and worst * u / unit_roundoff <= LIMIT_SIGMA:
            return f"{NARROW} {form} would make them: some part may be computed in that precision"
    return None


def _h_follows_from_c(observation: Observation) -> bool | None:
    """Whether each h is o tanh(c), with o from the h observed before it and c as observed."""
    if (
        not {"h", "c"} <= observation.tensors.keys()
        or observation.problem.lengths is not None
        or not observation.problem.case.plain
    ):
        return None
    p, h, c = observation.problem, observation.values["h"], observation.values["c"]
    H = p.case.lstm.hidden_size
    before = np.concatenate([p.h0[None].astype(h.dtype), h[:-1]])
    with np.errstate(all="ignore"):
        o = sigmoid(p.x @ p.W[3 * H :].T + before @ p.R[3 * H :].T + p.b[3 * H :])
        return bool((np.abs(h - o * np.tanh(c)) <= observation.near["h"]).all())

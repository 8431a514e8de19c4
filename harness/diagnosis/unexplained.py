"""What is known of a divergence that nothing explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.execution import AS_INTENDED
from lockstep.harness.reference.curves import sigmoid
from lockstep.harness.reference.noise import LIMIT_SIGMA, roundoff

UNEXPLAINED = "unexplained"


def size_of(observation: Observation) -> int:
    """How many numbers an observation's inputs and kernels are."""
    return sum(
        array.size for name, array in observation.problem.arrays().items() if name.startswith(("x", "enc", "W", "R"))
    )


@dataclass(frozen=True)
class Known:
    """What is known of a divergence that nothing explains, by the observation that tells most."""

    observation: Observation
    run: RunResult | None  # what the comparison found there
    finite_steps: int | None  # how many timesteps are right before a number is not finite; None if all are finite
    narrow: str | None  # the format whose rounding all differences are as small as

    def texts(self) -> list[str]:
        """Where the observation is wrong, and whether its parts fit together: facts of a diagnosis."""
        name, run = self.observation.problem.case.name, self.run
        lines = [f'measured in case "{name}"'] if name else []
        if run is not None and run.first_divergence is not None:
            lines.append(f"first wrong: {run.first_divergence.tensor} at timestep {run.first_divergence.timestep}")
        if self.finite_steps is not None:
            lines.append(
                f"a number is NaN or infinite at timestep {self.finite_steps}; all numbers before it are right"
            )
        lines += _affected(self.observation)
        if self.narrow is not None:
            lines.append(
                f"all errors are as small as rounding to {self.narrow} would make them: "
                "some part may be computed in that precision"
            )
        return [*lines, *_step_text(run), *_output_text(self.observation)]


def known_of(observations: Sequence[Observation], runs: Sequence[RunResult]) -> Known:
    """What is known of observations of which at least one is wrong, and of the results of their comparison."""
    wrong = [seen for seen in observations if not seen.sigma(AS_INTENDED) <= LIMIT_SIGMA] or list(observations)
    # The case that tells most: several timesteps, sequences and units, and small.
    telling = max(
        wrong, key=lambda o: (sum(n > 1 for n in (*o.problem.case.shape[:2], o.problem.case.shape[3])), -size_of(o))
    )
    first = next((run for run in runs if run.status == "diverge" and run.first_divergence is not None), None)
    run = next((run for run in runs if run.case == telling.problem.case.name), first)
    steps = None
    if telling.breaks_off:
        steps = telling.finite.problem.case.run.timesteps if telling.finite.tensors else 0
    return Known(telling, run, steps, _as_if_narrow(telling))


def unexplained(observations: Sequence[Observation], runs: Sequence[RunResult]) -> Diagnosis:
    """The diagnosis where nothing explains it: what is known all the same."""
    return Diagnosis(
        fault=UNEXPLAINED,
        message="No known mistake, alone or combined, gives these numbers.",
        facts=known_of(observations, runs).texts(),
    )


def _step_text(run: RunResult | None) -> list[str]:
    if run is None or run.local is None:
        return []
    step = run.local.first_divergence
    if step is None:
        return [
            "replayed from your own previous state, every single timestep is right: the error accumulates over time"
        ]
    return [f"replayed from your own previous state, timestep {step} is still wrong"]


def _output_text(observation: Observation) -> list[str]:
    follows = _h_follows_from_c(observation)
    if follows is None:
        return []
    if follows:
        return ["h = o * tanh(c) holds for the observed c"]
    return ["h = o * tanh(c) does not hold for the observed c: the equation of h, or the output gate, is wrong"]


def _affected(observation: Observation) -> list[str]:
    name = "h" if "h" in observation.tensors else next(iter(observation.tensors))
    wrong = ~(_sigma_of_each(observation, name) <= LIMIT_SIGMA)
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


def _sigma_of_each(observation: Observation, name: str) -> Array:
    expected = observation.expected[name]
    with np.errstate(all="ignore"):
        return np.abs((observation.tensors[name] - expected.value) - expected.rest) / expected.noise


def _as_if_narrow(observation: Observation) -> str | None:
    """The narrower format whose rounding would put the numbers as far off as they are; None if none would."""
    u = roundoff(observation.problem.case.run.dtype)
    worst = max(
        float(np.nan_to_num(_sigma_of_each(observation, name), nan=np.inf).max()) for name in observation.tensors
    )
    for form, unit_roundoff in (("float32", 2.0**-24), ("float16 or tf32", 2.0**-11), ("bfloat16", 2.0**-8)):
        if unit_roundoff > 4 * u and worst * u / unit_roundoff <= LIMIT_SIGMA:
            return form
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

"""What is known of a divergence that nothing explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from lockstep.harness.arrays import Array
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import BACKWARD, FORWARD, Tensor, kind_of, place_of, tensors_of
from lockstep.harness.comparison.results import Diagnosis, RunResult
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.reference.curves import sigmoid
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.noise import LIMIT_SIGMA, roundoff
from lockstep.harness.text import names_text

UNEXPLAINED = "unexplained"
MOST_LISTED = 8  # names or places in one line
MOST_REPLAYED = 3  # timesteps after the first that are tried with other states


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
        lines = first_wrong_text(self.observation, self.observation.expected)
        if self.finite_steps is not None:
            lines.append(
                f"a number is NaN or infinite at timestep {self.finite_steps}; all numbers before it are right"
            )
        if self.narrow is not None:
            lines.append(
                f"all errors are as small as rounding to {self.narrow} would make them: "
                "some part may be computed in that precision"
            )
        forward = {name: array for name, array in self.observation.tensors.items() if kind_of(name) in FORWARD}
        if not forward or Observation(self.observation.problem, forward).sigma <= LIMIT_SIGMA:
            return lines  # of timesteps going forward there is nothing to tell
        return [*lines, *_step_text(self.run, self.observation), *_output_text(self.observation)]


def known_of(observations: Sequence[Observation], runs: Sequence[RunResult]) -> Known:
    """What is known of observations of which at least one is wrong, and of the results of their comparison."""
    wrong = [observation for observation in observations if not observation.sigma <= LIMIT_SIGMA] or list(observations)
    telling = max(wrong, key=_tells)
    run = next((run for run in runs if run.case == telling.problem.case.name), None)
    steps = None
    if telling.breaks_off:
        steps = telling.finite.problem.case.run.timesteps if telling.finite.tensors else 0
    return Known(telling, run, steps, _as_if_narrow(wrong))


def _tells(observation: Observation) -> tuple[int, bool, int, bool, int]:
    """How much a case tells: numbers drawn one by one, none saturated, over several of each axis, and few."""
    case = observation.problem.case
    drawn = sum(case.run.values(key).kind not in {"ones", "zeros"} for key in ("weights", "inputs"))
    T, B, _, H = case.shape
    several = sum(n > 1 for n in (T, B, H))
    return drawn, not _saturated(observation), several, case.run.lengths is None, -size_of(observation)


def unexplained(observations: Sequence[Observation], runs: Sequence[RunResult]) -> Diagnosis:
    """The diagnosis where nothing explains it: what is known all the same."""
    return Diagnosis(
        fault=UNEXPLAINED,
        message="No known mistake, alone or combined, gives these numbers.",
        facts=known_of(observations, runs).texts(),
    )


def explained_in_part(nothing: Diagnosis, part: Diagnosis, what: str, left: Sequence[str] = ()) -> Diagnosis:
    """The diagnosis that begins with what explains a part.

    Args:
        nothing: What is known of the rest.
        part: What explains that part.
        what: Which part it is.
        left: Where the rest differs from that explanation: facts in the place of those against the reference.
    """
    message = f"In part: {part.message} [{part.fault}] That explains {what}; for the rest {_lower(nothing.message)}"
    return replace(nothing, message=message, facts=[f"fix for that part: {part.fix}", *(left or nothing.facts)])


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def first_wrong_text(observation: Observation, expected: Expected) -> list[str]:
    """Which tensor is first not as expected, where in it, and which tensors are right."""
    name, tensors = observation.problem.case.name, tensors_of(observation.problem.case)
    lines = [f'measured in case "{name}"'] if name else []
    wrong = {
        name: ~(_sigma_of_each(observation, name, expected) <= LIMIT_SIGMA)
        for name in tensors
        if name in observation.tensors
    }
    places = [
        (place_of(tensor.kind, tensor.lane, row, len(mask)), row, tensor)
        for tensor, mask in ((tensors[name], mask) for name, mask in wrong.items())
        for row in (_rows(mask) if tensor.timed else [0])
        if mask.any()
    ]
    if not places:
        return lines
    _, row, first = min(places, key=lambda place: place[0])
    several = len({tensor.lane for tensor in tensors.values()}) > 1
    own = several and first.name != "h"  # the merged output of a network belongs to no lane
    lane = f" of layer {first.lane.layer}{', reverse direction' if first.lane.reverse else ''}" if own else ""
    back = ", in the backward pass" if first.kind in BACKWARD else ""
    mask = wrong[first.name]
    there = ""
    if first.timed and len(_rows(mask)) > 1:  # what follows from it hides where it began
        there = f": {'; '.join(_places(mask[row : row + 1], first))}"
    lines.append(f"first wrong: {first.name}{lane}{f' at timestep {row}' if first.timed else ''}{back}{there}")
    lines.append(f"wrong in {first.name}: {'; '.join(_places(mask, first)) or 'its only number'}")
    for what, names in (
        ("also wrong", [name for name, mask in wrong.items() if mask.any() and name != first.name]),
        ("right", [name for name, mask in wrong.items() if not mask.any()]),
    ):
        lines += [f"{what}: {names_text(names, MOST_LISTED)}"] if names else []
    return lines


def _rows(mask: Array) -> list[int]:
    """The rows in which anything is wrong."""
    return np.flatnonzero(mask.any(axis=(*range(1, mask.ndim),))).tolist()


class _Axis(NamedTuple):
    """An axis of a tensor: what one place along it is, and the names of the places where they have some."""

    what: str
    names: str | None = None


_LAST = {"scores": "source step", "attention": "source step", "logit": "output", "dx": "input"}


def _places(wrong: Array, tensor: Tensor) -> Iterator[str]:
    """Along each axis, where something is wrong; of a cell's weights the gates apart from their units."""
    axes = [_Axis("timestep")] if tensor.timed else []
    kind = tensor.kind.removesuffix("_t").removesuffix("_encoder")
    if kind in {"dW", "dR", "db"}:
        start = len(axes)
        shape = wrong.shape
        wrong = wrong.reshape(*shape[:start], 4, shape[start] // 4, *shape[start + 1 :])
        axes += [_Axis("gate", "ifgo"), _Axis("unit")]
        axes += [] if kind == "db" else [_Axis("input" if kind == "dW" else "column")]
    elif kind in FORWARD or kind in {"dx", "denc", "dy0", "dh0", "dc0"}:
        axes += [_Axis("sequence"), _Axis(_LAST.get(kind, "unit"))]
    else:
        axes += [_Axis("row"), _Axis("column")][: wrong.ndim - len(axes)]
    for k, axis in enumerate(axes):
        if wrong.shape[k] > 1:
            along = wrong.any(axis=tuple(n for n in range(wrong.ndim) if n != k))
            yield _listed(np.flatnonzero(along).tolist(), wrong.shape[k], axis)


def _listed(places: list[int], count: int, axis: _Axis) -> str:
    if len(places) == count:
        return f"all {count} {axis.what}s"
    names = [axis.names[place] if axis.names else str(place) for place in places]
    if len(places) == 1:
        return f"{axis.what} {names[0]} alone"
    if len(places) > 2 and axis.names is None and places[-1] - places[0] == len(places) - 1:  # noqa: PLR2004
        return f"{axis.what}s {places[0]} to {places[-1]}{'' if places[-1] == count - 1 else f' of {count}'}"
    return f"{axis.what}s {names_text(names, MOST_LISTED)} of {count}"


def _step_text(run: RunResult | None, observation: Observation) -> list[str]:
    """Whether single timesteps are right, replayed from the states that were returned."""
    case, T = observation.problem.case, observation.problem.case.run.timesteps
    returns_c = case.model == "lstm" and case.lstm.single and not case.run.gradients  # where a port may
    if returns_c and T > 1 and "c" not in observation.tensors:
        return ["return c of every timestep: a cause can then usually be found"]
    if run is None or run.local is None:
        return []
    replayed, step = "replayed from your own previous state", run.local.first_divergence
    if step is None:
        return [f"{replayed}, every single timestep is right: the error accumulates over time"]
    by_step = [max(sigmas) for sigmas in zip(*run.local.sigma.values(), strict=True)]
    wrong = [t for t, sigma in enumerate(by_step) if not sigma <= LIMIT_SIGMA]
    if any(sigma <= LIMIT_SIGMA for sigma in by_step[step:]):
        return [
            f"{replayed}, {_listed(wrong, T, _Axis('timestep'))} still wrong; the others, from the same code, right"
        ]
    return [f"{replayed}, timestep {step} is still wrong{_feed_text(observation, step)}"]


def _feed_text(observation: Observation, step: int) -> str:
    """What a plain layer's timesteps seem to be fed, where the first is right and those after it are not."""
    p = observation.problem
    if step == 0 or not p.case.plain or not observation.shows_states:
        return ""
    h, c = observation.tensors["h"], observation.tensors["c"]
    zero_h, zero_c = np.zeros_like(p.h0), np.zeros_like(p.c0)
    last = min(len(h), step + MOST_REPLAYED)
    feeds = {
        "zeros in the place of h and c": lambda t: (zero_h, zero_c),
        "the initial state": lambda t: (p.h0, p.c0),
        "zeros in the place of h": lambda t: (zero_h, c[t - 1]),
        "zeros in the place of c": lambda t: (h[t - 1], zero_c),
        "the initial h": lambda t: (p.h0, c[t - 1]),
        "the initial c": lambda t: (h[t - 1], p.c0),
        "the state of two timesteps before": lambda t: (h[t - 2], c[t - 2]) if t > 1 else (p.h0, p.c0),
        "h and c exchanged": lambda t: (c[t - 1], h[t - 1]),
        "the state of another sequence": lambda t: (h[t - 1, ::-1], c[t - 1, ::-1]),
    }
    for words, feed in feeds.items():
        if all(_replayed(observation, t, *feed(t)) <= LIMIT_SIGMA for t in range(step, last)):
            return f", but right from {words}: its feed is wrong, not what it computes"
    if p.h0.any() and p.c0.any():
        return (
            f", and timestep {step - 1} is right: it may be fed another x, h or c, or other weights; "
            "the equations that were right before it are hardly the cause"
        )
    return ""


def _replayed(observation: Observation, t: int, h: Array, c: Array) -> float:
    """How far what was returned at a timestep is from what another state leads to, in sigma."""
    p = observation.problem
    case = replace(p.case, run=replace(p.case.run, timesteps=1, chunks=None), expect=None)
    problem = Problem.plain(case, p.W, p.R, p.b, p.x[t : t + 1], h, c)
    returned = {name: observation.tensors[name][t : t + 1] for name in ("h", "c")}
    return Observation(problem, returned).sigma


def _output_text(observation: Observation) -> list[str]:
    follows = _h_follows_from_c(observation)
    if follows is None:
        return []
    if follows:
        return ["h = o * tanh(c) holds for the observed c: what is wrong is c, by i, f or g, or what they are fed"]
    return ["h = o * tanh(c) does not hold for the observed c: wrong is the equation of h, o, or what o is fed"]


def _sigma_of_each(observation: Observation, name: str, computed: Expected | None = None) -> Array:
    expected = (computed or observation.expected)[name]
    with np.errstate(all="ignore"):
        return np.abs((observation.tensors[name] - expected.value) - expected.rest) / expected.noise


# Beyond these a curve is so flat that what goes into it hardly shows.
_FLAT, _SILENT = 0.95, 1e-3
# Of all numbers, those that rounding of one part puts off at least.
_OFTEN = 0.2


def _saturated(observation: Observation) -> bool:
    """Whether most of what is expected of h lies where the curves are flat."""
    sizes = [
        np.abs(observation.expected[name].value).ravel()
        for name in observation.tensors
        if name.startswith(("h", "y")) and name in observation.expected
    ]
    if not sizes:
        return False
    together = np.concatenate(sizes)
    return float(np.mean((together < _FLAT) & (together > _SILENT))) < 0.5  # noqa: PLR2004


def _as_if_narrow(wrong: Sequence[Observation]) -> str | None:
    """The narrower format whose rounding would put all numbers as far off as they are; None if none would."""
    if all(_saturated(observation) or not _often(observation) for observation in wrong):
        return None  # such a case is near its numbers whatever the mistake
    for form, unit_roundoff in (("float32", 2.0**-24), ("float16 or tf32", 2.0**-11), ("bfloat16", 2.0**-8)):
        if all(_within(observation, unit_roundoff) for observation in wrong):
            return form
    return None


def _often(observation: Observation) -> bool:
    beyond = [(~(_sigma_of_each(observation, name) <= LIMIT_SIGMA)).ravel() for name in observation.tensors]
    return float(np.concatenate(beyond).mean()) >= _OFTEN


def _within(observation: Observation, unit_roundoff: float) -> bool:
    """Whether all differences are as small as rounding to a format makes them, by noise and as such."""
    u = roundoff(observation.problem.case.run.dtype)
    if unit_roundoff <= 4 * u:
        return False
    for name, array in observation.tensors.items():
        difference = np.abs(array.astype(np.float64) - observation.expected[name].value.astype(np.float64))
        bound = LIMIT_SIGMA * unit_roundoff * np.maximum(np.abs(array), 1)
        sigma = _sigma_of_each(observation, name) * (u / unit_roundoff)
        if not ((sigma <= LIMIT_SIGMA) & (difference <= bound)).all():
            return False
    return True


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

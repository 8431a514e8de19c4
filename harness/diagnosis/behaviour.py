"""Whether an implementation is a function of its arguments: what it remembers from call to call, what is random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.faults.execution import AS_INTENDED
from lockstep.harness.faults.fault import FAMILIES
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import number

_FAMILY = "behaviour"
_ARGUMENTS = ("W", "R", "b", "x", "h0", "c0")


def behaviour(problem: Problem, again: Sequence[Outcome], before: Problem, last: Outcome) -> Diagnosis | None:
    """Explain why calls with the same arguments gave other numbers; None if they gave the same.

    Args:
        problem: What was asked three times: first, at once again, and when all others were through.
        again: The three replies.
        before: The problem that was asked before the third time.
        last: The reply to that.
    """
    tensors = [reply.trace.tensors() for reply in again if reply.trace is not None]
    if len(tensors) < 3 or all(_same(tensors[0], tensors_again) for tensors_again in tensors[1:]):  # noqa: PLR2004
        return None
    right = [Observation(problem, tensors_of_call).sigma(AS_INTENDED) <= LIMIT_SIGMA for tensors_of_call in tensors]
    if all(right):
        return None  # rounding differs from call to call, as with threads: no fault
    return (
        _kept_state(problem, tensors[0], tensors[1])
        or (last.trace is not None and _kept_arguments(problem, tensors[2], before))
        or _dropout(problem, tensors[0])
        or not_repeatable()
    )


def _same(first: Arrays, second: Arrays) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[n], second[n], equal_nan=True) for n in first)


def with_arguments(problem: Problem, **arrays: Array) -> Problem:
    """The problem with some arguments replaced."""
    given_arguments = {name: getattr(problem, name) for name in _ARGUMENTS}
    return Problem.plain(problem.case, **{**given_arguments, **arrays}, lengths=problem.lengths)


def _kept_state(problem: Problem, first: Arrays, second: Arrays) -> Diagnosis | None:
    """Try whether the second call went on from where the first had ended."""
    final = {name: first[name][-1] for name in ("h", "c") if name in first}
    for kept in ("hc", "h", "c"):
        if not set(kept) <= final.keys():
            continue
        for how, words in (("instead of", "in the place of"), ("added to", "on top of")):
            replaced = {
                f"{name}0": final[name] + (getattr(problem, f"{name}0") if how == "added to" else 0) for name in kept
            }
            sigma = Observation(with_arguments(problem, **replaced), second).sigma(AS_INTENDED)
            if sigma <= LIMIT_SIGMA:
                state = {"hc": "state (h and c)", "h": "hidden state h", "c": "cell state c"}[kept]
                return _found(
                    "state-kept-between-calls",
                    f"The final {state} of a call is kept, and the next call starts from it {words} the given one.",
                    "Start every call from the h0 and c0 that it is given (Keras: stateful=False, or reset_states()).",
                    sigma,
                    f"The second of two equal calls is reproduced to {number(sigma)} sigma by starting it from the "
                    "final state of the first.",
                )
    return None


def _kept_arguments(problem: Problem, third: Arrays, before: Problem) -> Diagnosis | None:
    """Try whether a call used arguments of the one before it, where shapes allow that."""
    fitting = [name for name in _ARGUMENTS if getattr(problem, name).shape == getattr(before, name).shape]
    for names in _subsets(fitting):
        replaced = with_arguments(problem, **{name: getattr(before, name) for name in names})
        sigma = Observation(replaced, third).sigma(AS_INTENDED)
        if sigma <= LIMIT_SIGMA:
            return kept(names, sigma, "the call before")
    return None


def kept(names: Sequence[str], sigma: float, when: str) -> Diagnosis:
    """The cause that arguments of an earlier call were used."""
    what = ", ".join(names)
    return _found(
        "arguments-kept-between-calls",
        f"{what} of {when} {'are' if len(names) > 1 else 'is'} used in the place of what the call was given.",
        "Use the arguments of each call: build no weights, caches or graphs that outlive it.",
        sigma,
        f"Its numbers are reproduced to {number(sigma)} sigma with {what} of {when}.",
    )


def _subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for size in range(1, len(names) + 1):
        yield from combinations(names, size)


def not_repeatable() -> Diagnosis:
    """The cause that is left where calls with the same arguments give other numbers."""
    return _found(
        "not-repeatable",
        "Calls with the same arguments give other numbers: dropout or noise is active, weights are made anew, or "
        "something is remembered from call to call.",
        "Switch to inference mode (model.eval(), training=False), use the weights that are given, keep no state.",
        None,
        "The same call gave other numbers when it was made again.",
    )


def dropped(observations: Sequence[Observation]) -> Diagnosis | None:
    """Find dropout that repeats itself, as with a fixed seed: in each wrong observation, at one rate."""
    wrong = [observation for observation in observations if not observation.sigma(AS_INTENDED) <= LIMIT_SIGMA]
    causes = [_dropout(observation.problem, observation.tensors) for observation in wrong]
    if not causes or any(cause is None for cause in causes):
        return None
    return causes[-1]


def _dropout(problem: Problem, first: Arrays) -> Diagnosis | None:
    expected = Observation(problem, first).expected["h"]
    h = first["h"].astype(np.float64)
    zero = (h == 0) & (np.abs(expected.value) > LIMIT_SIGMA * expected.noise)
    if not zero.any() or zero.all() or ("c" in first and not _right(problem, first, "c")):
        return None
    with np.errstate(all="ignore"):
        present = ~zero & (np.abs(expected.value) > LIMIT_SIGMA * expected.noise)
        factor = float(np.median((h / expected.value)[present]))
        near = np.abs(h - factor * expected.value) <= LIMIT_SIGMA * (abs(factor) * expected.noise + 1e-7)
    if not near[~zero].all() or factor < 1:
        return None
    rate = 1 - 1 / factor
    return _found(
        "dropout-active",
        f"Dropout is active on h: {zero.mean():.0%} of its values are 0, the others are {factor:.4g} times too large "
        f"(rate {rate:.3g}).",
        "Switch to inference mode (model.eval(), training=False).",
        0.0,
        "Every other number is reproduced by that factor.",
    )


def _right(problem: Problem, tensors: Arrays, name: str) -> bool:
    return Observation(problem, {name: tensors[name]}).sigma(AS_INTENDED) <= LIMIT_SIGMA


def made_anew(timesteps: Sequence[int], of: int) -> Diagnosis:
    """At which timesteps the given kernel is not in use."""
    first = timesteps[0]
    when = (
        f"from timestep {first} on" if list(timesteps) == list(range(first, of)) else f"at timesteps {list(timesteps)}"
    )
    return _found(
        "weights-made-anew",
        f"The given W is not in use {when}: another kernel is, made anew or kept from elsewhere.",
        "Use one kernel at every timestep (with tf.Variable in a loop: tf.get_variable under reuse=tf.AUTO_REUSE).",
        None,
        f"With an input at one timestep only, changing W changes nothing {when}.",
    )


def differs_by_step(scales: Sequence[float]) -> Diagnosis | None:
    """How often W counts at each timestep, if not once at each."""
    if max(abs(scale - 1) for scale in scales) < 1e-4:  # noqa: PLR2004
        return None
    listed = ", ".join(f"{scale:.4g}" for scale in scales)
    return _found(
        "weights-differ-per-step",
        f"W does not count alike at every timestep: at the first ones it counts {listed} times.",
        "Use the same kernel, unscaled, at every timestep.",
        None,
        "Measured with an input at one timestep only, for each of the first timesteps.",
    )


def _found(fault: str, message: str, fix: str, sigma: float | None, evidence: str) -> Diagnosis:
    return Diagnosis(
        fault=fault, message=message, fix=fix, sigma=sigma, evidence=evidence, family=_FAMILY, met=FAMILIES[_FAMILY].met
    )

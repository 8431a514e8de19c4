"""Whether an implementation is a function of its arguments: what it remembers from call to call, what is random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import msgspec.structs
import numpy as np

from lockstep.harness.adapters.trace import same
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import name_of
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import counted, number

_FAMILY = "behaviour"
_MOST_SUBSETS = 6  # arguments of which every subset is tried


class Repeats(NamedTuple):
    """Calls that show what is kept from one to the next: one problem three times, with others in between."""

    problem: AnyProblem
    replies: tuple[Arrays | None, ...]  # to it: first, after the stranger, after all others
    stranger: AnyProblem  # of the same shapes, with other numbers
    of_stranger: Arrays | None

    @property
    def alike(self) -> bool:
        """Whether the three replies are the same."""
        first, *later = self.replies
        return first is not None and all(reply is not None and same(first, reply) for reply in later)


def behaviour(calls: Repeats, right: Sequence[bool]) -> Diagnosis | None:
    """Explain why calls depend on what was called before, or on chance; None if they do not.

    Args:
        calls: What was asked.
        right: Which of the three replies are.
    """
    first, second, third = calls.replies
    if first is None or second is None or third is None:
        return None
    problem, stranger, of_stranger = calls.problem, calls.stranger, calls.of_stranger
    repeats = calls.alike or all(right)  # rounding may differ from call to call, as with threads
    if of_stranger is not None and not _right(stranger, of_stranger):
        when = "the first call" if calls.alike else "the call before"
        cause = _kept_state(stranger, of_stranger, problem, first) or _kept_arguments(
            stranger, of_stranger, problem, when
        )
        if cause is not None:
            return cause
    if repeats:
        return None
    if of_stranger is not None and not right[1]:
        cause = _kept_state(problem, second, stranger, of_stranger) or _kept_arguments(
            problem, second, stranger, "the call before"
        )
        if cause is not None:
            return cause
    dropout = _dropout(problem, first) if isinstance(problem, Problem) and problem.case.plain else None
    return dropout or not_repeatable()


def remembered(calls: Repeats, sigma: float) -> Diagnosis:
    """The cause that an answer is another one after a call of another problem; ``sigma``: by how much."""
    cause = behaviour(calls, [False, False, False])
    what = "it remembers something of it"
    if cause is not None and cause.fault != "not-repeatable":
        what = "it remembers what that was called with, or came to"
    answer = "gives another answer when called again after another problem"
    text = f"It {answer}, by up to {number(sigma)} sigma: {what}."
    if cause is None or cause.fault == "not-repeatable":
        evidence = (
            "Called with the case, with other inputs and states, and with the case again: the numbers are others."
        )
        return _diagnosis("remembers-calls", text, "Load or reset it before each call.", None, evidence)
    return msgspec.structs.replace(cause, message=f"{text} {cause.message}")


def _kept_state(problem: AnyProblem, reply: Arrays, before: AnyProblem, its_reply: Arrays) -> Diagnosis | None:
    """Try whether a call went on from where the one before it had ended."""
    final = {name: _final(before, its_reply, name).astype(before.h0.dtype) for name in ("h", "c")}
    for names in ("hc", "h", "c"):
        for how, words in (("instead of", "in the place of"), ("added to", "on top of")):
            started = {
                f"{name}0": final[name] + (getattr(problem, f"{name}0") if how == "added to" else 0) for name in names
            }
            sigma = Observation(replace(problem, **started), reply).sigma
            if sigma <= LIMIT_SIGMA:
                state = {"hc": "state (h and c)", "h": "hidden state h", "c": "cell state c"}[names]
                return _diagnosis(
                    "state-kept-between-calls",
                    f"The final {state} of a call is kept, and the next call starts from it {words} the given one.",
                    "Start every call from the h0 and c0 that it is given (Keras: stateful=False, or reset_states()).",
                    sigma,
                    f"The second of two calls is reproduced to {number(sigma)} sigma by starting it from the final "
                    "state of the first.",
                )
    return None


def _final(problem: AnyProblem, reply: Arrays, name: str) -> Array:
    """The final h or c of a call, of all lanes: as it was returned, else as it should be."""
    if problem.case.plain and problem.lengths is None and name in reply:
        return reply[name][-1]
    expected = expect(problem)
    if isinstance(problem, DecoderProblem):
        return expected[name].value[-1]
    states = [expected[name_of(f"{name}_n", lane, problem.case.lstm)].value for lane, _ in problem.lanes()]
    return states[0] if problem.case.lstm.single else np.stack(states)


def _kept_arguments(problem: AnyProblem, reply: Arrays, before: AnyProblem, when: str) -> Diagnosis | None:
    """Try whether a call used arguments of the one before it, which has the same shapes."""
    for names in _subsets(problem):
        sigma = Observation(_with_those_of(problem, before, names), reply).sigma
        if sigma <= LIMIT_SIGMA:
            return kept(names, sigma, when)
    return None


def _with_those_of(problem: AnyProblem, donor: AnyProblem, names: Sequence[str]) -> AnyProblem:
    """A problem with some arguments of another, weights by their names in each lane."""
    inputs = {name: getattr(donor, name) for name in names if name in problem.INPUTS}
    of_weights = [name for name in names if name not in problem.INPUTS]

    def mixed(weights: Any, others: Any) -> Any:
        return replace(weights, **{name: getattr(others, name) for name in of_weights})

    if isinstance(problem, DecoderProblem):
        return replace(problem, weights=mixed(problem.weights, donor.weights), **inputs)
    assert isinstance(donor, Problem)
    stack = tuple(
        tuple(mixed(weights, others) for weights, others in zip(layer, of_donor, strict=True))
        for layer, of_donor in zip(problem.weights, donor.weights, strict=True)
    )
    return replace(problem, weights=stack, **inputs)


def kept(names: Sequence[str], sigma: float, when: str) -> Diagnosis:
    """The cause that arguments of an earlier call were used."""
    what = ", ".join(names)
    return _diagnosis(
        "arguments-kept-between-calls",
        f"{what} of {when} {'are' if len(names) > 1 else 'is'} used in the place of what the call was given.",
        "Use the arguments of each call: build no weights, caches or graphs that outlive it.",
        sigma,
        f"Its numbers are reproduced to {number(sigma)} sigma with {what} of {when}.",
    )


def _subsets(problem: AnyProblem) -> Iterator[tuple[str, ...]]:
    """Arguments that may be kept together, the fewest first; of many not every subset."""
    of_weights = problem.weights if isinstance(problem, DecoderProblem) else problem.weights[0][0]
    weights = tuple(of_weights.arrays())
    inputs = tuple(name for name in problem.INPUTS if name != "lengths" and getattr(problem, name) is not None)
    names = (*weights, *inputs)
    few = len(names) <= _MOST_SUBSETS
    for size in range(1, len(names) + 1 if few else 3):
        yield from combinations(names, size)
    if not few:
        yield from (weights, inputs, names)
        yield from ((*weights, name) for name in inputs)


def overwritten(names: Sequence[str]) -> Diagnosis:
    """The cause that a second call with the same arrays gives other numbers, because the first changed them."""
    what = ", ".join(names)
    return _diagnosis(
        "arguments-overwritten",
        f"It changes its argument{'s' if len(names) > 1 else ''} {what} in place: whoever calls it again with the same "
        "arrays gets other numbers.",
        "Work on copies: h = h0.copy() (torch: h0.clone()), no `+=`, `*=`, `[...] =` or `.pop` on what is given.",
        None,
        "Compared after the call, and called once more with the same arrays: the numbers are others.",
    )


def not_repeatable() -> Diagnosis:
    """The cause that is left where calls with the same arguments give other numbers."""
    return _diagnosis(
        "not-repeatable",
        "Calls with the same arguments give other numbers: dropout or noise is active, weights are made anew, or "
        "something is remembered from call to call.",
        "Switch to inference mode (model.eval(), training=False), use the weights that are given, keep no state.",
        None,
        "The same call gave other numbers when it was made again.",
    )


_MOST_DEVIATIONS = 4.0  # of the share of zeros from a rate of dropout


def dropped(observations: Sequence[Observation]) -> Diagnosis | None:
    """Find dropout that repeats itself, as with a fixed seed: in each wrong observation, at one rate."""
    wrong = [observation for observation in observations if not observation.sigma <= LIMIT_SIGMA]
    causes = [_dropout(observation.problem, observation.tensors) for observation in wrong]
    if not causes or any(cause is None for cause in causes):
        return None
    return causes[-1]


def _dropout(problem: Problem, first: Arrays) -> Diagnosis | None:
    expected = Observation(problem, first).expected["h"]
    h = first["h"].astype(np.float64)
    # Not those that rounding alone may make 0.
    zero = (h == 0) & (np.abs(expected.value) > LIMIT_SIGMA * expected.noise)
    if not zero.any() or zero.all() or ("c" in first and not _right(problem, {"c": first["c"]})):
        return None
    with np.errstate(all="ignore"):
        present = ~zero & (np.abs(expected.value) > LIMIT_SIGMA * expected.noise)
        factor = float(np.median((h / expected.value)[present]))
        near = np.abs(h - factor * expected.value) <= LIMIT_SIGMA * (abs(factor) * expected.noise + 1e-7)
    # What dropout leaves it scales up, by 1 / (1 - rate).
    if not near[~zero].all() or factor < 1:
        return None
    rate = 1 - 1 / factor
    # One mask may serve all timesteps: then as few draws decide how many values are 0.
    draws = max(zero.size // len(zero), 1)
    if abs(zero.mean() - rate) > _MOST_DEVIATIONS * np.sqrt(rate * (1 - rate) / draws):
        return None
    return _diagnosis(
        "dropout-active",
        f"Dropout is active on h: {zero.mean():.0%} of its values are 0, the others are {factor:.4g} times too large "
        f"(rate {rate:.3g}).",
        "Switch to inference mode (model.eval(), training=False).",
        0.0,
        "Every other number is reproduced by that factor.",
    )


def over_the_batch(observations: Sequence[Observation]) -> Diagnosis | None:
    """Find that the recurrence goes over the sequences, and takes the timesteps for a batch; from zero states alone."""
    wrong = [observation for observation in observations if not observation.sigma <= LIMIT_SIGMA]
    turned = [_turned(observation) for observation in wrong]
    if not turned or any(observation is None or not observation.sigma <= LIMIT_SIGMA for observation in turned):
        return None
    sigma = max(observation.sigma for observation in turned if observation is not None)
    diagnosis = _diagnosis(
        "recurrence-over-the-batch",
        "The recurrence goes over the sequences of the batch, and the timesteps are taken for the batch.",
        "Exchange the first two axes of x before the layer and those of its output after it, or create the layer for "
        "the order that x has (batch_first).",
        sigma,
        f"The reference over x with these axes exchanged reproduces every number of {counted(len(wrong), 'problem')} "
        f"to {number(sigma)} sigma.",
    )
    return msgspec.structs.replace(diagnosis, family="batch", met=_met("batch"), elsewhere="")


def _turned(observation: Observation) -> Observation | None:
    """What was returned for a problem with time and batch exchanged; None where that is not to be compared."""
    p, h = observation.problem, observation.tensors.get("h")
    if not isinstance(p, Problem) or not p.case.plain or h is None or p.lengths is not None or p.h0.any() or p.c0.any():
        return None
    T, B = p.x.shape[:2]
    run = msgspec.structs.replace(p.case.run, timesteps=B, batch=T)
    case = msgspec.structs.replace(p.case, run=run, expect=None)
    state = np.zeros((T, p.case.lstm.hidden_size), p.x.dtype)
    x = np.ascontiguousarray(p.x.swapaxes(0, 1))
    return Observation(Problem.plain(case, p.W, p.R, p.b, x, state, state.copy()), {"h": h.swapaxes(0, 1)})


def _right(problem: AnyProblem, tensors: Arrays) -> bool:
    return Observation(problem, tensors).sigma <= LIMIT_SIGMA


def made_anew(unused: Mapping[str, Sequence[int]], of: int) -> Diagnosis | None:
    """Which of the given W, R and b are not in use, and at which timesteps; None if all always are.

    ``unused``: the timesteps by array; ``of``: how many were measured.
    """
    named = {name: steps for name, steps in unused.items() if steps}
    if not named:
        return None
    always = [name for name in unused if name not in named]
    sentences = [f"{_use(name, steps, of)}{_ELSE[name]}." for name, steps in named.items()]
    if always:
        sentences.append(f"{' and '.join(always)} {'are' if len(always) > 1 else 'is'} in use at every timestep.")
    return _diagnosis(
        "weights-made-anew",
        "Measured: " + " ".join(sentences),
        "Use the given W, R and b at every timestep (in TensorFlow 1: tf.get_variable under reuse=tf.AUTO_REUSE).",
        None,
        f"Measured over {of} timesteps, not proved: halving an array changes nothing where it is not in use.",
    )


# What the measurement of each array leaves open.
_ELSE = {
    "W": " is in use (made anew, or kept from elsewhere)",
    "R": " is in use (made anew, or kept from elsewhere), or no h is fed",
    "b": " is in use (made anew, or kept from elsewhere), or none is added",
}


def _use(name: str, steps: Sequence[int], of: int) -> str:
    """At which timesteps an array is in use, by those at which it is not."""
    used = [t for t in range(of) if t not in steps]
    if not used:
        return f"The given {name} is never in use: another one"
    where = f"timestep {used[0]} alone" if len(used) == 1 else f"timesteps {_steps(used)}"
    return f"The given {name} is in use at {where}; at {_steps(steps, 'timestep')} another one"


def _steps(steps: Sequence[int], noun: str = "") -> str:
    several = len(steps) > 2 and steps[-1] - steps[0] == len(steps) - 1  # noqa: PLR2004
    listed = f"{steps[0]} to {steps[-1]}" if several else ", ".join(str(t) for t in steps)
    return f"{noun}{'s' if len(steps) > 1 else ''} {listed}" if noun else listed


def differs_by_step(scales: Sequence[float] | None, observations: Sequence[Observation]) -> Diagnosis | None:
    """How often x counts at each timestep, if not once at each: proved where that reproduces what was returned.

    ``scales``: measured by the product of i and g; ``observations``: those of as many timesteps are the proof.
    """
    if scales is None or max(abs(scale - 1) for scale in scales) < 1e-4:  # noqa: PLR2004
        return None
    listed = ", ".join(f"{scale:.4g}" for scale in scales[:_MOST_SCALES])
    fault, fix = "weights-differ-per-step", "Use the same kernel and the given x, unscaled, at every timestep."
    sigma = _scaled(scales, observations)
    if sigma is None:
        message = (
            f"Measured: i * g at the first timesteps is what x counted {listed} times would give: by i, by g, or both."
        )
        evidence = "Measured with an input at one timestep only, not proved: no reading of it gives all numbers."
        return _diagnosis(fault, message, fix, None, evidence)
    return _diagnosis(
        fault,
        f"W x does not count alike at every timestep: {listed} times at timesteps 0, 1, ...; W or x is scaled.",
        fix,
        sigma,
        f"The reference with x multiplied so reproduces every number to {number(sigma)} sigma.",
    )


_MOST_SCALES = 8  # that are listed


def _scaled(scales: Sequence[float], observations: Sequence[Observation]) -> float | None:
    """How far observations are from what x multiplied by numbers of each timestep gives; None if that is too far."""
    worst = 0.0
    fitting = [observation for observation in observations if observation.problem.case.run.timesteps <= len(scales)]
    for observation in fitting:
        x = observation.problem.x
        factors = np.array(scales[: len(x)])[:, None, None]
        # The factors were measured in the numbers' own precision: so many digits they have, and no more.
        multiplied = replace(observation.problem, x=(x * np.round(factors, 4)).astype(x.dtype))
        worst = max(worst, Observation(multiplied, observation.tensors).sigma)
    wrong = any(not observation.sigma <= LIMIT_SIGMA for observation in fitting)
    return worst if wrong and worst <= LIMIT_SIGMA else None


def _met(family: str) -> str:
    # Here: where a port agrees, the words of faults would take longer to import than its calls.
    from lockstep.harness.faults.wording.families import FAMILIES

    return FAMILIES[family].met


def _diagnosis(fault: str, message: str, fix: str, sigma: float | None, evidence: str) -> Diagnosis:
    return Diagnosis(
        fault=fault,
        message=message,
        fix=fix,
        sigma=sigma,
        evidence=evidence,
        family=_FAMILY,
        met=_met(_FAMILY),
        elsewhere="another call",
    )

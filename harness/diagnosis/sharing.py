"""Whether the steps of an attention decoder share their weights, judged by behaviour: no graph is read.

Each weight is pinned in turn to a value under which a step's result does not depend on what came before it: with
W_target zero the logit is 0 whatever y is, with a huge b_tilde y is 1. A step whose result still depends on the inputs
uses something else. Weights of the cell are pinned to values under which y is known. So weights that are made anew at
every step are found in a port that shows no variables, and also where all of them are ones and the numbers agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import DecoderProblem, DecoderWeights
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.named_causes import JOIN, expected_named
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.ports.port import AnyPort
from lockstep.harness.reference.noise import LIMIT_SIGMA

QUESTION = "Stack Overflow, of an attention decoder whose weights were not shared: the second question behind Lockstep."
TOLD_STEPS = 4  # as many as tell "not at the first" from "not at any other"
SATURATED = 80.0  # a pre-activation that leaves no doubt, and whose exponential is a float32
NEAR = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}  # of what should not differ


class Pinned(NamedTuple):
    """One experiment: weights under which y, or the logit, of a step that uses them is the same whatever came in."""

    names: tuple[str, ...]  # of the weights that are put to the test
    weights: DecoderWeights
    y: Array | None = None  # (A,), where it must be known: a pinned cell leaves nothing that could depend on inputs
    seen_in_y: bool = True  # else in the logit alone


class Unshared(NamedTuple):
    """Weights that some steps do not use as they were given."""

    names: tuple[str, ...]
    steps: tuple[int, ...]
    of: int


def unshared(port: AnyPort, problem: DecoderProblem) -> list[Unshared]:
    """Find weights that a port does not use at every step.

    Args:
        port: What is called, twice for each experiment.
        problem: Whose sizes are taken; its numbers are not.

    Returns:
        What is not shared, weights of the same steps together; nothing where a port does not even use the given
        weights at its first step, or does not answer.
    """
    base, second = _base(problem, 0), _base(problem, 1)
    by_steps: dict[tuple[int, ...], list[str]] = {}
    for pinned in _experiments(base):
        if pinned.y is not None and any({"W_tilde", "b_tilde"} & set(names) for names in by_steps.values()):
            break
        # What it is held against needs both of these.
        if pinned.names == ("W_q",) and any({"v_a", "W_k"} & set(names) for names in by_steps.values()):
            break
        replies = port.call(
            [replace(problem_of_inputs, weights=pinned.weights) for problem_of_inputs in (base, second)]
        )
        steps = _not_used(replies, pinned, base)
        if steps is None:
            break
        if steps:
            by_steps.setdefault(steps, []).extend(pinned.names)
        # Known values say nothing where even those of a decoder that does not see its state are others.
        if pinned.names == ("W_tilde",) and not _is_flat(replies, pinned, base):
            break
    timesteps = base.case.run.timesteps
    return [Unshared(tuple(sorted(names, key=_ORDER.index)), steps, timesteps) for steps, names in by_steps.items()]


_ORDER = ("W_target", "W_tilde", "b_tilde", "W_a", "v_a", "W_q", "W_k", "W", "R", "b")


class InitialValues(NamedTuple):
    """What a new variable starts with, where that reproduces every number, to so many sigma."""

    names: str
    words: str
    sigma: float


def values_of(names: Sequence[str], observations: Sequence[Observation]) -> InitialValues | None:
    """What weights hold that are made anew at every step but the first; None where neither ones nor zeros fit."""
    for words, value in (("ones (biases with zeros)", "one"), ("zeros", "zero")):
        fault = JOIN.join(f"{name}:{'zero' if name.startswith('b') else value}@later" for name in names)
        sigma = max(
            observation.distance(expected_named(fault, observation.problem) or observation.expected, None)
            for observation in observations
        )
        if sigma <= LIMIT_SIGMA:
            return InitialValues(", ".join(names), words, sigma)
    return None


def diagnosis_of(unshared: Unshared, values: InitialValues | None = None) -> Diagnosis:
    """Put it into words; ``values``, if there are any, reproduce what was returned."""
    names, steps = ", ".join(unshared.names), ", ".join(str(t) for t in unshared.steps)
    several = len(unshared.names) > 1
    everywhere_else = unshared.steps == tuple(range(1, unshared.of))
    when = (
        "at the first step only"
        if everywhere_else
        else f"not at {'steps' if len(unshared.steps) > 1 else 'step'} {steps}"
    )
    how = "each is a new variable at every step" if several else "it is a new variable at every step"
    shown = (
        f"Set to values under which no step that uses {'them' if several else 'it'} depends on what came before it, "
        f"{'steps' if len(unshared.steps) > 1 else 'step'} {steps} of {unshared.of} still "
        f"{'do' if len(unshared.steps) > 1 else 'does'}."
    )
    if values is not None:
        shown += (
            f" With {values.names} made anew at every other step, with {values.words}, the reference reproduces every "
            f"number to {values.sigma:.2g} sigma."
        )
    return Diagnosis(
        fault=f"{'+'.join(unshared.names)}-not-shared",
        message=f"The given {names} {'are' if several else 'is'} in use {when}: {how}, or kept from elsewhere.",
        fix=sharing_fix(unshared.names),
        sigma=None if values is None else values.sigma,
        evidence=shown,
        family="sharing",
        elsewhere="other weights",
        met=QUESTION,
    )


def sharing_fix(names: tuple[str, ...]) -> str:
    """How weights come to be shared by the steps of a loop."""
    what = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return (
        f"Make {what} once, before the loop. In TF1 tf.Variable never reuses: tf.get_variable under "
        "variable_scope(..., reuse=tf.AUTO_REUSE) does."
    )


def _base(problem: DecoderProblem, seed: int) -> DecoderProblem:
    """A small problem of other numbers, with the sizes and the form of the given one; the source is one for all.

    Its weights are the same for every seed; its inputs are not, but for the source.
    """
    case = problem.case
    run = msgspec.structs.replace(
        case.run,
        timesteps=max(TOLD_STEPS, min(case.run.timesteps, 2 * TOLD_STEPS)),
        weights="probe",
        inputs="probe",
        initial_state="probe",
        gradients=False,
        cotangents=None,
        lengths=None,
        seed=0,
    )
    small = DecoderProblem.from_case(msgspec.structs.replace(case, run=run, expect=None))
    enc = small.enc
    assert enc is not None  # ports are handed problems without an encoder
    enc = np.ascontiguousarray(np.broadcast_to(enc[:, :1], enc.shape))
    other_inputs = DecoderProblem.from_case(
        msgspec.structs.replace(small.case, run=msgspec.structs.replace(run, seed=seed))
    )
    return replace(small, enc=enc, y0=other_inputs.y0, h0=other_inputs.h0, c0=other_inputs.c0)


def _experiments(p: DecoderProblem) -> list[Pinned]:
    """The experiments, each standing on those before it."""
    w, H, E = p.weights, p.case.lstm.hidden_size, p.decoder.width(p.case.lstm)
    of_state = w.W_tilde.copy()
    of_state[:, :E] = 0  # y sees the state alone
    experiments = [
        Pinned(("W_target",), replace(w, W_target=np.zeros_like(w.W_target)), seen_in_y=False),
        Pinned(("b_tilde",), replace(w, b_tilde=np.full_like(w.b_tilde, SATURATED))),
        Pinned(("W_tilde",), replace(w, W_tilde=np.zeros_like(w.W_tilde))),
    ]
    # i and f shut: c and h are 0.
    b = w.b.copy()
    b[: 2 * H] = -SATURATED
    experiments.append(Pinned(("b",), replace(w, b=b, W_tilde=of_state), _y(w, np.zeros(H + E))))
    # i and o open, f shut, and the candidate is its bias: c is tanh of that, h tanh of c.
    b = np.full_like(w.b, SATURATED)
    b[H : 2 * H] = -SATURATED
    b[2 * H : 3 * H] = w.b[2 * H : 3 * H]
    kernels = replace(w, W=np.zeros_like(w.W), R=np.zeros_like(w.R), b=b)
    h = np.tanh(np.tanh(b[2 * H : 3 * H].astype(np.float64)))
    experiments.append(Pinned(("W", "R"), replace(kernels, W_tilde=of_state), _y(w, np.concatenate([np.zeros(E), h]))))
    assert p.enc is not None
    source = p.enc[:, 0].astype(np.float64)  # which all sequences share
    # With one of these at 0 all scores are alike: the context is the mean of the source.
    for name in ("W_a", "v_a", "W_k"):
        weight = getattr(w, name)
        if weight is not None:
            joined = np.concatenate([source.mean(axis=0), h])
            experiments.append(Pinned((name,), replace(kernels, **{name: np.zeros_like(weight)}), _y(w, joined)))
    if w.W_q is not None and w.W_k is not None and w.v_a is not None:
        # Scores are of the source alone.
        raised = np.exp(np.tanh(source @ w.W_k.T) @ w.v_a[0].astype(np.float64))
        joined = np.concatenate([raised / raised.sum() @ source, h])
        experiments.append(Pinned(("W_q",), replace(kernels, W_q=np.zeros_like(w.W_q)), _y(w, joined)))
    return experiments


def _y(w: DecoderWeights, joined: Array) -> Array:
    """The y of a known [context; h]."""
    return np.tanh(w.W_tilde.astype(np.float64) @ joined + w.b_tilde)


def _is_flat(replies: Sequence[Outcome], pinned: Pinned, p: DecoderProblem) -> bool:
    """Whether y is tanh(b_tilde) at every step once W_tilde is zero."""
    w = pinned.weights
    return _not_used(replies, pinned._replace(y=_y(w, np.zeros(w.W_tilde.shape[1]))), p) == ()


def _not_used(replies: Sequence[Outcome], pinned: Pinned, p: DecoderProblem) -> tuple[int, ...] | None:
    """The steps that depend on the inputs all the same, or are not what is known.

    None if the first step does, or there is no answer.
    """
    traces = [reply.trace for reply in replies if reply.trace is not None]
    if len(traces) < len(replies):
        return None
    in_y = pinned.seen_in_y and all(trace.y is not None for trace in traces)
    arrays = [trace.y if in_y else trace.logit for trace in traces]
    if any(array is None for array in arrays):
        return None
    together = np.concatenate([array.astype(np.float64) for array in arrays], axis=1)  # type: ignore[union-attr]
    if pinned.y is None:
        known = together[:, :1]
    else:
        known = pinned.y if in_y else pinned.weights.W_target.astype(np.float64) @ pinned.y
    with np.errstate(all="ignore"):
        apart = np.abs(together - known) > NEAR[p.case.run.dtype] * (1 + np.abs(together))
    depends = np.asarray(apart.any(axis=(1, 2)))
    return None if depends[0] else tuple(int(t) for t in np.flatnonzero(depends))

"""What goes wrong in attention decoders, each proved like a fault of a layer: by running the reference that way.

They are about what stands around the cell (scores, softmax, context, projections, feedback), about the state that is
carried, about weights that are made anew at every step, and about the cell's own weights read in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Literal

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.decoder_problem import DecoderProblem
from lockstep.harness.cases.gates import GATES, reorder
from lockstep.harness.reference.attention import RIGHT_DECODER, DecoderWay, expect_decoder
from lockstep.harness.reference.expected import Expected
from lockstep.harness.reference.spread import widened
from lockstep.harness.weights.layout import with_forget_bias

# The problem to run and the way to run it; None where a problem has no place for the fault.
Deviation = Callable[[DecoderProblem], tuple[DecoderProblem, DecoderWay] | None]

QUESTION = "Stack Overflow, of an attention decoder whose weights were not shared: the second question behind Lockstep."


@dataclass(frozen=True)
class DecoderFault:
    """One thing done otherwise."""

    name: str
    message: str
    fix: str
    deviation: Deviation
    met: str = ""
    anew: tuple[str, ...] = ()  # the weights that are made anew at every step but the first

    def of(self, problem: DecoderProblem) -> Expected | None:
        """What comes out of a problem; None where it has no place for this."""
        changed = self.deviation(problem)
        return None if changed is None else expect_decoder(*changed)

    def widened(self, problem: DecoderProblem, expected: Expected) -> Expected:
        """What came out, with noise that covers what a decoder that is run so amplifies."""
        changed = self.deviation(problem)
        return expected if changed is None else widened(changed[0], expected, changed[1])


def decoder_faults() -> Iterator[DecoderFault]:
    """Every fault of a decoder, plain ones before special ones."""
    yield from _states()
    yield from _ATTENTION
    yield from _output()
    yield from _made_anew()
    yield from _cell_weights()
    yield from _detached()


def _way(way: DecoderWay, needs: Callable[[DecoderProblem], bool] = lambda p: True) -> Deviation:
    return lambda problem: (problem, way) if needs(problem) else None


def _several(problem: DecoderProblem) -> bool:
    return problem.case.run.timesteps > 1


def _lengths(problem: DecoderProblem) -> bool:
    return problem.lengths is not None


def _width(problem: DecoderProblem) -> int:
    return problem.decoder.width(problem.case.lstm)


# -- the state ---------------------------------------------------------------------------------------------------


def _states() -> Iterator[DecoderFault]:
    carry = "Hand the state that a step returns to the next one."
    yield DecoderFault(
        "state-reset", "Every step starts from the initial h and c: the state is not carried.", carry,
        _way(DecoderWay(state="reset"), _several),
    )  # fmt: skip
    yield DecoderFault(
        "h-reset", "Every step starts from the initial h: only c is carried.", carry,
        _way(DecoderWay(state="h reset"), _several),
    )  # fmt: skip
    yield DecoderFault(
        "c-reset", "Every step starts from the initial c: only h is carried.", carry,
        _way(DecoderWay(state="c reset"), _several),
    )  # fmt: skip
    starts: dict[str, tuple[str, Callable[[DecoderProblem], Arrays]]] = {
        "initial-state-zero": ("The given h0 and c0 are not used: the decoder starts from zeros.",
                               lambda p: {"h0": np.zeros_like(p.h0), "c0": np.zeros_like(p.c0)}),
        "initial-states-exchanged": ("The initial h is taken for c, and c for h.",
                                     lambda p: {"h0": p.c0.copy(), "c0": p.h0.copy()}),
        "first-input-zero": ("The given y0 is not used: the first step's input is zeros.",
                             lambda p: {"y0": np.zeros_like(p.y0)}),
    }  # fmt: skip
    for name, (message, arrays) in starts.items():
        yield DecoderFault(name, message, "Start from the h0, c0 and y0 that are given.", partial(_with, arrays=arrays))


def _with(
    problem: DecoderProblem, arrays: Callable[[DecoderProblem], Arrays]
) -> tuple[DecoderProblem, DecoderWay]:  # fmt: skip
    return replace(problem, **arrays(problem)), RIGHT_DECODER


# -- attention ---------------------------------------------------------------------------------------------------


def _scaled(problem: DecoderProblem, factor: Callable[[int], float]) -> tuple[DecoderProblem, DecoderWay] | None:
    by = factor(_width(problem))
    return None if by == 1 else (problem, DecoderWay(scaled=by))


def _with_weight(
    problem: DecoderProblem, name: str, change: Callable[[Array], Array]
) -> tuple[DecoderProblem, DecoderWay] | None:
    array = getattr(problem.weights, name)
    if array is None:
        return None
    changed = change(array)
    if changed.shape != array.shape or np.array_equal(changed, array):
        return None
    return replace(problem, weights=replace(problem.weights, **{name: changed.copy()})), RIGHT_DECODER


_MASK = "Set scores past a source's length to -infinity (or the dtype's lowest number) before the softmax."
_NOW = "Score the encoder outputs with the h that this step's cell returned."
_FACTORS: tuple[tuple[str, str, Callable[[int], float]], ...] = (
    ("scores-divided-by-root", "divided by the square root of the width E", lambda E: 1 / math.sqrt(E)),
    ("scores-divided-by-width", "divided by the width E", lambda E: 1 / E),
    ("scores-multiplied-by-root", "multiplied by the square root of the width E", math.sqrt),
    ("scores-doubled", "doubled", lambda E: 2.0),
    ("scores-halved", "halved", lambda E: 0.5),
    ("scores-negated", "negated", lambda E: -1.0),
)
_ATTENTION = (
    DecoderFault(
        "softmax-over-sequences",
        "The softmax goes over the sequences of the batch, not over the source.",
        "Take the softmax along the axis of source timesteps (of a batch of one it is 1 everywhere along the other).",
        _way(DecoderWay(softmax_over="sequences")),
        met="softmax(dim=0) or axis=0 on scores (batch, source).",
    ),
    DecoderFault(
        "softmax-left-out",
        "The scores themselves weigh the encoder outputs: there is no softmax.",
        "Take the softmax of the scores along the axis of source timesteps.",
        _way(DecoderWay(softmax_over="nothing")),
    ),
    DecoderFault(
        "padding-not-masked", "Source timesteps past a source's length are attended to.", _MASK,
        _way(DecoderWay(masked="not"), _lengths),
    ),
    DecoderFault(
        "padding-masked-by-zero",
        "Scores past a source's length are set to 0, and the softmax still gives them weight: exp(0) is 1.",
        _MASK,
        _way(DecoderWay(masked="zero score"), _lengths),
        met="scores * mask before a softmax.",
    ),
    DecoderFault(
        "padding-masked-after-softmax",
        "Attention past a source's length is set to 0 after the softmax: what is left does not sum to 1.",
        _MASK,
        _way(DecoderWay(masked="after"), _lengths),
    ),
    DecoderFault(
        "attention-from-previous-state", "Scores are taken with the state before the cell's step.", _NOW,
        _way(DecoderWay(attends_with="h before")), met="Bahdanau's order, where Luong's is meant.",
    ),
    DecoderFault(
        "attention-from-next-state", "Scores are taken with a state one call of the cell further.", _NOW,
        _way(DecoderWay(attends_with="h after")), met="A cell called once for its output and once more for its state.",
    ),
    DecoderFault(
        "attention-from-cell-state", "Scores are taken with c in the place of h.", _NOW,
        _way(DecoderWay(attends_with="c")), met="state[0] of an LSTMStateTuple, which is (c, h).",
    ),
    *(
        DecoderFault(
            name, f"Scores are {words} before the softmax.",
            "Take the product itself: Luong's dot and general scores are not scaled.",
            partial(_scaled, factor=factor), met="Scaled dot-product attention (Vaswani et al., 2017).",
        )
        for name, words, factor in _FACTORS
    ),
    DecoderFault(
        "W_a-transposed", "W_a is used transposed.", "Multiply the state by W_a: enc . (W_a h).",
        partial(_with_weight, name="W_a", change=lambda array: array.T),
    ),
    DecoderFault(
        "W_a-left-out", "W_a is not used: scores are those of dot attention.", "Score with enc . (W_a h).",
        partial(_with_weight, name="W_a", change=lambda array: np.eye(len(array), dtype=array.dtype)),
    ),
    DecoderFault(
        "context-of-previous-step", "The context of the step before goes into y; at the first step zeros do.",
        "Take the context that is computed of this step's own attention.",
        _way(DecoderWay(context_of="the step before")),
    ),
    DecoderFault(
        "context-of-first-step", "The context of the first step goes into y at every step.",
        "Compute attention and context inside the loop.", _way(DecoderWay(context_of="the first step"), _several),
    ),
)  # fmt: skip


# -- output and feedback -----------------------------------------------------------------------------------------


def _output() -> Iterator[DecoderFault]:
    yield DecoderFault(
        "context-and-state-exchanged", "W_tilde multiplies [h; context].", "Join them as [context; h].",
        _way(DecoderWay(exchanged=True)),
    )  # fmt: skip
    yield DecoderFault(
        "b_tilde-left-out", "b_tilde is not added.", "Add b_tilde before the tanh.",
        partial(_with_weight, name="b_tilde", change=np.zeros_like),
    )  # fmt: skip
    yield DecoderFault(
        "tanh-left-out", "y is W_tilde [context; h] + b_tilde itself, without the tanh.", "Take the tanh of it.",
        _way(DecoderWay(without_tanh=True)),
    )  # fmt: skip
    yield DecoderFault(
        "target-of-value-before-tanh", "Logits are made of the value before the tanh.", "Multiply y by W_target.",
        _way(DecoderWay(target_of="before tanh")),
    )  # fmt: skip
    feed = "Hand y, after its tanh, to the next step as its input."
    fed: dict[str, tuple[str, DecoderWay, Callable[[DecoderProblem], bool]]] = {
        "fed-back-before-tanh": ("The value before the tanh is fed back.", DecoderWay(fed_back="before tanh"),
                                 _several),
        "not-fed-back": ("Every step gets y0: nothing is fed back.", DecoderWay(fed_back="y0"), _several),
        "zeros-fed-back": ("Every step but the first gets zeros.", DecoderWay(fed_back="zeros"), _several),
        "context-fed-back": ("The context is fed back in the place of y.", DecoderWay(fed_back="context"),
                             lambda p: _several(p) and _width(p) == p.case.lstm.input_size),
    }  # fmt: skip
    for name, (message, way, needs) in fed.items():
        yield DecoderFault(name, message, feed, _way(way, needs))


# -- weights that are not shared ---------------------------------------------------------------------------------

_GROUPS = (
    ("W_target",), ("W_tilde", "b_tilde"), ("W_tilde",), ("b_tilde",), ("W_a",), ("W_target", "W_tilde", "b_tilde"),
    ("W_target", "W_tilde", "b_tilde", "W_a"), ("W", "R", "b"), ("W", "R", "b", "W_target", "W_tilde", "b_tilde"),
)  # fmt: skip


_FRESH: tuple[Literal["ones", "zeros"], ...] = ("ones", "zeros")
_WORDS = {"ones": "ones (biases with zeros)", "zeros": "zeros"}
_ONE_STEP: tuple[Literal["the first step", "the last step"], ...] = ("the first step", "the last step")


def sharing_fix(names: tuple[str, ...]) -> str:
    """How weights come to be shared by the steps of a loop."""
    what = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return (
        f"Make {what} once, before the loop. In TF1 tf.Variable never reuses: tf.get_variable under "
        "variable_scope(..., reuse=tf.AUTO_REUSE) does."
    )


def _made_anew() -> Iterator[DecoderFault]:
    for names in _GROUPS:
        what, are = ", ".join(names), "are" if len(names) > 1 else "is"
        message = f"{what} {are} used at the first step only, and made anew at every other"
        for value in _FRESH:
            yield DecoderFault(
                f"{'+'.join(names)}-made-anew-{value}", f"{message}, with {_WORDS[value]}.", sharing_fix(names),
                partial(_anew, names=names, way=_first_step(names, value)),
                met=QUESTION, anew=names,
            )  # fmt: skip
        for which in _ONE_STEP:
            yield DecoderFault(
                f"{'+'.join(names)}-gradient-of-{which.removeprefix('the ').replace(' ', '-')}",
                f"The gradient of {what} is that of {which} alone: each step has a variable of its own, or the others "
                "are not added.",
                f"{sharing_fix(names)} The gradient of a shared weight is the sum over its uses.",
                partial(_anew, names=names, way=DecoderWay(anew=names, gradient_of=which)), met=QUESTION,
            )  # fmt: skip


def _first_step(names: tuple[str, ...], value: Literal["ones", "zeros"]) -> DecoderWay:
    """The given weights are those of the first step, and so is their gradient."""
    return DecoderWay(anew=names, initialised=value, gradient_of="the first step")


def _anew(problem: DecoderProblem, names: tuple[str, ...], way: DecoderWay) -> tuple[DecoderProblem, DecoderWay] | None:
    there = problem.weights.arrays().keys()
    # W_a is there where scores are general: beside others it may be missing.
    if not _several(problem) or not (set(names) - {"W_a"} or {"W_a"}) <= there:
        return None
    return (problem, way) if way.initialised != "given" or problem.dy is not None else None


# -- the cell's weights ------------------------------------------------------------------------------------------


def _cell_weights() -> Iterator[DecoderFault]:
    for order in permutations(GATES):
        if order != tuple(GATES):
            stacked = ", ".join(order)
            yield DecoderFault(
                f"cell-gates-{''.join(order)}", f"The cell reads W, R and b as stacked {stacked}.",
                "They are stacked i, f, g, o: take them apart in that order.", partial(_reordered, order=order),
            )  # fmt: skip
    for name, times, words in (("left-out", -1.0, "is left out"), ("twice", 1.0, "is added twice")):
        yield DecoderFault(
            f"forget-bias-{name}", f"The forget bias {words}.", "b holds it already: add nothing at run time.",
            partial(_forget_bias, times=times),
        )  # fmt: skip


def _reordered(problem: DecoderProblem, order: tuple[str, ...]) -> tuple[DecoderProblem, DecoderWay]:
    weights = problem.weights
    changed = replace(weights, **{name: reorder(getattr(weights, name), order) for name in ("W", "R", "b")})
    return replace(problem, weights=changed), RIGHT_DECODER


def _forget_bias(problem: DecoderProblem, times: float) -> tuple[DecoderProblem, DecoderWay] | None:
    forget_bias = problem.case.lstm.forget_bias
    if not forget_bias:
        return None
    b = with_forget_bias(problem.weights.b, times * forget_bias)
    return replace(problem, weights=replace(problem.weights, b=b)), RIGHT_DECODER


# -- gradients ---------------------------------------------------------------------------------------------------


def _detached() -> Iterator[DecoderFault]:
    for names, words in ((("y",), "what is fed back"), (("h", "c"), "the state"), (("h",), "h"), (("c",), "c"),
                         (("h", "c", "y"), "the state, nor through what is fed back,")):  # fmt: skip
        yield DecoderFault(
            f"{''.join(names)}-detached", f"No gradient passes through {words} from a step to the one before.",
            "Carry it without detach(), stop_gradient or a copy through NumPy.",
            partial(_detached_way, names=names),
        )  # fmt: skip


def _detached_way(problem: DecoderProblem, names: tuple[str, ...]) -> tuple[DecoderProblem, DecoderWay] | None:
    return (problem, DecoderWay(detached=names)) if problem.dy is not None and _several(problem) else None

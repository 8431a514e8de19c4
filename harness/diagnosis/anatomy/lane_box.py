"""One lane of a network as a black box of its own: plain problems, asked within problems of the network.

The other lanes are silent: their weights and states are 0. A projection is the identity, peepholes are 0, and a clip
is beyond all values. A reverse lane is told in its own order of time. Of a lower layer final states alone are
returned, so each timestep is the end of a call of its own. An upper layer takes in what the one below gives: with
weights of 0 that is a curve of its c0, whatever the order of its gates; the curve is measured, and read backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.polynomial import Chebyshev

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import LSTM, Case, Run
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.cases.tensors import Lane, lanes, name_of, turned, weight_shapes
from lockstep.harness.diagnosis.anatomy.black_box import Reach

Asked = Callable[[list[Problem]], list[Arrays | None]]  # tensors by the names of their lanes
BEYOND = 1e4  # a clip that nothing reaches
FED = 0.375  # the largest input that an upper layer is given: at weights of 0 the one below gives h = tanh(c0 / 2) / 2
SWEPT = np.linspace(-2.5, 2.5, 257)  # of c0, for the curve of what the layer below gives
POLYNOMIAL_TERMS = 25  # the degree of the curve that is fitted to what the layer below gives
FEED_TOLERANCE = 3e-7  # of that curve in float32
NO_ANSWER = "it gives no answer where all other lanes are silent"
NO_STATES = "it does not return h_n and c_n, by which a lane is read"
NO_FEED = "the layer below, at weights of 0, gives no rising curve of its c0, by which this one could be fed"


def measurable(lstm: LSTM) -> str:
    """Why the lanes of a network are no plain layers, whatever else is silent; nothing if they can be."""
    if lstm.merged:
        return "its directions are merged, so none is seen by itself"
    kept = {name: getattr(lstm, name) for name in ("input_size", "hidden_size", "num_layers", "direction", "proj_size")}
    kept |= {name: getattr(lstm, name) for name in ("bias", "forget_bias", "peephole", "cell_clip")}
    if lstm != LSTM(**kept):
        return "its cell is not the standard one (other activations, or input_forget), from which conventions differ"
    return ""


class _Question(NamedTuple):
    """The network's problems that answer a plain one, and how the answer is read."""

    problems: list[Problem]
    read: Callable[[list[Arrays]], Arrays | None]


class LaneBlackBox:
    """One lane of a network, asked as a plain layer is."""

    def __init__(self, ask: Asked, lstm: LSTM, lane: Lane, *, name: str, layout: str) -> None:
        """Ask a network of this form about a lane of it."""
        self.name, self.layout = name, layout
        self._ask, self._lstm, self._lane = ask, lstm, lane
        of_top = lane.layer == lstm.num_layers - 1
        self.reach = Reach(lengths=of_top)
        if lane.layer:
            self.reach = Reach(len(lstm.directions), over_time=False, lengths=False, largest_input=FED)
        self.calls = 0

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """The h and c of the lane for each problem; None where it cannot be asked, or gave nothing."""
        questions = [self._question(problem) for problem in problems]
        answers = iter(self._called([p for question in questions if question for p in question.problems]))
        replies: list[Arrays | None] = []
        for question in questions:
            parts = [next(answers) for _ in question.problems] if question else [None]
            there = [part for part in parts if part is not None]
            replies.append(question.read(there) if question and len(there) == len(parts) else None)
        return replies

    @cached_property
    def refusal(self) -> str:
        """Why the lane cannot be measured; nothing if it can."""
        if measurable(self._lstm):
            return measurable(self._lstm)
        problem = self._silent(T=1, B=2, H=3, input_size=2)
        answer = self._called([problem])[0]
        if answer is None:
            return NO_ANSWER
        if self._read_last(answer) is None:
            return NO_STATES
        return NO_FEED if self._lane.layer and self._feed is None else ""

    def _called(self, problems: list[Problem]) -> list[Arrays | None]:
        self.calls += len(problems)
        return self._ask(problems) if problems else []

    # -- questions -----------------------------------------------------------------------------------------------

    def _question(self, problem: Problem) -> _Question | None:
        lengths, T = problem.lengths, len(problem.x)
        if self._lane.layer:
            c0 = None if T > 1 or lengths is not None else self._fed(problem)
            return None if c0 is None else _Question([self._embedded(problem, fed=c0)], self._of_one_step)
        if T == 1 and lengths is None:
            return _Question([self._embedded(problem)], self._of_one_step)
        if self._lane.layer == self._lstm.num_layers - 1:
            return _Question([self._embedded(problem)], lambda answers: self._of_sequence(answers[0], problem))
        if lengths is not None:  # the end of a sequence is not seen in final states
            return None
        return _Question([self._embedded(problem, timesteps=t + 1) for t in range(T)], self._of_prefixes)

    def _of_one_step(self, answers: list[Arrays]) -> Arrays | None:
        state = self._read_last(answers[0])
        return None if state is None else {name: array[None] for name, array in state.items()}

    def _of_prefixes(self, answers: list[Arrays]) -> Arrays | None:
        states = [self._read_last(answer) for answer in answers]
        there = [state for state in states if state is not None]
        return (
            {name: np.stack([state[name] for state in there]) for name in "hc"} if len(there) == len(states) else None
        )

    def _of_sequence(self, answer: Arrays, problem: Problem) -> Arrays:
        """What is returned of a top lane over time, in its own order of time, and its final c."""
        named = {kind: name_of(kind, self._lane, self._lstm) for kind in ("h", "c", "c_n")}
        there = {kind: answer[name] for kind, name in named.items() if name in answer}
        if not self._lane.reverse:
            return there
        return {k: np.ascontiguousarray(turned(a, problem.lengths)) if k != "c_n" else a for k, a in there.items()}

    def _read_last(self, answer: Arrays) -> Arrays | None:
        """The h and c (B, H) in which the lane ends; None where they are not returned."""
        state: Arrays = {}
        for kind in "hc":
            final = answer.get(name_of(f"{kind}_n", self._lane, self._lstm))
            sequence = answer.get(name_of(kind, self._lane, self._lstm))
            if final is not None:
                state[kind] = final
            elif sequence is not None:
                state[kind] = sequence[0 if self._lane.reverse else -1]
        return state if len(state) == len("hc") else None

    # -- the network's problems ----------------------------------------------------------------------------------

    def _embedded(self, problem: Problem, *, timesteps: int | None = None, fed: Array | None = None) -> Problem:
        """A plain problem, or its first timesteps, as one of the network in which all else is silent.

        ``fed`` is the c0 (B, directions x H) of the layer below, which makes the input.
        """
        T, (B, H) = timesteps or len(problem.x), problem.h0.shape
        # The network's own input is silent where the layer below makes that of the lane.
        width = 2 if fed is not None else problem.x.shape[2]
        network = self._silent(T=T, B=B, H=H, input_size=width, lengths=problem.lengths, dtype=problem.case.run.dtype)
        directions, place = len(self._lstm.directions), lanes(self._lstm).index(self._lane)
        h0, c0 = (np.array(network.states(name)) for name in ("h0", "c0"))
        h0[place], c0[place] = problem.h0, problem.c0
        x = network.x
        if fed is not None:
            first = (self._lane.layer - 1) * directions
            c0[first : first + directions] = np.moveaxis(fed.reshape(B, directions, H), 1, 0)
        else:
            x = np.array(turned(problem.x[:T], problem.lengths) if self._lane.reverse else problem.x[:T])
        stack = [list(layer) for layer in network.weights]
        k = place % directions
        silent = stack[self._lane.layer][k]
        # A W of zeros may be of another width than this layer's.
        W = problem.W if problem.W.any() else silent.W
        stack[self._lane.layer][k] = Weights(W, problem.R, problem.b, silent.P, silent.p)
        shape = network.h0.shape, network.c0.shape
        weights = tuple(tuple(layer) for layer in stack)
        return Problem(network.case, weights, x, h0.reshape(shape[0]), c0.reshape(shape[1]), network.lengths)

    def _silent(
        self, *, T: int, B: int, H: int, input_size: int, lengths: Array | None = None, dtype: str = "float32"
    ) -> Problem:
        """A problem of the network in which every weight, input and state is 0."""
        lstm = replace(
            self._lstm, input_size=input_size, hidden_size=H, proj_size=H if self._lstm.proj_size else 0, bias=True,
            forget_bias=1.0, cell_clip=None if self._lstm.cell_clip is None else BEYOND,
        )  # fmt: skip
        of_case = None if lengths is None else tuple(int(length) for length in lengths)
        run = Run(timesteps=T, batch=B, dtype=dtype, lengths=of_case)  # type: ignore[arg-type]
        case = Case(lstm=lstm, run=run, name="anatomy")
        stack = []
        for lane in lanes(lstm):
            arrays = {name: np.zeros(shape, dtype) for name, shape in weight_shapes(lstm, lane.layer).items()}
            if "P" in arrays:
                # A projection that changes nothing: h is what a plain layer gives.
                arrays["P"] = np.eye(H, dtype=dtype)
            stack.append(Weights(**arrays))
        count = len(lstm.directions)
        weights = tuple(tuple(stack[k : k + count]) for k in range(0, len(stack), count))
        h0, c0 = (np.zeros(case.natural_shape(name), dtype) for name in ("h0", "c0"))
        return Problem(case, weights, np.zeros((T, B, input_size), dtype), h0, c0, lengths)

    # -- feeding an upper layer ----------------------------------------------------------------------------------

    @cached_property
    def _feed(self) -> list[Chebyshev] | None:
        """What each direction of the layer below gives at weights of 0, as a curve of its c0."""
        below = [lane for lane in lanes(self._lstm) if lane.layer == self._lane.layer - 1]
        problem = self._silent(T=1, B=len(SWEPT), H=1, input_size=2)
        c0 = np.array(problem.c0)
        for lane in below:
            c0[lanes(self._lstm).index(lane), :, 0] = SWEPT
        answer = self._called([Problem(problem.case, problem.weights, problem.x, problem.h0, c0)])[0]
        if answer is None:
            return None
        curves = []
        for lane in below:
            h = answer.get(name_of("h_n", lane, self._lstm))
            if h is None or not np.isfinite(h).all():
                return None
            # Many terms average out the rounding of single values.
            curve = Chebyshev.fit(SWEPT, h[:, 0].astype(np.float64), POLYNOMIAL_TERMS)
            rises = bool((np.diff(curve(SWEPT)) > 0).all())
            reaches = curve(SWEPT[0]) < -FED and curve(SWEPT[-1]) > FED
            if not rises or not reaches or np.abs(curve(SWEPT) - h[:, 0]).max() > FEED_TOLERANCE:
                return None
            curves.append(curve)
        return curves

    def _fed(self, problem: Problem) -> Array | None:
        """The c0 of the layer below at which it gives the x (B, directions x H) of a timestep, if there is any."""
        x, (B, H) = problem.x[0], problem.h0.shape
        width = H * len(self._lstm.directions)
        if not problem.W.any():  # then x counts for nothing, and is of any width
            x = np.zeros((B, width))
        if self._feed is None or np.abs(x).max(initial=0) > FED or x.shape[1] != width:
            return None
        c0 = []
        for curve, wanted in zip(self._feed, np.split(x.astype(np.float64), len(self._feed), axis=1), strict=True):
            dense = np.linspace(SWEPT[0], SWEPT[-1], 4001)
            guess, slope = np.interp(wanted, curve(dense), dense), curve.deriv()
            # Newton's method: from so near a start each step doubles the digits.
            for _ in range(3):
                guess = guess - (curve(guess) - wanted) / slope(guess)
            c0.append(guess)
        return np.concatenate(c0, axis=1)

"""The cell of an attention decoder as a black box of its own: plain problems of one timestep, asked in its first step.

The encoder outputs are 0, so the context is 0 whatever the scores. y = tanh(W_tilde h) shows as many units at a time
as y is wide; W_tilde takes a quarter of each, and the curve is read backwards. No cell state is returned: a c0 beyond
all gates, of either sign, shows o, and c is what tanh makes h / o of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case, Run
from lockstep.harness.cases.decoder_problem import DecoderProblem, DecoderWeights
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.anatomy.black_box import Reach

AskedDecoder = Callable[[list[DecoderProblem]], list[Arrays | None]]
QUARTER = 0.25  # of h: tanh loses no more than a bit of it, and dividing by a power of two none
OPEN = 1e8  # a c0 at which h is o, however small f is
SOURCES = 2  # encoder outputs, all of them 0
NO_ANSWER_WITHOUT_SOURCE = "it gives no answer where its encoder outputs are 0"
NO_STATE = "it does not return h_tilde, by which its cell is read"


class CellBlackBox:
    """The cell of a decoder, asked as a plain layer is."""

    def __init__(self, ask: AskedDecoder, decoder: AttentionDecoder, *, name: str, layout: str) -> None:
        """Ask a decoder of this form about its cell."""
        self.name, self.layout = name, layout
        self._ask, self._decoder = ask, decoder
        self.reach = Reach(over_time=False, lengths=False, proves="h")
        self.calls = 0

    @cached_property
    def refusal(self) -> str:
        """Why the cell cannot be measured; nothing if it can."""
        zeros = np.zeros
        case = Case(lstm=LSTM(input_size=2, hidden_size=3), run=Run(timesteps=1, batch=2), name="anatomy")
        problem = Problem.plain(
            case, *(zeros(shape, np.float32) for shape in ((12, 2), (12, 3), (12,), (1, 2, 2), (2, 3), (2, 3)))
        )
        answer = self._called(self._questions(problem))[0]
        return NO_ANSWER_WITHOUT_SOURCE if answer is None else "" if "y" in answer else NO_STATE

    def ask(self, problems: Sequence[Problem]) -> list[Arrays | None]:
        """The h and c of the cell for each problem of one timestep; None for others, or where it gave nothing."""
        asked: list[DecoderProblem] = []
        for problem in problems:
            asked += self._questions(problem)
        answers = iter(self._called(asked))
        return [self._read(problem, [next(answers) for _ in self._questions(problem)]) for problem in problems]

    def _called(self, problems: list[DecoderProblem]) -> list[Arrays | None]:
        self.calls += len(problems)
        return self._ask(problems) if problems else []

    def _questions(self, problem: Problem) -> list[DecoderProblem]:
        """A call for each group of units that y shows at a time."""
        if len(problem.x) > 1 or problem.lengths is not None:
            return []
        return [self._embedded(problem, first) for first in range(0, problem.h0.shape[1], problem.x.shape[2])]

    def _read(self, problem: Problem, answers: list[Arrays | None]) -> Arrays | None:
        there = [answer["y"][0] for answer in answers if answer is not None and "y" in answer]
        if not answers or len(there) < len(answers):
            return None
        units = np.concatenate(there, axis=1)[:, : problem.h0.shape[1]].astype(np.float64)
        with np.errstate(all="ignore"):
            h, high, low = np.split(np.arctanh(units) / QUARTER, 3)
            o = (high - low) / 2
            # Where o is 0 nothing is seen of c; gates that shut o so shut what makes c too.
            c = np.where((h == 0) & (o == 0), 0.0, np.arctanh(h / o))
        return {name: array.astype(problem.x.dtype)[None] for name, array in (("h", h), ("c", c))}

    def _embedded(self, problem: Problem, first: int) -> DecoderProblem:
        """A plain problem in the first step of a decoder, whose y shows the units from the first on.

        Each sequence is there three times: from its own c0, and from one beyond all gates, of either sign.
        """
        x, h0 = (np.concatenate([array] * 3) for array in (problem.x[0], problem.h0))
        beyond = np.full_like(problem.c0, OPEN)
        c0 = np.concatenate([problem.c0, beyond, -beyond])
        dtype, (B, A), H = x.dtype, x.shape, h0.shape[1]
        E, O, lstm = H, 1, LSTM(input_size=A, hidden_size=H)
        decoder = AttentionDecoder(
            source_timesteps=SOURCES, source_size=E, score=self._decoder.score, context=self._decoder.context,
            output_size=O,
        )  # fmt: skip
        case = Case(
            lstm=lstm, run=Run(timesteps=1, batch=B, dtype=problem.case.run.dtype), attention_decoder=decoder,
            name="anatomy",
        )  # fmt: skip
        W_tilde = np.zeros((A, E + H), dtype)
        for k in range(min(A, H - first)):
            W_tilde[k, E + first + k] = QUARTER
        of_context = np.zeros((4 * H, decoder.cell_input(lstm) - A), dtype)
        weights = DecoderWeights(
            np.hstack([of_context, problem.W]), problem.R, problem.b, W_tilde, np.zeros(A, dtype),
            np.zeros((O, A), dtype),
            **{name: np.zeros(shape, dtype) for name, shape in decoder.weight_shapes(lstm).items()},
        )  # fmt: skip
        return DecoderProblem(case, weights, h0, c0, x, enc=np.zeros((SOURCES, B, E), dtype))

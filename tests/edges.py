"""The edges of what an LSTM can be asked: nothing to do, nothing but one, and numbers that are none.

An edge is a small case, what is changed of its problem, and what is expected of it: what the reference gives; without a
timestep or a sequence, which no case file can ask for, what follows from the definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from decoder_cases import make_decoder
from judge import judged
from lstm_cases import make_case

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, problem_of
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import kind_of, tensors_of

Change = Callable[[AnyProblem], AnyProblem]
NAN, INF = np.float32(np.nan), np.float32(np.inf)
STRUCK = 0  # the sequence whose numbers are none
UNTIMED = {"h_n": "h0", "c_n": "c0", "dc0": "dc"}  # without a timestep the one is the other


@dataclass(frozen=True)
class Edge:
    """One edge."""

    name: str
    case: Case
    change: Change = lambda problem: problem

    @property
    def problem(self) -> AnyProblem:
        """Make it concrete."""
        return self.change(problem_of(self.case))

    @property
    def empty(self) -> bool:
        """Whether there is no timestep or no sequence."""
        return 0 in {self.case.run.timesteps, self.case.run.batch}


def status_of(edge: Edge, problem: AnyProblem, trace: Trace) -> str:
    """Say whether a trace is what is expected of an edge: "agree" or "diverge"."""
    if not edge.empty:
        return judged(edge.case, problem, trace).status
    expected = by_definition(problem)
    agree = all(np.array_equal(array, expected[name]) for name, array in trace.tensors(edge.case).items())
    return "agree" if agree else "diverge"


def by_definition(problem: AnyProblem) -> Arrays:
    """Give what an LSTM comes to without a timestep or without a sequence, by name.

    No output; without a timestep the final state is the first one, and so are their cotangents; of a sum of nothing
    every gradient is 0.
    """
    case = problem.case
    empty = {name: np.zeros(tensor.shape, np.float32) for name, tensor in tensors_of(case).items()}
    if case.run.timesteps:
        return empty
    return {name: getattr(problem, UNTIMED.get(kind_of(name), ""), array) for name, array in empty.items()}


def _small(**settings: object) -> Case:
    return make_case(**({"timesteps": 3, "batch": 3, "initial_state": "probe", "seed": 7} | settings))  # type: ignore[arg-type]


def _put(name: str, value: Array, at: tuple[int, ...]) -> Change:
    """Set one number of an array."""

    def change(problem: AnyProblem) -> AnyProblem:
        array = getattr(problem, name).copy()
        array[at] = value
        return replace(problem, **{name: array})

    return change


def _scaled(name: str, factor: float) -> Change:
    """Multiply an array."""
    return lambda problem: replace(problem, **{name: (getattr(problem, name) * factor).astype(np.float32)})


def _scaled_weights(factor: float) -> Change:
    """Multiply the weights of all lanes."""

    def change(problem: AnyProblem) -> AnyProblem:
        assert isinstance(problem, Problem)
        weights = tuple(
            tuple(replace(w, **{n: (a * factor).astype(np.float32) for n, a in w.arrays().items()}) for w in layer)
            for layer in problem.weights
        )
        return replace(problem, weights=weights)

    return change


def padded(name: str, value: Array) -> Change:
    """Fill the padding of an array, (T, B, n)."""

    def change(problem: AnyProblem) -> AnyProblem:
        array = getattr(problem, name).copy()
        array[np.arange(len(array))[:, None] >= problem.lengths] = value
        return replace(problem, **{name: array})

    return change


def _sizes() -> Iterator[Edge]:
    """Nothing to do, and nothing but one: each without gradients and with them."""
    settings = {
        "no timestep": {"timesteps": 0},
        "no sequence": {"batch": 0},
        "one of everything": {"timesteps": 1, "batch": 1, "input_size": 1, "hidden_size": 1},
        "all lengths 0": {"lengths": (0, 0, 0)},
        "one length 0": {"lengths": (2, 0, 3)},
    }
    for name, own in settings.items():
        yield Edge(name, _small(**own))
        yield Edge(f"{name}, gradients", _small(**own, gradients=True))


def _numbers() -> Iterator[Edge]:
    """Numbers that are none, in one sequence: the steps before and the other sequences are as they were."""
    for word, value in (("NaN", NAN), ("inf", INF), ("-inf", -INF)):
        yield Edge(f"{word} in x", _small(), _put("x", value, (1, STRUCK, 0)))
        for name in ("h0", "c0"):
            yield Edge(f"{word} in {name}", _small(), _put(name, value, (STRUCK, 1)))
    yield Edge("NaN in x, gradients", _small(gradients=True), _put("x", NAN, (1, STRUCK, 0)))


def _padding() -> Iterator[Edge]:
    """The same past a sequence's end: nothing is touched, and the padding's gradients are 0."""
    networks = {
        "": {},
        ", reverse": {"direction": "reverse"},
        ", bidirectional layers": {"direction": "bidirectional", "num_layers": 2},
    }
    for word, value in (("NaN", NAN), ("inf", INF)):
        for which, own in networks.items():
            for end, gradients in (("", False), (", gradients", True)):
                case = _small(lengths=(2, 3, 1), gradients=gradients, **own)
                yield Edge(f"{word} in the padding{which}{end}", case, padded("x", value))


def _sizes_of_numbers() -> Iterator[Edge]:
    """The largest numbers and the smallest."""
    yield Edge("weights x 1e4", _small(), _scaled_weights(1e4))
    yield Edge("weights x 1e4, gradients", _small(gradients=True), _scaled_weights(1e4))
    yield Edge("x of 1e38", _small(), _scaled("x", 1e38))
    yield Edge("c0 of 1e38", _small(), _scaled("c0", 1e38))
    yield Edge("denormal x", _small(), _scaled("x", 1e-42))
    yield Edge("denormal weights", _small(), _scaled_weights(1e-42))
    for name in ("h0", "c0"):
        yield Edge(f"denormal {name}", _small(), _scaled(name, 1e-42))


def _of_decoders() -> Iterator[Edge]:
    """Those of an attention decoder."""
    for end, own in (("", {}), (", gradients", {"gradients": True})):
        yield Edge(f"no source sequence{end}", make_decoder(batch=0, **own))
        one = {"timesteps": 1, "batch": 1, "input_size": 1, "hidden_size": 1, "source_timesteps": 1}
        yield Edge(f"one of everything{end}", make_decoder(**one, **own))
        for word, value in (("NaN", NAN), ("inf", INF)):
            case = make_decoder(lengths=(5, 2, 1), **own)
            yield Edge(f"{word} in the source's padding{end}", case, padded("enc", value))
    for name in ("h0", "c0", "y0"):
        yield Edge(f"NaN in {name}", make_decoder(), _put(name, NAN, (STRUCK, 1)))
    yield Edge("NaN in the source", make_decoder(), _put("enc", NAN, (1, STRUCK, 0)))
    yield Edge("scores of 1e4", make_decoder(), _scaled("enc", 1e4))


EDGES = {edge.name: edge for kind in (_sizes, _numbers, _padding, _sizes_of_numbers) for edge in kind()}
DECODER_EDGES = {edge.name: edge for edge in _of_decoders()}

"""How far rounding spreads where a network amplifies it: perturbed copies of the reference, run side by side.

The variances of ``harness.reference.noise`` take the errors of units for independent and slopes for constant. A
network that amplifies what its units have in common (weights all alike), or is chaotic, outgrows them. So before a
number beyond the limit is called a divergence, copies of the reference are run in which every step is off by a healthy
rounding: half of it of one sign throughout a copy, as an implementation's own way of rounding is, half of it fresh.
The noise of a number is then the larger of its first-order noise and the spread of the copies around the reference.

Tried on 2,000 random problems (scales to 20, weights alike, chaotic ones) with 66 healthy implementations: the
variances alone raised an alarm in 32 of them, of up to 10^9 sigma; with 8 copies one problem was left, at 42 sigma,
which 16 copies bring to 2.2.

Where copies are as far apart as the values are large, rounding alone decides what follows: no number of copies says how
far a healthy implementation may be, and nothing that comes after is determined. There the noise is infinite.
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane, has_weight_steps, lanes, name_of, tensors_of, turned
from lockstep.harness.reference.attention import decoder_values
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.network import Network
from lockstep.harness.reference.undetermined import Masks, mark, onward
from lockstep.harness.reference.weight_gradients import Operands, factors, product_of

COPIES = 24
FEWEST = 6  # fewer say nothing
COMMON = 0.5  # share of the variance that a copy keeps throughout
MOST_COPIED_NUMBERS = 2**27  # of all copies: 1 GB
# Copies this far apart, as a share of a state's size so far, go separate ways: from there a chaotic network takes a few
# steps to the whole, a healthy one in bfloat16 does not come near it.
APART = 0.1


def widened(problem: AnyProblem, expected: Expected, *, lost: bool = False) -> Expected:
    """Expected values with noise that covers the spread of perturbed copies.

    Where even a few copies would not fit into memory the noise stays as it is.

    Args:
        problem: What is run.
        expected: What the reference makes of it.
        lost: Whether noise is infinite where rounding alone decides. Not for what is to be proved: it fits anything.
    """
    copies = copies_of(problem)
    if not copies:
        return expected
    with np.errstate(all="ignore"):
        decoder = isinstance(problem, DecoderProblem)
        spreads = _decoder_spreads(problem, copies) if decoder else _spreads(problem, copies, lost=lost)
        return expected | {name: covering(expected[name], spread) for name, spread in spreads.items()}


def covering(tensor: ExpectedTensor, spread: Array) -> ExpectedTensor:
    """A tensor whose noise is at least the spread of its copies."""
    return ExpectedTensor(tensor.value, tensor.rest, np.fmax(tensor.noise, spread.astype(tensor.noise.dtype)))


def copies_of(problem: AnyProblem) -> int:
    """How many copies are run of a problem; none where even a few would not fit into memory."""
    copies = min(COPIES, MOST_COPIED_NUMBERS // _numbers(problem) - 1)
    return copies if copies >= FEWEST else 0


def _numbers(problem: AnyProblem) -> int:
    """Count what one copy keeps."""
    T, B, I, H = problem.case.shape
    if isinstance(problem, DecoderProblem):
        decoder = problem.decoder
        S, E = decoder.source_timesteps, decoder.width(problem.case.lstm)
        # Each step's values and those of the way back, its part of the weights' gradients, and that of the source.
        each = B * (40 * H + 8 * (S + E + I)) + (problem.dlogit is not None) * (_size(problem) + 2 * B * S * E)
        return T * each + 40 * B * S * E
    each = 8 * H if problem.dh is None else 24 * H + I
    return max(1, T * B * each * len(lanes(problem.case.lstm)))


class _Kicks:
    """Standard normal numbers, part of them the same throughout a copy; the first copy is left exact."""

    def __init__(self, copies: int, batch: int) -> None:
        self.copies = copies
        self._rng = np.random.Generator(np.random.Philox(0))
        self._batch = batch
        self._fixed: dict[tuple[str, int], Array] = {}
        self._moved = np.repeat(np.arange(copies) > 0, batch)[:, None]

    def __call__(self, name: str, value: Array, variance: Array) -> Array:
        key = (name, value.shape[-1])
        if key not in self._fixed:
            self._fixed[key] = np.repeat(self._rng.standard_normal(self.copies), self._batch)[:, None]
        kick = np.sqrt(COMMON) * self._fixed[key] + np.sqrt(1 - COMMON) * self._rng.standard_normal(value.shape)
        return value + self._moved * kick * np.sqrt(variance)


def _spreads(problem: Problem, copies: int, *, lost: bool) -> Arrays:
    """The root mean square distance of copies from the exact one, by tensor."""
    case, count = problem.case, copies + 1
    network = Network(_copied(problem, count), _Kicks(count, case.run.batch))
    known = tensors_of(case)
    values = network.forward_values()
    apart = _apart(network, values, count) if lost else {}
    spreads: Arrays = {}
    for lane, tensors in values.items():
        for kind, array in tensors.items():
            name = name_of(kind, lane, case.lstm)
            spreads[name] = _spread_over_batch(network.right_way(array, kind, lane), count)
    if problem.dh is None:
        return _with_undetermined(spreads, apart, case)
    operands: dict[Lane, list[Operands]] | None = {} if has_weight_steps(case) else None
    for name, array in network.backward_values(values, operands).items():
        over_batch = known[name].kind in {"dx", "dh0", "dc0"}
        spreads[name] = _spread_over_batch(array, count) if over_batch else _spread(array)
    for lane, chunks in (operands or {}).items():
        for kind, spread in _contributions(network, lane, chunks, count):
            if name_of(kind, lane, case.lstm) in known:
                spreads[name_of(kind, lane, case.lstm)] = spread
    return _with_undetermined(spreads, apart, case)


def _with_undetermined(spreads: Arrays, apart: Masks, case: Case) -> Arrays:
    """Set to infinity what depends on copies that go separate ways."""
    if apart:
        mark(spreads, apart, np.zeros(case.run.batch, bool), case, np.inf)
    return spreads


def _apart(network: Network, values: dict[Lane, Arrays], copies: int) -> Masks:
    """Where the copies of each lane go separate ways, or those it depends on do: (T, B), in the order of time."""
    batch = network.problem.case.run.batch // copies
    lengths = None if network.problem.lengths is None else network.problem.lengths[:batch]
    apart: Masks = {}
    for lane, arrays in values.items():
        far = np.zeros((len(arrays["h"]), batch), bool)
        for array in (arrays["h"], arrays["c"]):
            value = array.reshape(len(array), copies, -1, array.shape[-1])
            size = np.sqrt(np.square(value).mean(axis=(1, 3)))  # (T, B)
            distance = np.sqrt(np.square(value[:, 1:] - value[:, :1]).mean(axis=(1, 3)))
            # Not `>`: where copies overflow nothing is known either.
            far |= ~(distance <= APART * np.maximum.accumulate(size, axis=0))
        apart[lane] = turned(far, lengths) if lane.reverse else far
    return onward(apart, lengths)


def _size(problem: DecoderProblem) -> int:
    return sum(array.size for array in problem.weights.arrays().values())


def _decoder_spreads(problem: DecoderProblem, copies: int) -> Arrays:
    """The spread of a decoder's copies, which go along a leading axis of their own."""
    count = copies + 1
    rng = np.random.Generator(np.random.Philox(0))
    moved = np.arange(count) > 0
    fixed: dict[tuple[int, ...], Array] = {}

    def kick(value: Array, variance: Array) -> Array:
        """Put copies off; the first is left exact."""
        shape, each = value.shape, (count, *(1,) * (value.ndim - 1))
        if shape not in fixed:
            fixed[shape] = rng.standard_normal(each)
        by = np.sqrt(COMMON) * fixed[shape] + np.sqrt(1 - COMMON) * rng.standard_normal(shape)
        return value + moved.reshape(each) * by * np.sqrt(variance)

    known = tensors_of(problem.case)
    # Time comes first where there is time, else copies do.
    return {
        name: _spread(np.moveaxis(array, 1, 0) if known[name].timed else array)
        for name, array in decoder_values(problem, count, kick).items()
    }


def _spread_over_batch(array: Array, copies: int) -> Array:
    """The spread of (..., copies B, n)."""
    *lead, batch, n = array.shape
    return _spread(np.moveaxis(array.reshape(*lead, copies, batch // copies, n), -3, 0))


def _spread(array: Array) -> Array:
    return np.sqrt(np.square(array[1:] - array[0]).mean(axis=0))


def _contributions(network: Network, lane: Lane, chunks: list[Operands], copies: int) -> list[tuple[str, Array]]:
    """The spread of each timestep's contributions to gradients of weights."""
    operands = Operands(*(np.concatenate(arrays) for arrays in zip(*chunks[::-1], strict=True)))
    if lane.reverse:
        operands = Operands(*(turned(array, network.problem.lengths) for array in operands))
    spreads = []
    for name, left, right, _, _ in factors(network.walks[lane].cell, operands, None):
        rows = []
        for t in range(len(left)):
            left_t, right_t = (None if a is None else a[t].reshape(copies, -1, *a.shape[2:]) for a in (left, right))
            assert left_t is not None
            rows.append(_spread(product_of(left_t, right_t)))
        spreads.append((f"{name}_t", np.stack(rows)))
    return spreads


def _copied(problem: Problem, copies: int) -> Problem:
    """Put copies of the sequences side by side."""
    case = problem.case
    run = replace(
        case.run,
        batch=case.run.batch * copies,
        lengths=None if case.run.lengths is None else case.run.lengths * copies,
    )
    lengths = None if problem.lengths is None else np.tile(problem.lengths, copies)
    named = {name: getattr(problem, name) for name in ("x", "h0", "c0", "dh", "dc")}
    tiled = {
        name: None if array is None else np.concatenate([array] * copies, axis=-2) for name, array in named.items()
    }  # fmt: skip
    return Problem(replace(case, run=run, expect=None), problem.weights, lengths=lengths, **tiled)  # type: ignore[arg-type]

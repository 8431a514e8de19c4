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

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from msgspec.structs import replace

from lockstep.harness.arrays import Array, Arrays, by_rows
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import (
    BACKWARD,
    Lane,
    has_weight_steps,
    lanes,
    name_of,
    tensors_of,
    turned,
    weight_count,
)
from lockstep.harness.reference.attention import decoder_values
from lockstep.harness.reference.cell import Operands
from lockstep.harness.reference.expected import Expected, ExpectedTensor, LaneResults
from lockstep.harness.reference.network import Network
from lockstep.harness.reference.noise import Kicks, Noise
from lockstep.harness.reference.undetermined import BY_SEQUENCE, Masks, mark, onward
from lockstep.harness.reference.weight_gradients import Chunk, factors

COPIES = 24
FEWEST = 6  # fewer say nothing
MOST_COPIED_NUMBERS = 2**27  # of all copies: 1 GB
# Copies this far apart, as a share of a state's size so far, go separate ways: from there a chaotic network takes a few
# steps to the whole, a healthy one in bfloat16 does not come near it.
APART = 0.1


def widened(problem: AnyProblem, expected: Expected, *, lost: bool = False, quantised: str | None = None) -> Expected:
    """Expected values with noise that covers the spread of perturbed copies.

    Where not even a copy of one sequence would fit into memory the noise stays as it is. If ``lost``, noise is infinite
    where rounding alone decides: not for what is to be proved, since it fits anything. ``quantised``: as of ``expect``.
    """
    copies = copies_of(problem)
    with np.errstate(all="ignore"):
        if isinstance(problem, DecoderProblem):
            spreads = _decoder_spreads(problem, copies) if copies else {}
        elif copies:
            spreads = _spreads(problem, Kicks(copies + 1), quantised, lost=lost)
        else:
            spreads = _spreads_in_parts(problem, quantised, lost=lost)
        return expected | {name: covering(expected[name], spread) for name, spread in spreads.items()}


def covering(tensor: ExpectedTensor, spread: Array) -> ExpectedTensor:
    """A tensor whose noise is at least the spread of its copies."""
    noise = tensor.noise
    wider = by_rows(lambda rows: np.fmax(noise[rows], spread[rows].astype(noise.dtype)), noise, spread)
    return ExpectedTensor(tensor.value, tensor.rest, wider)


def copies_of(problem: AnyProblem) -> int:
    """How many copies of a problem are run side by side; none where even a few would not fit into memory."""
    # One more is run than is counted: the exact one, from which distances are taken.
    copies = min(COPIES, MOST_COPIED_NUMBERS // _numbers(problem) - 1)
    return copies if copies >= FEWEST else 0


def _numbers(problem: AnyProblem) -> int:
    """Count what one copy keeps."""
    T, B, I, H = problem.case.shape
    if isinstance(problem, DecoderProblem):
        decoder = problem.decoder
        S, E = decoder.source_timesteps, decoder.width(problem.case.lstm)
        # Each step's values and those of the way back, its part of the weights' gradients, and that of the source.
        back = 0 if problem.dlogit is None else weight_count(problem.case) + 2 * B * S * E
        return T * (B * (40 * H + 8 * (S + E + I)) + back) + 40 * B * S * E
    each = 8 * H if problem.dh is None else 24 * H + I
    return max(1, T * B * each * len(lanes(problem.case.lstm)))


def _spreads_in_parts(problem: Problem, quantised: str | None, *, lost: bool) -> Arrays:
    """The same of a long problem: few copies, of some of its sequences at a time."""
    batch = problem.case.run.batch
    of_sequence = _numbers(problem) // max(batch, 1)
    size = max(1, MOST_COPIED_NUMBERS // (of_sequence * (FEWEST + 1)))
    at_once = min(FEWEST, MOST_COPIED_NUMBERS // (of_sequence * min(size, batch)) - 1)
    if at_once < 1:
        return {}
    turns = -(-FEWEST // at_once)
    known, parts = tensors_of(problem.case), []
    for first in range(0, batch, size):
        part = _sequences(problem, slice(first, first + size))
        kicks = (Kicks(at_once + 1, turn) for turn in range(turns))
        parts.append(_over_turns(_spreads(part, kicks_of_turn, quantised, lost=lost) for kicks_of_turn in kicks))

    def joined(name: str) -> Array:
        arrays, kind = [part.pop(name) for part in parts], known[name].kind
        if kind in BACKWARD and kind not in BY_SEQUENCE:
            return np.sum(arrays, axis=0)  # an implementation's own way of rounding is the same in all sequences
        if not known[name].timed:
            return np.concatenate(arrays, axis=-2)
        return by_rows(lambda rows: np.concatenate([array[rows] for array in arrays], axis=-2), *arrays)

    return {name: joined(name) for name in list(parts[0])}


def _over_turns(turns: Iterable[Arrays]) -> Arrays:
    """The root mean square of what several turns gave, of which there is one at a time."""
    sums: Arrays = {}
    counted: Counter[str] = Counter()
    for spreads in turns:
        for name, spread in spreads.items():
            sums[name] = _plus_square(sums.get(name), spread)
            counted[name] += 1
    return {name: _root(total, counted[name]) for name, total in sums.items()}


def _plus_square(total: Array | None, spread: Array) -> Array:
    if total is None:
        return by_rows(lambda rows: np.square(spread[rows]), spread)
    return by_rows(lambda rows: total[rows] + np.square(spread[rows]), spread, total)


def _root(total: Array, count: int) -> Array:
    return by_rows(lambda rows: np.sqrt(total[rows] / count), total)


def _sequences(problem: Problem, wanted: slice) -> Problem:
    """The problem of some of the sequences."""
    case = problem.case
    settings = case.run.lengths and case.run.lengths[wanted], case.run.resets and case.run.resets[wanted]
    batch = len(range(case.run.batch)[wanted])
    run = replace(case.run, batch=batch, lengths=settings[0], resets=settings[1])
    inputs = {name: getattr(problem, name) for name in problem.INPUTS}
    chosen = {
        name: array[..., wanted] if name in {"lengths", "resets"} else array[..., wanted, :]
        for name, array in inputs.items() if array is not None
    }  # fmt: skip
    return Problem(replace(case, run=run, expect=None), problem.weights, halves=problem.halves, **chosen)


def _spreads(problem: Problem, kicks: Kicks, quantised: str | None, *, lost: bool) -> Arrays:
    """The root mean square distance of copies from the exact one, by tensor."""
    case, count = problem.case, kicks.copies
    network = Network(_copied(problem, count), kicks, Noise.of(case.run.dtype, quantised))
    known = tensors_of(case)
    results = network.forward(noisy=False)
    apart = _apart(network, results, count) if lost else {}
    spreads = {name: _spread_over_batch(result.value, count) for name, result in network.named(results).items()}
    if problem.dh is not None:
        chunks: dict[Lane, list[Chunk]] | None = {} if has_weight_steps(case) else None
        for name, gradient in network.backward(results, noisy=False, chunks=chunks).items():
            over_batch = known[name].kind in BY_SEQUENCE
            spreads[name] = _spread_over_batch(gradient.value, count) if over_batch else _spread(gradient.value)
        for lane, chunks_of_lane in (chunks or {}).items():
            for kind, spread in _contributions(network, lane, chunks_of_lane, count):
                name = name_of(kind, lane, case.lstm)
                if name in known:
                    spreads[name] = spread
    if apart:
        # What depends on copies that go separate ways is not determined.
        mark(spreads, apart, np.zeros(case.run.batch, bool), case, np.inf)
    return spreads


def _apart(network: Network, results: dict[Lane, LaneResults], copies: int) -> Masks:
    """Where the copies of each lane go separate ways, or those it depends on do: (T, B), in the order of time."""
    batch = network.problem.case.run.batch // copies
    lengths = None if network.problem.lengths is None else network.problem.lengths[:batch]
    apart: Masks = {}
    for lane, by_kind in results.items():
        far = np.zeros((len(by_kind["h"].value), batch), bool)
        for array in (by_kind[kind].value for kind in ("h", "c") if kind in by_kind):
            size, distance = np.moveaxis(by_rows(partial(_sizes, array, copies), array), 1, 0)
            # Not `>`: where copies overflow nothing is known either.
            # Of the largest size so far: a state that passes through 0 is not chaotic for that.
            far |= ~(distance <= APART * np.maximum.accumulate(size, axis=0))
        apart[lane] = turned(far, lengths) if lane.reverse else far
    return onward(apart, lengths)


def _sizes(array: Array, copies: int, rows: slice) -> Array:
    """How large a state is, and how far its copies are from the exact one, (T, 2, B)."""
    value = array[rows].reshape(-1, copies, array.shape[1] // copies, array.shape[-1])
    squares = np.square(value), np.square(value[:, 1:] - value[:, :1])
    return np.stack([np.sqrt(each.mean(axis=(1, 3))) for each in squares], axis=1)


def _decoder_spreads(problem: DecoderProblem, copies: int) -> Arrays:
    """The spread of a decoder's copies, which go along a leading axis of their own."""
    count = copies + 1
    known = tensors_of(problem.case)
    # Time comes first where there is time, else copies do.
    return {
        name: _spread(np.moveaxis(array, 1, 0) if known[name].timed else array)
        for name, array in decoder_values(problem, count, Kicks(count).along_axis).items()
    }


def _spread_over_batch(array: Array, copies: int) -> Array:
    """The spread of (..., copies B, n)."""
    *lead, batch, n = array.shape

    def spread(rows: slice) -> Array:
        return _spread(np.moveaxis(array.reshape(*lead, copies, batch // copies, n)[rows], -3, 0))

    return by_rows(spread, array) if lead else _spread(array.reshape(copies, batch // copies, n))


def _spread(array: Array) -> Array:
    # Around the exact copy, not around their mean: what shifts all copies alike counts.
    return _root_mean_square(array[1:] - array[0])


def _root_mean_square(arrays: Any) -> Array:
    return np.sqrt(np.square(arrays).mean(axis=0))


def _contributions(network: Network, lane: Lane, chunks: list[Chunk], copies: int) -> Iterator[tuple[str, Array]]:
    """The spread of each timestep's contributions to gradients of weights."""
    operands, _ = network.by_timestep(chunks, lane)
    spreads: dict[str, list[Array]] = {}
    # Step by step: all copies of all contributions at once would not fit into memory.
    for t in range(len(operands.dz)):
        step = Operands(*(array[t].reshape(copies, -1, array.shape[-1]) for array in operands))
        for part in factors(network.walks[lane].cell, step, None):
            spreads.setdefault(f"{part.name}_t", []).append(_spread(part.summed(0)[0]))
    return ((name, np.stack(rows)) for name, rows in spreads.items())


def _copied(problem: Problem, copies: int) -> Problem:
    """Put copies of the sequences side by side."""
    case = problem.case
    settings = case.run.lengths and case.run.lengths * copies, case.run.resets and case.run.resets * copies
    run = replace(case.run, batch=case.run.batch * copies, lengths=settings[0], resets=settings[1])
    inputs = {name: getattr(problem, name) for name in problem.INPUTS}
    tiled = {
        name: np.concatenate([array] * copies, axis=-1 if name in {"lengths", "resets"} else -2)
        for name, array in inputs.items() if array is not None
    }  # fmt: skip
    # Golden values are lists over the batch of the case itself.
    return Problem(replace(case, run=run, expect=None), problem.weights, halves=problem.halves, **tiled)

"""Streaming: a sequence is cut into pieces, each run from the final states that the one before gave.

A sequence that ended in an earlier piece has length 0 in the later ones, and its states go through them unchanged.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import numpy as np
from msgspec.structs import replace as changed

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import TIMED, kind_of, lanes, name_of, split


def piece_rows(chunks: tuple[int, ...]) -> list[slice]:
    """The timesteps of each piece."""
    ends = [*accumulate(chunks)]
    return [slice(end - chunk, end) for chunk, end in zip(chunks, ends, strict=True)]


def piece_cases(case: Case) -> list[Case]:
    """The case of each piece; of one that is run at once, itself."""
    if case.run.chunks is None:
        return [case]
    cases = []
    for rows in piece_rows(case.run.chunks):
        count = rows.stop - rows.start
        lengths = case.run.lengths and tuple(min(max(n - rows.start, 0), count) for n in case.run.lengths)
        resets = case.run.resets and tuple(
            tuple(t - rows.start for t in timesteps if rows.start <= t < rows.stop) for timesteps in case.run.resets
        )
        run = changed(case.run, timesteps=count, lengths=lengths, resets=resets, chunks=None)
        cases.append(changed(case, run=run, expect=None))
    return cases


def pieces_of(problem: Problem) -> list[Problem]:
    """The problem of each piece, all of them with the initial states of the first."""
    chunks = problem.case.run.chunks or (problem.case.run.timesteps,)
    pieces = []
    for case, rows in zip(piece_cases(problem.case), piece_rows(chunks), strict=True):
        lengths = None if problem.lengths is None else np.array(case.run.lengths, np.int64)
        resets = None if problem.resets is None else problem.resets[rows]
        pieces.append(replace(problem, case=case, x=problem.x[rows], lengths=lengths, resets=resets))
    return pieces


def final_states(tensors: Arrays, piece: Problem) -> Arrays:
    """The h0 and c0 of the piece after one that gave ``tensors``; what these do not tell is left out."""
    by_lane, lstm = split(tensors, piece.case), piece.case.lstm
    starts: Arrays = {}
    for kind in "hc":
        names = [(name_of(f"{kind}_n", lane, lstm), name_of(kind, lane, lstm)) for lane in lanes(lstm)]
        given = zip(names, piece.states(f"{kind}0"), strict=True)
        states = [_final_state(by_lane, *of_lane, start, piece.lengths) for of_lane, start in given]
        there = [state for state in states if state is not None]
        if len(there) == len(states):
            starts[f"{kind}0"] = np.array(there[0] if lstm.single else there)
    return starts


def _final_state(tensors: Arrays, final: str, sequence: str, start: Array, lengths: Array | None) -> Array | None:
    """The state (B, n) of a lane after its last valid timestep."""
    if final in tensors:
        return tensors[final]
    if sequence not in tensors:
        return None
    steps = tensors[sequence]
    return steps[-1] if lengths is None else last_valid(steps, lengths, start)


def last_valid(steps: Array, lengths: Array, start: Array) -> Array:
    """Each sequence's row of (T, ..., B, n) at its last valid timestep; where it has none that of ``start``."""
    # Not the last row: past its end the h of a sequence is 0.
    rows = np.moveaxis(steps, -2, 1)[np.maximum(lengths - 1, 0), np.arange(len(lengths))]
    return np.where(lengths[:, None] > 0, np.moveaxis(rows, 0, -2), start)


def joined(of_pieces: list[Arrays]) -> Arrays:
    """The tensors of the whole: rows over time behind each other, final states those of the last piece."""
    return {
        name: np.concatenate([tensors[name] for tensors in of_pieces]) if kind_of(name) in TIMED else array
        for name, array in of_pieces[-1].items()
        if all(name in tensors for tensors in of_pieces)
    }

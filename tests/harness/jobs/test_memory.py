"""A long case is judged in pieces of time: in memory is what is being looked at."""

from __future__ import annotations

import mmap
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from lstm_cases import make_case

from lockstep.backends import numpy_loop
from lockstep.harness import arrays
from lockstep.harness.cases.problem import Problem
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.reference import spread
from lockstep.harness.reference.expect import expect

FORMS = [{}, {"num_layers": 2, "direction": "bidirectional", "lengths": (9, 0, 4)}]


def judged(problem):
    """What comes of a trace that needs copies to be judged, as none lies within so small a limit."""
    problems = Problems()
    problems.put(problem)
    return Judge(problems, limit=1e-3).judge_trace(problem.case, "numpy_loop", numpy_loop.run(problem))


def few_copies(monkeypatch, problem):
    """Have copies of one sequence at a time."""
    of_sequence = spread._numbers(problem) // problem.case.run.batch
    monkeypatch.setattr(spread, "MOST_COPIED_NUMBERS", 8 * of_sequence)


def mapped() -> int:
    """Bytes of files that are in the memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("RssFile:", "RssShmem:")))


def peak_of(call, monkeypatch) -> int:
    """The most that a call has in memory at once: what it allocates, and its files as far as they are there."""
    before, largest = mapped(), [0]

    def watched(file, advice):
        largest[0] = max(largest[0], mapped() - before)
        mmap.mmap.madvise(file, advice)

    monkeypatch.setattr(arrays.FileMemory, "madvise", watched)
    tracemalloc.start()
    try:
        call()
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert largest[0] > 0
    return allocated + largest[0]


# As wholes what is expected takes 3.7 traces, and the copies 11.7. Here buffers of 16 timesteps count for much.
@pytest.mark.skipif(sys.platform != "linux", reason="only there do large arrays lie in files")
@pytest.mark.parametrize(("timesteps", "copied", "most"), [(600, False, 2.7), (300, True, 5.5)])
def test_a_long_case_is_in_memory_in_pieces(monkeypatch, timesteps, copied, most):
    monkeypatch.setattr(arrays, "LARGE_ARRAY", 2**16)
    monkeypatch.setattr(arrays, "PIECE", 2**13)
    settings = {"batch": 4, "input_size": 16, "hidden_size": 64, "gradients": True, "initial_state": "probe"}
    short, long = (Problem.from_case(make_case(timesteps=T, **settings)) for T in (40, timesteps))
    few_copies(monkeypatch, short)
    judged(short)  # which brings in what is imported once
    few_copies(monkeypatch, long)
    trace = numpy_loop.run(long)
    problems = Problems()
    problems.put(long)
    judge = Judge(problems, limit=1e-3 if copied else 1e9)
    peak = peak_of(lambda: judge.judge_trace(long.case, "numpy_loop", trace), monkeypatch)
    assert problems.is_widened(long.case) == copied
    assert peak < most * sum(array.nbytes for array in trace.arrays.values())


@pytest.mark.parametrize("form", FORMS)
def test_in_pieces_or_as_a_whole_comes_the_same(monkeypatch, form):
    case = make_case(timesteps=9, batch=3, gradients=True, initial_state="probe", **form)
    whole = Problem.from_case(case)
    few_copies(monkeypatch, whole)
    result, expected = judged(whole), expect(whole)
    monkeypatch.setattr(arrays, "LARGE_ARRAY", 1)
    monkeypatch.setattr(arrays, "PIECE", 10)
    pieces = Problem.from_case(case)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(pieces.arrays()[name], array)
    for name, tensor in expect(pieces).items():
        for part in ("value", "rest", "noise"):
            np.testing.assert_array_equal(getattr(tensor, part), getattr(expected[name], part))
    assert judged(pieces) == result


def test_where_the_disk_has_no_room_the_memory_has(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrays, "LARGE_ARRAY", 1)
    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    made = arrays.room((2, 3), np.float32)
    assert made.base is None
    arrays.let_go(made)
    assert made.shape == (2, 3)

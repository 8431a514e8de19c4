"""Values between processes: they arrive as they were, and share nothing with what comes after."""

from __future__ import annotations

import resource
import signal

import numpy as np
import pytest
from hypothesis import given
from lstm_cases import cases, make_case

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.processes import parcel
from lockstep.harness.adapters.processes.parcel import Exchange, Parcel
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem


@given(case=cases())
def test_a_problem_arrives_as_it_was_and_read_only(tmp_path_factory, case):
    problem = Problem.from_case(case)
    arrived = Parcel.pack(problem, str(tmp_path_factory.getbasetemp() / "parcel")).unpack()
    assert arrived.digest == problem.digest
    assert arrived.case == case
    assert not any(array.flags.writeable for array in arrived.arrays().values())


def test_a_second_parcel_in_the_same_file_leaves_the_first_value_alone(tmp_path):
    first = Outcome("ran", Trace(h=np.ones((9, 2, 3), np.float32)))
    arrived = Parcel.pack(first, str(tmp_path / "p")).unpack()
    shorter = Parcel.pack(Outcome("ran", Trace(h=np.zeros((2, 2, 3), np.float32))), str(tmp_path / "p"))
    assert (arrived.trace.h == 1).all()
    assert shorter.unpack().trace.h.shape == (2, 2, 3)
    assert not shorter.unpack().trace.h.any()


def test_arrays_that_are_not_contiguous_arrive_as_they_were(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (array[:, ::2], array.T, array[:, :, 1]):
        arrived = Parcel.pack(Outcome("ran", Trace(h=view)), str(tmp_path / "p")).unpack()
        np.testing.assert_array_equal(arrived.trace.h, view)


def test_what_is_too_large_for_the_file_goes_with_the_parcel(tmp_path, monkeypatch):
    monkeypatch.setattr(parcel, "MOST_SHARED_BYTES", 100)
    problem = Problem.from_case(make_case())
    packed = Parcel.pack(problem, str(tmp_path / "p"))
    assert not (tmp_path / "p").exists()
    assert packed.unpack().digest == problem.digest


def test_no_place_for_the_arrays_is_an_error(tmp_path):
    with pytest.raises(OSError, match="absent"):
        Parcel.pack(Problem.from_case(make_case()), str(tmp_path / "absent" / "p"))


def test_arrays_that_somebody_has_are_never_written_over(tmp_path):
    """Also where what holds them is made of them, as an array of a framework without a copy is."""
    here, there = Exchange(str(tmp_path / "h")), Exchange(str(tmp_path / "t"))
    place, kept = there.free(), []
    for k in range(6):
        packed = here.pack(np.full((50, 3), k, np.float32), place)
        arrived = there.unpack(packed)
        if k % 2:
            kept.append((k, memoryview(arrived[1:, :2].T)))
        del arrived
        place = there.free()
    assert all((np.asarray(view) == k).all() for k, view in kept)
    assert len(list(tmp_path.iterdir())) == 3  # those between were written over


def test_an_exchange_takes_what_is_larger_and_what_is_small_again(tmp_path, monkeypatch):
    monkeypatch.setattr(parcel, "MOST_KEPT_BYTES", 1000)
    here, there = Exchange(str(tmp_path / "h")), Exchange(str(tmp_path / "t"))
    place = there.free()
    for size in (3, 100, 30, 5000, 0, 7):
        packed = here.pack({"a": np.arange(size), "b": np.arange(2.0)}, place)
        arrived = there.unpack(packed)
        assert arrived["a"].tolist() == list(range(size))
        assert arrived["b"].tolist() == [0, 1]
        del arrived
        place = there.free()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_an_error_not_a_signal(tmp_path):
    """What is written into a mapped file beyond its end, or where the disk has no place, would end the process."""
    small = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, small[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            Exchange(str(tmp_path / "h")).pack(np.ones(10_000), str(tmp_path / "p"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, small)
        signal.signal(signal.SIGXFSZ, before)

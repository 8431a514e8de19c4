"""Values between processes: they arrive as they were, and share nothing with what comes after."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from lstm_cases import cases, make_case

from lockstep.harness.adapters import child as parcel
from lockstep.harness.adapters.child import Parcel
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem


@given(case=cases())
def test_a_problem_arrives_as_it_was_and_read_only(tmp_path_factory, case):
    problem = Problem.from_case(case)
    arrived = Parcel.pack(problem, tmp_path_factory.getbasetemp() / "parcel").unpack()
    assert arrived.digest == problem.digest
    assert arrived.case == case
    assert not any(array.flags.writeable for array in arrived.arrays().values())


def test_a_second_parcel_in_the_same_file_leaves_the_first_value_alone(tmp_path):
    first = Outcome("ran", Trace(h=np.ones((9, 2, 3), np.float32)))
    arrived = Parcel.pack(first, tmp_path / "p").unpack()
    shorter = Parcel.pack(Outcome("ran", Trace(h=np.zeros((2, 2, 3), np.float32))), tmp_path / "p")
    assert (arrived.trace.h == 1).all()
    assert shorter.unpack().trace.h.shape == (2, 2, 3)
    assert not shorter.unpack().trace.h.any()


def test_arrays_that_are_not_contiguous_arrive_as_they_were(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (array[:, ::2], array.T, array[:, :, 1]):
        arrived = Parcel.pack(Outcome("ran", Trace(h=view)), tmp_path / "p").unpack()
        np.testing.assert_array_equal(arrived.trace.h, view)


def test_what_is_too_large_for_the_file_goes_with_the_parcel(tmp_path, monkeypatch):
    monkeypatch.setattr(parcel, "MOST_SHARED_BYTES", 100)
    problem = Problem.from_case(make_case())
    packed = Parcel.pack(problem, tmp_path / "p")
    assert not (tmp_path / "p").exists()
    assert packed.unpack().digest == problem.digest


def test_no_place_for_the_arrays_is_an_error(tmp_path):
    with pytest.raises(OSError, match="absent"):
        Parcel.pack(Problem.from_case(make_case()), tmp_path / "absent" / "p")

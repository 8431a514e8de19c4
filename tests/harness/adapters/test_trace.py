"""Traces on disk: what comes back, and what is said of files that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lstm_cases import make_case

from lockstep.backends import numpy_loop
from lockstep.harness.adapters.trace import Parameter, Recorded, Trace, check_same_problem, load_trace, save_trace
from lockstep.harness.cases.array_file import save_safetensors
from lockstep.harness.cases.problem import Problem
from lockstep.harness.errors import TraceError


def recorded(case, **changes):
    fields = {
        "case": case, "problem": Problem.from_case(case).digest, "backend": "b",
        "parameters": (Parameter("kernel", (7, 16)),), "device": "cpu", "versions": {"numpy": "2"},
        "seconds": {"first": 1.0}, "environment": {},
    }  # fmt: skip
    return Recorded(**(fields | changes))


def a_trace(case, seed=0):
    T, B, _, H = case.shape
    rng = np.random.default_rng(seed)
    return Trace(h=rng.random((T, B, H), np.float32), c_n=rng.random((B, H), np.float32))


@pytest.fixture
def saved(tmp_path):
    case = make_case()
    path = tmp_path / "some.safetensors"
    save_trace(path, a_trace(case), recorded(case))
    return path


def test_a_trace_comes_back_as_it_was(saved):
    case = make_case()
    trace, described = load_trace(saved)
    for name, array in a_trace(case).tensors().items():
        np.testing.assert_array_equal(trace.tensors()[name], array)
    assert described == recorded(case)
    assert trace.parameters == (Parameter("kernel", (7, 16)),)


def test_a_trace_that_is_not_contiguous_comes_back_as_it_was(tmp_path):
    case = make_case(batch=5, timesteps=5)
    trace = a_trace(case)
    save_trace(tmp_path / "t.safetensors", Trace(h=trace.h.swapaxes(0, 1)), recorded(case))
    np.testing.assert_array_equal(load_trace(tmp_path / "t.safetensors")[0].h, trace.h.swapaxes(0, 1))


@given(st.data())
def test_a_truncated_file_ends_in_one_message(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "truncated.safetensors"
    case = make_case()
    save_trace(path, a_trace(case), recorded(case))
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(TraceError, match=r"truncated\.safetensors: "):
        load_trace(path)


@given(st.data())
def test_a_mutated_file_loads_or_ends_in_one_message(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    case = make_case()
    save_trace(path, a_trace(case), recorded(case))
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        load_trace(path)
    except TraceError as error:
        assert "mutated.safetensors" in str(error)


def test_arrays_that_lockstep_did_not_write_are_no_trace(tmp_path):
    path = tmp_path / "model.safetensors"
    save_safetensors(path, {"h": np.zeros(3)}, {})
    with pytest.raises(TraceError, match="lockstep record"):
        load_trace(path)


def test_an_unknown_tensor_is_named(tmp_path):
    path = tmp_path / "t.safetensors"
    save_safetensors(path, {"hidden": np.zeros(3)}, {"lockstep": "1", "recorded": encoded(make_case())})
    with pytest.raises(TraceError, match="hidden is not a tensor"):
        load_trace(path)


def encoded(case):
    import msgspec

    return msgspec.json.encode(recorded(case)).decode()


def test_a_tensor_of_another_shape_is_named_with_the_file(tmp_path):
    path = tmp_path / "t.safetensors"
    save_safetensors(path, {"h": np.zeros((2, 5, 4), np.float32)}, {"lockstep": "1", "recorded": encoded(make_case())})
    with pytest.raises(TraceError, match=r"t\.safetensors: h has shape \(2, 5, 4\), expected \(5, 2, 4\).*batch-major"):
        load_trace(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(TraceError, match="cannot be read"):
        load_trace(tmp_path / "absent.safetensors")


def test_a_trace_of_another_case_is_refused(saved):
    _, described = load_trace(saved)
    check_same_problem(described, Problem.from_case(make_case()), saved)
    with pytest.raises(TraceError, match="recorded from another case"):
        check_same_problem(described, Problem.from_case(make_case(seed=5)), saved)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_trace_of_a_trained_network_comes_back_bit_for_bit(tmp_path, dtype):
    case = make_case(num_layers=2, direction="bidirectional", gradients=True, dtype=dtype)
    kept = numpy_loop.run(Problem.from_case(case))
    save_trace(tmp_path / "t.safetensors", kept, recorded(case))
    found, said = load_trace(tmp_path / "t.safetensors")
    assert said.case == case
    assert found.arrays.keys() == kept.arrays.keys()
    for name, array in kept.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].tobytes() == array.tobytes()

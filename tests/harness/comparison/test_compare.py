"""Comparison: planted differences are found where they are, and nothing is hidden."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from examples import share_of_examples
from hypothesis import given
from hypothesis import strategies as st
from lstm_cases import cases, make_case

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Expect, Tolerance
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison import compare as comparison
from lockstep.harness.comparison.compare import check_golden, compare, compare_steps, limit_for, measure
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import Limit, RunResult
from lockstep.harness.comparison.ulp import ulp_distance
from lockstep.harness.errors import CaseError, TraceError
from lockstep.harness.reference.expect import expect


def exact_trace(expected, names=("i", "f", "g", "o", "c", "h", "h_n", "c_n")):
    return Trace(**{name: expected[name].value.copy() for name in names})


def judged(trace, expected, case, limit=None, problem=None):
    limit = limit or limit_for(case)
    local = compare_steps(trace, problem, limit) if problem is not None else None
    tensors = compare(trace, expected, case, limit)
    return judge(
        RunResult(case=case.name, backend="b", status="agree", limit=limit, tensors=tensors, local=local), limit
    )


@pytest.fixture
def case():
    return make_case(timesteps=9, batch=3, hidden_size=4, initial_state="probe")


@pytest.fixture
def expected(case):
    return expect(Problem.from_case(case))


@given(cases())
@share_of_examples(2)
def test_the_expected_values_rounded_agree(case):
    expected = expect(Problem.from_case(case))
    run = judged(exact_trace(expected), expected, case)
    assert run.status == "agree"
    assert run.first_divergence is None
    assert max(tensor.worst.ulp for tensor in run.tensors.values()) == 0


@given(data=st.data())
@share_of_examples(2)
def test_a_planted_difference_is_found_where_it_is(data):
    case = make_case(timesteps=9, batch=3, hidden_size=4, initial_state="probe")
    expected = expect(Problem.from_case(case))
    trace = exact_trace(expected)
    name = data.draw(st.sampled_from(list(trace.tensors())))
    array = getattr(trace, name)
    place = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    array[place] += np.float32(data.draw(st.sampled_from([1e-3, -1e-2, 0.5])))
    run = judged(trace, expected, case)
    tensor = run.tensors[name]
    assert run.status == "diverge"
    assert run.first_divergence.tensor == name
    assert run.first_divergence.timestep == (place[0] if array.ndim == 3 else 8)
    assert tensor.first_divergence.at == tensor.worst.at == place
    assert tensor.first_divergence.observed == array[place]
    assert sum(tensor.per_timestep.beyond) == 1
    assert [other for other, result in run.tensors.items() if result.verdict == "diverge"] == [name]


def test_the_measures_are_those_of_the_formulas(case, expected):
    rng = np.random.default_rng(0)
    tensor = expected["c"]
    actual = tensor.value + rng.normal(0, 1e-5, tensor.value.shape).astype(np.float32)
    found = measure(actual, tensor, limit_for(case))
    exact = tensor.value.astype(np.float64) + tensor.rest
    difference = np.abs(actual - exact)
    flat = (9, -1)
    np.testing.assert_allclose(found["abs"], difference.reshape(flat).max(1), rtol=1e-5)
    np.testing.assert_allclose(found["sigma"], (difference / tensor.noise).reshape(flat).max(1), rtol=1e-5)
    np.testing.assert_allclose(found["rel"], (difference / np.abs(exact)).reshape(flat).max(1), rtol=1e-5)
    np.testing.assert_array_equal(found["ulp"], ulp_distance(actual, tensor.value).reshape(flat).max(1))
    np.testing.assert_array_equal(found["beyond"], (difference / tensor.noise > 10).reshape(flat).sum(1))
    worst = (difference / tensor.noise).reshape(flat).argmax(1)
    np.testing.assert_array_equal(found["at"], np.stack(np.unravel_index(worst, (3, 4)), 1))


@pytest.mark.parametrize("block", [1, 7, 12, 30, 100_000])
def test_the_size_of_blocks_does_not_show(monkeypatch, expected, block):
    actual = expected["h"].value + np.linspace(0, 1e-5, 9, dtype=np.float32)[:, None, None]
    whole = measure(actual, expected["h"], Limit("derived", sigma=10.0))
    monkeypatch.setattr(comparison, "BLOCK", block)
    parts = measure(actual, expected["h"], Limit("derived", sigma=10.0))
    for name, array in whole.items():
        np.testing.assert_array_equal(parts[name], array)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["h", "c", "c_n"])
def test_what_is_not_finite_diverges_where_the_reference_is_finite(case, expected, bad, name):
    trace = exact_trace(expected)
    getattr(trace, name)[..., 1, 2] = bad
    run = judged(trace, expected, case)
    assert run.status == "diverge"
    assert run.tensors[name].worst.sigma == np.inf
    assert run.tensors[name].worst.ulp == np.inf
    assert run.tensors[name].worst.at[-2:] == (1, 2)


def test_nan_does_not_hide_another_divergence(case, expected):
    trace = exact_trace(expected)
    trace.h[2, 0, 0] += 0.5
    trace.h[2, 1, 1] = np.nan
    trace.h[5, 2, 2] += 0.25
    run = judged(trace, expected, case)
    steps = run.tensors["h"].per_timestep
    assert [t for t, beyond in enumerate(steps.beyond) if beyond] == [2, 5]
    assert steps.beyond[2] == 2
    assert steps.sigma[5] > 10
    assert np.isfinite(steps.sigma[5])


@pytest.mark.parametrize("kind", [np.nan, np.inf, -np.inf])
def test_where_the_reference_is_not_finite_agreement_is_the_same_kind_at_the_same_place(case, expected, kind):
    tensor = expected["h"]
    tensor.value[3, 1, 2], tensor.rest[3, 1, 2] = kind, 0
    limit = limit_for(case)
    assert judged(exact_trace(expected), expected, case).status == "agree"
    for other in {np.nan, np.inf, -np.inf, 1.0} - {kind}:
        if np.isnan(kind) and np.isnan(other):
            continue
        actual = tensor.value.copy()
        actual[3, 1, 2] = other
        found = measure(actual, tensor, limit)
        assert found["sigma"][3] == np.inf
        assert (np.delete(found["sigma"], 3) < 1).all()


def test_infinite_inputs_agree_with_a_healthy_loop():
    from lockstep.backends import numpy_loop

    case = make_case(timesteps=6, initial_state="probe")
    problem = Problem.from_case(case)
    x = problem.x.copy()
    x[1, 0, 0], x[3, 1, 1] = np.inf, np.nan
    broken = Problem.plain(case, problem.W, problem.R, problem.b, x, problem.h0, problem.c0)
    with np.errstate(all="ignore"):
        trace = numpy_loop.run(broken)
    run = judged(trace, expect(broken), case)
    assert run.status == "agree"


def test_first_means_first_in_order_of_computation(case, expected):
    trace = exact_trace(expected)
    trace.h[3, 0, 0] += 0.1
    trace.i[3, 2, 1] += 0.001
    trace.c[5, 0, 0] += 100
    run = judged(trace, expected, case)
    assert (run.first_divergence.tensor, run.first_divergence.timestep) == ("i", 3)


def test_a_final_state_comes_after_every_timestep(case, expected):
    trace = exact_trace(expected)
    trace.c_n[0, 0] += 1
    trace.h[8, 0, 0] += 0.1
    run = judged(trace, expected, case)
    assert (run.first_divergence.tensor, run.first_divergence.timestep) == ("h", 8)


def test_absent_tensors_are_not_compared(case, expected):
    run = judged(exact_trace(expected, ("h", "c_n")), expected, case)
    assert list(run.tensors) == ["h", "c_n"]


def test_nothing_to_compare_is_an_error(case, expected):
    with pytest.raises(TraceError, match="no tensor"):
        compare(Trace(), expected, case, limit_for(case))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 9, 4), np.float32), "batch-major"),
        (np.zeros((9, 3, 5), np.float32), r"shape \(9, 3, 5\), expected \(9, 3, 4\)"),
        (np.zeros((0, 3, 4), np.float32), "expected"),
        (np.zeros((9, 3, 4)), "float64, expected float32"),
        ([[1.0]], "list, expected a NumPy array"),
    ],
)
def test_a_wrong_form_is_an_error_that_says_so(case, expected, array, words):
    with pytest.raises(TraceError, match=words):
        compare(exact_trace(expected).replaced(h=array), expected, case, limit_for(case))


def test_a_tolerance_of_the_case_is_its_gate():
    case = make_case(tolerance=Tolerance(rtol=1e-3, atol=1e-3))
    expected = expect(Problem.from_case(case))
    trace = exact_trace(expected)
    trace.h[1, 0, 0] += 5e-4  # thousands of sigma, within the tolerance
    run = judged(trace, expected, case)
    assert run.status == "agree"
    assert run.limit == Limit("case", rtol=1e-3, atol=1e-3)
    assert run.tensors["h"].worst.sigma > 10
    trace.h[2, 0, 0] += 5e-3
    run = judged(trace, expected, case)
    assert run.first_divergence.timestep == 2
    assert run.tensors["h"].worst.excess > 1
    assert sum(run.tensors["h"].per_timestep.beyond) == 1


def test_a_tolerance_of_zero_asks_for_equality():
    case = make_case(tolerance=Tolerance(rtol=0.0, atol=0.0), dtype="float32", weights="zeros", forget_bias=0.0)
    expected = expect(Problem.from_case(case))
    trace = exact_trace(expected, ("h", "f"))
    assert judged(trace, expected, case).status == "agree"
    trace.f[0, 0, 0] = np.nextafter(trace.f[0, 0, 0], np.float32(1))
    assert judged(trace, expected, case).status == "diverge"


def test_the_option_outranks_the_case_and_the_case_what_is_derived():
    plain, own = make_case(), make_case(tolerance=Tolerance(rtol=0.1, atol=0.1))
    assert limit_for(plain) == Limit("derived", sigma=10.0)
    assert limit_for(own).origin == "case"
    assert limit_for(own, 3.0) == Limit("option", sigma=3.0)


def golden_case(value):
    return make_case(
        timesteps=3, batch=1, input_size=5, hidden_size=4, weights="ones", inputs="ones",
        expect=Expect(h=(0.7536526, value, 0.9948382), atol=5e-7, source="the question"),
    )  # fmt: skip


def test_golden_values_are_held_against_each_backend():
    case = golden_case(0.9631945)
    expected = expect(Problem.from_case(case))
    check_golden(expected, case)
    trace = exact_trace(expected, ("h",))
    assert judged(trace, expected, case).tensors["h"].golden.verdict == "agree"
    trace.h[1, 0, 0] += 1e-6
    run = judged(trace, expected, case, Limit("option", sigma=1e6))
    assert run.status == "diverge"
    assert run.first_divergence is None
    assert run.tensors["h"].golden.abs == pytest.approx(1e-6, rel=0.2)


def test_golden_values_are_not_held_against_what_stores_eight_bits():
    case = golden_case(0.9631945)
    expected = expect(Problem.from_case(case))
    h = expected["h"].value + np.float32(1e-4)
    assert compare(Trace(h=h), expected, case, limit_for(case))["h"].golden.verdict == "diverge"
    assert compare(Trace(h=h, quantised="int8"), expected, case, limit_for(case))["h"].golden is None


def test_golden_values_that_contradict_their_case_are_an_error():
    case = golden_case(0.7536526)
    with pytest.raises(CaseError, match=r"golden h \(the question\) is 0.2095"):
        check_golden(expect(Problem.from_case(case)), case)


def test_a_fault_that_strikes_once_shows_in_one_step_alone_and_everywhere_after(case):
    """The two residuals: accumulated against the expected trace, local against the observed state before."""
    from lockstep.backends import numpy_loop

    problem = Problem.from_case(case)
    first = numpy_loop.run(problem)
    c = first.c[4].copy()
    c[1, 2] += np.float32(0.01)
    h = (first.o[4] * np.tanh(c)).astype(np.float32)
    after = numpy_loop.run(Problem.plain(case, problem.W, problem.R, problem.b, problem.x[5:].copy(), h, c))
    trace = Trace(h=np.concatenate([first.h[:4], h[None], after.h]), c=np.concatenate([first.c[:4], c[None], after.c]))
    run = judged(trace, expect(problem), case, problem=problem)
    assert (run.first_divergence.tensor, run.first_divergence.timestep) == ("c", 4)
    assert all(sigma > 10 for sigma in run.tensors["c"].per_timestep.sigma[4:])
    assert [t for t, sigma in enumerate(run.local.sigma["c"]) if sigma > 10] == [4]
    assert run.local.first_divergence == 4


def test_without_c_at_each_timestep_no_step_is_judged_alone(case, expected):
    assert compare_steps(exact_trace(expected, ("h",)), Problem.from_case(case), limit_for(case)) is None


def test_comparing_takes_little_more_memory_than_its_results():
    case = make_case(timesteps=400, batch=8, hidden_size=64)
    tensor = expect(Problem.from_case(case))["h"]
    actual = tensor.value.copy()
    measure(actual, tensor, limit_for(case))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    found = measure(actual, tensor, limit_for(case))
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    blocks = 3 * 4 * comparison.BLOCK
    assert peak < blocks * 1.2 + 4 * sum(array.nbytes for array in found.values())
    assert blocks < 0.4 * actual.nbytes


def test_arrays_that_are_not_contiguous_are_compared_alike(case, expected):
    trace = exact_trace(expected)
    strided = np.asfortranarray(trace.h)
    assert judged(trace.replaced(h=strided), expected, case).tensors["h"] == judged(trace, expected, case).tensors["h"]

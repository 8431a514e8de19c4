"""Details: what is kept of a run lies where it was, is as large as it was, and shows the fault that was found."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest
from decoder_cases import make_decoder
from examples import share_of_examples
from faulty_decoder import decoder
from faulty_lstm import make_port
from hypothesis import given
from hypothesis import strategies as st
from lstm_cases import make_case
from msgspec.structs import replace

from lockstep.harness.adapters.trace import Recorded, Trace, save_trace
from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.info import case_info, features_used
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.compare import compare, limit_for
from lockstep.harness.comparison.details import (
    HIGHEST_CODE,
    MOST_TIMESTEPS,
    NOT_COMPARABLE,
    code_of,
    details_of,
    packed,
    spread_places,
    unpacked,
)
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import Diagnosis, Results, RunResult, decode_results, encode_results
from lockstep.harness.diagnosis.counterfactual import with_counterfactuals
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.check import check
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.record import judge_files
from lockstep.harness.jobs.support import DECODER_FEATURES, FEATURES
from lockstep.harness.ports.port import LocalPort
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.expected import ExpectedTensor


def unpacked_heat(detail):
    """The codes of a heat map, (rows, columns), as the report's page reads them."""
    return np.frombuffer(base64.b64decode(detail.heat, validate=True), np.uint8).reshape(len(detail.heat_t), -1)


def judged(case, trace) -> RunResult:
    return Judge(Problems(), details=True).judge_trace(case, "mine", trace)


def trace_of(case, spoil=lambda arrays: None) -> Trace:
    """What a perfect implementation gives, spoilt; the noise alone is between it and the reference."""
    dtype = np.dtype(case.run.dtype)
    arrays = {name: tensor.value.astype(dtype) for name, tensor in expect(Problem.from_case(case)).items()}
    spoil(arrays)
    return Trace(**arrays)


def test_what_was_observed_can_be_computed_from_what_is_kept():
    case = make_case(timesteps=9, batch=3, hidden_size=4, initial_state="probe")
    trace = trace_of(case, lambda arrays: arrays["h"].__setitem__((5, 2, 1), 0.25))
    run = judged(case, trace)
    detail = run.details["h"]
    expected, noise, error = (unpacked(text, len(detail.at)) for text in (detail.expected, detail.noise, detail.error))
    observed = expected.astype(float) + error.astype(float) * noise
    rows = [trace.h[detail.t, b, u] for b, u in detail.at]
    np.testing.assert_allclose(observed, rows, rtol=3e-7)
    assert (2, 1) in detail.at
    assert detail.at[:6] == spread_places((3, 4))
    assert np.abs(error).max() == pytest.approx(run.tensors["h"].worst.sigma, rel=1e-6)
    assert set(run.details) == {"i", "f", "g", "o", "c", "h"}  # what has timesteps
    assert detail.units == 4


def test_all_places_of_a_small_tensor_are_kept_and_some_of_a_large_one_the_same_for_every_run():
    assert spread_places((2, 4)) == [(b, u) for b in range(2) for u in range(4)]
    assert spread_places((2, 8)) == [(0, 0), (0, 3), (0, 6), (1, 1), (1, 4), (1, 7)]
    assert len(set(spread_places((1, 9)))) == len(set(spread_places((3000, 700)))) == 6
    assert spread_places((3000, 700))[-1] == (2999, 699)


@share_of_examples(2)
@given(st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_the_largest_error_is_kept_in_numbers_and_in_the_heat_map(timesteps, seed):
    rng = np.random.default_rng(seed)
    shape = (timesteps, 2, 70)
    noise = np.full(shape, 1e-7, np.float32)
    expected = ExpectedTensor(rng.normal(size=shape).astype(np.float32), np.zeros(shape, np.float32), noise)
    sigma = 10 ** rng.uniform(-3, 5, shape)
    sigma[rng.random(shape) < 0.001] = np.nan
    actual = (expected.value + sigma * noise).astype(np.float32)
    case = make_case(timesteps=timesteps, batch=2, hidden_size=70)
    trace, limit = Trace(h=actual), limit_for(case)
    run = RunResult(case="test", backend="b", status="agree", limit=limit, timesteps=timesteps,
                    tensors=compare(trace, {"h": expected}, case, limit))  # fmt: skip
    run = judge(run, limit)
    detail = details_of(trace.arrays, {"h": expected}, run.tensors)["h"]

    error = np.abs(unpacked(detail.error, len(detail.at)))
    worst = run.tensors["h"].worst
    kept = error[detail.at.index(tuple(worst.at[1:])), detail.t.index(worst.at[0])]
    assert kept == pytest.approx(worst.sigma, rel=1e-5) or (np.isinf(worst.sigma) and np.isnan(kept))
    first = run.tensors["h"].first_divergence
    assert first is None or (first.timestep in detail.t and tuple(first.at[1:]) in detail.at)
    assert detail.t == sorted(set(detail.t))
    assert {0, timesteps - 1} <= set(detail.t)
    assert len(detail.t) == timesteps if timesteps <= MOST_TIMESTEPS else len(detail.t) <= MOST_TIMESTEPS + 2

    heat = unpacked_heat(detail)
    assert heat.shape == (min(timesteps, 100), 35)  # two of 70 units to a column
    size = np.abs((actual.astype(float) - expected.value) / noise)
    for row, (start, end) in enumerate(zip(detail.heat_t, [*detail.heat_t[1:], timesteps], strict=True)):
        codes = code_of(size[start:end].max(axis=(0, 1)).reshape(35, 2).max(axis=1))
        assert (np.abs(heat[row].astype(int) - codes) <= 1).all()


def test_codes_of_the_heat_map():
    sigma = np.array([0, 1e-3, 1e-2, 10, 1e6, 1e9, np.inf, np.nan])
    codes = code_of(sigma)
    assert codes.tolist() == [0, 0, 0, 95, HIGHEST_CODE, HIGHEST_CODE, HIGHEST_CODE, NOT_COMPARABLE]
    assert (np.diff(code_of(np.geomspace(1e-2, 1e6, 500)).astype(int)) >= 0).all()


def test_what_is_not_finite_is_kept_as_what_it_is():
    case = make_case(timesteps=4)

    def spoil(arrays):
        arrays["h"][1, 0, 0], arrays["h"][2, 1, 3], arrays["h"][3, 1, 2] = np.nan, np.inf, -np.inf

    detail = judged(case, trace_of(case, spoil)).details["h"]
    error = dict(zip(detail.at, unpacked(detail.error, len(detail.at)), strict=True))
    assert np.isnan(error[0, 0][1])
    assert error[1, 3][2] == np.inf
    assert error[1, 2][3] == -np.inf
    heat = unpacked_heat(detail)
    assert (heat[1, 0], heat[2, 3], heat[3, 2]) == (NOT_COMPARABLE, HIGHEST_CODE, HIGHEST_CODE)
    assert heat[0].max() < HIGHEST_CODE


def test_the_same_infinity_on_both_sides_is_no_error():
    value = np.array([[[np.inf]], [[np.nan]]], np.float32)
    expected = ExpectedTensor(value, np.zeros_like(value), np.full_like(value, 1e-7))
    case = make_case(timesteps=2, batch=1, hidden_size=1)
    tensors = compare(Trace(c=value.copy()), {"c": expected}, case, limit_for(case))
    detail = details_of({"c": value}, {"c": expected}, tensors)["c"]
    assert unpacked(detail.error, 1).tolist() == [[0, 0]]
    assert unpacked_heat(detail).tolist() == [[0], [0]]


def test_numbers_beyond_float32_are_held_at_its_largest():
    largest = float(np.finfo(np.float32).max)
    assert unpacked(packed(np.array([[1e300, -1e300, np.inf]])), 1).tolist() == [[largest, -largest, np.inf]]


@pytest.mark.parametrize(
    "form",
    [
        {"direction": "reverse", "lengths": (5, 3)},
        {"num_layers": 2, "direction": "bidirectional"},
        {"gradients": True, "lengths": (5, 0)},
        {"dtype": "float64"},
        {"dtype": "float16"},
    ],
    ids=str,
)
def test_every_timed_tensor_of_every_form_has_details(form):
    case = make_case(**form)
    run = judged(case, trace_of(case))
    assert run.status == "agree"
    timed = {name for name, one in run.tensors.items() if len(one.per_timestep.sigma) == 5}
    assert set(run.details) == timed
    assert any(name.startswith(("h", "h_l1_reverse")) for name in timed)
    for name, detail in run.details.items():
        error = unpacked(detail.error, len(detail.at))
        assert np.abs(error).max() <= run.tensors[name].worst.sigma * (1 + 1e-6)
        assert unpacked_heat(detail).shape == (5, detail.units)
        if name.startswith("dW"):
            assert detail.units == 4 * case.lstm.hidden_size


def test_the_noise_is_that_by_which_a_run_was_judged():
    case = make_case()
    problems = Problems()
    wide = dataclasses.replace(problems.expected(case)["h"], noise=problems.expected(case)["h"].noise * 100)
    problems._widened[case, None] = {**problems.expected(case), "h": wide}
    trace = trace_of(case, lambda arrays: arrays.__setitem__("h", arrays["h"] + np.float32(3e-6)))
    run = Judge(problems, details=True).judge_trace(case, "mine", Trace(h=trace.h))
    assert run.status == "agree"
    noise = unpacked(run.details["h"].noise, len(run.details["h"].at))
    b, u = run.details["h"].at[0]
    np.testing.assert_allclose(noise[0], wide.noise[run.details["h"].t, b, u], rtol=1e-6)


def test_nothing_is_computed_where_nobody_asks_for_it():
    case = make_case()
    run = Judge(Problems()).judge_trace(case, "mine", trace_of(case))
    assert run.details == {}
    port = LocalPort(make_port("state-reset"))
    assert all(one.details == {} for one in check(port, [case], measure=False))


# -- the counterfactual ------------------------------------------------------------------------------------------


def distance_of_curves(run: RunResult) -> float:
    """The largest distance of the counterfactual from what was observed, in the noise of either."""
    distances = []
    for detail in run.details.values():
        assert detail.counterfactual is not None
        error, other = (unpacked(text, len(detail.at)).astype(float) for text in (detail.error, detail.counterfactual))
        # Both are float32: of a million sigma the eighth digit is not kept.
        distances.append(float((np.abs(error - other) / (1 + 1e-6 * np.abs(error))).max()))
    return max(distances)


@pytest.mark.parametrize("fault", ["state-reset", "forget-bias-absent", "gates-exchanged-f-g", "h-returned-reversed"])
def test_the_counterfactual_lies_on_what_a_planted_fault_gives(fault):
    case = make_case("one", timesteps=12, batch=3, input_size=5, hidden_size=7, initial_state="probe")
    (run,) = check(LocalPort(make_port(fault)), [case], measure=False, details=True)
    assert run.status == "diverge"
    assert run.diagnosis[0].proof
    assert run.tensors["h"].worst.sigma > 1000
    assert distance_of_curves(run) < 10


def test_a_network_has_a_counterfactual_too():
    case = make_case("network", num_layers=2, direction="bidirectional", initial_state="probe")
    problem = Problem.from_case(case)
    H = case.lstm.hidden_size
    without = [
        [dataclasses.replace(one, b=one.b - np.repeat([0, 1, 0, 0], H).astype(one.b.dtype)) for one in layer]
        for layer in problem.weights
    ]
    wrong = expect(dataclasses.replace(problem, weights=tuple(map(tuple, without))))
    trace = Trace(**{name: tensor.value for name, tensor in wrong.items()})
    judge, run = Judge(Problems()), judged(case, trace)
    judge.keep(case, trace, run)
    (run,) = judge.explain([run])
    assert run.diagnosis[0].site
    assert distance_of_curves(run) < 10


def test_a_decoder_has_a_counterfactual_too():
    case = make_decoder(timesteps=4)
    (run,) = check(LocalPort(decoder("context of step before")), [case], details=True)
    assert run.status == "diverge"
    assert run.diagnosis[0].sigma is not None
    assert distance_of_curves(run) < 10


def test_what_nothing_explains_has_no_counterfactual():
    case = make_case(timesteps=4)
    trace = trace_of(case, lambda arrays: arrays["h"].__setitem__((2, 1, 1), 0.123))
    seen = [Observation(Problem.from_case(case), trace.tensors(case))]
    for diagnosis in (
        Diagnosis(fault="unexplained", message="Nothing does."),
        Diagnosis(fault="measured", message="Of another shape.", proof={"measured_map": [[1]]}),
        Diagnosis(fault="state-reset", message="Elsewhere.", proof={"h_source": "initial", "only_in": ["other"]}),
        Diagnosis(fault="of-later", message="A field that this version has not.", proof={"x_spin": 1}),
    ):
        (run,) = with_counterfactuals([replace(judged(case, trace), diagnosis=[diagnosis])], seen)
        assert run.status == "diverge"
        assert all(detail.counterfactual is None for detail in run.details.values())


# -- in results --------------------------------------------------------------------------------------------------


def test_details_and_cases_survive_a_file():
    case = make_case(description="one", lengths=(5, 2))
    run = judged(case, trace_of(case))
    results = Results(environment={}, runs=[run], cases={case.name: case_info(case)})
    assert decode_results(encode_results(results), "here") == results


def test_results_without_details_are_still_read():
    old = b'{"format": 1, "environment": {}, "runs": [{"case": "a", "backend": "b", "status": "agree"}]}'
    results = decode_results(old, "old")
    assert results.cases == {}
    assert results.runs[0].details == {}


def test_recorded_traces_have_details_and_their_cases(tmp_path):
    case = make_case()
    trace = trace_of(case)
    recorded = Recorded(
        case=case, problem=Problem.from_case(case).digest, backend="mine", parameters=(), device="cpu", versions={},
        seconds={}, environment={},
    )  # fmt: skip
    save_trace(tmp_path / "a.safetensors", trace, recorded)
    with_details = judge_files([tmp_path], None, None, details=True)
    assert set(with_details.runs[0].details) == {"i", "f", "g", "o", "c", "h"}
    assert with_details.cases == {case.name: case_info(case)}
    assert judge_files([tmp_path], None, None).runs[0].details == {}


def test_features_go_by_the_names_under_which_backends_are_asked_for_them():
    known = {part for name in (*FEATURES, *DECODER_FEATURES) for part in (name, *name.split(", "))}
    known |= {"any activations"}
    for one in find_cases([]):
        assert set(features_used(one.case)) <= known, one.case.name
    used = features_used(make_case(num_layers=2, direction="bidirectional", lengths=(5, 0), gradients=True))
    assert used == ["float32", "lengths", "lengths with 0", "gradients", "layers", "bidirectional"]


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_is_found_in_the_case_by_which_it_is_asked_for(name):
    used = features_used(FEATURES[name])
    wanted = {"bidirectional layers": ("layers", "bidirectional")}
    for part in name.split(", "):
        assert set(wanted.get(part, (part,))) <= set(used)

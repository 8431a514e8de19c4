"""Results: what JSON keeps, and judging saved numbers again."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lstm_cases import make_case

from lockstep.harness.adapters.trace import Parameter, Trace
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.compare import compare, limit_for
from lockstep.harness.comparison.judge import judge
from lockstep.harness.comparison.results import (
    Limit,
    Results,
    RunResult,
    decode_results,
    encode_results,
)
from lockstep.harness.errors import ResultsError
from lockstep.harness.reference.expect import expect


def a_run(*, disturb=(), case=None, **fields):
    case = case or make_case(timesteps=6)
    expected = expect(Problem.from_case(case))
    trace = Trace(h=expected["h"].value.copy(), c_n=expected["c_n"].value.copy())
    for t, size in disturb:
        trace.h[t, 0, 0] += np.float32(size)
    limit = limit_for(case)
    run = RunResult(
        case=case.name,
        backend="b",
        status="agree",
        limit=limit,
        tensors=compare(trace, expected, case, limit),
        **fields,
    )
    return judge(run, limit)


def results(*runs):
    return Results(environment={"python": "3.11"}, runs=list(runs))


@pytest.mark.parametrize("disturb", [(), [(2, 0.1)], [(1, np.nan)], [(3, np.inf), (4, -np.inf)]])
def test_json_keeps_everything(disturb):
    before = results(a_run(disturb=disturb, parameters=[Parameter("kernel", (3, 4))], seconds={"first": 0.5}))
    encoded = encode_results(before)
    assert encode_results(decode_results(encoded, "test")) == encoded
    after = decode_results(encoded, "test").runs[0]
    assert after.status == before.runs[0].status
    assert after.tensors["h"].worst.at == before.runs[0].tensors["h"].worst.at


def test_json_has_the_form_of_the_contract():
    found = json.loads(encode_results(results(a_run(disturb=[(2, 0.1)]))))
    assert found["format"] == 1
    run = found["runs"][0]
    assert {"case", "backend", "status", "tensors", "diagnosis", "parameters", "versions", "seconds", "message"} <= set(
        run
    )
    tensor = run["tensors"]["h"]
    assert tensor["verdict"] == "diverge"
    assert {"sigma", "ulp", "abs", "rel", "at"} <= set(tensor["worst"])
    assert tensor["worst"]["at"] == [2, 0, 0]
    assert tensor["first_divergence"]["timestep"] == 2
    assert {"sigma", "ulp", "abs", "rel"} <= set(tensor["per_timestep"])
    assert all(len(series) == 6 for series in tensor["per_timestep"].values() if series is not None)
    assert run["limit"] == {"origin": "derived", "sigma": 10.0, "rtol": None, "atol": None}


def test_json_is_standard_json_where_numbers_are_not_finite():
    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads(encode_results(results(a_run(disturb=[(1, np.nan)]))), parse_constant=refuse)
    worst = found["runs"][0]["tensors"]["h"]["worst"]
    assert worst["sigma"] == "Infinity"
    assert worst["observed"] == "NaN"


def test_judging_again_needs_no_trace():
    run = a_run(disturb=[(2, 1e-5), (4, 1e-3)])
    assert run.first_divergence.timestep == 2
    loose = judge(run, Limit("option", sigma=run.tensors["h"].per_timestep.sigma[2] * 1.1))
    assert (loose.status, loose.first_divergence.timestep) == ("diverge", 4)
    assert loose.limit.origin == "option"
    assert loose.tensors["h"].per_timestep.beyond is None  # cannot be counted again
    assert judge(run, Limit("option", sigma=1e9)).status == "agree"
    assert (
        judge(judge(run, Limit("option", sigma=1e9)), Limit("derived", sigma=10.0)).first_divergence
        == run.first_divergence
    )


def test_judging_again_leaves_failures_alone():
    failed = RunResult(case="a", backend="b", status="crashed", message="killed")
    assert judge(failed, Limit("option", sigma=1.0)) == failed


def test_nan_is_beyond_every_limit():
    assert judge(a_run(disturb=[(1, np.nan)]), Limit("option", sigma=1e300)).status == "diverge"


def test_results_without_a_tolerance_cannot_be_judged_by_one():
    with pytest.raises(ResultsError, match="not measured against rtol"):
        judge(a_run(), Limit("case", rtol=0.1, atol=0.1))


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([], 2), (["unsupported"], 2), (["agree"], 0), (["agree", "unsupported"], 0), (["agree", "diverge"], 1),
        (["diverge", "failed"], 3), (["timeout"], 3), (["crashed", "agree"], 3),
    ],
)  # fmt: skip
def test_the_exit_status_is_the_highest(statuses, status):
    assert results(*(RunResult(case="a", backend="b", status=s) for s in statuses)).exit_status == status


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.just(b"[" * 5000))
def test_what_is_no_results_ends_in_one_message(data):
    with pytest.raises(ResultsError, match=r"some\.json"):
        decode_results(data, "some.json")


@given(st.data())
def test_mutated_results_are_read_or_end_in_one_message(data):
    found = msgspec.to_builtins(results(a_run()))
    target = data.draw(st.sampled_from([found, found["runs"][0], found["runs"][0]["tensors"]["h"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(st.none() | st.integers() | st.text(max_size=4))
    try:
        decode_results(msgspec.json.encode(found), "some.json")
    except ResultsError as error:
        assert "some.json" in str(error)


def test_another_format_is_said_to_be_one():
    with pytest.raises(ResultsError, match="format 7; this version reads format 1"):
        decode_results(b'{"format": 7, "environment": {}, "runs": []}', "some.json")

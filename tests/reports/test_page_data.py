"""Page data: what is reduced keeps its largest numbers, what is hostile is text, and a page stays within its budget."""

from __future__ import annotations

import base64
import gzip
import json
import math

import numpy as np
import pytest
from big_results import big_results
from examples import share_of_examples
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lockstep.harness.comparison.details import packed, unpacked
from lockstep.harness.comparison.results import Results, RunResult, decode_results, encode
from lockstep.reports.markdown import as_markdown, code, fenced
from lockstep.reports.page_data import case_page_data, page_data, page_of
from lockstep.reports.page_details import pairs_of
from lockstep.reports.page_room import (
    FULL,
    HEALTHY,
    LEVELS,
    STEP,
    kept_places,
    rounded_errors,
    rounded_heat,
    rounded_noise,
)
from lockstep.reports.page_tensors import bucket_width, number_of, worst_of_buckets


def size_of(data) -> int:
    """Bytes of the data in a page."""
    return len(base64.b64encode(gzip.compress(encode(data), compresslevel=6)))


def read(text: str, rows: int) -> np.ndarray:
    return unpacked(text, rows)


@pytest.fixture(scope="module")
def results() -> Results:
    return big_results(6, 5, 20)


def test_it_is_plain_json_and_says_of_every_run_what_it_came_to(results):
    data = json.loads(json.dumps(page_data(results), allow_nan=False))
    runs = [run for case in data["cases"] for run in case["runs"]]
    assert len(runs) == len(results.runs) == 30
    assert data["reduced"] is None
    assert data["counts"] == {status: sum(run["status"] == status for run in runs) for status in data["counts"]}
    assert [one["name"] for one in data["backends"]] == list(dict.fromkeys(run.backend for run in results.runs))
    assert all("proof" not in one for run in runs for one in run.get("diagnosis", ()))
    for told, run in zip(runs, results.runs, strict=True):
        assert data["backends"][told["b"]]["name"] == run.backend
        assert [one["name"] for one in told.get("tensors", ())] == list(run.tensors)
        assert ("markdown" in told) == (run.status not in {"agree", "unsupported"})
        if run.tensors:
            worst = max(one.worst.sigma for one in run.tensors.values())
            assert told["sigma"] == pytest.approx(worst, rel=1e-2)
            assert told["text"].startswith(run.backend)


def test_a_case_is_told_with_its_features_and_sizes(results):
    case = page_data(results)["cases"][2]
    assert case["features"] == ["float32", "bidirectional"]
    assert case["facts"] == {"B": 2, "I": 4, "H": 8, "dtype": "float32", "model": "lstm"}
    assert case["timesteps"] == 20
    reverse = [one for one in case["runs"][0]["tensors"] if one.get("reverse")]
    assert {one["name"] for one in reverse} == {"c_l0_reverse", "h_l0_reverse", "c_n_l0_reverse", "h_n_l0_reverse"}
    assert {one["name"] for one in reverse if one.get("timed")} == {"c_l0_reverse", "h_l0_reverse"}


def test_numbers_of_a_run_are_those_of_its_details(results):
    data = page_data(results)
    for case in data["cases"]:
        for told in case["runs"]:
            run = next(
                run for run in results.runs
                if (run.case, run.backend) == (case["name"], data["backends"][told["b"]]["name"])
            )  # fmt: skip
            assert set(told.get("details", {})) == set(run.details)
            for name, detail in run.details.items():
                one = told["details"][name]
                assert one["error"] == detail.error
                assert one["at"] == [list(at) for at in detail.at]
                shared = [case["shared"][index] for index in one["expected"]]
                assert "".join(packed(read(text, 1)) for text in shared) == "".join(
                    packed(row) for row in read(detail.expected, len(detail.at))
                )


def test_what_all_backends_have_in_common_is_there_once():
    data = page_data(big_results(2, 8, 20, plain=True))
    for case in data["cases"]:
        details = [one for run in case["runs"] for one in run.get("details", {}).values()]
        assert len(case["shared"]) < sum(len(one["expected"]) + len(one["noise"]) for one in details) / 2
        assert len(set(case["shared"])) == len(case["shared"])


# -- reduction ---------------------------------------------------------------------------------------------------

sigmas = st.floats(0, 1e9) | st.sampled_from([math.inf, math.nan])


@given(st.lists(sigmas, min_size=1, max_size=300), st.integers(1, 60))
def test_the_largest_sigma_of_every_bucket_is_kept_and_where_it_was(sigma, most):
    every = bucket_width(len(sigma), most)
    best = worst_of_buckets(sigma, every)
    assert len(best) <= most
    assert len(best) == math.ceil(len(sigma) / every)
    for bucket, t in enumerate(best):
        own = sigma[bucket * every : (bucket + 1) * every]
        assert bucket * every <= t < (bucket + 1) * every
        if any(math.isnan(value) or math.isinf(value) for value in own):
            assert not math.isfinite(sigma[t])
        else:
            assert sigma[t] == max(own)


def test_a_long_case_is_reduced_and_its_own_page_holds_more_than_the_page_of_many():
    results = big_results(1, 10, 10_000)
    data = page_data(results)
    (case,) = data["cases"]
    given_ = [run for run in case["runs"] if "tensors" in run]
    for told in given_:
        run = next(one for one in results.runs if one.backend == data["backends"][told["b"]]["name"])
        for one in told["tensors"]:
            steps = run.tensors[one["name"]].per_timestep
            if not one.get("timed"):
                continue
            assert one["every"] == 25
            assert len(one["sigma"]) == len(one["tbest"]) == len(one["at"]) == len(one["ulp"]) == 400
            assert max(one["sigma"]) == number_of(max(steps.sigma))
            assert [number_of(steps.sigma[t]) for t in one["tbest"]] == one["sigma"]
    assert size_of(data) < 1_000_000


@pytest.mark.parametrize("room", LEVELS, ids=[f"level-{k}" for k in range(len(LEVELS))])
def test_at_every_level_a_run_keeps_its_status_its_worst_and_its_first(results, room, monkeypatch):
    monkeypatch.setattr("lockstep.reports.page_data.room_for", lambda results: room)
    data = page_data(results)
    full = case_page_data(results, results.runs[0].case)["cases"][0]["runs"]
    assert data["reduced"] == room.says
    assert (room is FULL) == (data["reduced"] is None)
    for small, large in zip(data["cases"][0]["runs"], full, strict=True):
        for key in ("status", "sigma", "worst", "first", "diagnosis"):
            assert small.get(key) == large.get(key)
    for case in data["cases"]:
        for run in case["runs"]:
            worst = run.get("worst")
            if worst is not None:
                tensor = next(one for one in run["tensors"] if one["name"] == worst["tensor"])
                assert run["sigma"] == tensor["worst"]["sigma"] == max(tensor["sigma"])


def test_each_level_takes_less_than_the_one_before(results, monkeypatch):
    sizes = []
    for room in LEVELS:
        monkeypatch.setattr("lockstep.reports.page_data.room_for", lambda results, room=room: room)
        sizes.append(size_of(page_data(results)))
    assert sizes == sorted(sizes, reverse=True)


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_rounded_errors_stay_on_their_side_of_the_limit(values):
    error = np.array(values, np.float32)
    rounded = rounded_errors(error)
    assert (np.isnan(rounded) == np.isnan(error)).all()
    finite = np.isfinite(error)
    assert (rounded[~finite & ~np.isnan(error)] == error[~finite & ~np.isnan(error)]).all()
    healthy = finite & (np.abs(error) < HEALTHY)
    assert (np.abs(rounded[healthy].astype(float) - error[healthy]) <= STEP / 2).all()
    large = finite & ~healthy
    assert (np.abs(rounded[large].astype(float) - error[large]) <= 2.0**-9 * np.abs(error[large].astype(float))).all()
    assert ((np.abs(rounded) > 10) == (np.abs(error) > 10))[finite & (np.abs(np.abs(error) - 10) > 0.05)].all()


def test_what_is_beyond_what_is_healthy_keeps_its_code_in_a_rounded_heat_map():
    codes = np.arange(256).astype(np.uint8)
    rounded = np.frombuffer(base64.b64decode(rounded_heat(base64.b64encode(codes.tobytes()).decode())), np.uint8)
    assert (rounded[92:] == codes[92:]).all()
    assert (rounded <= codes).all()
    assert len(set(rounded[:92].tolist())) < 16


def test_rounded_noise_is_near():
    noise = np.geomspace(1e-30, 1e30, 1000).astype(np.float32)
    np.testing.assert_allclose(rounded_noise(noise), noise, rtol=0.016)
    assert rounded_noise(np.array([np.inf], np.float32))[0] == np.inf


def test_few_places_are_those_of_the_worst_too():
    agrees = RunResult(case="a", backend="b", status="agree")
    room = LEVELS[2]
    assert kept_places(7, agrees, room) == [0, 3, 6]
    assert kept_places(3, agrees, room) == [0, 1, 2]
    assert kept_places(7, replace(agrees, status="diverge"), room) == list(range(7))


# -- pairs -------------------------------------------------------------------------------------------------------


def test_pairs_tell_the_largest_distance_of_every_two_backends():
    results = big_results(1, 6, 20, plain=True)
    case = page_data(results)["cases"][0]
    pairs = case["pairs"]
    runs = {index: run for index, run in enumerate(results.runs) if run.details}
    assert pairs["backends"] == list(runs)
    assert pairs["of"].endswith(" of 320 numbers") or pairs["of"].endswith(" numbers")
    for row, a in enumerate(pairs["backends"]):
        for column, b in enumerate(pairs["backends"]):
            largest = 0.0
            for name, one in runs[a].details.items():
                other = runs[b].details[name]
                for k, at in enumerate(one.at):
                    if all(at in run.details[name].at for run in runs.values()):
                        mine = read(one.error, len(one.at))[k].astype(float)
                        yours = read(other.error, len(other.at))[other.at.index(at)].astype(float)
                        largest = max(largest, float(np.abs(mine - yours).max()))
            assert pairs["sigma"][row][column] == pytest.approx(largest, rel=1e-2)


def test_pairs_of_runs_that_kept_other_timesteps_or_were_judged_by_other_noise():
    results = big_results(1, 4, 1000, plain=True, seed=3)
    one, other = [run for run in results.runs if run.details][:2]
    assert one.details["h"].t != other.details["h"].t
    pairs = pairs_of([one, other], [0, 1])
    assert 0 < pairs["sigma"][0][1] < 10
    wide = other.details["h"]
    wide = replace(
        wide, noise=packed(2 * read(wide.noise, len(wide.at))), error=packed(read(wide.error, len(wide.at)) / 2)
    )
    same = replace(one, details={"h": one.details["h"]})
    ours, theirs = (
        pairs_of([same, replace(other, details={"h": detail})], [0, 1]) for detail in (other.details["h"], wide)
    )
    assert theirs["sigma"][0][1] == pytest.approx(ours["sigma"][0][1] / 2, rel=2e-2)


def test_what_is_not_a_number_in_both_is_no_distance():
    run = next(run for run in big_results(1, 1, 5, plain=True, seed=1).runs if run.details)
    detail = run.details["h"]
    error = read(detail.error, len(detail.at)).copy()
    error[0, 1], error[1, 2] = np.nan, np.inf
    odd = replace(run, details={"h": replace(detail, error=packed(error))})
    assert pairs_of([odd, odd], [0, 1])["sigma"] == [[0, 0], [0, 0]]
    assert pairs_of([odd, run], [0, 1])["sigma"][0][1] == "Infinity"


def test_one_run_or_none_makes_no_pair(results):
    assert pairs_of(results.runs[:1], [0]) is None
    assert pairs_of([], []) is None


# -- what was written by others ----------------------------------------------------------------------------------


def test_old_results_are_shown_without_details():
    results = big_results(2, 3, 8, details=False)
    old = json.loads(encode(results))
    del old["cases"]
    for run in old["runs"]:
        del run["details"]
    data = page_data(decode_results(json.dumps(old).encode(), "old"))
    assert all("details" not in run for case in data["cases"] for run in case["runs"])
    assert data["cases"][0]["timesteps"] == 8
    assert data["cases"][0]["facts"] == {}
    assert data["cases"][0]["pairs"] is None
    assert data["reduced"] is None


@pytest.mark.parametrize("text", ["", "!!", "AAAA", "AAAAAAA="], ids=repr)
def test_details_that_are_damaged_are_left_out(text):
    results = big_results(1, 2, 5, plain=True, seed=1)
    runs = [
        replace(run, details={"h": replace(run.details["h"], error=text), "c": run.details["c"]})
        if run.details
        else run
        for run in results.runs
    ]
    data = page_data(replace(results, runs=runs))
    shown = [run["details"] for run in data["cases"][0]["runs"] if "details" in run]
    assert shown
    assert all(set(details) == {"c"} for details in shown)


HOSTILE = "</script><script>alert(1)</script>\x1b[31m\u202e\"'`\x00"


def test_hostile_text_is_carried_as_text():
    run = RunResult(case=HOSTILE, backend=HOSTILE, status="failed", message=HOSTILE, stderr=HOSTILE, rerun=HOSTILE,
                    notes=[HOSTILE], versions={HOSTILE: HOSTILE})  # fmt: skip
    data = page_data(Results(environment={HOSTILE: [HOSTILE, math.inf]}, runs=[run]))
    text = json.dumps(data, allow_nan=False, ensure_ascii=False)
    assert "\\u001b" not in text
    assert "\u202e" not in text
    told = data["cases"][0]["runs"][0]
    assert "<script>alert(1)</script>" in told["stderr"]
    assert "<script>" in told["markdown"]


def test_an_unknown_case_has_no_page(results):
    with pytest.raises(KeyError):
        case_page_data(results, "nowhere")
    named = [case["page"] for case in page_data(results, pages=True)["cases"]]
    assert named[:2] == ["details/case-0001.html", "details/case-0002.html"] == [page_of(0), page_of(1)]
    assert page_data(results)["cases"][0]["page"] is None


# -- Markdown ----------------------------------------------------------------------------------------------------


def test_a_divergence_as_markdown_says_where_why_and_how_to_run_it_again():
    results = big_results(10, 10, 20)
    run = next(run for run in results.runs if run.diagnosis and run.diagnosis[0].fix)
    text = as_markdown(run, results.cases[run.case], results.environment)
    for part in (
        f"### `{run.backend}` diverges",
        run.diagnosis[0].message,
        run.diagnosis[0].fix,
        run.rerun,
        "lockstep 0.1.0",
        "T 20",
    ):
        assert part in text
    assert as_markdown(replace(run, status="agree"), None, {}) is None


def test_no_text_ends_its_code_span_or_block():
    assert code("a`b``c") == "```a`b``c```"
    assert code("`a`") == "`` `a` ``"
    assert code("two\nlines") == "`two lines`"
    assert fenced("```\nx", "text") == "````text\n```\nx\n````"


# -- size and time -----------------------------------------------------------------------------------------------


def test_300_pairs_are_quick_and_keep_to_their_budget():
    assert size_of(page_data(big_results(plain=True))) < 1_500_000
    assert size_of(page_data(big_results())) < 1_500_000


@pytest.mark.slow
def test_40_000_runs_keep_to_their_budget():
    assert size_of(page_data(big_results(2000, 20, 20))) < 5_000_000


@share_of_examples(10)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 30), st.integers(0, 9))
def test_results_of_any_size_make_a_page(cases, backends, timesteps, seed):
    data = page_data(big_results(cases, backends, timesteps, seed=seed))
    assert len(data["cases"]) == cases
    json.dumps(data, allow_nan=False)

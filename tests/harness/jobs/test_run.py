"""Running side by side: every pair has one result, in order, and a fault of ours is heard of."""

from __future__ import annotations

import weakref
from datetime import datetime
from time import sleep

import pytest
from lstm_cases import make_case

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.cases.case import Expect
from lockstep.harness.errors import CaseError
from lockstep.harness.jobs import problems as problems_of_run
from lockstep.harness.jobs import run as running
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.run import environment, run_cases


def planted(name):
    return BackendInfo(name, f"planted.{name}")


@pytest.mark.usefixtures("short_search")
def test_results_come_in_the_order_of_cases_then_backends():
    cases = [make_case("b"), make_case("a", seed=1)]
    seen = []
    runs = run_cases(cases, [planted("half_right"), planted("healthy")], on_result=seen.append)
    assert [(run.case, run.backend) for run in runs] == [
        ("b", "half_right"), ("b", "healthy"), ("a", "half_right"), ("a", "healthy"),
    ]  # fmt: skip
    assert {(run.case, run.backend) for run in seen} == {(run.case, run.backend) for run in runs}
    assert len(seen) == len(runs)
    assert [run.status for run in runs] == ["diverge", "agree"] * 2


def test_a_time_out_costs_one_run_and_the_next_has_a_new_process():
    backends = [BackendInfo(name, f"planted.{name}", requires=("numpy",)) for name in ("hangs", "healthy", "dies")]
    runs = run_cases([make_case("a"), make_case("b")], backends, timeout=3)
    assert [run.status for run in runs] == ["timeout", "agree", "crashed"] * 2


def test_a_case_that_contradicts_its_golden_values_is_refused_before_anything_runs():
    case = make_case(expect=Expect(h=9.0, atol=1e-6, source="nowhere"))
    with pytest.raises(CaseError, match="golden h"):
        run_cases([case], [planted("healthy")])


def test_a_fault_of_ours_is_heard_of_instead_of_waited_for(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(running.Worker, "run", broken)
    with pytest.raises(ZeroDivisionError):
        run_cases([make_case()], [planted("healthy")])


def test_a_case_too_large_for_the_reference_costs_only_its_own_results(monkeypatch):
    def too_large(problem, *how):
        if problem.case.name == "large":
            raise MemoryError
        return expect(problem, *how)

    expect = problems_of_run.expect
    monkeypatch.setattr(problems_of_run, "expect", too_large)
    runs = run_cases([make_case("large"), make_case("small")], [planted("healthy")])
    assert [run.status for run in runs] == ["failed", "agree"]
    assert "too large" in runs[0].message


def test_two_cases_of_one_name_have_problems_of_their_own():
    problems = Problems()
    one, other = make_case("x", seed=1), make_case("x", seed=2)
    assert problems.problem(one).digest != problems.problem(other).digest
    problems.keep_only(other)
    assert list(problems._problems) == [other]


@pytest.mark.parametrize(
    ("words", "given"),
    [(["/usr/bin/lockstep", "run", "a case.toml"], "lockstep run 'a case.toml'"),
     (["C:/bin/lockstep.exe", "cases"], "lockstep cases"),
     (["/lib/pytest/__main__.py", "-q"], "pytest -q"),
     (["my_script.py"], None), (["/lib/ipykernel_launcher.py", "-f", "x.json"], None)],
)  # fmt: skip
def test_results_say_by_which_command_and_when_they_came_about(words, given, monkeypatch):
    monkeypatch.setattr("sys.argv", words)
    facts = environment()
    assert facts.get("command") == given
    assert datetime.fromisoformat(facts["time"]).tzinfo is not None


def test_expected_values_of_two_large_cases_are_kept_at_most_and_made_again(monkeypatch):
    monkeypatch.setattr(problems_of_run, "MOST_EXPECTED_BYTES", 0)
    made, most = [], []

    def expect(problem, quantised):
        expected = real(problem, quantised)
        made.append((problem.case.name, weakref.ref(expected["h"])))
        return expected

    def on_result(run):
        assert run.status == "agree"
        most.append(len({name for name, expected in made if expected() is not None}))

    real = problems_of_run.expect
    monkeypatch.setattr(problems_of_run, "expect", expect)
    cases = [make_case(name, seed=seed) for seed, name in enumerate("abcde")]
    # One framework is through with all cases before the other begins.
    backends = [
        BackendInfo("healthy", "planted.healthy"),
        BackendInfo("healthy", "planted.healthy", requires=("numpy",)),
    ]
    run_cases(cases, backends, jobs=1, on_result=on_result)
    assert (len(most), max(most)) == (10, 2)
    assert len(made) > len(cases)
    monkeypatch.setattr(problems_of_run, "MOST_EXPECTED_BYTES", 2**26)
    made.clear()
    run_cases(cases, backends, jobs=1)
    assert len(made) == len(cases)


def test_large_traces_wait_where_they_were_made(monkeypatch):
    monkeypatch.setattr(running, "LARGE_TRACE", 0)
    answered = []
    real = running._outcome
    monkeypatch.setattr(running, "_outcome", lambda *words: answered.append(words) or real(*words))
    judged = []

    def on_result(run):
        judged.append(run)
        sleep(0.1)  # longer than an answer takes
        assert len(answered) <= len(judged) + running.MOST_WAITING + 1

    cases = [make_case(name, seed=seed) for seed, name in enumerate("abcdef")]
    run_cases(cases, [planted("healthy")], on_result=on_result)
    assert len(judged) == len(answered) == len(cases)

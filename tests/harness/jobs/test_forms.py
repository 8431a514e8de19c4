"""Measuring ports whose calls take long: few questions, well chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judge import causes_of
from lstm_cases import make_case

from lockstep.harness.cases.problem import Problem
from lockstep.harness.jobs.check import check
from lockstep.harness.jobs.checks import forms
from lockstep.harness.jobs.measure import PortBlackBox
from lockstep.harness.ports.port import LocalPort

CASES = [make_case(f"case {seed}", timesteps=6, batch=3, initial_state="probe", seed=seed) for seed in (0, 1)]
# The first problem comes three times, with one of other numbers; what is found is held against one fresh problem.
CALLS_OF_A_CHECK = len(CASES) + 3 + 1


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def port_with(i=sigmoid, f=sigmoid, g=np.tanh, W=lambda W: W, *, carries=True):
    """A port with curves of its own, or one that drops its state at every step, and the shapes it was called with."""
    calls = []

    def port(x, weights, h0, c0):
        calls.append(x.shape)
        h, c, hs, cs = h0, c0, [], []
        for x_t in x:
            h, c = (h, c) if carries else (h0, c0)
            z_i, z_f, z_g, z_o = np.split(x_t @ W(weights["W"]).T + h @ weights["R"].T + weights["b"], 4, axis=1)
            c = f(z_f) * c + i(z_i) * g(z_g)
            h = sigmoid(z_o) * np.tanh(c)
            hs.append(h)
            cs.append(c)
        return np.stack(hs).astype(x.dtype), np.stack(cs).astype(x.dtype)

    return port, calls


@pytest.fixture
def slow(monkeypatch):
    """Calls that take so long that no more than the fewest are made."""
    monkeypatch.setattr(forms, "MEASURING_SECONDS", 0.0)


@pytest.mark.usefixtures("slow")
@pytest.mark.slow
def test_numbers_in_two_curves_are_measured_with_few_calls():
    port, calls = port_with(f=lambda z: sigmoid(z + 0.3), g=lambda z: np.tanh(1.37 * z))
    (cause,) = causes_of(check(LocalPort(port), CASES))
    assert cause.sigma is not None
    assert "WRb.g:times-1.37" in cause.fault
    assert "b.f:plus-0.3" in cause.fault
    assert len(calls) <= forms.LEAST_CALLS + CALLS_OF_A_CHECK


@pytest.mark.usefixtures("slow")
@pytest.mark.slow  # nothing explains it: the search goes to its limits
def test_what_stays_unexplained_says_what_was_measured_and_what_there_was_no_room_for():
    port, calls = port_with(i=lambda z: sigmoid(z) ** 1.3)
    (cause,) = causes_of(check(LocalPort(port), CASES))
    assert cause.fault == "unexplained"
    assert "measured: f(z) is as intended" in cause.facts
    assert any("the curve of i, of g, or both" in fact for fact in cause.facts)
    assert len(calls) <= forms.LEAST_CALLS + CALLS_OF_A_CHECK


@pytest.mark.usefixtures("slow")
@pytest.mark.slow  # nothing explains it: the search goes to its limits
def test_questions_that_had_no_room_are_counted():
    port, _ = port_with(W=lambda W: (3 * W + np.roll(W, 1, axis=1)) / np.float32(4))
    (cause,) = causes_of(check(LocalPort(port), CASES))
    assert cause.fault == "unexplained"
    assert any("were made at most: 181 questions (where each weight goes" in fact for fact in cause.facts)


@pytest.mark.usefixtures("short_search")
@pytest.mark.parametrize("question", [0.0, 0.5], ids=["slower than a question may be", "slow"])
def test_a_slow_port_is_called_sixty_times_at_most(monkeypatch, question):
    monkeypatch.setattr(forms, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(forms, "MOST_SECONDS_A_QUESTION", question)
    port, calls = port_with(f=lambda z: sigmoid(z + 0.3), g=lambda z: np.tanh(1.37 * z))
    cases = [make_case(f"case {seed}", timesteps=3, batch=3, initial_state="probe", seed=seed) for seed in range(42)]
    opened = LocalPort(port)
    assert causes_of(check(opened, cases))
    assert len(calls) == opened.calls <= forms.MOST_SLOW_CALLS
    assert len(calls) > len(cases) + forms.REPEATED  # it was measured as well


def test_nothing_is_asked_twice_and_more_than_there_is_room_for_not_at_all():
    port, calls = port_with()
    black_box = PortBlackBox(LocalPort(port), calls=2)
    first, second = (Problem.from_case(case) for case in CASES)
    answers = black_box.ask([first, second, first])
    assert len(calls) == 2
    assert np.array_equal(answers[0]["h"], answers[2]["h"])
    third = Problem.from_case(make_case("third", seed=9))
    assert black_box.ask([first, third]) == [None, None]
    assert (len(calls), len(black_box.refused)) == (2, 1)
    assert black_box.ask([second])[0] is not None


LONG = make_case("long", timesteps=forms.LONG + 20, batch=1, initial_state="probe")


@pytest.mark.parametrize(("suite", "healthy"), [(True, False), (True, True), (False, False)])
def test_a_long_case_that_would_take_long_is_not_asked_where_shorter_ones_of_a_suite_diverge(
    monkeypatch, suite, healthy
):
    monkeypatch.setattr("lockstep.harness.jobs.check.MOST_SECONDS_TO_CONFIRM", -1.0)
    port, calls = port_with(carries=healthy)
    *short, long = check(LocalPort(port), [*CASES, LONG], suite=suite)
    timesteps = [shape[0] for shape in calls]
    assert {run.status for run in short} == {"agree" if healthy else "diverge"}
    if suite and not healthy:
        assert (long.case, long.status) == ("long", "unsupported")
        assert (
            "not asked, as shorter cases diverge and its 120 timesteps would take 0 s: add --case long" in long.message
        )
        assert max(timesteps) == 6
    else:
        assert (long.case, long.status) == ("long", short[0].status)
        assert timesteps.count(LONG.run.timesteps) == 1


@pytest.mark.parametrize(("seconds", "predicted"), [((1.0, 2.0, 9.0, 4.0), 100.0), ((2.0, 2.0, 2.0, 2.0), 0.0)])
def test_what_a_long_call_would_take_is_read_of_how_short_ones_grow(seconds, predicted):
    cases = [make_case(f"case {T}", timesteps=T) for T in (1, 2, 3, 4)]
    problems = [Problem.from_case(case) for case in cases]
    port, _ = port_with()
    outcomes = LocalPort(port).call(problems)
    timed = [replace(outcome, seconds={"run": taken}) for outcome, taken in zip(outcomes, seconds, strict=True)]
    assert forms.seconds_at(100, problems, timed) == pytest.approx(predicted)
    assert forms.seconds_at(100, [], []) == 0.0

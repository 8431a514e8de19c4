"""What is told beforehand of how long a request takes."""

from __future__ import annotations

import pytest

from lockstep.harness.adapters.backend import find_backends, main_ways
from lockstep.harness.cases.find import find_cases
from lockstep.harness.jobs.durations import Duration, duration_of, duration_text, measured, seconds_of, weights

CASES = [found.case for found in find_cases(["ones", "probe", "attention-ones"])]


def test_what_was_measured_are_backends_and_most_main_ones_were():
    shipped = {backend.name for backend in find_backends()}
    assert measured().keys() <= shipped
    assert {"numpy_loop", "torch_lstm", "tf_dynamic_rnn", "jax_scan", "keras_tf"} <= measured().keys()
    assert {way.name for way in main_ways(find_backends())} & measured().keys()
    assert all(run > 0 <= start for start, run in measured().values())


def test_a_backend_that_was_not_measured_takes_about_what_others_do(monkeypatch):
    table = {"a": Duration(1.0, 0.1), "b": Duration(3.0, 0.2), "c": Duration(9.0, 9.0)}
    monkeypatch.setattr("lockstep.harness.jobs.durations.measured", lambda: table)
    (loop,) = find_backends(["numpy_loop"])
    assert duration_of(loop) == Duration(3.0, 0.2)


def test_frameworks_side_by_side_take_as_long_as_processors_allow(monkeypatch):
    table = {"numpy_loop": Duration(1.0, 0.5), "torch_lstm": Duration(4.0, 1.0), "jax_scan": Duration(0.0, 10.0)}
    monkeypatch.setattr("lockstep.harness.jobs.durations.measured", lambda: table)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    backends = find_backends(list(table))
    assert weights(CASES, backends) == {"numpy_loop": 1.0, "torch_lstm": 3.0, "jax_scan": 10.0}
    assert seconds_of(CASES, backends, jobs=1) == 28
    assert seconds_of(CASES, backends, jobs=4) == 20  # the longest: JAX alone
    assert seconds_of(CASES, backends[:2], jobs=4) == 6
    assert seconds_of([], backends, jobs=4) == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "5 s"), (7.4, "5 s"), (28, "30 s"), (59, "60 s"), (61, "1 min"), (500, "8 min")]
)
def test_durations_are_told_no_more_exactly_than_they_are_known(seconds, text):
    assert duration_text(seconds) == text

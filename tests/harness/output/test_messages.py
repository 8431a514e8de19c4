"""What is said of results, read by its content."""

from __future__ import annotations

import math
from io import StringIO

import pytest
from rich.console import Console

from lockstep.harness.comparison.results import (
    Diagnosis,
    Difference,
    First,
    Golden,
    Limit,
    Local,
    PerTimestep,
    RunResult,
    TensorResult,
)
from lockstep.harness.output.console import plain
from lockstep.harness.output.messages import divergence_text, headline, text_of
from lockstep.harness.output.overview import summary
from lockstep.harness.output.terminal import show_results
from lockstep.harness.text import number


def difference(t, sigma, **changes):
    fields = {
        "at": (t, 2, 5), "observed": 0.7616002, "expected": 0.7615942, "sigma": sigma, "ulp": 101.0, "abs": 6e-6,
        "rel": 8e-6, "timestep": t,
    }  # fmt: skip
    return Difference(**(fields | changes))


def tensor(t, sigma, *, golden=None, beyond=(0,)):
    steps = PerTimestep([sigma], [1.0], [1.0], [1.0], [(2, 5)], [0.5], [0.5], list(beyond))
    first = difference(t, 84) if sigma > 10 else None
    verdict = "diverge" if sigma > 10 or golden else "agree"
    return TensorResult(
        verdict=verdict,
        worst=difference(63, sigma),
        first_divergence=first,
        per_timestep=steps,
        size=4096,
        golden=golden,
    )


def a_run(**changes):
    fields = {
        "case": "long-memory", "backend": "tf_loop", "status": "diverge", "limit": Limit("derived", sigma=10.0),
        "first_divergence": First("h", 17), "tensors": {"h": tensor(17, 790, beyond=[12, 200])}, "timesteps": 64,
        "rerun": "lockstep run long-memory --backend tf_loop",
    }  # fmt: skip
    return RunResult(**(fields | changes))


def test_a_divergence_says_where_by_how_much_and_how_to_see_it_again():
    assert divergence_text(a_run()) == (
        'tf_loop diverges from the reference in case "long-memory" at timestep 17 of 64.\n'
        "  First: h[17, 2, 5] = 0.7616002, expected 0.7615942: 84 sigma (101 ULP, 6e-06 absolute), limit 10 sigma.\n"
        "  Worst: h[63, 2, 5] = 0.7616002, expected 0.7615942: 790 sigma (101 ULP, 6e-06 absolute). "
        "Beyond the limit: 212 of 4096 values (5.2%).\n"
        "  Single timesteps could not be replayed, because c is not returned at every timestep.\n"
        "  Rerun: lockstep run long-memory --backend tf_loop"
    )


def test_a_step_that_is_wrong_in_itself_is_told_from_one_that_was_handed_a_wrong_state():
    itself = Local({"c": [0.5, 900.0], "h": [0.5, 20.0]}, 1)
    assert "your own previous state, timestep 1 is still wrong (worst of all single steps: 900 sigma)" in text_of(
        a_run(local=itself)
    )
    reset = Diagnosis(fault="state-reset", message="h and c are reset.", fix="Feed them.", sigma=1.0, family="state")
    assert "(worst of all single steps: 900 sigma): its feed is wrong, not what it computes." in text_of(
        a_run(local=itself, diagnosis=[reset])
    )
    accumulates = Local({"c": [0.5, 0.9], "h": [0.5, 0.7]}, None)
    assert "your own previous state, every single timestep is right: the error accumulates over time." in text_of(
        a_run(local=accumulates)
    )


def test_other_tensors_golden_values_and_what_is_not_repeatable_are_told():
    golden = Golden("diverge", 0.25, 5e-7, "the question")
    run = a_run(tensors={"h": tensor(17, 790, golden=golden), "c": tensor(20, 55)}, repeatable=False)
    text = text_of(run)
    assert "Also beyond the limit: c." in text
    assert "Golden: h is 0.25 away, allowed: 5e-07 (the question)." in text
    assert "Not repeatable" in text


def test_golden_values_alone_are_a_divergence_too():
    run = a_run(first_divergence=None, tensors={"h": tensor(0, 1, golden=Golden("diverge", 1.0, 0.1, "x"))})
    assert headline(run) == 'tf_loop misses the golden values of case "long-memory".'


def test_a_failure_has_its_reason_and_the_tail_of_what_was_printed():
    run = a_run(status="crashed", tensors={}, message="its process was killed by SIGSEGV", stderr="a\n" * 90 + "last")
    text = text_of(run)
    assert text.startswith('tf_loop, case "long-memory": crashed: its process was killed by SIGSEGV.')
    assert "  last" in text
    assert len(text.splitlines()) < 30


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.834, "0.83"), (3.0, "3"), (12.4, "12"), (5.94e6, "5.9e+06"), (math.inf, "inf"), (math.nan, "nan")],
)
def test_numbers_are_written_shortly(value, text):
    assert number(value) == text


def test_nothing_that_a_backend_says_steers_the_terminal():
    hostile = "[red]x[/red] \x1b[2J\x07 \u202etxt"
    shown = plain(hostile).plain
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]x[/red]" in shown
    out = StringIO()
    show_results(Console(file=out, width=80), [a_run(status="failed", tensors={}, message=hostile, backend=hostile)])
    assert "[red]x[/red]" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_the_sum_counts_each_status():
    runs = [a_run(), a_run(status="agree"), a_run(status="agree")]
    assert summary(runs) == "3 runs: 1 diverge, 2 agree"
    assert summary([]) == "0 runs: nothing"

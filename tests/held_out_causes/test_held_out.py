"""The held-out set holds what it says: every port runs, and is wrong where it is checked. Causes are not asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from examples import mostly_slow

sys.path.insert(0, str(Path(__file__).parent))
from held_out import HELD_OUT
from register import CASES

from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.ports.port import LocalPort


def statuses(held):
    problems = Problems()
    cases = CASES[held.cases]
    asked = [problem_of(case) for case in cases]
    for problem in asked:
        problems.put(problem)
    with LocalPort(held.port, layout=held.layout) as port:
        outcomes = port.call(asked)
    return [
        Judge(problems).judge_outcome(case, held.name, outcome).status
        for case, outcome in zip(cases, outcomes, strict=True)
    ]


@pytest.mark.parametrize("held", mostly_slow(HELD_OUT, every=8), ids=lambda held: held.name)
def test_every_port_runs_and_is_wrong_in_a_case(held):
    with np.errstate(over="ignore"):
        seen = statuses(held)
    assert "diverge" in seen
    assert set(seen) <= {"diverge", "agree", "unsupported"}


@pytest.mark.parametrize(
    ("part", "least"),
    [
        (1, {"plain": 20, "two ways": 8, "stacked": 8, "gradients": 8, "decoder": 10, "cell": 8}),
        (2, {"plain": 14, "two ways": 10, "stacked": 12, "gradients": 12, "decoder": 12, "cell": 12}),
        (3, {"plain": 22, "two ways": 14, "stacked": 14, "gradients": 14, "decoder": 14, "cell": 12}),
        (4, {"plain": 14, "two ways": 12, "stacked": 10, "gradients": 10, "decoder": 12, "cell": 8}),
        (5, {"plain": 14, "two ways": 12, "stacked": 12, "gradients": 12, "decoder": 14, "cell": 10}),
        (6, {"two ways": 16, "stacked": 16}),
        (7, {"two ways": 20}),
    ],
)
def test_there_are_enough_in_every_form_of_each_part(part, least):
    forms = [held.form for held in HELD_OUT if held.part == part]
    assert len(forms) >= sum(least.values())
    assert {form: forms.count(form) >= number for form, number in least.items()} == dict.fromkeys(least, True)


def test_no_name_comes_twice():
    assert len({held.name for held in HELD_OUT}) == len(HELD_OUT)

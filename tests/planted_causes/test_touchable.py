"""The touchable LSTMs are right where nothing is touched, and most of their slips are seen."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from forms import forms

from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.ports.port import LocalPort

FORMS = {form.name: form for form in forms()}


def statuses(form, slips):
    cases = [*form.checked, *form.fresh]
    problems = Problems()
    for case in cases:
        problems.put(problem_of(case))
    with LocalPort(form.port(slips)) as port, np.errstate(all="ignore"):
        outcomes = port.call([problem_of(case) for case in cases])
    return [
        Judge(problems).judge_outcome(case, "port", outcome).status
        for case, outcome in zip(cases, outcomes, strict=True)
    ]


@pytest.mark.parametrize("name", FORMS)
def test_an_untouched_port_agrees(name):
    assert set(statuses(FORMS[name], [])) == {"agree"}


@pytest.mark.parametrize("name", FORMS)
def test_slips_run_and_most_are_seen(name):
    form = FORMS[name]
    drawn = [form.slips[k] for k in np.random.default_rng(0).permutation(len(form.slips))[:6]]
    seen = {slip.name: statuses(form, [slip]) for slip in drawn}
    failed = {slip: found for slip, found in seen.items() if not set(found) <= {"agree", "diverge"}}
    assert not failed
    assert sum("diverge" in found for found in seen.values()) >= 4

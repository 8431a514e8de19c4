"""The judge of causes: numbers decide, what says too much is wrong, and cases are judged together."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import causes
from forms import forms

from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.named_causes import expected_named
from lockstep.harness.diagnosis.observation import Observation

FORMS = {form.name: form for form in forms()}
TWO = FORMS["two ways"]
B_ZERO = next(slip for slip in TWO.slips if slip.name == "b zero in lane 0")


def seen(slip):
    (tensors, *_) = causes.outputs(TWO, [slip], TWO.fresh)
    return Observation(problem_of(TWO.fresh[0]), tensors)


@pytest.mark.parametrize(
    ("fault", "right"),
    [("b:zero@0", True), ("b:zero@0r", False), ("b:zero@0 + b:zero@0r", False), ("no-such-name", False)],
)
def test_a_name_is_right_where_its_numbers_are_those_of_the_port(fault, right):
    observed = seen(B_ZERO)
    assert causes.predicts(Diagnosis(fault=fault, message="", sigma=1.0), observed, [observed]) is right


def test_a_name_that_says_more_than_is_needed_is_wrong():
    fault = "b:zero@0 + b:zero@0"
    observed = seen(B_ZERO)
    assert expected_named(fault, observed.problem) is not None
    assert not causes.predicts(Diagnosis(fault=fault, message="", sigma=1.0), observed, [observed])


def test_a_part_that_shows_in_some_problems_alone_does_not_say_too_much():
    slips = [next(slip for slip in TWO.slips if slip.name == name)
             for name in ("lengths those of the shortest", "x first for all in lane 0")]  # fmt: skip
    tensors = causes.outputs(TWO, slips, TWO.fresh)
    fresh = [Observation(problem_of(case), of_case) for case, of_case in zip(TWO.fresh, tensors, strict=True)]
    # The shortest of the last has one timestep: which x comes first shows in the others.
    named = Diagnosis(fault="x:first-held@0 + lengths:the-shortest", message="", sigma=1.0)
    assert not causes.predicts(named, fresh[-1], fresh[-1:])
    assert causes.predicts(named, fresh[-1], fresh)


@pytest.mark.parametrize(
    ("verdicts", "of_all"),
    [
        ([], "undetected"),
        (["right", "right"], "right"),
        (["right", "unexplained"], "in part"),
        (["right", "wrong", "unexplained"], "wrong"),
        (["right", "among several"], "among several"),
    ],
)
def test_one_wrong_case_makes_all_wrong(verdicts, of_all):
    assert causes._of_all(verdicts) == of_all


def test_slips_that_are_drawn_together_are_all_seen():
    drawn = causes.Drawn(TWO, np.random.default_rng(1))
    pair = drawn.slips(2)
    assert len(pair) == 2
    whole = causes.outputs(TWO, pair, TWO.fresh)
    for slip in pair:
        assert causes._differ(whole, causes.outputs(TWO, [slip], TWO.fresh))

"""Random configurations: what a network that is compiled once may be run on."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from msgspec.structs import replace
from random_networks import random_case, random_decoder

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.problem import Problem, digest_of
from lockstep.harness.cases.random_cases import (
    EXCLUSIVE,
    MOST_SEED,
    RANDOM_DECODER_FEATURES,
    RANDOM_FEATURES,
    choose_by,
    features_of,
    other_problem,
)

DRAWN = {"seed", "weights", "inputs", "initial_state", "lengths", "resets"}


def several(draw, **fixed) -> list[Case]:
    rng = np.random.default_rng(3)
    case = draw(rng, **fixed)
    return [case, *(other_problem(choose_by(rng), int(rng.integers(MOST_SEED)), case) for _ in range(40))]


@pytest.mark.parametrize("draw", [random_case, random_decoder])
def test_another_problem_leaves_what_is_compiled(draw):
    first, *others = several(draw)
    for other in others:
        kept = {name: getattr(first.run, name) for name in DRAWN}
        assert replace(other, run=replace(other.run, **kept)) == first


@pytest.mark.parametrize("draw", [random_case, random_decoder])
def test_other_problems_differ_in_all_that_is_drawn(draw):
    cases = several(draw, lengths=(2, 1), timesteps=5, batch=2, initial_state="probe")
    for name in DRAWN - {"resets"}:
        assert len({getattr(case.run, name) for case in cases}) > 1, name


@pytest.mark.parametrize("draw", [random_case, random_decoder])
def test_another_problem_may_keep_the_weights(draw):
    rng = np.random.default_rng(5)
    first = problem_of(draw(rng, weights="uniform", inputs="probe"))
    again = other_problem(choose_by(rng), 7, first.case, same_weights=True)
    third = other_problem(choose_by(rng), 8, again, same_weights=True)
    for case in (again, third):
        problem = problem_of(case)
        assert digest_of(problem.named_weights()) == digest_of(first.named_weights())
        assert problem.digest != first.digest


def test_lengths_stay_within_time_and_0_is_one_of_them():
    cases = several(random_case, lengths=(2, 1), timesteps=3, batch=2)
    drawn = {length for case in cases for length in case.run.lengths or ()}
    assert drawn == {0, 1, 2, 3}
    assert all(Problem.from_case(case).lengths is not None for case in cases)


def test_lengths_of_a_decoder_are_those_of_its_source():
    first, *others = several(random_decoder, lengths=(1, 1), batch=2)
    assert first.attention_decoder is not None
    drawn = {length for case in others for length in case.run.lengths or ()}
    assert min(drawn) == 1
    assert max(drawn) == first.attention_decoder.source_timesteps


def test_no_lengths_stay_none():
    assert {case.run.lengths for case in several(random_case, lengths=None)} == {None}


def test_resets_are_drawn_anew_where_there_are_some():
    cases = several(random_case, resets=((0, 2), (1,)), timesteps=3, batch=2, direction="forward", lengths=None)
    assert len({case.run.resets for case in cases}) > 5


@pytest.mark.parametrize(("draw", "table"), [(random_case, RANDOM_FEATURES), (random_decoder, RANDOM_DECODER_FEATURES)])
def test_features_are_told_from_a_case_and_exclude_each_other_as_the_table_says(draw, table):
    rng = np.random.default_rng(5)
    seen = [set(features_of(draw(rng))) for _ in range(1500)]
    assert set().union(*seen) == set(table)
    never = {pair for pair in combinations(table, 2) if not any(set(pair) <= features for features in seen)}
    assert never == {pair for pair in combinations(table, 2) if any(set(pair) <= group for group in EXCLUSIVE)}

"""The space of cases: everything in it can be made, and it holds what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from examples import share_of_examples
from hypothesis import find, given
from random_networks import random_case

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.random_cases import RANDOM_FEATURES
from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.reference.expect import expect
from lockstep.harness.strategies import cases, seeds


@given(case=cases())
@share_of_examples(1)
def test_every_case_can_be_made_and_has_finite_noise(case):
    expected = expect(Problem.from_case(case))
    assert list(expected) == list(tensors_of(case))
    for name, tensor in expected.items():
        assert tensor.value.shape == tensors_of(case)[name].shape
        # Gradients that explode leave float16's range; of what is infinite there nobody asks by how much it is off.
        finite = np.isfinite(tensor.value)
        assert finite.all() or case.run.dtype == "float16"
        assert np.isfinite(tensor.noise[finite]).all()
        assert (tensor.noise[finite] > 0).all()


@given(case=cases(features=["lengths"], dtype="float16", hidden_size=9))
@share_of_examples(3)
def test_settings_that_are_given_hold_and_features_that_are_not_asked_for_do_not_appear(case):
    assert case.run.dtype == "float16"
    assert case.lstm.hidden_size == 9
    assert case.lstm.plain
    assert not case.run.gradients


def test_an_unknown_feature_is_named():
    with pytest.raises(ValueError, match=r"no feature is called 'speed'. There are: layers"):
        cases(features=["speed"])


HAS = {
    "layers": lambda case: case.lstm.num_layers > 1,
    "reverse": lambda case: case.lstm.direction == "reverse",
    "bidirectional": lambda case: case.lstm.direction == "bidirectional" and case.lstm.merge_mode == "concat",
    "initial state": lambda case: case.run.initial_state == "probe",
    "merged directions": lambda case: case.lstm.merge_mode == "mul",
    "lengths": lambda case: case.run.lengths is not None and 0 in case.run.lengths,
    "projection": lambda case: case.lstm.proj_size > 0,
    "peephole": lambda case: case.lstm.peephole,
    "clip": lambda case: case.lstm.cell_clip is not None,
    "hard sigmoid 0.2 z": lambda case: case.lstm.recurrent_activation == "hard_sigmoid_0.2",
    "hard sigmoid z/6": lambda case: case.lstm.recurrent_activation == "hard_sigmoid_1/6",
    "one other activation": lambda case: case.lstm.activation == case.lstm.cell_activation == "relu",
    "activations": lambda case: case.lstm.activation == "relu",
    "coupling": lambda case: case.lstm.input_forget,
    "no bias": lambda case: not case.lstm.bias,
    "gradients": lambda case: case.run.gradients,
    "resets": lambda case: any(case.run.resets or ()),
}


@pytest.mark.parametrize("feature", RANDOM_FEATURES)
def test_every_feature_is_drawn(feature):
    assert HAS[feature](find(cases(), HAS[feature]))


def test_shrinking_leads_to_a_plain_small_case():
    case = find(cases(), lambda case: case.lstm.peephole)
    assert case.lstm.num_layers == 1
    assert case.run.lengths is None
    assert not case.run.gradients


@given(seed=seeds())
@share_of_examples(3)
def test_seeds_are_seeds_of_cases(seed):
    assert 0 <= seed < 2**63


def test_random_cases_are_the_same_for_one_seed_and_together_have_every_feature():
    one, other = ([random_case(rng) for _ in range(60)] for rng in map(np.random.default_rng, (3, 3)))
    assert one == other
    assert all(isinstance(case, Case) for case in one)
    for feature, has in HAS.items():
        assert any(map(has, one)), feature

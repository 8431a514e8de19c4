"""With nothing edited the interpreter gives what the reference gives: values, noise, gradients, for every form."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import random_case, random_decoder

from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import shipped
from lockstep.harness.causes.edits import Edits
from lockstep.harness.causes.interpret import expected_with, values_with, widened_with
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.spread import widened

CASES = {name: load_case(path) for name, path in shipped().items()}


def agree(case, values=1e-12, noise=0.2):
    problem = problem_of(case)
    right, found = expect(problem), expected_with(problem, Edits())
    assert set(found) == set(right)
    bare = values_with(problem, Edits())
    for name, tensor in right.items():
        own = found[name]
        with np.errstate(all="ignore"):
            apart = np.abs((own.value - tensor.value) + (own.rest - tensor.rest))
            size = np.maximum(np.abs(tensor.value), 1e-3 * np.max(np.abs(tensor.value), initial=0))
            near = (apart <= values * size + 0.05 * tensor.noise) | (np.isnan(own.value) & np.isnan(tensor.value))
            near |= own.value == tensor.value
            assert near.all(), name
            ratio = own.noise / tensor.noise
            fits = (np.abs(np.log(ratio)) < noise) | ~np.isfinite(ratio) | (tensor.value == 0)
            assert fits.mean() > 0.85 or case.lstm.input_forget, (name, ratio.min(), ratio.max())
            same = np.isclose(bare[name], own.value, rtol=1e-5, atol=1e-30) | ~np.isfinite(own.value)
            assert same.all(), name


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.run.timesteps * case.lstm.hidden_size < 3000])
def test_a_shipped_case_is_run_as_the_reference_runs_it(name):
    agree(CASES[name])


@pytest.mark.parametrize("seed", range(60))
def test_a_random_network_is_run_as_the_reference_runs_it(seed):
    agree(random_case(np.random.default_rng(seed), weights="uniform", initial_state="probe"))


@pytest.mark.parametrize("seed", range(40))
def test_a_random_decoder_is_run_as_the_reference_runs_it(seed):
    agree(random_decoder(np.random.default_rng(seed), weights="uniform", initial_state="probe"))


@pytest.mark.parametrize(
    "name", ["attention-encoder", "attention-float64", "bidirectional-layers-lengths", "cell-clip", "coupled", "probe"]
)
def test_copies_of_a_run_lie_as_far_apart_as_those_of_the_reference(name):
    problem = problem_of(CASES[name])
    right = expect(problem)
    reference, copied = widened(problem, right), widened_with(problem, Edits(), expected_with(problem, Edits()))
    assert set(copied) == set(reference)
    for kind, tensor in reference.items():
        ratio = copied[kind].noise / tensor.noise
        # The spread of 24 copies, half of whose roundings are common to all numbers of one: of few draws.
        assert 0.4 < np.exp(np.log(ratio).mean()) < 2.5, kind

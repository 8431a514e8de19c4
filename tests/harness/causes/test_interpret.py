"""The spread of the interpreter's copies; that it agrees with the reference: ``test_agrees_with_reference``."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import shipped
from lockstep.harness.causes.edits import Edits
from lockstep.harness.causes.interpret import expected_with, widened_with
from lockstep.harness.reference.expect import expect
from lockstep.harness.reference.spread import widened

CASES = {name: load_case(path) for name, path in shipped().items()}


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

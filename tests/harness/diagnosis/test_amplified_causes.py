"""A right cause holds where what went wrong amplifies rounding: its noise is that of copies, as the reference's is."""

from __future__ import annotations

from dataclasses import replace

import healthy_decoders
import numpy as np

from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import shipped
from lockstep.harness.diagnosis.named_causes import expected_named, holding
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.problems import reseeded
from lockstep.harness.reference.noise import LIMIT_SIGMA


def test_a_cause_holds_where_what_is_run_so_amplifies_rounding_beyond_its_first_order():
    problem = problem_of(reseeded(load_case(shipped()["attention-window"]), 277165))
    slip = replace(problem.weights, W_target=np.zeros_like(problem.weights.W_target))
    given = healthy_decoders.run(replace(problem, weights=slip), healthy_decoders.STYLES["cell summed forward"])
    # Read as zeros: what is stored has no gradient, and the port gives one.
    observation = Observation(problem, {k: array for k, array in given.items() if not k.startswith("dW_target")})
    expected = expected_named("W_target:zero", problem)
    assert expected is not None
    assert observation.distance(expected, None) > LIMIT_SIGMA
    assert holding(["W_target:zero", "b_tilde:zero"], [observation]) == {"W_target:zero"}

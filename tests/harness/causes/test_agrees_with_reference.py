"""With nothing edited the interpreter gives what the reference gives; many candidates at once what each gives alone.

``tests/proof/interpreters.py`` does so for thousands of problems of each form; the figures stand in docs/causes.md.
"""

from __future__ import annotations

from itertools import product

import interpreters
import numpy as np
import pytest
from examples import mostly_slow
from interpreters import FORMS, Form, apart, draw, has_corners, run_piece, verdicts
from lstm_cases import make_case

from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import shipped
from lockstep.harness.cases.random_cases import DTYPES
from lockstep.harness.causes.edits import Edits
from lockstep.harness.causes.interpret import expected_with, values_with
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.screen import outcomes
from lockstep.harness.diagnosis.seen import Seen
from lockstep.harness.faults.deviation import edits_of
from lockstep.harness.faults.table import named

CASES = {name: load_case(path) for name, path in shipped().items()}


@pytest.mark.parametrize("name", CASES)
def test_a_shipped_case_is_run_as_the_reference_runs_it(name):
    assert [tensor for tensor in apart(problem_of(CASES[name])) if not tensor.agrees] == []


@pytest.mark.parametrize("form", FORMS)
def test_random_problems_are_run_as_the_reference_runs_them(form):
    _, row = run_piece(1, 15, (form, 0, 2))  # `nox -s interpreters` runs 5,000
    assert row.wrong == []
    assert row.on_corners <= 1
    assert row.compared >= 1


@pytest.mark.parametrize("part", ["value", "noise"])
def test_what_differs_is_told(part, monkeypatch):
    def otherwise(problem, edits):
        tensors = expected_with(problem, edits)
        getattr(tensors["dR"], part)[0, 0] *= 1 + 1e-5 if part == "value" else 2
        return tensors

    monkeypatch.setattr(interpreters, "expected_with", otherwise)
    wrong = [
        tensor for tensor in apart(problem_of(make_case("wrong", gradients=True)), bare=False) if not tensor.agrees
    ]
    assert [tensor.name for tensor in wrong] == ["dR"]
    assert wrong[0].alike is (part == "noise")


def test_an_error_of_a_gradient_counts_once_where_f_is_one_minus_i():
    form = Form({"dtype": "float16", "gradients": True}, has=("coupling", "clip"), may=("layers", "bidirectional"))
    for seed in range(8):
        case = draw(form, np.random.default_rng(seed), "float16")
        assert case.lstm.input_forget
        assert all(tensor.agrees for tensor in apart(problem_of(case)))


def test_corners_are_where_a_slope_jumps():
    assert not has_corners(make_case("plain"))
    assert has_corners(make_case("clipped", cell_clip=0.5))
    assert has_corners(make_case("hard", recurrent_activation="hard_sigmoid_1/6"))


@pytest.mark.parametrize(
    ("form", "seed"),
    mostly_slow(product(["gradients", "decoder, gradients", "stacked two ways"], range(4)), every=8, names=2),
)
def test_many_causes_at_once_come_to_the_verdicts_of_each_alone(form, seed):
    rng = np.random.default_rng(seed)
    found = list(verdicts(problem_of(draw(FORMS[form], rng, DTYPES[seed])), rng, 20))
    assert [verdict for verdict in found if verdict.together != verdict.alone] == []


def test_a_gradient_is_not_compared_together_where_what_goes_forward_differs():
    problem = problem_of(make_case("back", gradients=True))
    forward, back = (named(problem)[name] for name in ("add.g:times-2", "d-add.i:times-2"))
    with np.errstate(all="ignore"):
        tensors = values_with(problem, edits_of([forward, back], problem))
    seen = Seen.of(Observation(problem, {name: array.astype(problem.x.dtype) for name, array in tensors.items()}))
    causes = [(forward, back), (forward,), (back,), ()]
    together = outcomes(seen, causes, set(tensors))
    assert [outcome and outcome.passes for outcome in together] == [None, None, False, False]
    assert [seen.passes(cause)[0] for cause in causes] == [True, False, False, False]
    assert all(outcomes(seen, causes))


def test_edits_without_any_are_none():
    problem = problem_of(make_case("none"))
    assert outcomes(Seen.of(Observation(problem, values_with(problem, Edits()))), [()])[0].passes

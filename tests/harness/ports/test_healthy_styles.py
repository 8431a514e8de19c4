"""No false alarm: healthy decoders and networks in all styles stay within the limit, gradients included."""

from __future__ import annotations

import numpy as np
import pytest
from healthy_styles import FORMS, distance, distances
from random_networks import random_case, random_decoder

from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.find import shipped
from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.jobs.problems import Problems, reseeded
from lockstep.harness.reference.noise import LIMIT_SIGMA

FAST, SLOW = 2, 40  # problems of each style
FEATURES = (
    "layers", "reverse", "bidirectional", "initial state", "lengths", "projection", "no bias", "gradients"
)  # fmt: skip
SHIPPED = [load_case(path) for path in shipped().values()]
SMALL = [case for case in SHIPPED if case.run.timesteps * case.run.batch * case.lstm.hidden_size <= 2000]
# Its gradients amplify rounding: the noise of first order is too narrow there.
WINDOW = next(case for case in SHIPPED if case.name == "attention-window")


def drawn(form, seed):
    """Draw a case that the styles of a form run."""
    rng = np.random.default_rng(seed)
    dtype = ("float32", "float64")[seed % 2]
    return random_decoder(rng, dtype=dtype) if form == "decoder" else random_case(rng, FEATURES, dtype=dtype)


def styles():
    return [pytest.param(form, name, id=f"{form}: {name}") for form, module in FORMS.items() for name in module.STYLES]


@pytest.mark.parametrize("form", FORMS)
def test_there_are_twenty_styles_and_each_rounds_in_a_way_of_its_own(form):
    module = FORMS[form]
    problems = [Problems().problem(drawn(form, seed)) for seed in range(40)]
    answers = {
        name: b"".join(array.tobytes() for problem in problems for array in module.run(problem, parts).values())
        for name, parts in module.STYLES.items()
    }
    assert len(set(answers.values())) == len(answers) >= 20


@pytest.mark.parametrize(("form", "name"), styles())
def test_a_healthy_style_gives_every_tensor_within_the_limit(form, name):
    module = FORMS[form]
    for seed in range(FAST):
        case, problems = drawn(form, seed), Problems()
        found = module.run(problems.problem(case), module.STYLES[name])
        assert set(found) == set(tensors_of(case))
        assert distance(case, problems, found).judged <= LIMIT_SIGMA, case


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_no_style_is_beyond_the_limit_on_a_shipped_case(case):
    for form, style, found in distances(case, Problems()):
        assert found.judged <= LIMIT_SIGMA, (form, style, found)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_no_style_is_beyond_the_limit_over_many_problems(form):
    for seed in range(SLOW):
        for _, style, found in distances(drawn(form, 1000 + seed), Problems()):
            assert found.judged <= LIMIT_SIGMA, (seed, style, found)


@pytest.mark.slow
def test_no_style_is_beyond_the_limit_on_the_window_of_the_question_whatever_its_numbers():
    for seed in range(SLOW):
        for _, style, found in distances(reseeded(WINDOW, seed), Problems()):
            assert found.judged <= LIMIT_SIGMA, (seed, style, found)

"""What every backend of attention decoders passes by being in the registry."""

from __future__ import annotations

from dataclasses import replace as changed

import numpy as np
import pytest
from backend_marks import marks_of
from decoder_cases import FORMS, make_decoder
from examples import share_of_examples
from hypothesis import given
from judge import judged
from msgspec.structs import replace

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.cases.case import Values
from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.comparison.compare import compare_steps, limit_for
from lockstep.harness.jobs.support import DECODER_FEATURES
from lockstep.harness.reference.attention import SHARED
from lockstep.harness.strategies import decoders

BACKENDS = [backend for backend in find_backends() if backend.model == "attention_decoder"]
every_backend, every_backend_but_compiled = (
    pytest.mark.parametrize(
        "backend", [pytest.param(b, id=b.name, marks=marks_of(b, compiling=compiling)) for b in BACKENDS]
    )
    for compiling in (True, False)
)
PER_STEP = {"c", "h", "scores", "attention", "context", "y", "logit"}


def test_there_is_one_for_each_way_of_the_question():
    assert {backend.name for backend in BACKENDS} >= {
        "numpy_attention", "torch_attention", "jax_attention", "tf_attention_reuse", "tf_attention_cell",
    }  # fmt: skip


@every_backend_but_compiled
@given(case=decoders())
@share_of_examples(12)  # TF1 and JAX build each anew
def test_any_decoder_agrees_or_is_refused_with_a_reason(run_backend, backend, case):
    problem, answer = run_backend(backend, case)
    if answer.status == "unsupported":
        assert len(answer.message) > 10
        return
    assert answer.status == "ran", answer
    run = judged(case, problem, answer.trace)
    assert run.status == "agree", run.first_divergence


@every_backend_but_compiled
@pytest.mark.parametrize("form", FORMS)
def test_it_gives_every_step_and_every_gradient(run_backend, backend, form):
    case = make_decoder(gradients=True, **FORMS[form])
    problem, answer = run_backend(backend, case)
    assert answer.status == "ran", answer
    assert answer.repeatable is not False
    wanted = {name for name in tensors_of(case) if not name.endswith("_t")}
    assert wanted - answer.trace.arrays.keys() == set()
    assert judged(case, problem, answer.trace).status == "agree"
    assert compare_steps(answer.trace, problem, limit_for(case)).sigma.keys() >= PER_STEP


@every_backend_but_compiled
def test_what_each_use_of_a_weight_adds_sums_up_to_its_gradient(run_backend, backend):
    _, answer = run_backend(backend, make_decoder(gradients=True, score="general", dtype="float64"))
    arrays = answer.trace.arrays
    steps = [name for name in SHARED if f"d{name}_t" in arrays]
    assert steps or backend.name == "torch_attention"  # autograd sums before it hands out
    for name in steps:
        np.testing.assert_allclose(arrays[f"d{name}_t"].sum(axis=0), arrays[f"d{name}"], rtol=1e-12, atol=1e-13)


@every_backend
def test_another_value_of_one_variable_moves_every_step(run_backend, backend):
    case = make_decoder(timesteps=5)
    problem, answer = run_backend(backend, case)
    weights = problem.weights
    for name in ("W", "R", "b", "W_tilde", "b_tilde", "W_target"):
        own = getattr(weights, name)
        moved = changed(problem, weights=changed(weights, **{name: own + own.dtype.type(0.125)}))
        other = run_backend.problem(backend, moved)
        assert (np.abs(other.trace.logit - answer.trace.logit).max(axis=(1, 2)) > 1e-6).all(), name


@pytest.mark.slow  # each form is run above, with every gradient
@every_backend
@pytest.mark.parametrize("feature", DECODER_FEATURES)
def test_a_feature_is_supported_and_right_or_refused_with_a_reason(run_backend, backend, feature):
    case = DECODER_FEATURES[feature]
    problem, answer = run_backend(backend, case)
    if answer.status == "unsupported":
        assert len(answer.message) > 10
    else:
        assert judged(case, problem, answer.trace).status == "agree"


@every_backend_but_compiled
def test_padding_of_a_source_is_never_seen(run_backend, backend):
    case = make_decoder(lengths=(5, 2, 1), gradients=True)
    problem, answer = run_backend(backend, case)
    enc = problem.enc.copy()
    enc[2:, 1], enc[1:, 2] = 1e6, -1e6
    other = run_backend.problem(backend, changed(problem, enc=enc))
    for name in ("y", "logit", "dW_tilde"):
        np.testing.assert_array_equal(other.trace.arrays[name], answer.trace.arrays[name])
    assert (answer.trace.denc[2:, 1] == 0).all()


@every_backend
@pytest.mark.parametrize("scale", [1e-30, 1e6])
def test_sources_of_extreme_size_give_what_the_reference_gives(run_backend, backend, scale):
    case = make_decoder(inputs=Values(kind="probe", scale=scale))
    problem, answer = run_backend(backend, case)
    assert judged(case, problem, answer.trace).status == "agree"


@every_backend_but_compiled
def test_a_problem_in_between_leaves_no_mark(run_backend, backend):
    case = make_decoder(gradients=True)
    first = run_backend(backend, case)[1].trace
    run_backend(backend, replace(case, run=replace(case.run, seed=2)))
    again = run_backend(backend, case)[1].trace
    for name, array in first.arrays.items():
        assert array.tobytes() == again.arrays[name].tobytes(), name


@every_backend
def test_it_tells_parameters_device_version_and_seconds(run_backend, backend):
    _, answer = run_backend(backend, make_decoder(timesteps=3))
    assert answer.trace.device
    assert set(answer.versions) == set(backend.requires)
    assert {"first", "steady"} <= set(answer.seconds)

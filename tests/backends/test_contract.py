"""What every backend passes by being in the registry."""

from __future__ import annotations

import numpy as np
import pytest
from backend_marks import marks_of
from examples import share_of_examples
from hypothesis import given
from judge import judged
from lstm_cases import cases, make_case
from msgspec.structs import replace

from lockstep.backends import numpy_loop
from lockstep.harness.adapters.backend import Backend, find_backends
from lockstep.harness.cases.case import Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import WEIGHT_SUMS, kind_of, tensors_of
from lockstep.harness.jobs.findings import expected_of
from lockstep.harness.jobs.support import FEATURES
from lockstep.harness.strategies import cases as any_cases

BACKENDS = [backend for backend in find_backends() if backend.model == "lstm"]
every_backend, every_backend_everywhere, every_backend_but_compiled = (
    pytest.mark.parametrize("backend", [pytest.param(b, id=b.name, marks=marks_of(b, **which)) for b in BACKENDS])
    for which in ({}, {"everywhere": True}, {"compiling": False})
)


def ran(answer) -> bool:
    """Whether it ran: else it was refused, with a reason."""
    if answer.status != "unsupported":
        assert answer.status == "ran", answer
        return True
    assert len(answer.message) > 10
    return False


@every_backend_everywhere
def test_a_small_case_and_its_gradients_agree_or_are_refused(run_backend, backend):
    case = make_case(gradients=True, seed=5)
    problem, answer = run_backend(backend, case)
    if not ran(answer):
        problem, answer = run_backend(backend, make_case(seed=5))
        assert ran(answer)
    if expected_of(backend.name, case) is None:
        assert judged(problem.case, problem, answer.trace).status == "agree"


@every_backend_but_compiled
@given(case=cases())
@share_of_examples(5)
def test_it_agrees_with_the_reference_over_many_seeds(run_backend, backend, case):
    if expected_of(backend.name, case) is not None:
        return
    problem, answer = run_backend(backend, case)
    if not ran(answer):
        assert case.run.lengths is not None or case.run.dtype != "float32"
        return
    run = judged(case, problem, answer.trace)
    assert run.status == "agree", run.first_divergence


@every_backend_but_compiled
@given(case=any_cases())
@share_of_examples(8)  # `nox -s proof` and `nox -s search` run thousands
def test_any_network_agrees_or_is_refused_with_a_reason(run_backend, backend, case):
    if expected_of(backend.name, case) is not None:
        return
    problem, answer = run_backend(backend, case)
    if not ran(answer):
        return
    run = judged(case, problem, answer.trace)
    assert run.status == "agree", run.first_divergence
    if case.run.gradients:
        weights = {name for name in tensors_of(case) if kind_of(name) in WEIGHT_SUMS}
        assert {"dx", *weights} <= answer.trace.tensors(case).keys()


@every_backend_but_compiled
def test_gradients_of_every_lane_are_given_and_those_of_states(run_backend, backend):
    case = make_case(num_layers=2, direction="bidirectional", gradients=True, initial_state="probe")
    problem, answer = run_backend(backend, case)
    if not ran(answer):
        pytest.skip(answer.message)
    wanted = {name for name in tensors_of(case) if kind_of(name) in {"dx", "dh0", "dc0", "dW", "dR", "db"}}
    assert wanted <= answer.trace.tensors(case).keys()
    assert judged(case, problem, answer.trace).status == "agree" or expected_of(backend.name, case) is not None


@every_backend
def test_gradients_change_nothing_of_what_was_computed_before_them(run_backend, backend):
    case = make_case(initial_state="probe", seed=3)
    alone = run_backend(backend, case)[1].trace
    answer = run_backend(backend, replace(case, run=replace(case.run, gradients=True)))[1]
    if not ran(answer):
        pytest.skip(answer.message)
    trained = answer.trace
    for name, array in alone.arrays.items():
        difference = np.abs(array - trained.arrays[name]).max()
        assert difference <= 4 * np.finfo(array.dtype).eps, name


@every_backend
def test_it_gives_hidden_states_and_final_states_of_the_right_form(run_backend, backend):
    case = make_case(timesteps=3, batch=2, hidden_size=5)
    _, answer = run_backend(backend, case)
    tensors = answer.trace.tensors()
    assert {"h", "h_n", "c_n"} <= set(tensors)
    assert tensors["h"].shape == (3, 2, 5)
    assert tensors["c_n"].shape == (2, 5)
    assert {array.dtype.name for array in tensors.values()} == {"float32"}


@every_backend
def test_the_final_hidden_state_is_the_last_one(run_backend, backend):
    _, answer = run_backend(backend, make_case(seed=3))
    assert (answer.trace.h[-1] == answer.trace.h_n).all()


@every_backend
def test_it_gives_the_same_bits_twice_and_leaves_its_inputs_alone(run_backend, backend):
    # The worker holds both against each other, and refuses a run that changed its inputs.
    _, answer = run_backend(backend, make_case(timesteps=6, batch=3, hidden_size=3))
    assert answer.status == "ran", answer
    assert answer.repeatable is True


@every_backend
def test_a_problem_in_between_leaves_no_mark(run_backend, backend):
    """A, B, A: nothing is remembered from call to call."""
    case = make_case(seed=1, initial_state="probe")
    first = run_backend(backend, case)[1].trace
    run_backend(backend, replace(case, run=replace(case.run, seed=2)))
    again = run_backend(backend, case)[1].trace
    for name, array in first.tensors().items():
        assert array.tobytes() == again.tensors()[name].tobytes()


@every_backend
def test_a_sequence_does_not_depend_on_its_batch_mates(run_backend, backend):
    if (backend.quantised or "").startswith("int8"):
        pytest.skip("its steps are those of the whole batch")
    case = make_case(batch=3, initial_state="probe")
    problem, answer = run_backend(backend, case)
    x = problem.x.copy()
    x[:, 1:] = 5.0
    crowded = Problem.plain(case, problem.W, problem.R, problem.b, x, problem.h0, problem.c0)
    other = run_backend.problem(backend, crowded)
    np.testing.assert_array_equal(other.trace.h[:, 0], answer.trace.h[:, 0])
    assert not np.array_equal(other.trace.h[:, 1], answer.trace.h[:, 1])


@every_backend
def test_it_tells_parameters_device_version_and_seconds(run_backend, backend):
    case = make_case(timesteps=4, batch=2, input_size=3, hidden_size=6)
    _, answer = run_backend(backend, case)
    assert answer.trace.device
    assert set(answer.versions) == set(backend.requires)
    assert all(version[0].isdigit() for version in answer.versions.values())
    assert {"first", "steady"} <= set(answer.seconds)
    assert all(seconds >= 0 for seconds in answer.seconds.values())
    # One kernel for x and h or one for each, and one or two biases, whatever T is; or each of them for every gate; none
    # where arrays are passed in.
    sizes = sorted(len(parameter.shape) for parameter in answer.trace.parameters)
    assert sizes in ([], [1, 2], [1, 2, 2], [1, 1, 2, 2], [1] * 4 + [2] * 8)
    told = {parameter.read_by for parameter in answer.trace.parameters}
    if backend.name in {"tf_loop", "tf_static_rnn"}:
        assert told == {"4: iterations 0-3"}
    if backend.name == "tf_dynamic_rnn":
        assert all(text.startswith("1: in every round of the while loop") for text in told)


@every_backend_but_compiled
@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_is_supported_and_right_or_refused_with_a_reason(run_backend, backend, feature):
    case = FEATURES[feature]
    finding = expected_of(backend.name, case)
    if finding is not None:
        pytest.skip(f"known: {finding.name}")
    problem, answer = run_backend(backend, case)
    if ran(answer):
        assert judged(case, problem, answer.trace).status == "agree"


@every_backend
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e6, 1e30])
def test_inputs_of_extreme_size_give_what_the_reference_gives(run_backend, backend, scale):
    case = make_case(inputs=Values(kind="probe", scale=scale), initial_state="probe")
    finding = expected_of(backend.name, case)
    if finding is not None:
        pytest.skip(f"known: {finding.name}")
    problem, answer = run_backend(backend, case)
    assert judged(case, problem, answer.trace).status == "agree"


def test_a_module_of_a_backend_fits_the_protocol():
    module: Backend = numpy_loop
    assert module.unsupported(make_case()) is None

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from decoder_cases import ENCODER, make_decoder
from examples import mostly_slow
from faulty_decoder import ADDITIVE_FAULTS, FAULTS, decoder
from rich.console import Console

from lockstep.backends import numpy_attention
from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.adapters.user_code import parse_target
from lockstep.harness.cases.decoder_problem import DecoderProblem
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.named_causes import expected_named
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.jobs.check import cases_of, check, left_out
from lockstep.harness.jobs.checks.forms import as_given
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems, reseeded
from lockstep.harness.jobs.run import run_cases
from lockstep.harness.output.terminal import show_check
from lockstep.harness.ports.port import LocalPort, is_decoder_port
from lockstep.harness.testing import assert_agrees
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import unpack

ROOT = Path(__file__).parents[3]
SHIPPED = [case for case in cases_of([], decoder=True) if case.run.timesteps < 10]
SUITE = [case for case in SHIPPED if case.attention_decoder.context == "output"]
# Every width is one number: what is exchanged or left out has a shape that fits.
BAHDANAU = make_decoder(
    "bahdanau", score="additive", context="input", input_size=3, hidden_size=5, lengths=(5, 2, 3), seed=9
)


def checked(port, cases=SUITE) -> list[RunResult]:
    return check(LocalPort(port), cases)


def names(runs) -> set[str]:
    """What is named as the cause in all runs, with what cannot be told from it."""
    found: set[str] = set()
    for run in runs:
        for one in run.diagnosis:
            found |= {one.fault, *one.indistinguishable_from}
    return found


def test_the_suite_of_a_decoder_is_the_shipped_decoders():
    assert {case.model for case in cases_of([], decoder=True)} == {"attention_decoder"}
    assert {case.model for case in cases_of([])} == {"lstm"}
    assert left_out([case.name for case in SUITE]) == []


def test_a_healthy_decoder_agrees_everywhere_also_over_an_encoder():
    runs = checked(decoder(), SHIPPED)
    assert [run.status for run in runs] == ["agree"] * len(SHIPPED)
    assert any(case.attention_decoder.encoder is not None for case in SUITE)
    assert {"logit", "y"} == set(runs[0].tensors)
    note = "gradients are not compared: ports of decoders go forward only"
    assert [note in run.notes for run in runs] == [case.run.gradients for case in SHIPPED]


def test_a_decoder_that_computes_in_float32_is_right_to_its_rounding():
    port = decoder()

    def in_float32(enc, weights, h0, c0, y0, steps, lengths=None):
        arrays = (enc, *weights.values(), h0, c0, y0)
        enc, *values, h0, c0, y0 = (array.astype(np.float32) for array in arrays)
        return port(enc, dict(zip(weights, values, strict=True)), h0, c0, y0, steps, lengths)

    (double,) = cases_of(["attention-float64"])
    (run,) = check(LocalPort(in_float32), [double], float32_will_do={double.name})
    assert (run.status, run.computed_in) == ("agree", "float32")


@pytest.mark.parametrize("fault", mostly_slow(FAULTS, every=12))
def test_a_planted_fault_diverges_and_is_named(fault):
    runs = checked(decoder(fault))
    assert any(run.status == "diverge" for run in runs)
    assert FAULTS[fault] in names(runs), names(runs)


QUICK = {"attends after"}


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=() if fault in QUICK else pytest.mark.slow) for fault in ADDITIVE_FAULTS]
)
def test_a_fault_of_additive_scores_or_of_a_context_in_the_cell_is_named(fault):
    (run,) = checked(decoder(fault), [BAHDANAU])
    assert run.status == "diverge"
    assert ADDITIVE_FAULTS[fault] in names([run]), names([run])


@pytest.mark.parametrize("weight", mostly_slow(["W_q", "W_k", "v_a"], every=3))
def test_weights_of_scores_that_no_two_steps_share_are_found(weight):
    def port(enc, weights, h0, c0, y0, steps, lengths=None):
        with_ones = weights | {weight: np.ones_like(weights[weight])}
        return decoder(later_weights=with_ones)(enc, weights, h0, c0, y0, steps, lengths)

    (run,) = checked(port, [make_decoder(score="additive", context="input", attention_size=7)])
    assert [one.fault for one in run.diagnosis] == [f"{weight}-not-shared"]


def test_a_suite_is_told_in_the_forms_that_a_port_answers():
    def only(context):
        def port(enc, weights, h0, c0, y0, steps, lengths=None):
            if (weights["W"].shape[1] > y0.shape[1]) != (context == "input"):
                raise ValueError("shapes do not fit")
            return decoder()(enc, weights, h0, c0, y0, steps, lengths)

        return port

    for context in ("input", "output"):
        runs = check(LocalPort(only(context)), SHIPPED, suite=True)
        assert {run.case for run in runs} == {c.name for c in SHIPPED if c.attention_decoder.context == context}
        assert {run.status for run in runs} == {"agree"}


@pytest.mark.parametrize("fault", ["target unshared", "tilde unshared", "all unshared"])
def test_unshared_weights_are_found_where_all_are_ones_and_the_numbers_agree(fault):
    case = make_decoder(weights="ones", inputs="ones", initial_state="zeros", input_size=3)
    (run,) = checked(decoder(fault), [case])
    assert run.first_divergence is None
    assert run.status == "diverge"
    assert run.diagnosis[0].fault == FAULTS[fault]
    assert "steps 1, 2, 3 of 4 still do" in run.diagnosis[0].evidence
    assert "AUTO_REUSE" in run.diagnosis[0].fix


def test_the_steps_that_do_not_share_are_told():
    (run,) = checked(decoder("target of one step unshared"), [make_decoder()])
    assert "not at step 2:" in run.diagnosis[0].message


def test_numbers_that_come_of_ones_are_part_of_the_evidence():
    (run,) = checked(decoder("target unshared"), [make_decoder()])
    assert "W_target made anew at every other step, with ones" in run.diagnosis[0].evidence
    assert run.diagnosis[0].sigma < 10


def test_a_right_number_from_unshared_weights_is_said_to_be_right_by_chance():
    case = make_decoder(weights="ones", inputs="ones", initial_state="zeros", input_size=3)
    port = LocalPort(decoder("target unshared"))
    found = check(port, [case])
    shown = io.StringIO()
    show_check(Console(file=shown, width=200), found, named=True)
    text = shown.getvalue()
    assert "W_target is in use at the first step only" in text
    assert "Traceback" not in text


@pytest.mark.usefixtures("short_search")
def test_a_fault_outside_the_catalogue_is_unexplained_with_facts():
    def port(enc, weights, h0, c0, y0, steps, lengths=None):
        logits, y = decoder()(enc, weights, h0, c0, y0, steps, lengths)
        return logits, y * np.linspace(1, 1.1, len(y), dtype=y.dtype)[:, None, None]

    (run,) = checked(port, [make_decoder()])
    assert run.diagnosis[0].fault == "unexplained"
    assert any("first wrong: y" in fact for fact in run.diagnosis[0].facts)


def test_a_port_that_is_random_is_said_to_be():
    rng = np.random.default_rng(0)

    def port(enc, weights, h0, c0, y0, steps, lengths=None):
        logits, y = decoder()(enc, weights, h0, c0, y0, steps, lengths)
        return logits, y * (rng.random(y.shape) > 0.1)

    (run,) = checked(port, [make_decoder()])
    assert run.repeatable is False
    assert run.diagnosis[0].fault == "not-repeatable"


def test_logits_alone_are_compared_and_the_rest_is_noted():
    def port(enc, weights, h0, c0, y0, steps, lengths=None):
        return decoder()(enc, weights, h0, c0, y0, steps, lengths)[0]

    (run,) = checked(port, [make_decoder(output_size=2)])
    assert run.status == "agree"
    assert run.notes == ["it returned no h_tilde: not compared"]


def test_a_list_of_steps_is_taken_for_logits():
    def port(enc, weights, h0, c0, y0, steps, lengths=None):
        return list(decoder()(enc, weights, h0, c0, y0, steps, lengths)[0])

    (run,) = checked(port, [make_decoder(timesteps=2)])
    assert run.status == "agree"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits, y: (logits[..., 0], y), "squeezed? the last axis is there for a width of 1 too"),
        (lambda logits, y: (logits.swapaxes(0, 1), y), "batch-major? time comes first"),
        (lambda logits, y: None, "is `return` missing?"),
        (lambda logits, y: (logits, y, y), "it returned a tuple of 3: expected (logits, h_tilde)"),
        (lambda logits, y: {"h_seq": y}, "expected (logits, h_tilde)"),
        (lambda logits, y: (logits, y[0]), "h_tilde has shape"),
    ],
)
def test_what_is_no_result_is_told_in_one_message(change, message):
    def port(enc, weights, h0, c0, y0, steps, lengths=None):
        return change(*decoder()(enc, weights, h0, c0, y0, steps, lengths))

    (run,) = checked(port, [make_decoder()])
    assert run.status == "failed"
    assert message in run.message


def test_a_decoder_that_fails_in_every_case_is_told_of_the_commonest_form():
    def port(enc, weights, h0, c0, y0, steps, lengths=None):  # noqa: ARG001
        raise ValueError("always")

    runs = check(LocalPort(port), SHIPPED, suite=True)
    assert {run.case for run in runs} == {case.name for case in SUITE}
    assert {run.status for run in runs} == {"failed"}


def test_parameters_that_do_not_fit_are_told():
    def too_few(enc, weights, h0, c0, y0):
        """No steps."""

    (run,) = checked(too_few, [make_decoder()])
    assert "takes 5 of the six arguments enc, weights, h0, c0, y0, steps" in run.message

    def without_lengths(enc, weights, h0, c0, y0, steps):
        return decoder()(enc, weights, h0, c0, y0, steps)

    plain, ragged = checked(without_lengths, [make_decoder("a"), make_decoder("b", lengths=(5, 2, 1))])
    assert plain.status == "agree"
    assert ragged.status == "unsupported"
    assert "lengths=None" in ragged.message


def test_a_port_of_the_other_model_is_unsupported_both_ways():
    def layer(x, weights, h0, c0, lengths=None):  # noqa: ARG001 (a port has all of them)
        return x, x

    (run,) = checked(layer, [make_decoder()])
    assert run.status == "unsupported"
    assert "port of another model" in run.message
    (case,) = cases_of(["ones"])
    (run,) = check(LocalPort(decoder()), [case])
    assert run.status == "unsupported"
    assert "port of another model" in run.message


def test_a_decoder_is_told_by_its_parameters_in_a_file_and_as_a_function():
    assert is_decoder_port(decoder())
    assert is_decoder_port(parse_target(f"{ROOT}/cases/ports/decoder_shared.py:port"))
    assert not is_decoder_port(parse_target(f"{ROOT}/cases/ports/numpy_loop.py:port"))


def test_the_fixture_takes_a_decoder():
    results = assert_agrees(decoder())
    assert {run.status for run in results.runs} == {"agree"}
    with pytest.raises(AssertionError, match=r"context\.attention:previous"):
        assert_agrees(decoder("context of step before"), case="attention-probe")


def test_a_case_with_an_encoder_is_handed_over_as_what_the_encoder_gives():
    problem = DecoderProblem.from_case(make_decoder(encoder=ENCODER, gradients=True))
    given = as_given(problem)
    assert given.enc.shape == (5, 3, 4)
    assert given.enc.dtype == np.float32
    assert given.dy is None
    assert not any(name.endswith("_encoder") for name in given.weights.arrays())


def test_a_seed_changes_the_numbers_and_no_verdict():
    (case,) = cases_of(["attention-probe"])
    assert check(LocalPort(decoder()), [reseeded(case, 7)])[0].status == "agree"


@pytest.mark.parametrize(
    "fault",
    [
        "d-y.fed:zero",
        pytest.param("d-h.carry:zero", marks=pytest.mark.slow),
        pytest.param("d-c.carry:zero", marks=pytest.mark.slow),
        pytest.param("d-h.carry-and-c.carry:zero", marks=pytest.mark.slow),
        pytest.param("d-h.carry,-c.carry-and-y.fed:zero", marks=pytest.mark.slow),
        pytest.param("dW_target:of-the-first-step-only", marks=pytest.mark.slow),
        pytest.param("dW_tilde:of-the-last-step-only", marks=pytest.mark.slow),
        pytest.param("gradients-of-W_tilde-and-b_tilde:of-the-first-step-only", marks=pytest.mark.slow),
        pytest.param("gradients-of-W,-R-and-b:of-the-last-step-only", marks=pytest.mark.slow),
        pytest.param("gradients-of-weights:of-the-first-step-only", marks=pytest.mark.slow),
        "W,-R-and-b:made-anew-as-ones@later",
        pytest.param("W_target,-W_tilde-and-b_tilde:made-anew-as-ones@later", marks=pytest.mark.slow),
    ],
)
def test_faults_of_gradients_and_of_weights_made_anew_are_explained_by_their_numbers(fault):
    problem = DecoderProblem.from_case(make_decoder(gradients=True, score="general", hidden_size=5, source_size=4))
    computed = expected_named(fault, problem)
    assert computed is not None
    # A framework that hands out no contributions by timestep.
    tensors = {name: (t.value + t.rest).astype(np.float32) for name, t in computed.items() if not name.endswith("_t")}
    explained = explain([Observation(problem, tensors)])
    assert fault in {name for one in explained for name in (one.fault, *one.indistinguishable_from)}


@pytest.mark.parametrize(
    "fault",
    [
        "d-cell.context:zero",
        pytest.param("slope-of-scores:1", marks=pytest.mark.slow),
        pytest.param("d-W_q.query:zero", marks=pytest.mark.slow),
        pytest.param("dW_k:of-the-last-step-only", marks=pytest.mark.slow),
        pytest.param("gradients-of-W_q,-W_k-and-v_a:of-the-first-step-only", marks=pytest.mark.slow),
        pytest.param("W_q,-W_k-and-v_a:made-anew-as-ones@later", marks=pytest.mark.slow),
    ],
)
def test_faults_of_gradients_of_additive_scores_are_explained_by_their_numbers(fault):
    case = make_decoder(gradients=True, score="additive", context="input", hidden_size=5, attention_size=7)
    problem = DecoderProblem.from_case(case)
    computed = expected_named(fault, problem)
    assert computed is not None
    tensors = {name: (t.value + t.rest).astype(np.float32) for name, t in computed.items() if not name.endswith("_t")}
    explained = explain([Observation(problem, tensors)])
    assert fault in {name for one in explained for name in (one.fault, *one.indistinguishable_from)}


def test_what_differs_first_in_a_step_is_what_it_computes_first():
    case = make_decoder(score="additive", context="input")
    trace = numpy_attention.run(Problems().problem(case))
    wrong = {name: getattr(trace, name).copy() for name in ("c", "h", "scores")}
    for array in wrong.values():
        array[1] += 1
    result = Judge(Problems()).judge_trace(case, "mine", trace.replaced(**wrong))
    assert (result.first_divergence.tensor, result.first_divergence.timestep) == ("scores", 1)


@pytest.mark.parametrize("layout", ["torch", "keras"])
def test_the_weights_of_a_cell_that_takes_in_the_context_come_in_a_layout(layout):
    def port(enc, weights, h0, c0, y0, steps, lengths=None):
        others = {name: weights[name] for name in ("W_tilde", "b_tilde", "W_target", "W_q", "W_k", "v_a")}
        W, R, biases = unpack({name: weights[name] for name in weights.keys() - others}, DIALECTS[layout])
        return decoder()(enc, {"W": W, "R": R, "b": sum(biases), **others}, h0, c0, y0, steps, lengths)

    (run,) = check(LocalPort(port, layout=layout), [make_decoder(score="additive", context="input")])
    assert run.status == "agree", run.message


def test_a_backend_that_diverges_is_diagnosed():
    case = make_decoder(gradients=True)
    problems = Problems()
    problem = problems.problem(case)
    trace = numpy_attention.run(problem)
    wrong = trace.replaced(dW_target=trace.dW_target_t[0])
    result = Judge(problems).judge_trace(case, "mine", wrong)
    assert result.status == "diverge"
    assert result.first_divergence.tensor == "dW_target"
    assert result.first_divergence.backward
    judge = Judge(problems)
    judge.keep(case, wrong, result)
    (explained,) = judge.explain([result])
    assert explained.diagnosis[0].fault == "dW_target:of-the-first-step-only"
    assert explained.diagnosis[0].site == "dW_target"
    assert (explained.diagnosis[0].edit, explained.diagnosis[0].scope) == ("of the first step only", "everywhere")
    assert find_backends(["numpy_attention"])[0].model == "attention_decoder"
    assert run_cases([case], find_backends(["numpy_attention"]))[0].status == "agree"

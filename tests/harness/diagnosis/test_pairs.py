"""Which backends get which cases: those of their model."""

from __future__ import annotations

import io
import json

import pytest
from decoder_cases import make_decoder
from lstm_cases import make_case
from rich.console import Console

from lockstep.harness.adapters.backend import find_backends, matched, pairs
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cli.main import main
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.errors import BackendError, CaseError
from lockstep.harness.output.terminal import show_results

LAYER, DECODER = make_case("layer"), make_decoder("decoder")
BOTH = find_backends(["numpy_loop", "numpy_attention"])


def test_a_backend_runs_the_cases_of_its_model():
    assert [(case.name, backend.name) for case, backend in pairs([LAYER, DECODER], BOTH)] == [
        ("layer", "numpy_loop"),
        ("decoder", "numpy_attention"),
    ]


def test_what_was_not_named_and_has_no_partner_is_left_out():
    cases, backends = matched([LAYER, DECODER], BOTH[1:], cases_named=False, backends_named=True)
    assert (cases, backends) == ([DECODER], BOTH[1:])
    cases, backends = matched([LAYER], BOTH, cases_named=True, backends_named=False)
    assert (cases, backends) == ([LAYER], BOTH[:1])


def test_what_was_named_and_has_no_partner_is_an_error():
    with pytest.raises(BackendError, match="case decoder is an attention decoder, and none of these backends runs one"):
        matched([DECODER], BOTH[:1], cases_named=True, backends_named=True)
    with pytest.raises(BackendError, match="numpy_attention runs attention decoders: none of these cases"):
        matched([LAYER], BOTH[1:], cases_named=False, backends_named=True)


def test_a_backend_that_was_named_beside_others_is_left_out_and_told(capfd):
    code, printed = run(capfd, "run", "ones", "--backend", "numpy_loop", "--backend", "numpy_attention")
    assert code == 0
    assert "Left out, because no case is made for them: numpy_attention." in printed.err
    assert "1 run: 1 agree" in printed.out


def test_a_network_is_not_made_of_a_decoder():
    with pytest.raises(CaseError, match="attention decoder"):
        Problem.from_case(DECODER)


def test_tables_stand_apart_and_no_pair_is_shown_that_was_not_run():
    runs = [RunResult(case="a", backend="x", status="agree"), RunResult(case="b", backend="y", status="agree")]
    runs += [RunResult(case="a", backend=f"z{k}", status="agree") for k in range(9)]
    shown = io.StringIO()
    show_results(Console(file=shown, width=80), runs)
    assert " - " not in shown.getvalue()
    _title, *table = shown.getvalue().splitlines()
    assert max(map(len, table)) <= 80


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    return exited.value.code, capfd.readouterr()


def test_a_case_and_a_backend_of_two_models_are_a_wrong_request(capfd):
    code, printed = run(capfd, "run", "attention-probe", "--backend", "numpy_loop")
    assert code == 2
    assert "attention-probe is an attention decoder" in printed.err


def test_decoders_run_from_the_command_line_and_go_into_json(capfd, tmp_path):
    file = tmp_path / "results.json"
    code, printed = run(capfd, "run", "attention-probe", "--backend", "numpy_attention", "--json", str(file))
    assert code == 0
    assert "1 run: 1 agree" in printed.out
    (result,) = json.loads(file.read_text())["runs"]
    assert {"scores", "attention", "context", "y", "logit", "denc", "dW_tilde"} <= result["tensors"].keys()
    assert result["local"]["first_divergence"] is None


def test_recorded_decoders_are_judged_elsewhere(capfd, tmp_path):
    code, _ = run(capfd, "record", "attention-encoder", "--backend", "numpy_attention", "--out", str(tmp_path))
    assert code == 0
    code, printed = run(capfd, "compare", str(tmp_path))
    assert code == 0
    assert "attention-encoder" in printed.out


@pytest.mark.slow  # every fault of a decoder is planted
def test_adequacy_knows_the_faults_of_decoders(capfd):
    code, printed = run(capfd, "adequacy", "attention-question")
    assert code == 0
    assert "W_target:one " in printed.out
    assert "softmax:over-the-batch" not in printed.out
    code, printed = run(capfd, "adequacy", "attention-dot", "ones", "--json", "-")
    assert code == 2
    assert "of two kinds" in printed.err


def test_the_anatomy_of_a_decoder_is_refused(capfd):
    code, printed = run(capfd, "anatomy", "numpy_attention")
    assert code == 2
    assert "runs attention decoders" in printed.err


def test_a_jobs_option_below_one_is_a_wrong_request(capfd):
    code, printed = run(capfd, "run", "ones", "--jobs", "0")
    assert code == 2
    assert "--jobs 0" in printed.err

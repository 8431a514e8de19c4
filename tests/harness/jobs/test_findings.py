from __future__ import annotations

from pathlib import Path

import pytest
from lstm_cases import make_case
from msgspec.structs import replace

import lockstep.harness.jobs.findings as module
from lockstep.harness.cases.case import Values
from lockstep.harness.cli.main import main
from lockstep.harness.comparison.results import Results, RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.findings import (
    LENGTH_CONDITIONS,
    as_markdown,
    chosen,
    expected_of,
    finding_text,
    findings,
    load_finding,
)
from lockstep.harness.jobs.judge_run import as_known
from lockstep.harness.output.overview import summary

ROOT = Path(__file__).parents[3]
GOOD = """
title = "It forgets"
backends = ["numpy_loop"]
framework = "numpy"
seen = ["2.0"]
status = "diverge"
kind = "bug"
what = "It forgets."
specification = "It must not."

[[where]]
lengths = "with 0"
dtype = ["float32", "float64"]

[[where]]
projection = true

[case.lstm]
input_size = 1
hidden_size = 2

[case.run]
timesteps = 1
lengths = [0]
"""


def load(tmp_path, text=GOOD, script="print()"):
    file = tmp_path / "forgets.toml"
    file.write_text(text)
    if script is not None:
        file.with_suffix(".py").write_text(script)
    return load_finding(file)


def test_a_finding_applies_where_all_of_one_table_holds(tmp_path):
    found = load(tmp_path)
    assert found.applies("numpy_loop", make_case(lengths=(5, 0)))
    assert found.applies("numpy_loop", make_case(proj_size=2))
    assert not found.applies("numpy_loop", make_case(lengths=(5, 0), dtype="float16"))
    assert not found.applies("numpy_loop", make_case(lengths=(5, 1)))
    assert not found.applies("torch_lstm", make_case(lengths=(5, 0)))


def test_weights_and_inputs_that_are_scaled_up_saturate(tmp_path):
    text = GOOD.replace("projection = true", "saturating = true")
    found = load(tmp_path, text)
    large, small = Values(kind="probe", scale=3.0), Values(kind="probe", scale=0.5)
    assert found.applies("numpy_loop", make_case(weights=large))
    assert found.applies("numpy_loop", make_case(inputs=large, weights=small))
    assert not found.applies("numpy_loop", make_case(weights=small, inputs="ones"))
    huge = load(tmp_path, text.replace("saturating", "huge"))
    assert huge.applies("numpy_loop", make_case(inputs=Values(kind="probe", scale=1e30)))
    assert not huge.applies("numpy_loop", make_case(inputs=large, weights=large))


@pytest.mark.parametrize(
    ("condition", "lengths", "holds"),
    [
        ("some", (5, 5), True), ("some", None, False), ("none", None, True), ("none", (5, 5), False),
        ("ragged", (5, 4), True), ("ragged", (5, 5), False), ("with 0", (0, 5), True), ("with 0", (1, 5), False),
    ],
)  # fmt: skip
def test_conditions_on_lengths(condition, lengths, holds):
    assert LENGTH_CONDITIONS[condition](make_case(lengths=lengths)) == holds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("lengths =", "lenghts =", 1), "lengths"),
        (lambda text: text.replace('"with 0"', '"with nought"'), "no condition is called"),
        (lambda text: text.replace("projection = true", "projecton = true"), 'Did you mean "projection"'),
        (lambda text: text.replace('kind = "bug"', 'kind = "feature"'), "feature"),
        (lambda text: text.replace("lengths = [0]", "lengths = [1]"), "does not meet its conditions"),
        (lambda text: text.replace('seen = ["2.0"]', "seen = []"), "seen"),
        (lambda text: "]", "not a finding"),
    ],
)
def test_what_is_no_finding_is_refused_with_its_file(tmp_path, change, message):
    with pytest.raises(LockstepError, match=message) as error:
        load(tmp_path, change(GOOD))
    assert "forgets.toml" in str(error.value)


def test_a_finding_without_a_script_is_refused(tmp_path):
    with pytest.raises(LockstepError, match=r"no script forgets\.py"):
        load(tmp_path, script=None)


def test_a_known_result_stays_what_it_is_and_is_expected(tmp_path, monkeypatch):
    found = load(tmp_path)
    monkeypatch.setattr(module, "findings", lambda: (found,))
    case = make_case(lengths=(5, 0))
    wrong = RunResult(case="test", backend="numpy_loop", status="diverge")
    marked = as_known(wrong, case)
    assert (marked.status, marked.known) == ("diverge", "forgets")
    # What fails otherwise than is known, or agrees, is not it.
    assert as_known(replace(wrong, status="failed"), case).known is None
    assert as_known(replace(wrong, status="agree"), case).known is None
    assert expected_of("torch_lstm", case, "diverge") is None
    assert Results(environment={}, runs=[marked]).exit_status == 0
    assert Results(environment={}, runs=[marked, wrong]).exit_status == 1
    assert summary([marked, wrong]) == "2 runs: 1 diverge as known, 1 diverge"


def test_every_shipped_finding_names_a_backend_of_ours_and_has_its_words():
    from lockstep.harness.adapters.backend import find_backends

    names = {backend.name for backend in find_backends()}
    assert len(findings()) > 10
    for one in findings():
        assert set(one.backends) <= names, one.name
        assert one.what.endswith(".")
        assert one.specification.endswith(".")
        assert one.case is None or one.case.run.timesteps <= 2, "a smallest case is small"
        text = finding_text(one)
        assert one.title in text
        assert "Shown by: python" in text


def test_the_page_of_the_docs_is_what_the_code_says():
    assert (ROOT / "docs" / "findings.md").read_text() == as_markdown(findings())


def test_a_finding_that_is_not_there_is_told():
    with pytest.raises(LockstepError, match=r'no finding is called "flax-lenght-0"\. Did you mean "flax-length-0"'):
        chosen(["flax-lenght-0"])


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    return exited.value.code, capfd.readouterr()


def test_the_command_lists_and_tells(capfd, tmp_path):
    code, printed = run(capfd, "findings")
    assert code == 0
    assert "tf-block-v2-gradient (bug; tensorflow" in printed.out
    code, printed = run(capfd, "findings", "tf-block-v2-gradient", "--json", str(tmp_path / "found.json"))
    assert "The gradient of BlockLSTMV2 takes its gates in the order of BlockLSTM" in printed.out
    assert '"kind":"bug"' in (tmp_path / "found.json").read_text()
    code, printed = run(capfd, "findings", "no-such-thing")
    assert code == 2
    assert "no finding is called" in printed.err


def test_a_sequence_that_is_over_has_a_length_of_0_in_the_pieces_that_follow():
    case = make_case(timesteps=6, batch=2, lengths=(6, 2), initial_state="probe")
    assert expected_of("onnxruntime_lstm", case) is None
    known = expected_of("onnxruntime_lstm", replace(case, run=replace(case.run, chunks=(3, 3))))
    assert known is not None
    assert known.name == "onnx-length-0"

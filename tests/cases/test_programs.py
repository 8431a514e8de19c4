"""The shipped programs: built, they agree; with one line replaced by a mistake, the mistake is found."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest
from lstm_cases import make_case

from lockstep.harness.jobs.check import cases_of, check
from lockstep.harness.ports.programs.command import parse_command
from lockstep.harness.ports.programs.program import Program

PORTS = Path(str(files("lockstep.cases"))) / "ports"


class Language(NamedTuple):
    """How a program is built, how it is run, and a line of it with one in its place that is wrong."""

    needs: str
    build: tuple[str, ...]
    command: str
    right: str
    wrong: str
    fault: str
    words: str


LANGUAGES = {
    "lstm.c": Language(
        "gcc", ("gcc", "-O1", "-std=c99", "-Wall", "-Wextra", "-Werror", "-o", "lstm", "lstm.c", "-lm"), "./lstm",
        "double i = sigmoid(z[0]), f = sigmoid(z[1]), g = tanh(z[2]), o = sigmoid(z[3]);",
        "double i = sigmoid(z[0]), g = tanh(z[1]), f = sigmoid(z[2]), o = sigmoid(z[3]);",
        "WRb:read-as-igfo", "read as i, g, f, o, and stored as i, f, g, o",
    ),
    "lstm.rs": Language(
        "rustc", ("rustc", "--edition", "2021", "-D", "warnings", "-o", "lstm", "lstm.rs"), "./lstm",
        "from_x + from_h + b[row]",
        "from_x + from_h",
        "b:zero", "The bias b counts as 0: left out.",
    ),
    "lstm.js": Language(
        "node", (), "node lstm.js",
        "hNew.push(valid ? o * Math.tanh(cNew[before]) : h[before]);",
        "hNew.push(valid ? o * cNew[before] : h[before]);",
        "curve-of-u:linear", "The activation of c is left out.",
    ),
}  # fmt: skip
SERVING = {"lstm.js"}  # those that serve as well


@pytest.fixture(params=LANGUAGES)
def program(request, tmp_path, monkeypatch):
    """Build a shipped program, a line replaced or none; give what asks it."""
    language = LANGUAGES[request.param]
    if shutil.which(language.needs) is None:
        pytest.skip(f"{language.needs} is not installed, and builds or runs cases/ports/{request.param}")
    monkeypatch.chdir(tmp_path)
    asked = []

    def program(*, mistaken, serving=False):
        text = (PORTS / request.param).read_text("utf-8")
        assert text.count(language.right) == 1
        (tmp_path / request.param).write_text(text.replace(language.right, language.wrong) if mistaken else text)
        if language.build:
            subprocess.run(language.build, check=True)
        serves = serving and request.param in SERVING
        command = language.command if serves else f"{language.command} {{problem}} {{answer}}"
        asked.append(Program(parse_command(command, serves=serves)))
        return asked[-1], language

    yield program
    for one in asked:
        one.close()


def test_a_shipped_program_agrees_in_every_case_of_a_plain_layer(program):
    port, _ = program(mistaken=False, serving=True)
    cases = cases_of([])
    runs = check(port, cases, suite=True)
    assert {(run.status, run.message) for run in runs} == {("agree", None)}
    plain = {case.name for case in cases if case.plain}
    assert {"lengths", "float64"} <= plain <= {run.case for run in runs}


def test_it_leaves_out_what_is_not_a_plain_layer(program):
    port, _ = program(mistaken=False)
    beyond = make_case("two-ways", direction="bidirectional"), make_case("back", gradients=True)
    runs = check(port, [*beyond, make_case("half", dtype="float16"), make_case("plain")])
    assert [run.status for run in runs] == ["unsupported"] * 3 + ["agree"]
    assert runs[0].message == runs[1].message == "only one plain layer, without gradients, is computed"
    assert "F32" in runs[2].message


def test_a_wrong_one_is_explained_as_a_wrong_port_is(program):
    port, language = program(mistaken=True)
    (run,) = check(port, cases_of(["probe"]))
    assert run.status == "diverge"
    assert run.diagnosis[0].fault == language.fault
    assert language.words in run.diagnosis[0].message


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_shipped_program_is_short_and_says_how_it_is_checked(name):
    text = (PORTS / name).read_text("utf-8")
    assert len(text.splitlines()) < 120
    assert (
        f'lockstep check --command "{LANGUAGES[name].command.replace(name, f"cases/ports/{name}")} {{problem}}' in text
    )
    assert text.count("YOUR LSTM HERE") == 1

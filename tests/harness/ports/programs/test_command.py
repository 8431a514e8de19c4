"""Commands: how one is taken apart, and what is said of one that cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.harness.errors import LockstepError
from lockstep.harness.ports.programs.command import parse_command


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a program, a script and a file that may not be run."""
    monkeypatch.chdir(tmp_path)
    for name, mode in (("my_lstm", 0o755), ("lstm.js", 0o644), ("my lstm", 0o755)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("./my_lstm {problem} {answer}", "my_lstm"),
        ("./my_lstm --config lstm.js {problem} {answer}", "my_lstm"),
        ("sh lstm.js {problem} {answer}", "lstm"),
        ("'./my lstm' --in={problem} --out={answer}", "my_lstm"),
        ("sh -c 'true {problem} {answer}'", "sh"),
    ],
)
def test_a_program_is_called_by_what_the_user_wrote(text, name):
    assert parse_command(text, serves=False).name == name


def test_paths_go_where_their_places_are():
    command = parse_command("sh --in={problem} '{problem} {answer}'", serves=False)
    assert command.with_paths(Path("a b"), Path("c")) == ["sh", "--in=a b", "a b c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no program: write for example --command './my_lstm {problem} {answer}'."),
        ("sh 'x", "cannot be split into words: no closing quotation."),
        ("./my_lstm", "{problem} and {answer} must be in it, where the path goes: for example --command"),
        ("./my_lstm {problem}", ": {answer} must be in it"),
        ("./my_lstm {answer} problem", ": {problem} must be in it"),
        ("./my_lstm {problem} > {answer}", "no shell reads it, and > would go to the program as a word"),
        ("./my_lsmt {problem} {answer}", "no program ./my_lsmt. Did you mean my_lstm?"),
        ("my_lstm {problem} {answer}", "no program my_lstm on the PATH: for the file here write ./my_lstm."),
        (
            "./lstm.js {problem} {answer}",
            "./lstm.js may not be run as a program: chmod +x ./lstm.js, or begin with its",
        ),
        ("lstm-of-nobody {problem} {answer}", "no program lstm-of-nobody. Is it installed, and on the PATH?"),
        ("A=1 sh {problem} {answer}", "no program A=1: to set a variable begin with env, as in env A=1."),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_before_anything_runs(text, message):
    with pytest.raises(LockstepError) as refused:
        parse_command(text, serves=False)
    assert message in str(refused.value)
    assert refused.value.exit_status == 2


def test_a_program_that_serves_gets_no_paths_in_its_command():
    assert parse_command("./my_lstm --serve", serves=True).words == ("./my_lstm", "--serve")
    with pytest.raises(
        LockstepError, match=r"^--command-serve '.*\{problem\} and \{answer\} in a command that is start"
    ):
        parse_command("./my_lstm {problem} {answer}", serves=True)

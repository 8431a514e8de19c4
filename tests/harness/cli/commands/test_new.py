"""``lockstep new``: what it writes runs as it is written, and overwrites nothing."""

from __future__ import annotations

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path

import pytest
from examples import mostly_slow

from lockstep.harness.cli.commands.new import PLACE

TEMPLATES = sorted(Path(str(files("lockstep.cases"))).glob("templates/port_*.py"))
FRAMEWORKS = {"numpy": "numpy", "torch": "torch", "jax": "jax", "keras": "keras", "tf1": "tensorflow"}
FORMS = ("plain", "network", "gradients", "decoder")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ports():
    for path in TEMPLATES:
        _, source, form = path.stem.split("_")
        # One form of some frameworks is run every time; the others start the same framework again.
        marks = [pytest.mark.xdist_group(FRAMEWORKS[source])]
        slow = (source != "numpy" and form != "plain") or source in {"keras", "jax", "tf1"}
        yield pytest.param(source, form, id=f"{source}-{form}", marks=[*marks, pytest.mark.slow] if slow else marks)


@pytest.mark.usefixtures("no_strength")
@pytest.mark.parametrize(("source", "form"), [*ports()])
def test_a_port_agrees_as_it_is_written(lockstep, folder, source, form):
    status, out, _ = lockstep("new", "port", "my_lstm.py", "--from", source, "--form", form)
    assert status == 0
    assert (folder / "my_lstm.py").read_text().count(PLACE) == 1
    (command,) = re.findall("^  lockstep (.*)$", out, flags=re.MULTILINE)
    few = {"plain": "probe float64 one-timestep", "decoder": "attention-probe attention-overflow"}.get(form, "")
    assert statuses(lockstep, f"{command} {few}") == {"agree"}
    if form in {"network", "gradients"}:  # it agrees in cases of one plain layer too, which are the usual ones
        assert statuses(lockstep, "check my_lstm.py:port probe lengths") <= {"agree", "unsupported"}


def statuses(lockstep, command):
    """Run a check that is to agree; give the statuses of its cases."""
    status, out, _ = lockstep(*shlex.split(command), "--json", "r.json")
    assert status == 0, out
    return {run["status"] for run in json.loads(Path("r.json").read_text())["runs"]}


@pytest.mark.parametrize(
    ("source", "given", "commands"),
    [
        (
            "c",
            "my_lstm",
            ["gcc -O2 -o ./my_lstm my_lstm.c -lm", 'lockstep check --command "./my_lstm {problem} {answer}"'],
        ),
        (
            "rust",
            "a folder/lstm.rs",
            [
                "rustc --edition 2021 -O -o './a folder/lstm' 'a folder/lstm.rs'",
                "lockstep check --command \"'./a folder/lstm' {problem} {answer}\"",
            ],
        ),
        (
            "js",
            "../lstm.js",
            [
                'lockstep check --command "node ../lstm.js {problem} {answer}"',
                'lockstep check --command-serve "node ../lstm.js"',
            ],
        ),
    ],
)
def test_a_program_is_written_with_the_commands_that_build_and_check_it(
    lockstep, folder, monkeypatch, source, given, commands
):
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    status, out, _ = lockstep("new", "port", given, "--from", source)
    assert status == 0
    first, *rest = out.splitlines()
    assert rest == [f"  {command}" for command in commands]
    file = Path(first.partition("Put your LSTM where ")[2].partition(' says "')[0])
    assert file.read_text().count(PLACE) == 1


def test_over_all_cases_a_port_agrees_too(lockstep):
    lockstep("new", "port", "my_lstm.py")
    assert statuses(lockstep, "check my_lstm.py:port") == {"agree"}


def test_there_is_a_plain_port_for_each_framework_and_each_form_in_numpy_and_torch():
    names = {path.stem.removeprefix("port_") for path in TEMPLATES}
    assert {f"{source}_plain" for source in FRAMEWORKS} <= names
    assert {f"{source}_{form}" for source in ("numpy", "torch") for form in FORMS} <= names


@pytest.mark.parametrize("form", FORMS)
def test_a_case_runs_as_it_is_written(lockstep, form):
    status, out, _ = lockstep("new", "case", "my-sizes", "--form", form)
    assert status == 0
    assert "lockstep run my-sizes.toml" in out
    status, out, _ = lockstep("run", "my-sizes.toml", "--backend", "numpy_*")
    assert status == 0, out
    assert "1 run: 1 agree" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["port", "a.py", "--from", "keras", "--form", "gradients"],
            "From keras there are: network, plain. With gradie",
        ),
        (["port", "a.py", "--from", "pytorch"], '--from: no framework is called "pytorch". Did you mean "torch"?'),
        (["port", "a.c", "--from", "c", "--form", "network"], "From c there are: plain. With network there are: "),
        (["port", "a.py", "--form", "netwrok"], 'Did you mean "network"?'),
        (["case", "a", "--form", "stack"], '--form: no form is called "stack". There are: decoder, gradients, '),
        (["backend", "my-lstm"], "my-lstm: its name is to be that of a Python module"),
        (["backend", "torch_lstm"], 'a backend is called "torch_lstm" already'),
        (["example", "brokn_loop"], 'no example is called "brokn_loop". Did you mean "broken_loop"?'),
        (["port", "file/a.py"], "file: cannot be written: "),
        (["port", "a" * 300], "cannot be written: File name too long"),
    ],
)
def test_what_there_is_not_exits_2_and_tells_what_there_is(lockstep, folder, words, message):
    (folder / "file").write_text("")
    status, out, err = lockstep("new", *words)
    assert (status, out) == (2, "")
    assert message in err.replace("\n", " ")
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["port", "a"], "a.py"),
        (["case", "a"], "a.toml"),
        (["backend", "a"], "a/pyproject.toml"),
        (["example", "decoder_as_asked"], "decoder_parts.py"),
    ],
)
def test_what_exists_is_not_overwritten(lockstep, folder, words, file):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("mine")
    status, out, err = lockstep("new", *words)
    assert (status, out) == (2, "")
    assert f"{file} exists already, and is not overwritten" in err.replace("\n", " ")
    assert [path.read_text() for path in folder.rglob("*") if path.is_file()] == ["mine"]


@pytest.mark.parametrize(
    ("given", "written"),
    mostly_slow([("sub folder/my lstm", "sub folder/my lstm.py"), (".", "lstm.py")], every=2, names=2),
)
def test_a_port_may_be_called_and_lie_as_one_likes(lockstep, folder, given, written):
    status, out, _ = lockstep("new", "port", given)
    assert status == 0
    assert (folder / written).exists()
    (command,) = re.findall("^  lockstep (.*)$", out, flags=re.MULTILINE)
    assert statuses(lockstep, f"{command} probe") == {"agree"}


def test_a_backend_is_called_as_its_folder_is(lockstep, folder):
    status, out, _ = lockstep("new", "backend", "their_cell")
    assert status == 0
    assert out.splitlines()[1:] == ["  pip install ./their_cell", "  lockstep run --backend their_cell"]
    written = {path.name: path.read_text() for path in (folder / "their_cell").iterdir()}
    assert written.keys() == {"their_cell.py", "pyproject.toml"}
    assert 'their_cell = "their_cell"' in written["pyproject.toml"]
    assert not re.search(r"my.lstm", "".join(written.values()))


def test_examples_are_listed_and_come_with_what_they_need(lockstep, folder):
    status, out, _ = lockstep("new", "example")
    assert status == 0
    assert "broken_loop: The loop of the question" in out
    assert "decoder_parts" not in out
    assert lockstep("new", "example", "decoder_as_asked", "there")[0] == 0
    assert {path.name for path in (folder / "there").iterdir()} == {"decoder_as_asked.py", "decoder_parts.py"}
    status, out, _ = lockstep("new", "example", "bidirectional")
    assert status == 0
    (command,) = re.findall("^  lockstep (.*)$", out, flags=re.MULTILINE)
    status, out, _ = lockstep(*shlex.split(command))
    assert status == 0, out
    assert "network" in out

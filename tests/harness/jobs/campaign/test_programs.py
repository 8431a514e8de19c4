"""A campaign over a program: a right one has nothing new, a mistake in it is found, named, and shown by its command."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from lockstep.harness.cli.main import main
from lockstep.harness.jobs.campaign.target import named
from lockstep.harness.jobs.campaign.unit import TargetWords

PORTS = Path(str(files("lockstep.cases"))) / "ports"
BY_PORT = Path(__file__).parents[3] / "planted_programs" / "by_port.py"


def built(folder, right, wrong):
    """The words of a program that is started for each problem: in C, with a line replaced."""
    text = (PORTS / "lstm.c").read_text()
    assert right in text
    (folder / "lstm.c").write_text(text.replace(right, wrong))
    subprocess.run(["gcc", "-O1", "-std=c99", "-o", "lstm", "lstm.c", "-lm"], cwd=folder, check=True)
    return ["--command", "./lstm {problem} {answer}"]


def serving(folder, right, wrong):
    """The words of one that is started once: in Python, likewise."""
    text = (PORTS / "numpy_loop.py").read_text()
    assert right in text
    (folder / "my_port.py").write_text(text.replace(right, wrong))
    shutil.copy(BY_PORT, folder / "by_port.py")
    return ["--command-serve", shlex.join([sys.executable, "by_port.py", "my_port.py"])]


KINDS = {
    "command": (built, "g = tanh(z[2])", "g = z[2]", "curve-of-g:linear"),
    "command-serve": (serving, "x_t @ W.T + h @ R.T + b", "x_t @ W.T + h @ R.T", "b:zero"),
}


def exit_status(*words):
    with pytest.raises(SystemExit) as ended:
        main([*words])
    return ended.value.code


def searched(words):
    return exit_status("search", *words, "--features", "lengths", "--runs", "16", "--out", "campaign")


@pytest.mark.slow  # processes, and a search for a cause
@pytest.mark.parametrize("kind", KINDS)
def test_a_program_is_searched_and_its_mistake_named(kind, tmp_path, monkeypatch, capsys):
    make, right, wrong, fault = KINDS[kind]
    if make is built and shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, and builds the program")
    monkeypatch.chdir(tmp_path)
    assert searched(make(tmp_path, right, right)) == 0
    assert ": nothing new, 0 known" in capsys.readouterr().out
    shutil.rmtree("campaign")
    assert searched(make(tmp_path, right, wrong)) == 1
    assert fault in capsys.readouterr().out
    (bundle,) = [path.parent for path in Path("campaign/findings").glob("*/README.md") if fault in path.read_text()]
    text = (bundle / "README.md").read_text()
    (command,) = (line.strip() for line in text.splitlines() if line.startswith("    lockstep "))
    monkeypatch.chdir(bundle)
    assert exit_status(*shlex.split(command)[1:]) == 1
    assert fault in capsys.readouterr().out


def test_files_of_a_command_are_found_from_anywhere(tmp_path):
    for name in ("lstm", "my.py", "python"):
        (tmp_path / name).touch()
    words = named(TargetWords(command="./lstm {problem} {answer}", command_serve="python my.py other.py"), tmp_path)
    assert words.command == f"{tmp_path}/lstm {{problem}} {{answer}}"
    assert words.command_serve == f"python {tmp_path}/my.py other.py"

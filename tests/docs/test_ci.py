"""The examples of CI: what they run is what the commands take, and the hook of pre-commit is run as it is written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml
from blocks import blocks_of
from cyclopts import CycloptsError
from running import ROOT

from lockstep.harness.cli.app import app

EXAMPLES = [yaml.safe_load(block.text) for block in blocks_of(ROOT / "docs" / "ci.md") if block.language == "yaml"]
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
PORTS = (ROOT / "cases" / "ports" / "numpy_loop.py").read_text() + "\n\ndef lazy(x, weights, h0, c0): return x, x\n"


def strings_in(example):
    """All texts of a YAML file."""
    if isinstance(example, str):
        return [example]
    parts = example.values() if isinstance(example, dict) else example if isinstance(example, list) else []
    return [text for part in parts for text in strings_in(part)]


def commands(program):
    """What the examples run of a program, word by word, with values in the place of the matrix's."""
    texts = [line for example in EXAMPLES for text in strings_in(example) for line in text.splitlines()]
    filled = [re.sub(r"\$\{\{ [^}]* \}\}|\$[A-Z]+", "torch", text) for text in texts]
    return [shlex.split(text)[1:] for text in filled if text.startswith(f"{program} ")]


def test_the_examples_run_commands_and_options_that_there_are():
    assert {words[0] for words in commands("lockstep")} == {"check", "report"}
    for words in commands("lockstep"):
        app.parse_args(words, print_error=False, exit_on_error=False)
    with pytest.raises(CycloptsError):
        app.parse_args(["report", "r.json", "--gitlab"], print_error=False, exit_on_error=False)
    offered = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True)
    options = {word for words in commands("pytest") for word in words if word.startswith("--lockstep-")}
    assert options == {option for option in options if f"  {option}=" in offered.stdout} != set()


def test_the_examples_install_extras_that_there_are():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    github, gitlab = (example for example in EXAMPLES if "matrix" in str(example))
    matrix = github["jobs"]["lstm"]["strategy"]["matrix"]
    asked = {*matrix["framework"], *(row["framework"] for row in matrix["include"])}
    assert asked == {name for row in gitlab["lstm"]["parallel"]["matrix"] for name in list_of(row["FRAMEWORK"])}
    assert asked <= extras.keys()


def list_of(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize(("function", "status"), [("port", 0), ("lazy", 3)])
def test_the_hook_checks_the_port_that_its_arguments_name(tmp_path, function, status):
    (example,) = (example["repos"][0]["hooks"][0] for example in EXAMPLES if "repos" in example)
    assert example["id"] == HOOK["id"] == "lockstep-check"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lstm.py").write_text(PORTS)
    assert re.search(example["files"], "src/lstm.py")
    arguments = [argument.replace(":port", f":{function}") for argument in example["args"]]
    # What pre-commit calls in an environment in which the repository is installed: the entry, then the arguments.
    assert HOOK["language"] == "python"
    assert HOOK["pass_filenames"] is False
    program, *words = shlex.split(HOOK["entry"])
    assert program == "lockstep"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", program, *words, *arguments],
        cwd=tmp_path, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert bool(done.stdout) == (status != 0)

"""Files read by their readers, in a worker as ``lockstep run --model`` has it; many of them in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from kept_processes import KeptProcesses

from lockstep.backends.given_model import given_model
from lockstep.harness.adapters.model_process import find
from lockstep.harness.adapters.model_reader import find_readers, parse_model
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.model_file import ModelFile, environment_of

PLANTED = Path(__file__).parent / "planted_models"


def needs(*modules):
    """Skip where a framework is not installed."""
    absent = [name for name in modules if find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} not installed")


def line_of(text: str) -> int:
    """Give the line of the planted Python file that holds a text."""
    lines = (PLANTED / "torch_modules.py").read_text().splitlines()
    return 1 + next(k for k, line in enumerate(lines) if text in line)


def make(script, *arguments, **environment):
    """Run a script that writes planted files."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    subprocess.run(
        [sys.executable, PLANTED / script, *map(str, arguments)],
        check=True, capture_output=True, text=True, env={**os.environ, **quiet}, timeout=300,
    )  # fmt: skip


def read_all(module: str, files: list[ModelFile]) -> list[Outcome]:
    """Read files, in this process."""
    reader = import_module(module)
    return [find(reader, file) for file in files]


def read_files(processes: KeptProcesses, *texts: str | Path | tuple[str | Path, str]) -> list[Outcome]:
    """Read files of one kind; with a prefix, (file, prefix)."""
    pairs = [text if isinstance(text, tuple) else (text, "") for text in texts]
    files = [parse_model(str(text), prefix) for text, prefix in pairs]
    reader = find_readers()[files[0].kind]
    with processes(reader.environment) as process:
        found = process.call(read_all, (reader.module, files), timeout=300)
    assert isinstance(found, list), found
    return found


def run_all(module: str, files: list[ModelFile], problems: list[Problem]) -> list[Trace]:
    """Run ONNX files on a problem each, in this process, one after the other as the file that it is for."""
    reader, traces = import_module(module), []
    for file, problem in zip(files, problems, strict=True):
        os.environ.update([environment_of(file)])
        given_model.cache_clear()
        reader._session.cache_clear()
        traces.append(reader.run(problem))
    return traces


def running(processes: KeptProcesses, folder: Path, names: list[str], problems: list[Problem]) -> list[Trace]:
    """Run ONNX files on a problem each."""
    files = [parse_model(str(folder / f"{name}.onnx"), "") for name in names]
    reader = find_readers()[files[0].kind]
    with processes(reader.environment) as process:
        traces = process.call(run_all, (reader.module, files, problems), timeout=300)
    assert isinstance(traces, list), traces
    return traces


def said(found: Outcome) -> str:
    """Give the message of a file that is refused."""
    assert found.status == "wrong", found
    return found.message

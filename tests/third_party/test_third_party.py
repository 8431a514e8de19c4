"""A backend from a package of somebody else's: installed, it is there; docs/how-to/backend.md shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "cases" / "templates" / "backend"  # what `lockstep new backend` writes


@pytest.fixture(scope="module")
def lockstep(tmp_path_factory):
    """Install the example into a folder of its own, and run commands that see it."""
    folder = tmp_path_factory.mktemp("third_party")
    source, target = folder / "source", folder / "target"
    shutil.copytree(EXAMPLE, source)  # building leaves folders behind
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)

    def lockstep(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "lockstep", *arguments],
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            check=False,
        )

    return lockstep


def test_it_is_run_beside_the_others(lockstep):
    done = lockstep("run", "probe", "lengths", "--backend", "my_lstm", "--backend", "numpy_loop", "--json", "-")
    assert done.returncode == 0, done.stderr
    runs = {(run["case"], run["backend"]): run for run in json.loads(done.stdout)["runs"]}
    assert runs["probe", "my_lstm"]["status"] == "agree"
    assert runs["probe", "my_lstm"]["versions"].keys() == {"numpy"}
    assert runs["lengths", "my_lstm"]["message"].startswith("my_lstm is one forward layer")


def test_it_is_among_the_backends(lockstep):
    done = lockstep("backends", "--backend", "my_lstm", "--json", "-")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)
    assert one["framework"] == "numpy"
    assert one["dialect"] == "canonical"
    assert one["supports"] == ["float32", "float64", "no bias", "initial state"]


def test_its_conventions_can_be_measured(lockstep):
    done = lockstep("anatomy", "my_lstm")
    assert done.returncode == 0, done.stdout
    assert "my_lstm is canonical" in done.stdout

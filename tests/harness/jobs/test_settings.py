"""Settings of a project: where they are found, what comes before them, and what is wrong with them."""

from __future__ import annotations

import json
import re

import pytest

from lockstep.harness.cases.case import Case, Tolerance
from lockstep.harness.cli.main import main
from lockstep.harness.comparison.compare import limit_for
from lockstep.harness.comparison.results import Limit
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.settings import Settings, find_settings
from lockstep.harness.jobs.support import FEATURES


@pytest.fixture
def project(tmp_path):
    """A folder whose pyproject.toml says what is given, and a folder deep in it."""

    def make(text):
        tmp_path.joinpath("pyproject.toml").write_text(text)
        below = tmp_path / "a" / "b"
        below.mkdir(parents=True, exist_ok=True)
        return below

    return make


def test_the_nearest_file_that_has_the_table_counts(project, tmp_path):
    below = project("[tool.lockstep]\nlimit = 20\ntimeout = 2.5\n")
    below.parent.joinpath("pyproject.toml").write_text('[project]\nname = "lockstep-user"\n[tool.ruff]\n')
    found = find_settings(below)
    assert found == Settings(limit=20.0, timeout=2.5, file=tmp_path / "pyproject.toml")
    assert found.text() == f"limit 20 sigma, timeout 2.5 s ([tool.lockstep] of {tmp_path / 'pyproject.toml'})"
    below.parent.joinpath("pyproject.toml").write_text("[tool.lockstep]\n")
    assert find_settings(below) == Settings(file=below.parent / "pyproject.toml")


def test_where_there_is_none_nothing_is_set(tmp_path):
    tmp_path.joinpath("pyproject.toml").write_text("not TOML at all [")
    found = find_settings(tmp_path)
    assert found == Settings()
    assert found.text() is None
    assert found.limit_or(None) is None
    assert found.timeout_or(None) == 120


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[tool.lockstep]\nlimt = 3",
            ", [tool.lockstep]: unknown key 'limt'. Did you mean 'limit'? Allowed: limit, time",
        ),
        (
            "[tool.lockstep]\nhtml = 3",
            ", [tool.lockstep]: unknown key 'html'. Allowed: limit, timeout, cache, onnx2tf.",
        ),
        ("[tool.lockstep]\ncache = 1", ", [tool.lockstep] cache = 1: must be true or false."),
        ("[tool.lockstep]\nlimit = 0", ", [tool.lockstep] limit = 0: must be a number above 0."),
        ("[tool.lockstep]\nlimit = true", ", [tool.lockstep] limit = True: must be a number above 0."),
        ('[tool.lockstep]\ntimeout = "9"', ", [tool.lockstep] timeout = '9': must be a number above 0."),
        ("[tool.lockstep]\nlimit = inf", ", [tool.lockstep] limit = inf: must be a number above 0."),
        (
            "[tool]\nlockstep = 3",
            ": tool.lockstep = 3: must be a table. Allowed in it: limit, timeout, cache, onnx2tf.",
        ),
        ("[tool.lockstep", ": not valid TOML: "),
        ("[tool.lockstep]\nonnx2tf = 3", ", [tool.lockstep] onnx2tf = 3: must be the folder of an environment"),
    ],
)
def test_what_is_wrong_is_one_message_that_names_file_and_key(project, text, message):
    below = project(text)
    with pytest.raises(LockstepError, match=re.escape(f"pyproject.toml{message}")):
        find_settings(below)


def test_an_option_comes_first_then_the_case_then_the_project_then_what_is_derived():
    plain = FEATURES["float32"]
    own = Case(name="own", lstm=plain.lstm, run=plain.run, tolerance=Tolerance(rtol=1e-3, atol=1e-3))
    project = Settings(limit=20.0)
    assert limit_for(own, project.limit_or(3.0)) == Limit("option", sigma=3.0)
    assert limit_for(own, project.limit_or(None)).origin == "case"
    assert limit_for(plain, project.limit_or(None)) == Limit("pyproject", sigma=20.0)
    assert limit_for(plain, Settings().limit_or(None)) == Limit("derived", sigma=10.0)


def test_a_limit_is_told_with_who_set_it():
    assert str(Limit("derived", sigma=10.0)) == "10 sigma"
    assert str(Limit("option", sigma=3.0)) == "3 sigma (option)"
    assert str(Limit("pyproject", sigma=20.0)) == "20 sigma (pyproject.toml)"
    assert str(Limit("case", rtol=1e-3, atol=0.0)) == "atol 0 + rtol 0.001 (the case's own)"


def test_run_and_compare_use_them(project, monkeypatch, capsys):
    below = project("[tool.lockstep]\nlimit = 0.0001\n")
    monkeypatch.chdir(below)
    assert _exit("run", "one-timestep", "--backend", "numpy_loop", "--json", "r.json") == 1
    out, err = capsys.readouterr()
    assert "limit 0.0001 sigma (pyproject.toml)." in out
    assert "Settings: limit 0.0001 sigma ([tool.lockstep] of " in err
    (run,) = json.loads((below / "r.json").read_text())["runs"]
    assert run["limit"] == {"origin": "pyproject", "sigma": 0.0001, "rtol": None, "atol": None}
    project("[tool.lockstep]\nlimit = 50\n")
    assert _exit("compare", "r.json") == 0  # judged again
    assert _exit("compare", "r.json", "--limit", "0.0001", "--json", "option.json") == 1
    assert _exit("compare", "option.json") == 1  # what was asked for by option stays
    project("[tool.lockstep]\ntimeot = 50\n")
    capsys.readouterr()
    assert _exit("compare", "r.json") == 2
    assert "unknown key 'timeot'. Did you mean 'timeout'?" in capsys.readouterr().err


def test_check_uses_them(project, monkeypatch, capsys):
    below = project("[tool.lockstep]\nlimit = 0.0001\n")
    below.joinpath("port.py").write_text(
        "import numpy as np\n"
        "def port(x, weights, h0, c0, lengths=None):\n    return np.zeros((len(x), *h0.shape), x.dtype), None\n"
    )
    monkeypatch.chdir(below)
    assert _exit("check", "port.py", "--case", "one-timestep") == 1
    assert "limit 0.0001 sigma (pyproject.toml)." in capsys.readouterr().out
    assert _exit("check", "port.py", "--case", "one-timestep", "--limit", "3") == 1
    out = capsys.readouterr().out
    assert "limit 3 sigma (option)." in out
    assert "--limit 3" in out


def _exit(*arguments):
    with pytest.raises(SystemExit) as exited:
        main(list(arguments))
    return exited.value.code

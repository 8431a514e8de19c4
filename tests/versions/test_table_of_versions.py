"""The table of versions, and what is done with its rows: built, recorded, compared, removed."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

import environments
import pytest
import run
from environments import Places, build, forward_cases, is_recorded, modules_of, own_dependencies, record, remove
from rows import Row, choose, load_rows

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.cases.case_file import load_case

ROWS = load_rows()
PINS = dict(
    re.findall(r"^([\w.-]+)==(\S+)$", (environments.ROOT / "constraints.txt").read_text().lower(), re.MULTILINE)
)
NUMPY = {"backends": ("numpy_loop",), "framework": "numpy"}


@pytest.fixture
def houses(monkeypatch, tmp_path):
    """Have environments and recordings in a folder of the test's own."""
    monkeypatch.setattr(environments, "HOUSES", tmp_path / "houses")
    monkeypatch.setattr(environments, "RECORDINGS", tmp_path / "recordings")
    return tmp_path / "houses"


@pytest.fixture
def versions(monkeypatch, capsys, tmp_path):
    """Run the command over a table; give its exit status and what it printed."""

    def versions(table, *arguments):
        (tmp_path / "table.toml").write_text(table)
        monkeypatch.setattr(sys, "argv", ["versions", "--table", str(tmp_path / "table.toml"), *arguments])
        status = run.main()
        return status, "".join(capsys.readouterr())

    return versions


@pytest.fixture
def borrowed(monkeypatch):
    """Have environments that are this one under another name."""

    def build(row):
        programs = Places.of(row).house / environments.PROGRAMS
        programs.mkdir(parents=True, exist_ok=True)
        for name, start in (("python", ""), ("lockstep", "-m lockstep ")):
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {start}"$@"\n')
            (programs / name).chmod(0o755)

    monkeypatch.setattr(run, "build", build)


def test_every_framework_begins_with_the_version_that_is_pinned():
    for framework in dict.fromkeys(row.framework for row in ROWS):
        first, *others = [row for row in ROWS if row.framework == framework]
        assert first.pinned, framework
        assert not any(row.pinned for row in others), framework
        for package in first.packages:
            name, _, version = package.lower().partition("==")
            assert PINS[name.replace("-", "_") if name.replace("-", "_") in PINS else name] == version, package


def test_every_row_has_a_name_of_its_own_and_backends_that_there_are():
    assert max(Counter(row.name for row in ROWS).values()) == 1
    known = {backend.name for backend in find_backends()}
    assert {name for row in ROWS for name in row.backends} <= known


def test_rows_to_be_asked_for_are_taken_only_where_they_are_named():
    rows = [Row(name=f"a-{k}", version=str(k), packages=(), asked=k == 2, backends=(), framework="a") for k in range(3)]
    assert [row.version for row in choose(rows, [])] == ["0", "1"]
    assert [row.version for row in choose(rows, ["a"])] == ["0", "1"]
    assert [row.version for row in choose(rows, ["a-2"])] == ["2"]
    with pytest.raises(ValueError, match='Did you mean "a-2"'):
        choose(rows, ["b-2"])


def test_lower_bounds_that_a_row_cannot_keep_are_left_out():
    assert "numpy>=1.26" in own_dependencies(())
    loose = own_dependencies(("numpy",))
    assert "numpy" in loose
    assert "numpy>=1.26" not in loose


def test_inference_runtimes_get_the_cases_without_gradients(tmp_path):
    cases = [load_case(path) for path in sorted(forward_cases(tmp_path).glob("*.toml"))]
    assert len(cases) > 20
    assert not any(case.run.gradients or case.attention_decoder for case in cases)


def test_a_recording_depends_on_what_its_backends_import():
    names = {path.stem for path in modules_of(["tf_loop"])}
    assert {"tf_loop", "tf_cells", "tf1_graph"} <= names
    assert "torch_lstm" not in names


@pytest.mark.skipif(os.name == "nt", reason="the borrowed environments are shell scripts")
@pytest.mark.usefixtures("borrowed")
def test_rows_are_recorded_once_and_compared(houses, versions, tmp_path):
    table = """
        [numpy]
        backends = ["numpy_loop"]
        [[numpy.version]]
        version = "2"
        packages = []
        [[numpy.version]]
        version = "1"
        packages = []
    """
    status, out = versions(table, "--json", str(tmp_path / "found.json"))
    assert status == 0, out
    assert "numpy: 2, 1 recorded" in out
    assert "against itself: agree bit for bit." in out
    assert out.count("recording") == 2
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["compared"]["numpy-2 against numpy-1"]["pairs"]) > 20
    status, out = versions(table, "numpy-1")
    assert status == 0
    assert "recording" not in out
    assert "agree bit for bit" in out
    stamp = json.loads((tmp_path / "recordings" / "numpy-1" / "recorded.json").read_text())
    assert "numpy" in stamp["packages"]
    _, out = versions(table, "--list")
    assert out.count("recorded") == 2
    status, out = versions(table, "--remove")
    assert out.count("Removed") == 2
    assert not any(houses.iterdir())


def test_a_row_that_cannot_be_built_costs_only_itself_and_says_why(houses, versions, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    status, out = versions("""
        [nothing]
        backends = ["numpy_loop"]
        [[nothing.version]]
        version = "1"
        packages = ["there-is-no-such-package==1"]
    """)
    assert status == 3
    assert "nothing-1 failed, which costs only this row" in out
    assert "No matching distribution found for there-is-no-such-package==1" in out
    assert not (houses / "nothing-1").exists()


@pytest.mark.skipif(os.name == "nt", reason="the borrowed environments are shell scripts")
@pytest.mark.usefixtures("houses", "borrowed")
def test_a_row_in_which_nothing_runs_says_what_the_backend_said():
    row = Row(name="broken-1", version="1", packages=(), **NUMPY | {"backends": ("no_such_backend",)})
    run.build(row)
    with pytest.raises(environments.RowError, match='no backend is called "no_such_backend"'):
        record(row)
    assert not is_recorded(row)


@pytest.mark.usefixtures("houses")
def test_what_is_built_is_not_built_again(monkeypatch):
    row = Row(name="there-1", version="1", packages=("a==1",), **NUMPY)
    house = Places.of(row).house
    house.mkdir(parents=True)
    Places.of(row).built.write_text(json.dumps(environments._installed(row)))
    monkeypatch.setattr(environments, "_do", lambda command: pytest.fail(f"it ran {command}"))
    build(row)
    assert house.exists()
    assert remove(row)
    assert not remove(row)


def test_a_name_that_no_row_has_is_a_wrong_request(versions):
    status, out = versions(Path(environments.__file__).with_name("table.toml").read_text(), "tensorflwo")
    assert status == 2
    assert 'Did you mean "tensorflow"' in out

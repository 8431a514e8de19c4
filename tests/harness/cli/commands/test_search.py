"""What ``lockstep search`` prints, writes and ends with."""

from __future__ import annotations

import json
import os
import platform

import pytest
from campaign_here import PORT, Here

from lockstep.harness.cli.commands.search import search
from lockstep.harness.cli.main import main
from lockstep.harness.jobs.campaign.run_unit import run_unit
from lockstep.harness.jobs.findings import findings

DIES = """
import os


def port(x, weights, h0, c0):
    os.abort()
"""
FEW = ("--problems", "2", "--runs", "6")


@pytest.fixture
def searched(tmp_path, monkeypatch, capfd):
    """Runs the command with its units in this process: its exit status, and what it printed."""
    monkeypatch.setattr(f"{search.__module__}._executor", lambda campaign, **_: Here(campaign))

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main(["search", *words, "--out", str(tmp_path / "campaign")])
        return ended.value.code, *capfd.readouterr()

    return run


@pytest.fixture
def mistaken(tmp_path):
    """The words for a port with mistakes."""
    (tmp_path / "my.py").write_text(PORT)
    return ("--port", f"{tmp_path / 'my.py'}:port", "--features", "clip", "--features", "float32", "--seed", "1")


def test_quiet_prints_nothing_where_nothing_is_new(searched):
    assert searched("--backend", "numpy_loop", *FEW, "--quiet") == (0, "", "")


def test_quiet_prints_findings_alone(searched, mistaken):
    status, out, err = searched(*mistaken, *FEW, "--quiet")
    assert status == 1
    assert out.startswith("Finding 1: port ")
    assert all(line.startswith(("Finding ", "  ")) for line in out.splitlines())
    assert err == ""


def test_shrinking_says_that_its_time_was_spent(searched, mistaken, tmp_path):
    status, out, _ = searched(*mistaken, *FEW, "--shrink-seconds", "0.001", "--json", str(tmp_path / "out.json"))
    assert status == 1
    said = "The time for shrinking was spent after 0 smaller cases tried in "
    assert said in out
    written = json.loads((tmp_path / "out.json").read_text())
    first = written["findings"][0]
    assert first["shrunk"]["spent"]
    assert said in (tmp_path / "campaign" / first["bundle"] / "README.md").read_text()
    here = f"worker {os.getpid()} of {platform.node()}"
    assert [memory["process"] for memory in written["memory"]] == ["client", here]
    assert all(10 < memory["first"] <= memory["most"] for memory in written["memory"])


@pytest.mark.slow  # a process for each death
def test_a_backend_that_dies_of_itself_is_exit_status_3(searched, tmp_path):
    (tmp_path / "my.py").write_text(DIES)
    port = ("--port", f"{tmp_path / 'my.py'}:port", "--features", "float32")
    status, out, _ = searched(*port, "--problems", "1", "--runs", "1", "--shrink-seconds", "0.001")
    assert status == 3
    assert "Finding 1: port crashed: its process was killed by SIGABRT" in out


def test_a_known_finding_that_did_not_show_though_its_features_were_met_is_told(searched, monkeypatch, tmp_path):
    known = next(finding for finding in findings() if finding.status == "diverge")
    monkeypatch.setattr(
        f"{run_unit.__module__}.expected_of",
        lambda backend, case, status=None: known if status in {None, known.status} and case.run.gradients else None,
    )
    words = ("--backend", "numpy_loop", "--problems", "1", "--features", "gradients", "--features", "float32")
    status, out, _ = searched(*words, "--runs", "3", "--json", str(tmp_path / "out.json"))
    assert status == 0
    (told,) = json.loads((tmp_path / "out.json").read_text())["known"]
    assert (told["finding"], told["shown"]) == (known.name, 0)
    assert 0 < told["met"] <= 3
    times = "1 time" if told["met"] == 1 else f"{told['met']} times"
    said = (
        f"Known, and not seen though its features were met: {known.name} in numpy_loop, met {times}. It may be mended"
    )
    assert said in " ".join(out.split())

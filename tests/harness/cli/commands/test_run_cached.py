"""``lockstep run --cached`` and ``lockstep cache``: every output marks what was not run now."""

from __future__ import annotations

import base64
import gzip
import json
import re
import resource
import subprocess
import sys
from importlib.util import find_spec

import pytest

from lockstep.harness.output.github import VARIABLE


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of its own, and a project without settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_second_run_is_marked_in_every_output(lockstep, planted, folder, monkeypatch):
    planted("healthy", "resets_state")
    monkeypatch.setenv(VARIABLE, str(folder / "summary.md"))
    outputs = ["--json", "r.json", "--sarif", "r.sarif", "--html", "report", "--github"]
    status, first, _ = lockstep("run", "probe", "--cached", *outputs)
    assert status == 1
    assert "cache" not in first
    assert "cache" not in json.loads((folder / "r.sarif").read_text())["runs"][0]["results"][0]["message"]["text"]
    status, out, _ = lockstep("run", "probe", "--cached", *outputs)
    assert status == 1
    assert "From the cache, not run now: 2 of 2 runs." in out
    assert "Note: from the cache of an earlier run, not run now." in out
    assert "Rerun: lockstep run probe --backend resets_state\n" in out  # which runs it
    results = json.loads((folder / "r.json").read_text())
    assert [run["cached"] for run in results["runs"]] == [True, True]
    assert results["environment"]["cached"] == "2 of 2 runs"
    (result,) = json.loads((folder / "r.sarif").read_text())["runs"][0]["results"]
    assert "from the cache of an earlier run" in result["message"]["text"]
    assert "From the cache, not run now: 2 of 2 runs" in (folder / "summary.md").read_text()
    (packed,) = re.findall(r">\s*([A-Za-z0-9+/=]{500,})\s*<", (folder / "report" / "index.html").read_text())
    page = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert all("from the cache" in run["notes"][0] for case in page["cases"] for run in case["runs"])
    _, out, _ = lockstep("run", "probe", "ones", "--cached", "--backend", "healthy")
    assert "From the cache, not run now: 1 of 2 runs: healthy in probe." in out


def test_the_cache_tells_its_size_and_is_emptied(lockstep, planted, folder):
    planted("healthy")
    where = folder / "cache" / "lockstep" / "traces"
    assert lockstep("cache") == (0, f"0 traces, 0.0 MB, in {where}.\n", "")
    lockstep("run", "ones", "--cached", "--quiet")
    status, out, _ = lockstep("cache")
    text = " ".join(out.split())
    assert status == 0
    assert text.startswith("1 trace, 0.0 MB, in ")
    assert text.endswith("Empty it with: lockstep cache --clear")
    assert "removed from" in lockstep("cache", "--clear")[1]
    assert not where.exists()


def test_a_project_may_ask_for_it_and_an_option_comes_first(lockstep, planted, folder):
    planted("healthy")
    (folder / "pyproject.toml").write_text("[tool.lockstep]\ncache = true\n")
    lockstep("run", "ones")
    assert "1 of 1 run" in lockstep("run", "ones")[1]
    assert "From the cache" not in lockstep("run", "ones", "--no-cached")[1]


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(lockstep, planted, folder, monkeypatch):
    planted("healthy")
    (folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    status, out, err = lockstep("run", "ones", "--cached")
    assert (status, out) == (2, "")
    assert "no trace can be kept there" in " ".join(err.split())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="without it, starting Python is most of both runs")
def test_a_second_run_over_the_main_backends_takes_a_tenth_of_the_first():
    seconds = []
    for _ in range(2):
        before = processor_seconds()
        subprocess.run([sys.executable, "-m", "lockstep", "run", "ones", "--cached", "--quiet"], check=True)
        seconds.append(processor_seconds() - before)
    assert seconds[1] <= seconds[0] / 10

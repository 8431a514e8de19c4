"""A campaign goes on whatever ended it, and what it did stands in its journal once."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
from campaign_processes import (
    PATIENCE,
    children,
    descendants,
    gone,
    kill,
    rows,
    settings,
    start,
    units,
    until,
)  # fmt: skip

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
BACKEND, SEED, PROBLEMS = "numpy_loop", 5, 5


def begun(folder, runs):
    new = ["--seed", str(SEED), "--problems", str(PROBLEMS)]
    words = ["--resume"] if (folder / "journal.sqlite").exists() and settings(folder) else new
    return [*words, "--backend", BACKEND, "--runs", str(runs)]


def kill_client(process, folder, rng):
    del folder, rng
    process.kill()


def kill_worker(process, folder, rng):
    del folder, rng
    for worker in children(process.pid):
        kill(worker)


def kill_framework(process, folder, rng):
    del folder, rng
    for worker in children(process.pid):
        for framework in children(worker):
            kill(framework)


def cut_power(process, folder, rng):
    """End all at once, and lose the end of what was written last."""
    os.kill(process.pid, signal.SIGSTOP)
    copy = folder.with_name(f"{folder.name}-copy")
    shutil.copytree(folder, copy)
    for pid in [process.pid, *descendants(process.pid)]:
        kill(pid)
    process.wait()
    log = copy / "journal.sqlite-wal"
    if log.exists():
        os.truncate(log, max(0, log.stat().st_size - rng.randrange(3000)))
    shutil.rmtree(folder)
    copy.rename(folder)


ACCIDENTS = [kill_client, kill_worker, kill_framework, cut_power]


def fill_disk(process, folder, rng):
    """Leave it little room in any file that it writes, and wait for what it says."""
    del rng
    journal = folder / "journal.sqlite"
    # Room for the page; a log of the journal that is larger is written from its beginning again, and soon beyond this.
    room = max(journal.stat().st_size if journal.exists() else 0, 300_000) + 20_000
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, room))
    text, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "the disk is full" in text
    assert f"lockstep search --out {folder} --resume" in text


def check(folder, runs):
    """Each unit is there once, with all its runs, and nothing of what happened is a finding."""
    done = units(folder)
    assert len(done) * PROBLEMS >= runs
    assert rows(folder, "SELECT k, count(*) FROM runs GROUP BY k") == [(k, PROBLEMS) for k, *_ in done]
    assert rows(folder, "SELECT count(*) FROM findings") == [(0,)]
    assert rows(folder, "PRAGMA integrity_check") == [("ok",)]


def finish(folder, runs):
    """Run a campaign to its end."""
    text, _ = (process := start(folder, *begun(folder, runs))).communicate(timeout=600)
    assert process.returncode == 0, text


def test_a_killed_framework_worker_and_client_cost_nothing(tmp_path):
    folder, rng = tmp_path / "campaign", random.Random(1)
    process = start(folder, *begun(folder, 40))
    below = []
    for accident in (kill_framework, kill_worker, kill_client):
        before = len(units(folder))
        until(lambda before=before: len(units(folder)) > before, process)
        below += descendants(process.pid)
        accident(process, folder, rng)
    text, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, text
    finish(folder, 40)
    check(folder, 40)
    assert gone(below)


# As a compiler does that keeps the interpreter to itself.
BUSY = """
import ctypes
from pathlib import Path


def port(x, weights, h0, c0):
    Path(__file__).with_name("called").touch()
    ctypes.PyDLL(None).sleep(300)
"""


def check_that_all_ends(tmp_path, words, accidents):
    """Search what never answers, kill, and see that nothing is left that was started."""
    process = start(tmp_path / "campaign", *words, "--runs", "9")
    until((tmp_path / "called").exists, process)
    below = descendants(process.pid)
    assert len(below) >= 2  # a worker, and what calls the port
    for accident in accidents:
        accident(process, tmp_path, None)
    process.communicate()
    end = time.monotonic() + 10  # on a busy machine; by itself it would take 300 s
    while not gone(below) and time.monotonic() < end:
        time.sleep(0.05)
    assert gone(below)


@pytest.mark.parametrize("accidents", [
    pytest.param([kill_client], marks=pytest.mark.slow, id="client"),
    pytest.param([kill_worker, kill_client], id="client and worker"),
])  # fmt: skip
def test_all_that_a_killed_client_had_started_ends_with_it_also_in_the_middle_of_a_long_compile(tmp_path, accidents):
    (tmp_path / "busy.py").write_text(BUSY)
    check_that_all_ends(tmp_path, ["--port", f"{tmp_path / 'busy.py'}:port"], accidents)


@pytest.mark.slow
def test_a_program_that_a_killed_client_searched_ends_with_it(tmp_path):
    (tmp_path / "busy.sh").write_text(f"touch {tmp_path / 'called'}; sleep 300\n")
    check_that_all_ends(tmp_path, ["--command", f"sh {tmp_path / 'busy.sh'} {{problem}} {{answer}}"], [kill_client])


@pytest.mark.slow
def test_fifty_accidents_at_random_moments_cost_nothing(tmp_path):
    folder, rng = tmp_path / "campaign", random.Random(2)
    for accident in [*(rng.choice([*ACCIDENTS, fill_disk]) for _ in range(45)), *ACCIDENTS, fill_disk]:
        process = start(folder, *begun(folder, 100_000), "--jobs", "2")
        moment = time.monotonic() + rng.uniform(0.3, 6.0)
        until(lambda moment=moment: time.monotonic() > moment, process)
        accident(process, folder, rng)
        if accident in {kill_worker, kill_framework}:
            time.sleep(rng.uniform(0.1, 3.0))
            assert process.poll() is None
            process.kill()
        process.communicate()
    runs = len(units(folder)) * PROBLEMS + 50
    finish(folder, runs)
    check(folder, runs)
    finish(tmp_path / "undisturbed", runs)
    undisturbed = {row[:2]: row for row in units(tmp_path / "undisturbed")}
    both = [row for row in units(folder) if row[:2] in undisturbed]
    assert len(both) > runs // PROBLEMS // 2
    assert both == [undisturbed[row[:2]] for row in both]

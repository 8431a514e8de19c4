"""Campaigns as processes of their own: how they are begun, what their journals have, what runs below them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 120.0  # seconds: another program may have the processors meanwhile


def start(folder, *words):
    command = [sys.executable, "-m", "lockstep", "search", "--out", str(folder), "--quiet", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def settings(folder):
    return rows(folder, "SELECT value FROM campaign WHERE key = 'settings'")


def rows(folder, query):
    try:
        database = sqlite3.connect(f"file:{folder / 'journal.sqlite'}?mode=ro", uri=True, timeout=10)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()
    except sqlite3.OperationalError:  # not begun yet
        return []


def units(folder):
    return rows(folder, "SELECT k, backend, verdict, sigma, features FROM units ORDER BY k")


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def descendants(pid):
    below = children(pid)
    return below + [further for child in below for further in descendants(child)]


def until(condition, process):
    """Wait until something is so, or the process is over."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return
        time.sleep(0.01)
    assert time.monotonic() < end


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def gone(pids):
    return not any(Path(f"/proc/{pid}").exists() and not zombie(pid) for pid in pids)


def zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

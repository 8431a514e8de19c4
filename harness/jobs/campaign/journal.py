"""The journal of a campaign: an SQLite database in its folder, written by one process, in transactions.

What was done stands in it when it is done: whatever ends the process, units are there whole or not at all. Readers may
look at any time (WAL). ``docs/how-to/search.md`` tells its tables.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from lockstep.harness.adapters.worker import Closing
from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.unit import Campaign, UnitResult

FILE, LOCK = "journal.sqlite", "lock.sqlite"
# WAL: who reads never waits for who writes. FULL: what is committed outlives a power cut.
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS campaign (
    key TEXT PRIMARY KEY,  -- settings: all that units depend on, as JSON; seconds: of running; minutes, runs: its end
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS environments (
    id INTEGER PRIMARY KEY,
    machine TEXT NOT NULL,
    versions TEXT NOT NULL,  -- JSON: by distribution
    UNIQUE (machine, versions)
);
CREATE TABLE IF NOT EXISTS units (
    k INTEGER PRIMARY KEY,  -- with the settings it tells the network and its problems
    backend TEXT NOT NULL,
    features TEXT NOT NULL,  -- of the network, JSON
    verdict TEXT NOT NULL,  -- of its worst run: refused, agree, known, diverge, failed, timeout, crashed
    sigma REAL,  -- the largest error of what agrees
    framework_seconds REAL NOT NULL,
    harness_seconds REAL NOT NULL,
    environment INTEGER NOT NULL REFERENCES environments (id),
    reason TEXT,  -- why it was refused
    megabytes REAL,  -- of the framework's process after it
    time REAL NOT NULL  -- seconds of the campaign's running when it was written
);
CREATE TABLE IF NOT EXISTS runs (
    k INTEGER NOT NULL REFERENCES units (k),
    n INTEGER NOT NULL,  -- which problem of the unit
    verdict TEXT NOT NULL,
    sigma REAL,
    known TEXT,  -- the finding of docs/findings.md that it is
    expected TEXT,  -- the one whose conditions it meets, shown or not
    seconds REAL NOT NULL,  -- of the framework
    notes TEXT,  -- JSON
    signature TEXT,  -- of what is new: backend, status, first wrong tensor, kind of place
    finding INTEGER REFERENCES findings (id),  -- of what is new, once it is told which one it is
    failure TEXT,  -- of what is new: {"case": ..., "result": ...}
    PRIMARY KEY (k, n)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unsorted ON runs (k, n) WHERE failure IS NOT NULL AND finding IS NULL;
CREATE TABLE IF NOT EXISTS findings (
    id INTEGER PRIMARY KEY,
    signature TEXT NOT NULL UNIQUE,  -- with the cause, or the features that it takes
    backend TEXT NOT NULL,
    status TEXT NOT NULL,
    tensor TEXT NOT NULL,  -- the first that is wrong
    place TEXT NOT NULL,  -- the kind of place where; of what gave no numbers the message
    cause TEXT,  -- the fault that explains it; NULL where none does
    features TEXT NOT NULL,  -- sets of features that it takes, JSON
    k INTEGER NOT NULL,  -- where it was seen first
    n INTEGER NOT NULL,
    shrunk TEXT NOT NULL,  -- JSON: cases tried, seconds, whether the budget was spent, whether it showed again
    bundle TEXT,  -- its folder in this one; NULL until it is written
    title TEXT NOT NULL  -- one line
);
"""


class StoredFailure(Struct, frozen=True):
    """A run that was new: its case and its result."""

    case: Case
    result: RunResult


class LoggedFailure(Struct, frozen=True):
    """One of these with its place in the journal."""

    k: int
    n: int
    backend: str
    features: tuple[str, ...]
    signature: str
    failure: StoredFailure


class Counts(Struct, frozen=True, kw_only=True):
    """How far a campaign is."""

    units: int = 0
    refused: int = 0
    runs: int = 0
    known: int = 0
    new: int = 0  # runs that are findings
    findings: int = 0
    seconds: float = 0.0  # of running, all sessions together

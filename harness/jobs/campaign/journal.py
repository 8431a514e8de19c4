"""The journal of a campaign: an SQLite database in its folder, written by one process, in transactions.

What was done stands in it when it is done: whatever ends the process, units are there whole or not at all. Readers may
look at any time (WAL). ``docs/how-to/search.md`` tells its tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lockstep.harness.adapters.worker import Closing
from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.results import RunResult, encode
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.failures.signature import joined, signature_of
from lockstep.harness.jobs.campaign.unit import Campaign, Ran, UnitResult

FILE, LOCK = "journal.sqlite", "lock.sqlite"
# WAL: who reads never waits for who writes. FULL: what is committed outlives a power cut.
TABLES = """
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
CREATE TABLE IF NOT EXISTS chosen (
    backend TEXT NOT NULL,
    round INTEGER NOT NULL,  -- in each round every pair of features that the backend supports is met anew
    ks TEXT NOT NULL,  -- the configurations that it runs of this round, JSON
    PRIMARY KEY (backend, round)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memory (
    time REAL NOT NULL,  -- seconds of the campaign's running
    process TEXT NOT NULL,  -- of ours: the client, a worker
    megabytes REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS units (
    k INTEGER NOT NULL,  -- the configuration: with the settings it tells the network and its problems
    backend TEXT NOT NULL,
    features TEXT NOT NULL,  -- of the network, JSON
    verdict TEXT NOT NULL,  -- of its worst run: refused, agree, known, diverge, failed, timeout, crashed
    sigma REAL,  -- the largest error of what agrees
    framework_seconds REAL NOT NULL,
    harness_seconds REAL NOT NULL,
    environment INTEGER NOT NULL REFERENCES environments (id),
    reason TEXT,  -- why it was refused
    megabytes REAL,  -- of the framework's process after it
    time REAL NOT NULL,  -- seconds of the campaign's running when it was written
    PRIMARY KEY (k, backend)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    k INTEGER NOT NULL,
    backend TEXT NOT NULL,
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
    PRIMARY KEY (k, backend, n),
    FOREIGN KEY (k, backend) REFERENCES units (k, backend)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unsorted ON runs (k, backend, n) WHERE failure IS NOT NULL AND finding IS NULL;
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


class UnsortedFailure(Struct, frozen=True):
    """A run that was new, of which it is not known yet which finding it is."""

    k: int
    backend: str
    n: int
    signature: str
    failure: StoredFailure


class LoggedFinding(Struct, frozen=True, kw_only=True):
    """A finding as its row tells it."""

    id: int
    signature: str
    backend: str
    status: str
    tensor: str
    place: str
    cause: str | None
    features: tuple[tuple[str, ...], ...]  # each set of features that it takes
    k: int
    n: int
    shrunk: dict[str, Any]
    bundle: str | None
    title: str
    runs: int  # that came to it

    @property
    def coarse(self) -> str:
        """The signature without cause and features."""
        return joined((self.backend, self.status, self.tensor, self.place))

    def takes(self, features: Iterable[str]) -> bool:
        """Whether a failure of its kind, in a case of these features, counts as it."""
        return any(set(features) >= set(needed) for needed in self.features)


class Counts(Struct, frozen=True, kw_only=True):
    """How far a campaign is."""

    units: int = 0
    refused: int = 0
    runs: int = 0
    known: int = 0
    new: int = 0  # runs that are findings
    findings: int = 0
    seconds: float = 0.0  # of running, all sessions together

    def with_units(self, results: Iterable[UnitResult]) -> Counts:
        """How far it is with further units: counting a million that are there takes a second."""
        results = list(results)
        runs = [run for result in results for run in result.runs]
        return replace(
            self, units=self.units + len(results),
            refused=self.refused + sum(result.verdict == "refused" for result in results), runs=self.runs + len(runs),
            known=self.known + sum(run.verdict == "known" for run in runs),
            new=self.new + sum(run.result is not None for run in runs),
        )  # fmt: skip


class JournalError(LockstepError):
    """A folder is no campaign's, or somebody else's, or nothing can be written into it."""


class Journal(Closing):
    """The journal of the campaign in a folder, held by this process alone while it is open."""

    def __init__(self, folder: Path) -> None:
        """Open the journal of a folder, which is made where it is not there.

        Raises:
            JournalError: If another campaign runs there, the disk is full, or a file there is none of ours.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"{folder}: cannot be made: {error.strerror or error}.") from error
        self._lock = self._held()
        with self._told():
            self._database = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
            self._database.executescript(TABLES)

    def close(self) -> None:
        """Close it, and leave the folder to others."""
        self._database.close()
        self._lock.close()

    @property
    def campaign(self) -> Campaign | None:
        """The settings of the campaign; None where none has begun here."""
        text = self.value("settings")
        return None if text is None else msgspec.json.decode(text, type=Campaign)

    def begin(self, campaign: Campaign) -> None:
        """Keep the settings of a campaign that begins."""
        self.keep(settings=msgspec.json.encode(campaign).decode())

    def value(self, key: str) -> str | None:
        """What is kept of the campaign under a key."""
        rows = self.rows("SELECT value FROM campaign WHERE key = ?", key)
        return rows[0][0] if rows else None

    def keep(self, **values: object) -> None:
        """Keep something of the campaign."""
        with self._transaction() as write:
            write.executemany("INSERT OR REPLACE INTO campaign VALUES (?, ?)", [(k, str(v)) for k, v in values.items()])

    def forget(self, *keys: str) -> None:
        """Keep no more what is kept under keys."""
        with self._transaction() as write:
            write.executemany("DELETE FROM campaign WHERE key = ?", [(key,) for key in keys])

    def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with self._told():
            return self._database.execute(query, arguments).fetchall()

    def write(self, results: Iterable[UnitResult], seconds: float) -> list[UnitResult]:
        """Write what came of units, all or nothing; one that is there already is left as it is. Returns what was new.

        ``seconds``: of running, so far.
        """
        with self._transaction() as write:
            added = [result for result in results if _write_unit(write, result, seconds)]
            write.execute("INSERT OR REPLACE INTO campaign VALUES ('seconds', ?)", (str(seconds),))
        return added

    def remember(self, megabytes: Mapping[str, float], seconds: float) -> None:
        """Keep how much memory our processes have."""
        with self._transaction() as write:
            write.executemany(
                "INSERT INTO memory VALUES (?, ?, ?)", [(seconds, name, size) for name, size in megabytes.items()]
            )

    def done(self) -> set[tuple[str, int]]:
        """The units that are through, by backend and configuration."""
        return set(self.rows("SELECT backend, k FROM units"))  # type: ignore[arg-type]

    def spent(self) -> dict[str, float]:
        """The seconds that each backend had."""
        return dict(self.rows("SELECT backend, sum(framework_seconds + harness_seconds) FROM units GROUP BY backend"))  # type: ignore[arg-type]

    def choose(self, backend: str, number: int, ks: Iterable[int]) -> None:
        """Keep which configurations of a round a backend runs."""
        with self._transaction() as write:
            write.execute("INSERT OR IGNORE INTO chosen VALUES (?, ?, ?)", (backend, number, _text(tuple(ks))))

    def chosen(self) -> dict[tuple[str, int], tuple[int, ...]]:
        """Which configurations were chosen, by backend and round."""
        rows = self.rows("SELECT backend, round, ks FROM chosen ORDER BY round")
        return {(backend, number): msgspec.json.decode(ks, type=tuple[int, ...]) for backend, number, ks in rows}

    def unsorted(self) -> list[UnsortedFailure]:
        """What is new and belongs to no finding yet, in order."""
        rows = self.rows(
            "SELECT k, backend, n, signature, failure FROM runs "
            "WHERE failure IS NOT NULL AND finding IS NULL ORDER BY k, backend, n"
        )
        return [
            UnsortedFailure(k, backend, n, signature, _failure(failure)) for k, backend, n, signature, failure in rows
        ]

    def findings(self) -> list[LoggedFinding]:
        """The findings, in the order in which they were found."""
        names = [name for name in LoggedFinding.__struct_fields__ if name != "runs"]
        rows = self.rows(
            f"SELECT {', '.join(f'findings.{name}' for name in names)}, count(runs.finding) FROM findings "  # noqa: S608
            "LEFT JOIN runs ON runs.finding = findings.id GROUP BY findings.id ORDER BY findings.id"
        )
        findings = (dict(zip((*names, "runs"), row, strict=True)) for row in rows)
        return [
            LoggedFinding(**{**row, "features": _sets(row["features"]), "shrunk": msgspec.json.decode(row["shrunk"])})
            for row in findings
        ]

    def add_finding(self, finding: LoggedFinding, failures: Iterable[UnsortedFailure]) -> int:
        """Keep a finding, or add to the one of its signature, with what came to it: its number."""
        with self._transaction() as write:
            row = write.execute(
                "SELECT id, features FROM findings WHERE signature = ?", (finding.signature,)
            ).fetchone()
            if row is None:
                names = [name for name in LoggedFinding.__struct_fields__ if name not in {"id", "runs"}]
                texts = {"features": _text(finding.features), "shrunk": _text(finding.shrunk)}
                values = [texts.get(name, getattr(finding, name)) for name in names]
                places = ", ".join("?" * len(names))
                query = f"INSERT INTO findings ({', '.join(names)}) VALUES ({places})"  # noqa: S608
                number = write.execute(query, values).lastrowid
            else:
                number = row[0]
                features = dict.fromkeys((*_sets(row[1]), *finding.features))
                write.execute("UPDATE findings SET features = ? WHERE id = ?", (_text(tuple(features)), number))
            assert number is not None
            _assign(write, number, failures)
        return number

    def assign(self, finding: int, failures: Iterable[UnsortedFailure]) -> None:
        """Count failures as a finding."""
        with self._transaction() as write:
            _assign(write, finding, failures)

    def counts(self) -> Counts:
        """How far the campaign is."""
        ((units, refused),) = self.rows("SELECT count(*), total(verdict = 'refused') FROM units")
        ((runs, known, new),) = self.rows("SELECT count(*), total(verdict = 'known'), count(failure) FROM runs")
        ((findings,),) = self.rows("SELECT count(*) FROM findings")
        return Counts(
            units=units, refused=int(refused), runs=runs, known=int(known), new=new, findings=findings,
            seconds=float(self.value("seconds") or 0.0),
        )  # fmt: skip

    def met(self) -> dict[tuple[str, str], tuple[int, int]]:
        """By known finding and backend: how many runs met its conditions, and how many of them showed it."""
        rows = self.rows(
            "SELECT expected, backend, count(*), total(verdict = 'known') FROM runs "
            "WHERE expected IS NOT NULL GROUP BY expected, backend"
        )
        return {(finding, backend): (met, int(shown)) for finding, backend, met, shown in rows}

    def _held(self) -> sqlite3.Connection:
        """A lock that ends with this process, however it ends: a transaction on a database that holds nothing."""
        lock = sqlite3.connect(self.folder / LOCK, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            lock.close()
            if "locked" not in str(error):
                raise JournalError(_trouble(self.folder, error)) from error
            raise JournalError(
                f"{self.folder}: a campaign is running in this folder, and two cannot share one. Wait for its end, "
                "or give another folder with --out."
            ) from error
        return lock

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                if self._database.in_transaction:  # a full disk ends it itself
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise JournalError(_trouble(self.folder, error)) from error


def _trouble(folder: Path, error: sqlite3.DatabaseError) -> str:
    """What is wrong with a journal, in words."""
    text = str(error)
    if "full" in text or "I/O" in text:
        return (
            f"{folder}: the disk is full, or cannot be written to ({text}). What was done is in the journal: make "
            f"room, then go on with lockstep search --out {folder} --resume"
        )
    if "not a database" in text or "malformed" in text:
        return f"{folder / FILE}: not a journal of a campaign, or damaged ({text}). Give another folder with --out."
    return f"{folder / FILE}: {text}."


def _write_unit(write: sqlite3.Connection, result: UnitResult, seconds: float) -> bool:
    facts = (result.machine, _text(dict(sorted(result.versions.items()))))
    write.execute("INSERT OR IGNORE INTO environments (machine, versions) VALUES (?, ?)", facts)
    ((environment,),) = write.execute("SELECT id FROM environments WHERE machine = ? AND versions = ?", facts)
    framework = sum(run.framework_seconds for run in result.runs)
    harness = sum(run.harness_seconds for run in result.runs)
    row = (result.k, result.backend, _text(result.features), result.verdict, result.sigma, framework, harness,
           environment, result.reason, result.megabytes, seconds)  # fmt: skip
    added = write.execute(f"INSERT OR IGNORE INTO units VALUES ({', '.join('?' * len(row))})", row).rowcount  # noqa: S608
    if added:  # a worker that was thought lost may answer after all
        for run in result.runs:
            _write_run(write, result, run)
    return bool(added)


def _write_run(write: sqlite3.Connection, result: UnitResult, run: Ran) -> None:
    signature = failure = None
    if run.result is not None and run.case is not None:
        signature = joined(signature_of(run.result, run.case))
        failure = encode(StoredFailure(run.case, run.result)).decode()
    row = (result.k, result.backend, run.n, run.verdict, run.sigma, run.known, run.expected, run.framework_seconds,
           _text(run.notes) if run.notes else None, signature, None, failure)  # fmt: skip
    write.execute(f"INSERT INTO runs VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608


def _assign(write: sqlite3.Connection, finding: int, failures: Iterable[UnsortedFailure]) -> None:
    places = [(finding, failure.k, failure.backend, failure.n) for failure in failures]
    write.executemany("UPDATE runs SET finding = ? WHERE k = ? AND backend = ? AND n = ?", places)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _failure(text: str) -> StoredFailure:
    return msgspec.convert(msgspec.json.decode(text), StoredFailure, strict=False)  # "Infinity" is a float here


def _sets(text: str) -> tuple[tuple[str, ...], ...]:
    return msgspec.json.decode(text, type=tuple[tuple[str, ...], ...])

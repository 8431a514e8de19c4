"""The user's folder of kept traces: one file for each, by its key."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Recorded, Trace, load_trace, save_trace
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.problem import digest_of
from lockstep.harness.errors import LockstepError, TraceError
from lockstep.harness.files import check_folder, write_whole
from lockstep.harness.jobs.cache.key import key_of
from lockstep.harness.jobs.cache.sources import forget_sources


class Refusal(Struct, frozen=True):
    """What a backend said against a case."""

    unsupported: str
    seconds: dict[str, float]


def folder_of_traces() -> Path:
    """Where the traces are kept: in $XDG_CACHE_HOME, or where this system keeps a user's caches.

    Raises:
        LockstepError: If the user has no home.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # another one is to be ignored, says the specification of these folders
        return named / "lockstep" / "traces"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise LockstepError(f"no folder for the cache: {error}. Name one: XDG_CACHE_HOME=FOLDER") from error
    usual = {"darwin": home / "Library" / "Caches", "win32": Path(os.environ.get("LOCALAPPDATA") or home)}
    return usual.get(sys.platform, home / ".cache") / "lockstep" / "traces"


@dataclass(frozen=True)
class TraceCache:
    """What backends gave before, for problems that are asked again."""

    folder: Path

    def check(self) -> None:
        """Make sure, before anything runs, that traces can be kept; a LockstepError if not."""
        forget_sources()
        try:
            check_folder(self.folder)
        except OSError as error:
            raise LockstepError(
                f"{self.folder}: no trace can be kept there: {error.strerror or error}. Name another folder, "
                "XDG_CACHE_HOME=FOLDER, or leave out --cached."
            ) from error

    def get(self, backend: BackendInfo, problem: AnyProblem) -> Outcome | None:
        """What came of a run before; None if that is not kept, or no longer what was written."""
        key = key_of(backend, problem)
        if key is None:
            return None
        if (refusal := self._refusal(key)) is not None:
            return Outcome("unsupported", message=refusal.unsupported, seconds=refusal.seconds, cached=True)
        try:
            trace, recorded = load_trace(self._file(key))
        except TraceError:
            return None
        if recorded.environment.get("digest") != _digest(trace, recorded):
            return None
        return Outcome(
            "ran", trace.replaced(seconds={}), versions=recorded.versions, seconds=recorded.seconds,
            repeatable=recorded.repeatable, cached=True,
        )  # fmt: skip

    def keep(self, backend: BackendInfo, problem: AnyProblem, outcome: Outcome) -> None:
        """Keep what came of a run, if it would come again: no failure, no trace that did not repeat itself."""
        if not _lasts(backend, outcome) or (key := key_of(backend, problem)) is None:
            return
        with contextlib.suppress(OSError):  # a disk that is full costs no result
            if outcome.trace is None:
                refusal = Refusal(outcome.message or "", outcome.seconds)
                write_whole(self._file(key, ".json"), msgspec.json.encode(refusal))
                return
            recorded = Recorded(
                case=problem.case, problem=problem.digest, backend=backend.name, parameters=outcome.trace.parameters,
                device=outcome.trace.device, versions=outcome.versions, seconds=outcome.seconds, environment={},
                repeatable=outcome.repeatable, quantised=outcome.trace.quantised,
            )  # fmt: skip
            environment = {"digest": _digest(outcome.trace, recorded)}
            recorded = msgspec.structs.replace(recorded, environment=environment)
            save_trace(self._file(key), outcome.trace, recorded)

    def size(self) -> tuple[int, int]:
        """How many files there are, and their bytes."""
        sizes = []
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # a run may be writing at this moment
                sizes += [path.stat().st_size] if path.is_file() else []
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        """Remove all; a LockstepError if that cannot be done."""
        try:
            if self.folder.exists():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise LockstepError(f"{error.filename}: cannot be removed: {error.strerror or error}.") from error

    def _refusal(self, key: str) -> Refusal | None:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._file(key, ".json").read_bytes(), type=Refusal)
        return None

    def _file(self, key: str, suffix: str = ".safetensors") -> Path:
        # A folder with a million files is slow to list.
        return self.folder / key[:2] / f"{key}{suffix}"


def _lasts(backend: BackendInfo, outcome: Outcome) -> bool:
    if outcome.status == "unsupported":
        # One that said so itself tells its versions; else a part of it is not installed, which may be so tomorrow.
        return outcome.versions.keys() == set(backend.requires)
    on_cpu = outcome.trace is not None and "cpu" in outcome.trace.device.lower()  # of others the key knows no kind
    return on_cpu and outcome.repeatable is not False


def _digest(trace: Trace, recorded: Recorded) -> str:
    """A digest of all that is kept of a trace: a file keeps its form when one of its numbers is damaged."""
    facts = msgspec.json.encode(msgspec.structs.replace(recorded, environment={}))
    numbers = digest_of(dict(sorted(trace.arrays.items())))
    return hashlib.sha256(facts + numbers.encode()).hexdigest()

"""Environments, one for each row: built, recorded in, removed. What is there already is not made again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rows import Row

from lockstep.harness.comparison.results import load_results

ROOT = Path(__file__).parents[2]
HOUSES = ROOT / ".venvs" / "versions"
RECORDINGS = ROOT / "build" / "versions"
PROGRAMS = "Scripts" if os.name == "nt" else "bin"
LAST_LINES = 12  # of what pip or a recording said, where it failed
LONGEST, MOST_NAMES = 300, 4  # of a backend's reason, characters; of the cases that it is given for


class RowError(Exception):
    """A row that cannot be built, or in which nothing could be recorded: its text says why."""


@dataclass(frozen=True)
class Places:
    """Where a row's environment and its recording are."""

    house: Path
    recording: Path

    @classmethod
    def of(cls, row: Row) -> Places:
        """Give the places of a row."""
        return cls(HOUSES / row.name, RECORDINGS / row.name)

    @property
    def built(self) -> Path:
        """The stamp of the environment: what it was asked to be."""
        return self.house / "built.json"

    @property
    def recorded(self) -> Path:
        """The stamp of the recording: what was asked for, what was installed then, and how it ended."""
        return self.recording / "recorded.json"

    @property
    def missing(self) -> Path:
        """What gave no trace, as results."""
        return self.recording / "missing.json"


def is_recorded(row: Row) -> bool:
    """Whether what the row asks for is recorded already, of these backends and cases."""
    return _stamp(Places.of(row).recorded).get("asked") == _asked(row)


def build(row: Row) -> None:
    """Make a row's environment, unless it is there.

    Raises:
        RowError: If pip cannot, with the last lines of what it said; nothing is left of it then.
    """
    places = Places.of(row)
    if _stamp(places.built) == _installed(row):
        return
    remove(row)
    try:
        _do([sys.executable, "-m", "venv", str(places.house)])
        pip = [str(places.house / PROGRAMS / "python"), "-m", "pip", "install", "--progress-bar", "off"]
        pinned = ["-c", str(ROOT / "constraints.txt")] if row.pinned else []
        _do([*pip, *pinned, *row.packages, *own_dependencies(row.unbound)])
        _do([*pip, "--no-deps", "-e", str(ROOT)])
    except RowError:
        remove(row)
        raise
    places.built.write_text(json.dumps(_installed(row)))


def record(row: Row) -> None:
    """Record all shipped cases of the row's backends in its environment.

    Raises:
        RowError: If not one could be recorded.
    """
    places = Places.of(row)
    shutil.rmtree(places.recording, ignore_errors=True)
    backends = [word for name in row.backends for word in ("--backend", name)]
    cases = [str(forward_cases(places.recording / "cases"))] if row.inference else []
    outputs = ["--out", str(places.recording), "--json", str(places.missing)]
    programs = places.house / PROGRAMS
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(places.house),
    }
    said = _said([str(programs / "lockstep"), "record", *cases, *backends, *outputs], environment)
    if not any(places.recording.glob("*.safetensors")):
        raise RowError("\n".join(failures(row, refused=True)) or _last_lines(said))
    frozen = _do([str(programs / "python"), "-m", "pip", "list", "--format", "json"])
    packages = {one["name"]: one["version"] for one in json.loads(frozen[frozen.index("[") :])}
    places.recorded.write_text(json.dumps({"asked": _asked(row), "packages": packages}, indent=1))


def failures(row: Row, *, refused: bool = False) -> list[str]:
    """Say which backends failed in which cases of a recording, and why; or were unsupported, if they are to be told."""
    alike: dict[tuple[str, str], list[str]] = {}
    for run in load_results(Places.of(row).missing).runs if Places.of(row).missing.exists() else ():
        if refused or run.status != "unsupported":
            reason = textwrap.shorten(run.message or "", LONGEST)
            alike.setdefault((run.backend, f"{run.status}: {reason}"), []).append(run.case)
    return [f"{backend} in {_some(cases)}: {reason}" for (backend, reason), cases in alike.items()]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def remove(row: Row) -> bool:
    """Remove a row's environment, not what was recorded in it; say whether there was one."""
    house = Places.of(row).house
    there = house.exists()
    shutil.rmtree(house, ignore_errors=True)
    return there


def forward_cases(folder: Path) -> Path:
    """Write the shipped LSTM cases into a folder, without gradients where they ask for some."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "cases").glob("*.toml")):
        text = path.read_text()
        if "[attention_decoder]" not in text:
            (folder / path.name).write_text(text.replace("\ngradients = true", ""))
    return folder


def modules_of(backends: Sequence[str]) -> list[Path]:
    """Give the files of some backends, and those of ours that they import in their turn."""
    found: list[Path] = []
    waiting = [ROOT / "backends" / f"{name}.py" for name in backends]
    while waiting:
        file = waiting.pop()
        if file in found or not file.exists():
            continue
        found.append(file)
        for from_one, from_package in re.findall(
            r"^from lockstep\.backends(?:\.(\w+))? import (.*)", file.read_text(), re.MULTILINE
        ):
            names = [from_one] if from_one else re.findall(r"\w+", from_package)
            waiting += [ROOT / "backends" / f"{name}.py" for name in names]
    return sorted(found)


def own_dependencies(unbound: Sequence[str]) -> list[str]:
    """Give what Lockstep depends on, without the lower bounds of those that are named."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {dependency: re.split(r"[^\w.-]", dependency)[0] for dependency in project["dependencies"]}
    return [name if name in unbound else dependency for dependency, name in names.items()]


def _installed(row: Row) -> dict[str, Any]:
    pins = _digest([ROOT / "constraints.txt"]) if row.pinned else None
    return {"packages": list(row.packages), "own": own_dependencies(row.unbound), "constraints": pins}


def _asked(row: Row) -> dict[str, Any]:
    sources = [*modules_of(row.backends), *sorted((ROOT / "cases").glob("*.toml"))]
    return {**_installed(row), "backends": list(row.backends), "sources": _digest(sources)}


def _digest(paths: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _stamp(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _do(command: list[str]) -> str:
    """Run a command, and give what it printed.

    Raises:
        RowError: If it fails, with the last lines.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RowError(_last_lines(done.stdout))
    return done.stdout


def _said(command: list[str], environment: dict[str, str]) -> str:
    """Run a command whose exit status says what it found, and give what it printed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment, cwd=ROOT
    )
    return done.stdout


def _last_lines(text: str) -> str:
    # A place to look for packages that is not there keeps none from being found elsewhere.
    lines = [line for line in text.strip().splitlines() if line.strip() and not line.startswith("WARNING: Location")]
    return "\n".join(lines[-LAST_LINES:]) or "it said nothing"

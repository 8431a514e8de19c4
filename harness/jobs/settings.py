"""What a project sets for all its checks: the table ``[tool.lockstep]`` of its ``pyproject.toml``.

    [tool.lockstep]
    limit = 20      # sigma beyond which a number diverges
    timeout = 60    # seconds for one run of a backend, or one call of a port
    cache = true    # lockstep run takes traces from the cache, as with --cached
    onnx2tf = ".venvs/onnx2tf"    # the environment of that program, for lockstep export

It is looked for from a folder upward; the first ``pyproject.toml`` that has the table counts. What is asked for by
option or argument comes before it, and so does a case's own tolerance; what it does not set is as ever.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.harness.errors import LockstepError, meant

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import Limit

FILE, TABLE = "pyproject.toml", "[tool.lockstep]"
KEYS = ("limit", "timeout", "cache", "onnx2tf")

TIMEOUT = 120.0  # seconds for one run; a static graph of 500 steps takes some 10 on a slow machine
JOBS = 4  # frameworks that run at once: those of the main job


@dataclass(frozen=True)
class Settings:
    """What a project sets; ``file`` says where, None if nowhere."""

    limit: float | None = None  # sigma
    timeout: float | None = None  # seconds
    cache: bool = False  # whether runs take traces from the cache
    onnx2tf: Path | None = None  # the environment of that program
    file: Path | None = None

    def limit_or(self, option: float | None) -> Limit | None:
        """The limit of an option, else the project's; None leaves it to each case."""
        from lockstep.harness.comparison.results import Limit

        if option is not None:
            return Limit("option", sigma=option)
        return None if self.limit is None else Limit("pyproject", sigma=self.limit)

    def timeout_or(self, option: float | None) -> float:
        """The seconds of an option, else the project's, else the usual ones."""
        chosen = option if option is not None else self.timeout
        return TIMEOUT if chosen is None else chosen

    def text(self, *, limit: float | None = None, timeout: float | None = None) -> str | None:
        """What is set, and where, of what options do not set; None if nothing is."""
        settings = (("limit", limit, self.limit, "sigma"), ("timeout", timeout, self.timeout, "s"))
        counting = [
            f"{name} {value:g} {unit}" for name, option, value, unit in settings if option is None and value is not None
        ]
        return f"{', '.join(counting)} ({TABLE} of {self.file})" if counting else None


def find_settings(folder: Path) -> Settings:
    """Find what the project of a folder sets: that folder's, or the nearest above it that has the table.

    Raises:
        LockstepError: If a file with that table is not valid TOML, or sets what there is not.
    """
    start = folder.absolute()
    for place in (start, *start.parents):
        settings = _settings(place / FILE)
        if settings is not None:
            return settings
    return Settings()


def _settings(file: Path) -> Settings | None:
    try:
        data = file.read_bytes()
    except OSError:
        return None
    if b"lockstep" not in data:  # a file of somebody else need not even be valid
        return None
    try:
        whole = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise LockstepError(f"{file}: not valid TOML: {error}.") from error
    tool = whole.get("tool")
    if not isinstance(tool, dict) or "lockstep" not in tool:
        return None
    table = tool["lockstep"]
    if not isinstance(table, dict):
        raise LockstepError(f"{file}: tool.lockstep = {table!r}: must be a table. Allowed in it: {', '.join(KEYS)}.")
    return Settings(file=file, **{key: _value(key, value, file) for key, value in table.items()})


def _value(key: str, value: Any, file: Path) -> Any:
    if key not in KEYS:
        guess = meant(key, KEYS, "'{}'")
        raise LockstepError(f"{file}, {TABLE}: unknown key {key[:80]!r}.{guess} Allowed: {', '.join(KEYS)}.")
    if key == "cache":
        if not isinstance(value, bool):
            raise LockstepError(f"{file}, {TABLE} cache = {value!r}: must be true or false.")
        return value
    if key == "onnx2tf":
        if not isinstance(value, str) or not value:
            raise LockstepError(f"{file}, {TABLE} onnx2tf = {value!r}: must be the folder of an environment, as text.")
        return file.parent / value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise LockstepError(f"{file}, {TABLE} {key} = {value!r}: must be a number above 0.")
    return float(value)

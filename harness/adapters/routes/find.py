"""Which routes there are: a converter and a runtime that runs what it makes, by their names."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points

from msgspec import Struct

from lockstep.harness.adapters.backend import BackendInfo, read_info
from lockstep.harness.adapters.routes.elsewhere import missing_environment
from lockstep.harness.errors import LockstepError, unknown

ROUTE_GROUP = "lockstep.routes"
SOURCE_GROUP = "lockstep.sources"


class Route(Struct, frozen=True):
    """A converter and a runtime; a file that a runtime takes as it is needs no converter."""

    name: str
    converter: BackendInfo | None
    runtime: BackendInfo

    @property
    def parts(self) -> list[BackendInfo]:
        """Its modules."""
        return [part for part in (self.converter, self.runtime) if part is not None]

    def environment_for(self, form: str) -> tuple[tuple[str, str], ...]:
        """What stands in the environment of its process, where it takes models of a framework."""
        source = [find_sources()[form]] if form in find_sources() else []
        return tuple(sorted({pair for part in (*self.parts, *source) for pair in part.environment}))

    def missing(self) -> str | None:
        """What is not installed here that it needs, and how to get it; None if all is there."""
        absent = [part.missing() for part in self.parts]
        absent += [missing_environment(part.elsewhere) for part in self.parts if part.elsewhere]
        return "; ".join(dict.fromkeys(filter(None, absent))) or None


@cache
def find_sources() -> dict[str, BackendInfo]:
    """The modules that open whole models, by the framework's import name."""
    return {entry.name: read_info(entry.name, entry.module) for entry in entry_points(group=SOURCE_GROUP)}


@cache
def _parts() -> dict[str, BackendInfo]:
    entries = sorted(entry_points(group=ROUTE_GROUP), key=lambda entry: entry.name)
    return {entry.name: read_info(entry.name, entry.module) for entry in entries}


def routes_of(form: str) -> list[Route]:
    """All routes of a model: by its framework, or by the format of its file."""
    parts = list(_parts().values())
    routes = [Route(f"{form}>{part.name}", None, part) for part in parts if form in part.runs]
    for converter in parts:
        if form not in converter.sources:
            continue
        if not converter.format:
            routes.append(Route(converter.name, converter, converter))
        runtimes = [part for part in parts if converter.format and converter.format in part.runs]
        for runtime in runtimes:
            name = converter.name if runtime is converter else f"{converter.name}>{runtime.name}"
            routes.append(Route(name, converter, runtime))
    return routes


def find_routes(form: str, names: Iterable[str] | None) -> list[Route]:
    """The routes that are named, or that a pattern stands for; without names all whose frameworks are installed.

    Raises:
        LockstepError: If a name is unknown, or none is installed.
    """
    known = {route.name: route for route in routes_of(form)}
    if names is None:
        installed = [route for route in known.values() if route.missing() is None]
        if not installed:
            raise LockstepError(f"no route from {form} is installed: there are {', '.join(known) or 'none'}.")
        return installed
    wanted: dict[str, Route] = {}
    for name in names:
        # "> " and no blank are the same; a shell needs quotes around ">".
        matches = [name] if name in known else fnmatch.filter(known, name)
        if not matches:
            raise LockstepError(unknown("route", name, known))
        wanted |= {match: known[match] for match in matches}
    return list(wanted.values())

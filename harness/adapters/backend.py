"""What a backend is, and which there are.

A module with the two functions of ``Backend`` is a backend. It is found by an entry point of the group
``lockstep.backends``; its name is the entry point's. The core never imports it: a worker does, and
what the core must know before that it reads from the module's source, where these constants stand as
literals, all of them optional:

    REQUIRES = ("tensorflow", "tf_keras")          what must be importable, first its framework; versions are reported
    INSTALL = "lockstep-rnn[tf]"                   what pip installs to get it
    ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1"}     set in the worker before anything is imported
    DIALECT = "tf1"                                how it stores weights (harness.weights.dialect); else "canonical"
    MODEL = "attention_decoder"                    what it runs (harness.cases.case.Model); else "lstm"
    QUANTISED = "int8"                             in which few bits it stores numbers (harness.reference.noise)
    RESETS = True                                  its loop starts sequences anew where a case has resets; else refused
    MAIN = False                                   a further way of a framework: run where it or all are asked for

Backends alike in REQUIRES and ENVIRONMENT share one worker process.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from lockstep.harness.cases.case import Case
from lockstep.harness.errors import BackendError, meant, unknown
from lockstep.harness.text import grouped, parsed_source

BACKEND_GROUP = "lockstep.backends"
# What a backend's module may say of itself; each becomes the field of ``BackendInfo`` that is called alike.
_CONSTANTS = frozenset(
    {
        "REQUIRES",
        "INSTALL",
        "ENVIRONMENT",
        "DIALECT",
        "MODEL",
        "MAIN",
        "RESETS",
        "QUANTISED",
        "SOURCES",
        "FORMAT",
        "RUNS",
        "ELSEWHERE",
    }
)
MODELS = {"lstm": "LSTM", "attention_decoder": "attention decoder"}


class Backend(Protocol):
    """The two functions of a backend's module."""

    def unsupported(self, case: Case) -> str | None:
        """Why ``case`` cannot be run faithfully; None if it can."""
        ...

    def run(self, problem: Any) -> Any:
        """Run a ``Problem`` or ``DecoderProblem``, which stays as it is, and return a ``Trace``."""
        ...


class BackendInfo(Struct, frozen=True):
    """What is known of a backend without importing it."""

    name: str
    module: str
    summary: str = ""
    requires: tuple[str, ...] = ()
    install: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    dialect: str = "canonical"
    model: str = "lstm"
    quantised: str | None = None  # in which few bits it stores numbers
    resets: bool = False  # whether it starts sequences anew where a case has resets
    main: bool = True  # whether it is run where nobody says which; of each framework and model one shipped way is
    sources: tuple[str, ...] = ()  # of a route (``harness.adapters.routes.whole``): whose models it converts
    format: str = ""  # and into what
    runs: tuple[str, ...] = ()  # what files it runs
    elsewhere: str = ""  # the program that it starts in an environment of its own
    listed: bool = True  # whether its name can be given to commands; a model file's cannot

    @property
    def worker(self) -> tuple[Any, ...]:
        """Backends with equal keys share a worker process."""
        return (self.requires, self.environment) if self.requires else (self.module, self.environment)

    @property
    def framework(self) -> str:
        """The import name of what it is a backend of: what it requires first, else its own package."""
        return self.requires[0] if self.requires else self.module.partition(".")[0]

    @property
    def absent(self) -> list[str]:
        """What it requires and is not installed here, by import names."""
        return [name for name in self.requires if importlib.util.find_spec(name) is None]

    def missing(self) -> str | None:
        """What is not installed here that the backend needs, and how to get it; None if all is there."""
        absent = self.absent
        if not absent:
            return None
        hint = f": pip install '{self.install}'" if self.install else ""
        return f"{' and '.join(absent)} not installed{hint}"


def find_backends(names: Iterable[str] | None = None) -> list[BackendInfo]:
    """Find the installed backends in the order of their names, or those that are named; a name may be a pattern.

    Raises:
        BackendError: If a name is unknown, or two packages offer a backend of one name.
    """
    modules: dict[str, str] = {}
    for entry in sorted(entry_points(group=BACKEND_GROUP), key=lambda entry: entry.name):
        # One distribution may be seen twice, as when it is installed for editing.
        if modules.setdefault(entry.name, entry.module) != entry.module:
            raise BackendError(
                f'two backends are called "{entry.name}": {modules[entry.name]} and {entry.module}. '
                "Uninstall one of the packages that offer them."
            )
    wanted = modules if names is None else dict.fromkeys(match for name in names for match in _matches(name, modules))
    return [read_info(name, modules[name]) for name in wanted]


def _matches(name: str, modules: Mapping[str, str]) -> list[str]:
    """The backends that a name or a pattern such as ``torch*`` stands for."""
    matches = [name] if name in modules else fnmatch.filter(modules, name)
    if not matches:
        raise BackendError(_unknown(name, {known: read_info(known, module) for known, module in modules.items()}))
    return matches


def _unknown(name: str, known: Mapping[str, BackendInfo]) -> str:
    """The message that no backend is called so; of a framework's name, which of its backends is the main one."""
    asked = name.lower()
    family = [info for info in known.values() if asked in {info.framework, info.name.partition("_")[0]}]
    if not family and not meant(name, known):
        family = [backend for backend in known.values() if backend.framework in asked]  # pytorch, tensorflow2
    if not family:
        return unknown("backend", name, known)
    names = [
        backend.name for backend in sorted(family, key=lambda backend: (not backend.main, backend.model != "lstm"))
    ]
    return (
        f'no backend is called "{name}". Did you mean "{names[0]}"? Of {family[0].framework} there are: '
        f"{', '.join(names)}. List all: lockstep backends"
    )


def main_ways(backends: Iterable[BackendInfo]) -> list[BackendInfo]:
    """The main ways of each framework and model; where these are not among the backends, the first that is."""
    backends = list(backends)
    groups = grouped(backends, lambda backend: (backend.framework, backend.model)).values()
    kept = {way.name for group in groups for way in [way for way in group if way.main] or group[:1]}
    return [backend for backend in backends if backend.name in kept]


def matched(
    cases: Sequence[Case], backends: Sequence[BackendInfo], *, cases_named: bool, backends_named: bool
) -> tuple[list[Case], list[BackendInfo]]:
    """Leave out the cases that were not asked for by name, and the backends, that find no partner of their model.

    Raises:
        BackendError: If a case that was asked for finds none, or no backend does.
    """
    wanted, able = {case.model for case in cases}, {backend.model for backend in backends}
    kept_cases = [case for case in cases if case.model in able]
    kept_backends = [backend for backend in backends if backend.model in wanted]
    if cases_named and len(kept_cases) < len(cases):
        alone = next(case for case in cases if case.model not in able)
        which = "none of these backends" if backends_named else "no backend that is installed"
        raise BackendError(f"case {alone.name} is an {MODELS[alone.model]}, and {which} runs one.")
    if backends_named and not kept_backends:
        alone = backends[0]
        raise BackendError(f"{alone.name} runs {MODELS[alone.model]}s: none of these cases is one.")
    return kept_cases, kept_backends


def pairs(cases: Iterable[Case], backends: Iterable[BackendInfo]) -> list[tuple[Case, BackendInfo]]:
    """The pairs to run: a backend runs the cases of its model."""
    backends = list(backends)
    return [(case, backend) for case in cases for backend in backends if case.model == backend.model]


def by_worker(backends: Iterable[BackendInfo]) -> list[list[BackendInfo]]:
    """Group backends that share a worker process; the largest group, which takes longest, comes first."""
    return sorted(grouped(backends, lambda backend: backend.worker).values(), key=len, reverse=True)


def read_info(name: str, module: str) -> BackendInfo:
    """Read a backend's constants and the first line of its docstring from its source."""
    try:
        spec = importlib.util.find_spec(module)
        # Of a package in a wheel pytest's own loader has taken over, which has data, and no source.
        source = spec.loader.get_data(spec.origin) if spec and spec.loader else b""  # type: ignore[attr-defined]
        tree = parsed_source(source)
        assigned = ((node.targets[0], node.value) for node in tree.body if isinstance(node, ast.Assign))
        constants: dict[str, Any] = {
            target.id.lower(): ast.literal_eval(value)
            for target, value in assigned if isinstance(target, ast.Name) and target.id in _CONSTANTS
        }  # fmt: skip
        constants["environment"] = tuple(sorted(constants.get("environment", {}).items()))
        summary = (ast.get_docstring(tree) or "").partition("\n")[0]
        return msgspec.convert({"name": name, "module": module, "summary": summary, **constants}, BackendInfo)
    except (ImportError, AttributeError, SyntaxError, ValueError, TypeError):
        # Without its constants a backend gets a worker of its own; importing it there tells what is wrong.
        return BackendInfo(name, module)

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

Backends alike in REQUIRES and ENVIRONMENT share one worker process.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from lockstep.harness.cases.case import Case
from lockstep.harness.errors import BackendError, unknown
from lockstep.harness.text import grouped

BACKEND_GROUP = "lockstep.backends"
# What a backend's module may say of itself; each becomes the field of ``BackendInfo`` that is called alike.
_CONSTANTS = frozenset({"REQUIRES", "INSTALL", "ENVIRONMENT", "DIALECT", "MODEL"})
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
    listed: bool = True  # whether its name can be given to commands; a model file's cannot

    @property
    def worker(self) -> tuple[Any, ...]:
        """Backends with equal keys share a worker process."""
        return (self.requires, self.environment) if self.requires else (self.module, self.environment)

    @property
    def framework(self) -> str:
        """The import name of what it is a backend of: what it requires first, else its own package."""
        return self.requires[0] if self.requires else self.module.partition(".")[0]

    def missing(self) -> str | None:
        """What is not installed here that the backend needs, and how to get it; None if all is there."""
        absent = [name for name in self.requires if importlib.util.find_spec(name) is None]
        if not absent:
            return None
        hint = f": pip install '{self.install}'" if self.install else ""
        return f"{' and '.join(absent)} not installed{hint}"


def find_backends(names: Iterable[str] | None = None) -> list[BackendInfo]:
    """Find the installed backends, or those named, in the order of their names.

    Raises:
        BackendError: If a name is unknown, or two packages offer a backend of one name.
    """
    by_name: dict[str, BackendInfo] = {}
    for entry in sorted(entry_points(group=BACKEND_GROUP), key=lambda entry: entry.name):
        info = read_info(entry.name, entry.module)
        # One distribution may be seen twice, as when it is installed for editing.
        if by_name.setdefault(entry.name, info).module != info.module:
            raise BackendError(
                f'two backends are called "{entry.name}": {by_name[entry.name].module} and {info.module}. '
                "Uninstall one of the packages that offer them."
            )
    if names is None:
        return list(by_name.values())
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in by_name:
            raise BackendError(unknown("backend", name, by_name))
    return [by_name[name] for name in wanted]


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
        source = spec.loader.get_source(module) if spec and spec.loader else None  # type: ignore[attr-defined]
        tree = ast.parse(source or "")
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

"""The modules that a module imports, read from their source text: nothing is imported."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lockstep.harness.jobs.cache.installed import distribution_of
from lockstep.harness.text import parsed_source


class Module(NamedTuple):
    """A module whose text counts: what it is made of, and the names of what it may import."""

    text: bytes
    imports: frozenset[str]


class Closure(NamedTuple):
    """What a module is made of: the texts of it and of all that it imports of ours, and the packages of others."""

    texts: dict[str, bytes]
    packages: frozenset[str]
    digest: str  # of the texts


@cache
def closure_of(names: tuple[str, ...]) -> Closure:
    """What modules are made of. A package of others is one that was installed, and not the one that they belong to."""
    tops = {name.partition(".")[0] for name in names} | {__name__.partition(".")[0]}
    texts: dict[str, bytes] = {}
    packages: set[str] = set()
    waiting, seen = list(names), set(names)
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if top not in tops and (top in sys.stdlib_module_names or distribution_of(top) is not None):
            packages |= {top} - sys.stdlib_module_names
            continue
        module = _read(name)
        if module is None:  # a class or a function of a module, or a package that is not installed
            packages |= {top} if _folder_or_file(top) is None else set()
            continue
        texts[name] = module.text
        new = module.imports - seen
        waiting += new
        seen |= new
    digest = hashlib.sha256()
    for name, text in sorted(texts.items()):
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return Closure(texts, frozenset(packages), digest.hexdigest())


def forget_sources() -> None:
    """Read all anew from now on: a text may have been edited."""
    closure_of.cache_clear()
    _read.cache_clear()
    _folder_or_file.cache_clear()


@cache
def _read(name: str) -> Module | None:
    path = _folder_or_file(name)
    if path is None:
        return None
    is_package = path.is_dir()
    file = path / "__init__.py" if is_package else path
    if not file.is_file():
        return Module(b"", frozenset())  # a folder without a text of its own
    text = file.read_bytes()
    try:
        tree = parsed_source(text)
    except (SyntaxError, ValueError):  # its own bytes are all there is to it: importing it fails
        return Module(text, frozenset())
    package = name if is_package else name.rpartition(".")[0]
    imported = {part for node in _executed(tree) for whole in _imported(node, package) for part in _with_parents(whole)}
    return Module(text, frozenset(imported))


@cache
def _folder_or_file(name: str) -> Path | None:
    """The file of a module, or the folder of a package; None if there is none. Packages above it are not imported."""
    top, *inner = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        return Path(spec.origin) if not inner and spec.origin and Path(spec.origin).is_file() else None
    for location in spec.submodule_search_locations:
        path = Path(location, *inner)
        if path.is_dir():
            return path
        if inner and path.with_name(f"{path.name}.py").is_file():
            return path.with_name(f"{path.name}.py")
    return None


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only type checkers read."""
    yield node
    test = getattr(node, "test", None) if isinstance(node, ast.If) else None
    for_checkers = "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))
    for child in node.orelse if isinstance(node, ast.If) and for_checkers else ast.iter_child_nodes(node):
        yield from _executed(child)


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """The names that a statement may import as modules; ``package``: what relative ones begin at."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    """A module and the packages it lies in, which are imported before it."""
    parts = name.split(".")
    return (".".join(parts[:k]) for k in range(1, len(parts) + 1))

"""What runs inside the process of ``lockstep variables``: the user's file, what it builds, and a framework's reader.

A reader is a module that is found by an entry point of the group ``lockstep.inventories``, whose name is the import
name of the framework that it reads; it is imported only where that framework is. It has

    material(value, built)    the harness.adapters.inventory.Material of what a function returned or a name stands for,
                              None of what it does not read
    building()                optional: a context in which a user's function is called; what it gives is ``built``
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from lockstep.harness.adapters.inventory import InventoryError, Material
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.user_code import Target, import_file, mistake_of, raised
from lockstep.harness.adapters.user_process import check_no_arguments, named_value, outcome_of, serve_once

INVENTORY_GROUP = "lockstep.inventories"
BUILDS_TAKEN = (
    "Lockstep takes a function that builds a TF1 graph, or a tf.Graph; a torch.nn.Module, or (module, inputs); a Keras "
    "model or layer; a Flax nnx module, or (linen module, variables); an Equinox module; or a function that returns "
    "one of them."
)


def serve(target: Target, timeout: float, replies: Path, log: Path) -> None:
    """Import a file and read what a target in it builds; the rest as of ``user_process.serve_questions``."""

    def find(module: ModuleType) -> Outcome:
        return outcome_of(lambda: _material(module, target), InventoryError, target.file)

    serve_once(lambda: _import_once(target.file), find, timeout, replies, log)


# A script that builds a graph while it is imported would build it anew beside the first.
_import_once = cache(import_file)


def _material(module: ModuleType, target: Target) -> Material:
    value, is_function = named_value(module, target.function, InventoryError)
    material = None if is_function else _read(value, None)
    if material is None:
        if not callable(value):
            raise InventoryError(f"it is {_article(_kind(value))}. {BUILDS_TAKEN}")
        check_no_arguments(value, target.function, InventoryError, "build")
        material = _built(value, target)
    # A note says what is unknown: then there may be something.
    if not material.made and not material.judged and not material.notes:
        raise InventoryError(f"it is {_article(material.kind)} without parameters: there is nothing to share.")
    return material


def _built(function: Callable[[], Any], target: Target) -> Material:
    """Call a function, in a fresh graph where TensorFlow is imported, and read what it gives."""
    called = _called(function)
    # It imported TensorFlow itself: only now is there a graph to call it in.
    if _builders() and not called.in_graph:
        called = _called(function)
    if called.raised is None:
        material = _read(called.value, called.built)
    else:
        material = _outside(function) if called.in_graph else None
        if material is None:
            raise raised("it", called.raised, target.file, _hint(called.raised)) from called.raised
    if material is None:
        returned = "returned nothing" if called.value is None else f"returned {_article(_kind(called.value))}"
        raise InventoryError(
            f"it {returned}, and built nothing that has variables. If it makes a graph of its own, let it return that."
            f"{'' if called.value is None else f' {BUILDS_TAKEN}'}"
        )
    return material


class _Called(NamedTuple):
    """What came of a call: what it returned or raised, and the graph in which it was called."""

    value: Any
    raised: BaseException | None
    built: Any
    in_graph: bool


def _called(function: Callable[[], Any]) -> _Called:
    """Call a function in the contexts of the frameworks that are imported."""
    value = raised = None
    with ExitStack() as contexts:
        built = [contexts.enter_context(reader.building()) for reader in _builders()]
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001 (whatever the user's code raises)
            raised = error
    return _Called(value, raised, next(iter(built), None), bool(built))


def _outside(function: Callable[[], Any]) -> Material | None:
    """Read what a function gives that fails inside a graph and not outside: a model that computes while it is made."""
    try:
        return _read(function(), None)
    except BaseException:  # noqa: BLE001 (the first failure is the one to tell)
        return None


def _hint(error: BaseException) -> str:
    """What may help where code needs eager mode: it is called while a graph is built."""
    mistake = mistake_of(error)
    if mistake == "eager variable":
        return " (a variable was made in eager mode, perhaps at the file's top level: make it inside the function)"
    if mistake == "no value yet":
        return " (it is called while a tf.Graph is built, where tensors have no values yet)"
    return ""


def _read(value: Any, built: Any) -> Material | None:
    materials = (reader.material(value, built) for reader in _readers())
    return next((material for material in materials if material is not None), None)


def _builders() -> list[Any]:
    return [reader for reader in _readers() if hasattr(reader, "building")]


def _readers() -> list[Any]:
    """Import the readers of frameworks that are imported by now; those that take whatever was built come last."""
    entries = sorted(entry_points(group=INVENTORY_GROUP), key=lambda entry: entry.name)
    modules = dict.fromkeys(entry.module for entry in entries if entry.name in sys.modules)
    # A graph holds whatever was built while a model of another framework was made too.
    return sorted(map(import_module, modules), key=lambda reader: hasattr(reader, "building"))


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__name__} of {kind.__module__}"


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"

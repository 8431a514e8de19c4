"""Arrays that are attributes of an object, or lie in lists, dicts and objects that are: found, read and replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.ports.framework_arrays import ARRAYS, as_array, maker

DEEPEST = 6  # how far attributes of attributes are followed
_MOST_AXES = 3
_NO_HOLDERS = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)


class HeldArray(NamedTuple):
    """One array of an object: where it is, and how it is read and set."""

    path: str
    read: Callable[[], Array]
    write: Callable[[Array], None]
    key: int  # the same for two names of one array


HeldAt = tuple[str, Any, Callable[[Any], None]]  # a path, what is there, what puts something else there


def walk(thing: Any, prefix: str = "", depth: int = DEEPEST, seen: set[int] | None = None) -> Iterator[HeldAt]:
    """Go through the attributes of an object, of what they hold, and so on, to what is an array."""
    seen = set() if seen is None else seen
    if id(thing) in seen or depth == 0:
        return
    seen.add(id(thing))
    for name, value in _attributes(thing):
        yield from walk_value(f"{prefix}{name}", value, partial(_set, thing, name), depth, seen)


def walk_value(
    path: str, value: Any, put: Callable[[Any], None], depth: int = DEEPEST, seen: set[int] | None = None
) -> Iterator[HeldAt]:
    """Go on from one value, which ``put`` replaces."""
    seen = set() if seen is None else seen
    inside = _of_variable(value)
    if is_array(value) or is_array(inside):
        yield path, value, put
    elif isinstance(value, (dict, list, tuple)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from walk_value(f"{path}.{key}", part, partial(_put, value, key), depth - 1, seen)
    elif inside is None and hasattr(value, "__dict__") and not isinstance(value, _NO_HOLDERS):
        yield from walk(value, f"{path}.", depth - 1, seen)


def _put(holder: Any, key: Any, value: Any) -> None:
    holder[key] = value


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    slots = getattr(type(thing), "__slots__", ())
    for name in (*getattr(thing, "__dict__", ()), *([slots] if isinstance(slots, str) else slots)):
        if not name.startswith("__"):
            with contextlib.suppress(AttributeError, TypeError):
                yield name, getattr(thing, name)


def _set(thing: Any, name: str, value: Any) -> None:
    try:
        setattr(thing, name, value)
    except AttributeError:  # frozen, as Equinox's modules are
        object.__setattr__(thing, name, value)


def is_array(value: Any) -> bool:
    """Whether a value is an array of numbers with fractions: of a framework, of NumPy, or rows of plain numbers."""
    if isinstance(value, (list, tuple)):
        return _is_rows(value)
    shape, dtype = getattr(value, "shape", None), str(getattr(value, "dtype", ""))
    if shape is None or _of_variable(value) is not None or isinstance(value, type):
        return False
    try:
        return "float" in dtype and 0 < len(shape) <= _MOST_AXES
    except TypeError:
        return False


def _is_rows(value: Any) -> bool:
    """Whether lists hold plain numbers alone, as a matrix or a row."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    if all(isinstance(part, float) for part in value):
        return True
    return all(isinstance(part, list) and _is_rows(part) for part in value) and len({len(p) for p in value}) == 1


def _of_variable(value: Any) -> Any:
    """The array in a Flax variable; None if it is none."""
    if not any(kind.__module__.startswith("flax.") and kind.__name__ == "Variable" for kind in type(value).__mro__):
        return None
    return value[...] if hasattr(value, "__getitem__") else value.value


def plain_leaf(path: str, value: Any, put: Callable[[Any], None]) -> HeldArray:
    """An array that is an attribute, or lies in a list or dict of one."""
    held = [value]

    def read() -> Array:
        inside = _of_variable(held[0])
        return as_array(held[0] if inside is None else inside)[0]

    def write(array: Array) -> None:
        if _of_variable(held[0]) is not None:
            held[0][...] = maker("jax")(array)
        elif isinstance(held[0], np.ndarray) and np.result_type(held[0], array) == held[0].dtype:
            held[0][...] = array  # views of it see it too
        else:
            held[0] = _like(held[0], array)
            put(held[0])

    return HeldArray(path, read, write, id(value))


def _like(held: Any, array: Array) -> Any:
    """An array as an object holds it: rows of plain numbers, or the same framework's."""
    family = type(held).__module__.partition(".")[0]
    if isinstance(held, (list, tuple)):
        return type(held)(array.tolist())
    if family == "tensorflow" and hasattr(held, "assign"):
        held.assign(array)
        return held
    return maker({"jaxlib": "jax"}.get(family, family if family in ARRAYS else "numpy"))(array)

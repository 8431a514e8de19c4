"""The arrays that an object holds: found, read as NumPy's, written, and put back.

Nothing here imports a framework: what an object is, is told by its own methods.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.ports.framework_arrays import as_array, maker
from lockstep.harness.ports.objects.attributes import HeldArray, plain_leaf, walk, walk_value


class Holder:
    """The arrays of one object by name, and whose arrays it computes with."""

    def __init__(self, thing: Any) -> None:
        """Look through an object."""
        self.thing = thing
        self.family = family_of(thing)
        leaves = list(_leaves(thing))
        if self.family == "numpy":
            self.family = _family_of_leaves(thing)
        self.leaves: dict[str, list[HeldArray]] = {}
        first_name: dict[int, str] = {}
        for leaf in leaves:
            self.leaves.setdefault(first_name.setdefault(leaf.key, leaf.path), []).append(leaf)

    def read(self) -> Arrays:
        """All arrays, copied."""
        return {path: np.array(names[0].read()) for path, names in self.leaves.items()}

    def write(self, arrays: Mapping[str, Array]) -> None:
        """Set some arrays, under all their names."""
        for path, array in arrays.items():
            for leaf in self.leaves[path]:
                leaf.write(array)

    def remembered(self) -> Callable[[], None]:
        """What puts all arrays back as they are now, and the buffers of a module."""
        arrays, buffers = self.read(), []
        if self.family == "torch" and hasattr(self.thing, "modules"):
            buffers = [
                (part, name, buffer.detach().clone())
                for part in self.thing.modules()
                for name, buffer in part.named_buffers(recurse=False)
            ]

        def put_back() -> None:
            self.write(arrays)
            for part, name, buffer in buffers:
                setattr(part, name, buffer)

        return put_back

    @contextlib.contextmanager
    def evaluating(self, dtype: str) -> Iterator[None]:
        """In evaluation mode, without gradients, in a dtype where the framework is asked for one."""
        if self.family != "torch":
            yield
            return
        torch = _framework("torch")
        module = self.thing if isinstance(self.thing, torch.nn.Module) else None
        dtypes = {parameter.dtype for parameter in (module.parameters() if module is not None else ())}
        training = [] if module is None else [part for part in module.modules() if part.training]
        if module is not None:
            module.eval()
            module.to(getattr(torch, dtype))
        try:
            with torch.no_grad():
                yield
        finally:
            for part in training:
                part.training = True
            if module is not None and len(dtypes) == 1:
                module.to(dtypes.pop())


def family_of(thing: Any) -> str:
    """Whose arrays an object computes with, by the classes that it is made of; NumPy's if they say nothing."""
    return family_of_kind(type(thing))


def family_of_kind(kind: type) -> str:
    """Whose arrays objects of a class compute with."""
    modules = [base.__module__ for base in kind.__mro__]
    for start, family in (("torch.nn", "torch"), ("tf_keras", "tensorflow"), ("tensorflow", "tensorflow"),
                          ("keras", "keras"), ("flax", "jax"), ("equinox", "jax")):  # fmt: skip
        if any(module == start or module.startswith(f"{start}.") for module in modules):
            return family
    return "numpy"


def make_arrays(family: str) -> Callable[[Array], Any]:
    """What turns a NumPy array into one that an object of a family takes."""
    if family == "keras":
        return _framework("keras").ops.convert_to_tensor
    return maker(family)


def _framework(name: str) -> Any:
    """A framework that an object is of, by name: the harness itself imports none."""
    return importlib.import_module(name)


def _family_of_leaves(thing: Any) -> str:
    for _, value, _ in walk(thing):
        module = type(value).__module__.partition(".")[0]
        if module in {"torch", "tensorflow"}:
            return module
        if module in {"jax", "jaxlib"}:
            return "jax"
    return "numpy"


def _leaves(thing: Any) -> Iterator[HeldArray]:
    family = family_of(thing)
    if family == "torch":
        yield from _torch_leaves(thing)
    elif family in {"keras", "tensorflow"} and hasattr(thing, "weights"):
        yield from _keras_leaves(thing)
    else:
        plain = list(walk(thing))
        if plain:
            yield from (plain_leaf(*place) for place in plain)
        elif callable(getattr(thing, "get_weights", None)) and callable(getattr(thing, "set_weights", None)):
            yield from _listed_leaves(thing)


def _torch_leaves(module: Any) -> Iterator[HeldArray]:
    """Parameters, and plain tensors beside them; buffers only where there is no parameter."""
    named = list(module.named_parameters(remove_duplicate=False)) or list(module.named_buffers())
    for path, parameter in named:
        yield _torch_leaf(path, parameter)
    for where, part in module.named_modules():
        for name, value in vars(part).items():
            if name.startswith("_") or type(value).__module__.startswith("torch.nn"):
                continue
            prefix = f"{where}." if where else ""
            yield from (plain_leaf(*place) for place in walk_value(prefix + name, value, partial(setattr, part, name)))


def _torch_leaf(path: str, parameter: Any) -> HeldArray:
    torch = _framework("torch")

    def write(array: Array) -> None:
        with torch.no_grad():
            parameter.data = torch.from_numpy(np.ascontiguousarray(array)).to(parameter.dtype)

    return HeldArray(path, lambda: as_array(parameter)[0], write, id(parameter))


def _keras_leaves(layer: Any) -> Iterator[HeldArray]:
    """Variables by the attributes that hold them: the names that Keras gives count the layers of the process."""
    attributes = {id(value): path for path, value, _ in walk(layer)}
    variables = layer.trainable_weights or layer.weights
    paths = [attributes.get(id(variable)) or str(variable.name).partition(":")[0] for variable in variables]
    # Without what holds them inside of Keras, as in _layers.0.kernel, where that leaves them told apart.
    shown = [re.sub(r"^_\w+\.(\d+\.)?", "", path) for path in paths]
    paths = shown if len(set(shown)) == len(shown) else paths
    for path, variable in zip(paths, variables, strict=True):
        yield HeldArray(path, lambda v=variable: as_array(v)[0], variable.assign, id(variable))


def _listed_leaves(thing: Any) -> Iterator[HeldArray]:
    """What ``get_weights`` returns, a list or a dict."""
    given = thing.get_weights()
    keys = list(given) if isinstance(given, Mapping) else range(len(given))

    def write(key: Any, array: Array) -> None:
        weights = thing.get_weights()
        weights = dict(weights) if isinstance(weights, Mapping) else list(weights)
        weights[key] = array
        thing.set_weights(weights)

    for key in keys:
        yield HeldArray(
            str(key),
            lambda k=key: as_array(thing.get_weights()[k])[0],
            lambda array, k=key: write(k, array),
            -1 - hash(key),
        )


def check_holder(holder: Holder, name: str) -> None:
    """Check that an object holds arrays at all.

    Raises:
        UserCodeError: If it holds none.
    """
    if not holder.leaves:
        raise UserCodeError(
            f"{name} holds no arrays of numbers: objects with weights are modules, layers, or have them as attributes",
            "wrong",
        )

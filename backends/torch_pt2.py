"""The graph of an exported program (.pt2), built operator by operator from its JSON; nothing in it is unpickled.

``torch.export.load`` unpickles, and evaluates expressions that are in the file: here only ``aten`` operators and
arithmetic of sizes are called, and weights are raw numbers. Source: PyTorch documentation, PT2 Archive Spec;
``torch._export.serde.schema``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from msgspec import Struct
from torch import fx
from torch._export.serde import serialize

from lockstep.backends.model_torch_file import Archive
from lockstep.harness.weights.model_file import ModelError

Size = int | None  # None where it is open

_ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
_ARITHMETIC = frozenset({
    "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge", "getitem",
})  # fmt: skip
# What checks sizes, and computes nothing.
_CHECKS = re.compile(r"torch\.ops\.aten\.(_assert\w*|sym_constrain_range\w*)\.|torch\._check")
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_string", "as_bool", "as_bools", "as_strings")
_WAY_OUT = "Give the module that it was exported of, as FILE.py:FUNCTION"


class Taken(Struct, frozen=True):
    """One input of a program."""

    name: str
    sizes: tuple[Size, ...]
    dtype: str


def read_graph(archive: Archive) -> tuple[fx.GraphModule, dict[str, str], list[Taken]]:
    """A program's graph, by attribute the names of its weights, and its inputs.

    Raises:
        ModelError: If it asks for what is not read.
    """
    return _Building(archive).built()


class _Building:
    def __init__(self, archive: Archive) -> None:
        self.archive, self.graph, self.root = archive, fx.Graph(), torch.nn.Module()
        self.values: dict[str, Any] = {}
        self.names: dict[str, str] = {}

    def built(self) -> tuple[fx.GraphModule, dict[str, str], list[Taken]]:
        program = self.archive.graph
        metas = program["graph"]["tensor_values"]
        taken = [_taken(name, metas) for name in self._inputs(program["signature"]["input_specs"])]
        for node in program["graph"]["nodes"]:
            self._node(node)
        specs = program["signature"]["output_specs"]
        self.graph.output(tuple(self._argument(spec["user_output"]["arg"]) for spec in specs if "user_output" in spec))
        return fx.GraphModule(self.root, self.graph), self.names, taken

    def _inputs(self, specs: list[Any]) -> list[str]:
        """Have inputs and weights stand in the graph; the inputs' names.

        Names in the graph are our own: it becomes Python code.
        """
        given = [spec["user_input"]["arg"] for spec in specs if "user_input" in spec]
        if any("as_tensor" not in argument for argument in given):
            raise ModelError(f"it takes inputs that are no tensors. {_WAY_OUT}.")
        names = [argument["as_tensor"]["name"] for argument in given]
        self.values |= {name: self.graph.placeholder(f"input_{k}") for k, name in enumerate(names)}
        for spec in specs:
            (kind, held), *_ = spec.items()
            if kind != "user_input":
                self._hold(kind, held)
        return names

    def _hold(self, kind: str, held: Mapping[str, Any]) -> None:
        name = held.get(f"{kind}_name", "")
        tensor = self.archive.tensors.get(name)
        if tensor is None:
            raise ModelError(f"it holds a {kind.replace('_', ' ')} {name} that is no plain tensor. {_WAY_OUT}.")
        path = f"weight_{len(self.names)}"
        if kind == "parameter" and tensor.is_floating_point():
            self.root.register_parameter(path, torch.nn.Parameter(tensor))
        else:
            self.root.register_buffer(path, tensor)
        self.names[path] = name
        self.values[held["arg"]["name"]] = self.graph.get_attr(path)

    def _node(self, node: Mapping[str, Any]) -> None:
        if _CHECKS.match(node["target"]):
            return
        target, positional, keywords = _called(node["target"]), [], {}
        for given in node["inputs"]:
            value = self._argument(given["arg"])
            if given.get("kind") == 2:  # noqa: PLR2004 (ArgumentKind.KEYWORD)
                keywords[given["name"]] = value
            else:
                positional.append(value)
        called = self.graph.call_function(target, tuple(positional), keywords)
        results = list(_results(node["outputs"]))
        # A list of tensors, or several of them, are items of what is returned.
        several = len(results) > 1 or any("as_tensors" in output for output in node["outputs"])
        for k, name in enumerate(results):
            self.values[name] = self.graph.call_function(operator.getitem, (called, k)) if several else called

    def _argument(self, argument: Mapping[str, Any]) -> Any:
        ((kind, value),) = argument.items()
        if kind == "as_none":
            return None
        if kind in _PLAIN:
            return value
        if kind in {"as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"}:
            return self._value(value)
        if kind in {"as_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"}:
            return [self._value(each) for each in value]
        if kind == "as_device":
            return torch.device("cpu")
        tables = {
            "as_scalar_type": serialize._SERIALIZE_TO_TORCH_DTYPE,  # noqa: SLF001
            "as_layout": serialize._SERIALIZE_TO_TORCH_LAYOUT,  # noqa: SLF001
            "as_memory_format": serialize._SERIALIZE_TO_TORCH_MEMORY_FORMAT,  # noqa: SLF001
        }
        if kind in tables:
            return tables[kind][value]
        raise ModelError(f"one of its operators is given {kind.removeprefix('as_')}, which is not read. {_WAY_OUT}.")

    def _value(self, given: Mapping[str, Any]) -> Any:
        if "as_none" in given:
            return None
        for plain in ("as_int", "as_float", "as_bool"):
            if plain in given:
                return given[plain]
        name = given.get("as_name") or given.get("as_tensor", given)["name"]
        return self.values[name]


def _called(target: str) -> Any:
    """The operator of a name.

    Raises:
        ModelError: If it is none of those that are called.
    """
    aten = _ATEN.fullmatch(target)
    if aten is not None:
        return getattr(getattr(torch.ops.aten, aten[1]), aten[2])
    package, _, name = target.rpartition(".")
    if package == "_operator" and name in _ARITHMETIC:
        return getattr(operator, name)
    raise ModelError(f"it calls {target}; only operators of aten are. {_WAY_OUT}.")


def _results(outputs: list[Any]) -> Iterator[str]:
    for output in outputs:
        ((kind, value),) = output.items()
        for each in value if kind == "as_tensors" else [value]:
            yield each.get("name") or each.get("as_name") or "" if isinstance(each, Mapping) else ""


def _taken(name: str, metas: Mapping[str, Any]) -> Taken:
    meta = metas[name]
    dtype = str(serialize._SERIALIZE_TO_TORCH_DTYPE[meta["dtype"]]).removeprefix("torch.")  # noqa: SLF001
    return Taken(name, tuple(size.get("as_int") for size in meta["sizes"]), dtype)

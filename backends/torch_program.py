"""A graph of PyTorch's operators as a module whose layers can be observed: what program files hold, without classes.

A layer is an operator that takes stored weights; it is called as the module that holds these. An ``aten.lstm`` becomes
an ``nn.LSTM``, which calls that operator. Source: PyTorch documentation, ``torch.fx``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.fx.node import map_aggregate
from torch.utils import _pytree as trees

_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32})
_LSTM = torch.ops.aten.lstm.input


class Operator(torch.nn.Module):
    """One operator of a graph."""

    def __init__(self, call: Any) -> None:
        """Take the operator."""
        super().__init__()
        self.call = call

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it."""
        return self.call(*arguments, **keywords)


class Program(torch.nn.Module):
    """A graph whose inputs and outputs are tensors in a row, its layers called as modules."""

    def __init__(self, module: fx.GraphModule, names: dict[str, str]) -> None:
        """Take a graph, and by attribute the names of its weights."""
        super().__init__()
        # One of torch.export's cannot be put into evaluation mode: a plain one of its graph can.
        self.module = module = fx.GraphModule(module, module.graph)
        for part in module.modules():
            for held in (part._parameters, part._buffers):  # noqa: SLF001
                for name, tensor in held.items():
                    # Those of a script are computed from others, and could not be copied.
                    held[name] = _plain(tensor)
        self._paths = _with_layers(module, names)

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Run the graph."""
        return self.module(*trees.tree_leaves((arguments, keywords)))

    def layers(self) -> dict[str, torch.nn.Module]:
        """The modules that compute something themselves, by name."""
        return {name: self.module.get_submodule(path) for name, path in self._paths.items()}

    def double(self) -> Program:
        """The graph in float64, the precisions that it asks for within it too."""
        super().double()
        for node in self.module.graph.nodes:
            node.args, node.kwargs = (_in_float64(given) for given in (node.args, node.kwargs))
        self.module.recompile()
        return self


def _plain(tensor: Any) -> Any:
    if tensor is None:
        return None
    copied = tensor.detach().clone()
    return torch.nn.Parameter(copied) if isinstance(tensor, torch.nn.Parameter) else copied


def _in_float64(arguments: Any) -> Any:
    return map_aggregate(
        arguments, lambda given: torch.float64 if isinstance(given, torch.dtype) and given in _FLOATS else given
    )


def _with_layers(module: fx.GraphModule, names: dict[str, str]) -> dict[str, str]:
    """Have each operator with weights called as a module; the paths of these by name."""
    graph, paths = module.graph, dict[str, str]()
    for node in list(graph.nodes):
        held = [given for given in node.all_input_nodes if given.op == "get_attr"]
        if node.op != "call_function" or not held:
            continue
        target = str(held[0].target)
        weight = names.get(target, target)
        name, k = weight.rpartition(".")[0] or weight, 1
        while name in paths:
            k += 1
            name = f"{weight.rpartition('.')[0] or weight}#{k}"
        paths[name] = f"lockstep_layer_{len(paths)}"
        with graph.inserting_before(node):
            if not _as_lstm(module, node, paths[name]):
                kind = getattr(node.target, "_schema", None)
                layer = type(kind.name.rpartition("::")[2] if kind else "operator", (Operator,), {})
                module.add_submodule(paths[name], layer(node.target))
                called = graph.call_module(paths[name], node.args, node.kwargs)
                node.replace_all_uses_with(called)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    _forget(module, {node.target for node in graph.nodes if node.op == "get_attr"})
    module.recompile()
    return paths


def _forget(module: torch.nn.Module, wanted: set[str]) -> None:
    """Leave out weights that an LSTM holds now: a tracer would take them for further inputs of it."""
    lstms = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, torch.nn.LSTM))
    for path in [*dict(module.named_parameters(remove_duplicate=False)), *dict(module.named_buffers())]:
        if path not in wanted and not path.startswith(lstms):
            owner, _, name = path.rpartition(".")
            delattr(module.get_submodule(owner), name)


def _as_lstm(module: fx.GraphModule, node: fx.Node, path: str) -> bool:
    """Replace an ``aten.lstm`` of stored weights by an ``nn.LSTM``; whether it was one."""
    if node.target is not _LSTM:
        return False
    arguments: Any = node.args
    x, hx, weights, bias, num_layers, dropout, _, bidirectional, batch_first = arguments
    if any(weight.op != "get_attr" for weight in weights):
        return False
    tensors = [held_at(module, weight.target) for weight in weights]
    H, P = tensors[0].shape[0] // 4, tensors[1].shape[1]
    lstm = torch.nn.LSTM(
        tensors[0].shape[1], H, num_layers, bias=bias, batch_first=batch_first, dropout=dropout,
        bidirectional=bidirectional, proj_size=P if P != H else 0, device="meta",
    )  # fmt: skip
    for name, tensor in zip([name for row in lstm._all_weights for name in row], tensors, strict=True):  # noqa: SLF001
        setattr(lstm, name, tensor if isinstance(tensor, torch.nn.Parameter) else torch.nn.Parameter(tensor))
    module.add_submodule(path, lstm.eval())
    graph = module.graph
    called = graph.call_module(path, (x, tuple(hx)))
    finals = graph.call_function(_item, (called, 1))
    outputs = [graph.call_function(_item, (called, 0)), *(graph.call_function(_item, (finals, k)) for k in (0, 1))]
    for user in list(node.users):  # each takes one of three
        number: Any = user.args[1]
        user.replace_all_uses_with(outputs[number])
        graph.erase_node(user)
    return True


def _item(values: Any, k: int) -> Any:
    return values[k]


def held_at(module: torch.nn.Module, path: str) -> Any:
    """What stands at a path of attributes."""
    *owners, name = path.split(".")
    for owner in owners:
        module = getattr(module, owner)
    return getattr(module, name)

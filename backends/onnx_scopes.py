"""ONNX graphs made plain for reading: functions inlined, subgraphs beside what is around them, nodes time-major.

A node inside If, Loop or Scan sees the tensors of the graphs around its own. Here each such subgraph is one flat model:
the nodes around it and its own, its inputs (what a Loop carries, a slice of a Scan) among the model's.
Sources: ONNX IR, Graphs, name resolution; ONNX operators, ``If``, ``Loop``, ``Scan``, ``LSTM-22``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper, inliner

FIRST_OPSET = 7  # of LSTM as it is now, and of onnxruntime
TURNED = "lockstep: of layout 1"  # in the doc_string of a node that was made time-major
_SEQUENCE_AND_STATES = (0, 5, 6)  # the inputs of a node that layout 1 turns: X, initial_h, initial_c


def attribute_of(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute of a node."""
    values = [helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return values[0] if values else default


@dataclass(frozen=True)
class Scope:
    """One graph that may hold LSTMs, flat."""

    path: str  # what the names of its nodes begin with; nothing of the model's own graph
    model: onnx.ModelProto
    lstms: tuple[onnx.NodeProto, ...]  # its own, not those of the graphs around it


def scopes_of(model: onnx.ModelProto) -> list[Scope]:
    """The model's own graph, and each subgraph that holds an LSTM; functions are inlined, nodes are time-major."""
    if model.functions:
        model = inliner.inline_local_functions(model, convert_version=True)
    _prepare(model.graph)
    return [Scope("", model, _lstms(model.graph.node)), *_inside(model, model.graph, "")]


def time_major(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    """A copy without functions whose LSTMs of layout 1 are time-major; whether it has any."""
    copied = onnx.ModelProto.FromString(model.SerializeToString())
    return copied, _turn_inside(copied.graph)


def _turn_inside(graph: onnx.GraphProto) -> bool:
    _prepare(graph)
    turned = [node.doc_string == TURNED for node in graph.node]
    return any([*turned, *(_turn_inside(subgraph) for node in graph.node for _, subgraph in _subgraphs(node))])


def without_layout(graph: onnx.GraphProto) -> None:
    """Have the LSTMs of a graph forget their layout."""
    for node in graph.node:
        if node.op_type == "LSTM":
            kept = [attribute for attribute in node.attribute if attribute.name != "layout"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The graphs that a node holds, each with the name of its attribute."""
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else list(attribute.graphs)
        yield from ((attribute.name, graph) for graph in graphs)


def _lstms(nodes: Iterable[onnx.NodeProto]) -> tuple[onnx.NodeProto, ...]:
    return tuple(node for node in nodes if node.op_type == "LSTM" and node.domain in {"", "ai.onnx"})


def _prepare(graph: onnx.GraphProto) -> None:
    """Name the nodes of a graph, and make its LSTMs time-major."""
    _name_nodes(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "LSTM" and attribute_of(node, "layout", 0):
            nodes += _time_major(node)
        else:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(nodes)


def _time_major(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A node of layout 1, batch first, as one of layout 0 between transpositions, which leave the tensors around it."""
    changed = onnx.NodeProto.FromString(node.SerializeToString())
    kept = [attribute for attribute in node.attribute if attribute.name != "layout"]
    del changed.attribute[:]
    changed.attribute.extend(kept)
    changed.doc_string = TURNED
    before, after = [], []
    for k in _SEQUENCE_AND_STATES:
        if len(node.input) > k and node.input[k]:
            changed.input[k] = f"{node.name}_lockstep_in_{k}"
            before.append(_transpose(node.input[k], changed.input[k], [1, 0, 2]))
    for k, name in enumerate(node.output):
        if name:
            changed.output[k] = f"{node.name}_lockstep_out_{k}"
            after.append(_transpose(changed.output[k], name, [1, 0, 2] if k else [2, 0, 1, 3]))
    return [*before, changed, *after]


def _transpose(source: str, target: str, perm: list[int]) -> onnx.NodeProto:
    return helper.make_node("Transpose", [source], [target], name=f"lockstep_{target}", perm=perm)


def _inside(model: onnx.ModelProto, graph: onnx.GraphProto, path: str) -> Iterator[Scope]:
    for node in graph.node:
        for attribute, subgraph in _subgraphs(node):
            _prepare(subgraph)
            inside = f"{path}{node.name}.{attribute}."
            flat = _flat(model, subgraph)
            lstms = _lstms(flat.graph.node[len(model.graph.node) :])
            if lstms:
                yield Scope(inside, flat, lstms)
            yield from _inside(flat, subgraph, inside)


def _flat(model: onnx.ModelProto, subgraph: onnx.GraphProto) -> onnx.ModelProto:
    """A model whose graph has the nodes around a subgraph, then its own."""
    flat = onnx.ModelProto.FromString(model.SerializeToString())
    for field in ("node", "initializer", "input", "value_info"):
        getattr(flat.graph, field).extend(getattr(subgraph, field))
    return flat


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give each node a name of its own: by its first output where it has none, or one that was there before."""
    taken: set[str] = set()
    for node in graph.node:
        output = next(filter(None, node.output), node.op_type)
        # A function that is called twice is inlined twice, under the same names.
        node.name = node.name if node.name and node.name not in taken else output
        taken.add(node.name)

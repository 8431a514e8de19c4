"""How the initial states of an ONNX network are fed, however its graph takes them: apart, by layer, or packed in one.

Which number of which input comes out where at a node is found by running the nodes between them, which move numbers and
change none, on the numbers 0, 1, 2 ...
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from lockstep.backends.onnxruntime_session import session_of
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import Problem


@dataclass(frozen=True)
class StateFeeds:
    """The inputs that take initial states."""

    inputs: tuple[onnx.ValueInfoProto, ...]
    at_nodes: tuple[str, ...]  # the tensors that nodes start from: h of each layer, then c of each
    from_input: tuple[str, ...]  # the input that each of these comes from
    part: onnx.ModelProto | None  # the nodes between; None where the inputs are the nodes' own
    lane_shape: tuple[int, int]  # directions, units

    def arrays(self, problem: Problem) -> Arrays:
        """The inputs' arrays that make the nodes start from the states of a problem."""
        D, _ = self.lane_shape
        shapes, places = self.places(problem.case.run.batch)
        flat = np.zeros(sum(map(prod, shapes)), problem.x.dtype)
        layers = len(places) // 2
        for k, place in enumerate(places):
            states = problem.states("c0" if k >= layers else "h0")
            flat[place] = states[k % layers * D : (k % layers + 1) * D]
        ends = np.cumsum([0, *map(prod, shapes)])
        return {
            info.name: flat[ends[k] : ends[k + 1]].reshape(shape).astype(_dtype(info))
            for k, (info, shape) in enumerate(zip(self.inputs, shapes, strict=True))
        }

    def places(self, batch: int) -> tuple[list[tuple[int, ...]], list[Array]]:
        """The inputs' shapes, and of each tensor at a node where its numbers stand in them, one after the other.

        Raises:
            ValueError: If that cannot be found out.
        """
        D, H = self.lane_shape
        shapes = [_shape(info, self.from_input.count(info.name) * D, batch, H) for info in self.inputs]
        numbers = np.split(np.arange(sum(map(prod, shapes))), np.cumsum([prod(shape) for shape in shapes])[:-1])
        named = {info.name: part.reshape(shape) for info, shape, part in zip(self.inputs, shapes, numbers, strict=True)}
        if self.part is None:  # nothing lies between
            return shapes, [named[name] for name in self.at_nodes]
        fed = {info.name: named[info.name].astype(_dtype(info)) for info in self.inputs}
        if any(not np.array_equal(fed[name].astype(np.int64), named[name]) for name in fed):
            raise ValueError("more numbers than its dtype can count")
        found = session_of(self.part.SerializeToString(), silent=True).run(None, fed)
        places = [np.asarray(array).astype(np.int64) for array in found]
        if any(place.shape != (D, batch, H) for place in places):
            raise ValueError("nodes get states of other shapes than they have")
        return shapes, places

    def shared(self, batch: int) -> bool:
        """Whether two nodes, or h and c of one, start from the same numbers."""
        _, places = self.places(batch)
        together = np.concatenate([place.ravel() for place in places])
        return len(np.unique(together)) < len(together)


def at_the_nodes(feeds: StateFeeds) -> StateFeeds:
    """The same states fed where the nodes take them, for inputs of which nothing could be found out."""
    D, H = feeds.lane_shape
    kind = feeds.inputs[0].type.tensor_type.elem_type
    inputs = tuple(helper.make_tensor_value_info(name, kind, [D, None, H]) for name in dict.fromkeys(feeds.at_nodes))
    return StateFeeds(inputs, feeds.at_nodes, feeds.at_nodes, None, feeds.lane_shape)


def _dtype(info: onnx.ValueInfoProto) -> Any:
    return helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)


def _shape(info: onnx.ValueInfoProto, rows: int, batch: int, width: int) -> tuple[int, ...]:
    """An input's shape: sizes that are open are those that its numbers, ``rows`` times the batch times H, ask for."""
    sizes = [dim.dim_value or None for dim in info.type.tensor_type.shape.dim]
    total, usual = (
        rows * batch * width,
        {4: (2, rows // 2, batch, width), 3: (rows, batch, width), 2: (batch, rows * width)},
    )
    if len(sizes) not in usual:
        raise ValueError(f"{len(sizes)} axes")
    known = prod(size for size in sizes if size)
    if sizes.count(None) == 1:
        return tuple(size or total // known for size in sizes)
    return tuple(size or guess for size, guess in zip(sizes, usual[len(sizes)], strict=True))

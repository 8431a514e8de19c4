"""A port made of an object: a function of x, weights, h0 and c0 that sets the object's weights and calls it."""

from __future__ import annotations

import inspect
from functools import cached_property
from time import perf_counter
from typing import Any

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import Weights
from lockstep.harness.ports.framework_arrays import differs
from lockstep.harness.ports.objects.build import PROBE, Maker
from lockstep.harness.ports.objects.calling import Caller
from lockstep.harness.ports.objects.discover import ObjectFound, UncalledError, asked_part, discover, discover_part
from lockstep.harness.ports.objects.holders import Holder
from lockstep.harness.ports.objects.mapping import Sizes
from lockstep.harness.ports.objects.rule import Rule
from lockstep.harness.ports.objects.taken import Taken, taken_of
from lockstep.harness.text import counted


class ObjectPort:
    """An object, called as a port of one plain layer is."""

    __name__: str

    def __init__(self, maker: Maker, rule: Rule | None = None) -> None:
        """Make the object; what it is, is found out when that is asked for, or at the first call.

        Raises:
            UserCodeError: If making it fails.
        """
        self._maker, self._rule, self.__name__ = maker, rule or Rule(), maker.name
        self._asked = asked_part(maker.make(PROBE), maker.name)
        self._put_back = self._asked[0].remembered()
        self._objects: dict[Sizes, tuple[Holder, Arrays]] = {}
        self.__signature__ = _signature(lengths=self._asked[1].lengths is not None)
        self.notes: tuple[str, ...] = ()  # on the last call

    @cached_property
    def _found(self) -> ObjectFound:
        try:
            return discover(*self._asked, self._maker, self._rule)
        except UncalledError as error:
            if not error.part:
                raise
            found, self._maker = discover_part(self._maker, self._rule, error)
            return found

    @cached_property
    def taken(self) -> Taken:
        """What the object was taken for.

        Raises:
            UserCodeError: If that cannot be found out.
        """
        started = perf_counter()
        return taken_of(self._found, self._maker.name, perf_counter() - started)

    def __call__(
        self, x: Array, weights: Any, h0: Array, c0: Array, lengths: Array | None = None
    ) -> dict[str, Array | None]:
        """Results of the object for a problem, as a port gives them.

        Raises:
            UserCodeError: If the object has no place for what it is given.
        """
        sizes = Sizes(x.shape[-1], h0.shape[-1])
        self._check(sizes, weights, h0, c0)
        holder, before = self._object(sizes)
        caller = Caller(holder, self._found.entry)
        caller.plan = tuple(result.path for result in self._found.results)
        arrays = self._found.mapping.arrays([Weights(w["W"], w["R"], w["b"]) for w in _lanes(weights)])
        with holder.evaluating(x.dtype.name):
            holder.write(arrays)
            written = holder.read()
            try:
                given = caller(self._found.style, x, h0, c0, lengths)
                left = holder.read()
            finally:
                holder.write({path: before[path] for path in arrays})
        self.notes = tuple(f"it changed its own {path}" for path in arrays if differs(left[path], written[path]))
        return self._read(given)

    def restore(self) -> None:
        """Put all arrays back, and buffers, as they were before the object was first called."""
        self._put_back()

    def _object(self, sizes: Sizes) -> tuple[Holder, Arrays]:
        """The object of these sizes, and what its arrays were."""
        if sizes not in self._objects:
            holder, _ = asked_part(self._maker.make(sizes), self._maker.name)
            self._objects[sizes] = holder, holder.read()
        return self._objects[sizes]

    def _check(self, sizes: Sizes, weights: Any, h0: Array, c0: Array) -> None:
        mapping = self._found.mapping
        why = None
        lanes, layers = _lanes(weights), 1 if isinstance(weights, dict) else len(weights)
        if (layers, len(lanes)) != (mapping.layers, mapping.lanes):
            why = f"it has {counted(mapping.layers, 'layer')} of {counted(mapping.directions, 'direction')}"
        elif any({"P", "p", "clip"} & lane.keys() for lane in lanes):
            why = "an object is checked as a plain layer, without projection, peepholes or clip"
        elif self._found.fixed and sizes != mapping.sizes:
            why = f"its sizes are fixed: input {mapping.sizes.input_size}, hidden {mapping.sizes.hidden_size}"
        elif not self._found.takes_states and (h0.any() or c0.any()):
            why = "it takes no initial h and c"
        elif not mapping.biases and any(lane["b"].any() for lane in lanes):
            why = "it has no bias"
        if why is not None:
            raise UserCodeError(why, "unsupported")

    def _read(self, given: Arrays) -> dict[str, Array | None]:
        named: dict[str, Array] = {}
        for path, role, batch_first in self._found.results:
            named[role] = given[path].swapaxes(0, 1) if batch_first else given[path]
        h_seq, c = named["h_seq"], named.get("c")
        if self._found.mapping.lanes > 1:
            return {"h_seq": h_seq, "h_n": named.get("h"), "c_n": c}
        final = None if c is None else c.reshape(h_seq.shape[1], -1)
        return {"h_seq": h_seq, "c_seq": named.get("c_seq", final)}


def _lanes(weights: Any) -> list[dict[str, Array]]:
    """The weights of each cell, layer by layer, forward before reverse."""
    return [weights] if isinstance(weights, dict) else [lane for layer in weights for lane in layer]


def _signature(*, lengths: bool) -> inspect.Signature:
    """The parameters of a port: lengths only where the object takes them."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("x", "weights", "h0", "c0")]
    return inspect.Signature([*parameters, *([inspect.Parameter("lengths", kind, default=None)] if lengths else [])])

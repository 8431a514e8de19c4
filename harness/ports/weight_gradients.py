"""Gradients of weights that a port returns in a layout, as it was handed the weights: read back lane by lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.cases.tensors import lanes, name_of, weight_shapes
from lockstep.harness.text import counted
from lockstep.harness.weights.arranged import Arranged, arranged, by_lane
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import gradients_of, store

ReadArray = Callable[[str, Any, tuple[int, ...]], Array]  # of a place, what stands there, the shape it must have


def read_gradients(returned: Any, case: Case, layout: str, read: ReadArray) -> tuple[Arrays, list[str]]:
    """The gradients of canonical weights by tensor, and the places at which nothing was returned.

    Raises:
        UserCodeError: If it has not the form of the weights that were handed over.
    """
    dialect = DIALECTS[layout]
    wanted = _handed(case, dialect)
    given = _Given(read)
    arrays, is_there = given.taken(returned, wanted, "weights"), given.is_there
    canonical, complete = (_canonical(tree, case, dialect) for tree in (arrays, _filled(wanted, is_there, "weights")))
    return {name: array for name, array in canonical.items() if complete[name].all()}, given.absent


def _handed(case: Case, dialect: Dialect) -> Arranged:
    """Arrays of the form of the weights that a port is handed."""
    lstm, dtype = case.lstm, dtype_of(case.run.dtype)
    shapes = [weight_shapes(lstm, layer) for layer in range(lstm.num_layers)]
    stored = [
        [store({name: np.zeros(shape, dtype) for name, shape in of_lane.items()}, dialect) for _ in lstm.directions]
        for of_lane in shapes
    ]
    return arranged(stored, dialect, lstm)


class _Given:
    """Goes through what was returned beside what was handed over."""

    def __init__(self, read: ReadArray) -> None:
        self._read = read
        self.absent: list[str] = []
        self.is_there: dict[str, bool] = {}

    def taken(self, returned: Any, wanted: Any, place: str) -> Any:
        """What was returned as arrays of the wanted form, zeros where there is nothing."""
        if isinstance(wanted, dict):
            self._check(returned, isinstance(returned, Mapping), f"a dict of {', '.join(wanted)}", place)
            unknown = [str(name) for name in returned if name not in wanted and name != "clip"]
            if unknown:
                raise UserCodeError(
                    f"{place} holds {', '.join(unknown)}, of which nothing is known. Allowed: {', '.join(wanted)}"
                )
            parts = ((name, returned.get(name), part) for name, part in wanted.items())
            return {name: self.taken(value, part, f"{place}[{name!r}]") for name, value, part in parts}
        if isinstance(wanted, list):
            is_list = isinstance(returned, (list, tuple)) and len(returned) == len(wanted)
            self._check(
                returned,
                is_list,
                f"a list of {counted(len(wanted), 'array' if isinstance(wanted[0], np.ndarray) else 'layer')}",
                place,
            )
            pairs = enumerate(zip(returned, wanted, strict=True))
            return [self.taken(value, part, f"{place}[{k}]") for k, (value, part) in pairs]
        self.is_there[place] = returned is not None
        if returned is None:
            self.absent.append(place)
            return wanted
        return self._read(place, returned, wanted.shape)

    def _check(self, returned: Any, fits: bool, form: str, place: str) -> None:  # noqa: FBT001 (what was asked of it)
        if not fits:
            size = f" of {len(returned)}" if isinstance(returned, (list, tuple, Mapping)) else ""
            raise UserCodeError(
                f"{place} is a {type(returned).__name__}{size}, expected {form}: gradients have the form of the weights"
            )


def _filled(wanted: Any, is_there: Mapping[str, bool], place: str) -> Any:
    """The wanted form, in each array whether it was returned."""
    if isinstance(wanted, dict):
        return {name: _filled(part, is_there, f"{place}[{name!r}]") for name, part in wanted.items()}
    if isinstance(wanted, list):
        return [_filled(part, is_there, f"{place}[{k}]") for k, part in enumerate(wanted)]
    return np.full(wanted.shape, is_there[place])


def _canonical(tree: Arranged, case: Case, dialect: Dialect) -> Arrays:
    """The gradients of canonical weights of all lanes, by tensor."""
    lstm = case.lstm
    flat = [lane for layer in by_lane(tree, dialect, lstm) for lane in layer]
    return {
        name_of(kind, lane, lstm): array
        for lane, arrays in zip(lanes(lstm), flat, strict=True)
        for kind, array in gradients_of(_biases_alike(arrays, dialect), dialect, bias=lstm.bias).items()
    }


def _biases_alike(arrays: Arrays, dialect: Dialect) -> Arrays:
    """Of two biases, which are summed, each has the gradient of the sum: their mean is wrong where either is."""
    if dialect.biases != "two":
        return arrays
    flat = np.concatenate([arrays[name] for name in dialect.bias], axis=-1)
    first, second = np.split(flat, 2, axis=-1)
    mean = first & second if flat.dtype == bool else first / 2 + second / 2
    both = np.split(np.concatenate([mean, mean], axis=-1), len(dialect.bias), axis=-1)
    return arrays | dict(zip(dialect.bias, both, strict=True))

"""The names of weights in the files of problems and answers: those of the layout, in a network with the lane."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.tensors import lanes
from lockstep.harness.weights.arranged import Arranged


def weight_names(weights: Arranged, lstm: LSTM) -> Any:
    """The name of each array, in the form in which a layout has the weights of a network."""
    if isinstance(weights, dict):  # of one lane, or together in a dict that tells the lanes
        return _suffixed(weights, "")
    if isinstance(weights[0], dict):  # of each layer, directions in one array
        return [_suffixed(layer, f"_l{k}") for k, layer in enumerate(weights)]
    if isinstance(weights[0], np.ndarray):  # Keras' list, in which each lane has the same three
        kinds = ("kernel", "recurrent_kernel", "bias")
        return [f"{kind}{lane.suffix}" for lane in lanes(lstm) for kind in kinds]
    suffixes = iter([lane.suffix for lane in lanes(lstm)])
    return [[_suffixed(arrays, next(suffixes)) for arrays in layer] for layer in weights]


def _suffixed(names: Iterable[str], suffix: str) -> dict[str, str]:
    return {name: name + suffix for name in names}


def flat_names(names: Any) -> list[str]:
    """All names, in order."""
    if isinstance(names, str):
        return [names]
    return [name for part in (names.values() if isinstance(names, dict) else names) for name in flat_names(part)]


def by_names(weights: Any, names: Any) -> Arrays:
    """The arrays of a network's weights by their names."""
    if isinstance(names, str):
        return {names: weights}
    keys = names if isinstance(names, dict) else range(len(names))
    return {name: array for key in keys for name, array in by_names(weights[key], names[key]).items()}


def in_form(arrays: Arrays, names: Any) -> Any:
    """Turn round what ``by_names`` gave; None where there is no array of a name."""
    if isinstance(names, str):
        return arrays.get(names)
    if isinstance(names, dict):
        return {key: in_form(arrays, name) for key, name in names.items()}
    return [in_form(arrays, name) for name in names]

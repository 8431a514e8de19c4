"""How the weights of a network stand in a layout: in one dict, in one list, or in a list over layers.

A framework that has layers and directions of its own keeps their weights together: ``arranged`` puts them so, and
``by_lane`` takes them apart again. In the other layouts they stay a list over layers of a list over directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import LSTM
from lockstep.harness.weights.dialect import Dialect

Arranged = dict[str, Any] | list[Any]
StoredLanes = list[list[Arrays]]  # layer by layer, forward before reverse: what ``layout.store`` gives of each

FIRST_LANE = "_l0"  # what names of the first lane end in, where those of others end in _l1, _l1_reverse
_OF_KERAS = ("kernel", "recurrent_kernel", "bias")  # in the order of get_weights()


def arranged(lanes: StoredLanes, dialect: Dialect, lstm: LSTM) -> Arranged:
    """The stored weights of all lanes as a layout has those of a network; of one lane they are its dict."""
    if lstm.single:
        return lanes[0][0]
    if dialect.directions_axis:
        return [{name: np.concatenate([lane[name] for lane in layer]) for name in layer[0]} for layer in lanes]
    if dialect.name == "keras":
        return [lane[name] for layer in lanes for lane in layer for name in _OF_KERAS]
    if not _in_one_dict(dialect):
        return lanes
    return {
        name_in(dialect, lstm, name, k, d): array
        for k, layer in enumerate(lanes)
        for d, lane in enumerate(layer)
        for name, array in lane.items()
    }


def by_lane(weights: Arranged, dialect: Dialect, lstm: LSTM) -> StoredLanes:
    """Turn round what ``arranged`` gave."""
    if lstm.single:
        assert isinstance(weights, dict)
        return [[weights]]
    directions = range(len(lstm.directions))
    if dialect.directions_axis:
        assert isinstance(weights, list)
        return [[{name: array[d : d + 1] for name, array in layer.items()} for d in directions] for layer in weights]
    if dialect.name == "keras":
        arrays: Iterator[Any] = iter(weights)
        return [[{name: next(arrays) for name in _OF_KERAS} for _ in directions] for _ in range(lstm.num_layers)]
    if not _in_one_dict(dialect):
        assert isinstance(weights, list)
        return weights
    assert isinstance(weights, dict)
    names = (*dialect.names, dialect.projection, *dialect.peepholes)
    return [
        [
            {name: weights[full] for name in names if (full := name_in(dialect, lstm, name, k, d)) in weights}
            for d in directions
        ]
        for k in range(lstm.num_layers)
    ]


def _in_one_dict(dialect: Dialect) -> bool:
    return dialect.name == "tf1" or dialect.input_kernel[0].endswith(FIRST_LANE)


def name_in(dialect: Dialect, lstm: LSTM, name: str, layer: int, direction: int) -> str:
    """The name of a lane's array among those of a network."""
    if dialect.name == "tf1":
        return _scope(lstm, layer, direction) + name
    return of_lane(name, f"_l{layer}{'_reverse' if direction else ''}")


def of_lane(name: str, suffix: str) -> str:
    """The name that an array of the first lane has in another; a name that tells no lane stays what it is."""
    return name.removesuffix(FIRST_LANE) + suffix if name.endswith(FIRST_LANE) else name


def _scope(lstm: LSTM, layer: int, direction: int) -> str:
    """The variable scope of a cell, by what builds such a network.

    dynamic_rnn over a MultiRNNCell, bidirectional_dynamic_rnn, stack_bidirectional_dynamic_rnn of tf.contrib.
    """
    cell = "lstm_cell" if lstm.proj_size or lstm.peephole else "basic_lstm_cell"
    if len(lstm.directions) == 1:
        return f"rnn/multi_rnn_cell/cell_{layer}/{cell}/"
    scope = f"bidirectional_rnn/{'bw' if direction else 'fw'}/{cell}/"
    return scope if lstm.num_layers == 1 else f"stack_bidirectional_rnn/cell_{layer}/{scope}"

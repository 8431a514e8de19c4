"""Layers and directions, built of TF1's functions that run one cell over time.

As users build them: layers of one direction are a ``MultiRNNCell``; those of both follow each other, each one call of
the function that runs two cells, whose outputs are added or multiplied where a case merges them. A direction that is
the reverse one alone is the forward one, with the input turned round before it and the output after it, each sequence
within its length. Source: TensorFlow 2.21, ``tf.compat.v1.nn``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from lockstep.backends.lanes import joined
from lockstep.backends.tf1_graph import Network, Unrolled

tf1 = tf.compat.v1

# From a cell, x (T, B, I), its first state and lengths (B,) or None: h (T, B, P) and the final state.
OneWay = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
# From two cells, x, their first states and lengths: h (T, B, 2 P) and both final states.
BothWays = Callable[[list[Any], Any, list[Any], Any], tuple[Any, list[Any]]]


def unroll(network: Network, one_way: OneWay, both_ways: BothWays) -> Unrolled:
    """Run all layers and directions of ``network``."""
    return _both_ways(network, both_ways) if len(network.lstm.directions) > 1 else _one_way(network, one_way)


def _one_way(n: Network, one_way: OneWay) -> Unrolled:
    cells, states, reverse = list(n.cells.values()), tuple(n.states.values()), n.lstm.direction == "reverse"
    x = _turned(n.x, n.ends.lengths) if reverse else n.x
    if len(cells) == 1:
        h, final = one_way(cells[0], x, states[0], n.ends.lengths)
        final = (final,)
    else:
        h, final = one_way(tf1.nn.rnn_cell.MultiRNNCell(cells), x, states, n.ends.lengths)
    return Unrolled(_turned(h, n.ends.lengths) if reverse else h, dict(zip(n.cells, final, strict=True)))


def _both_ways(n: Network, both_ways: BothWays) -> Unrolled:
    h, final = n.x, {}
    for layer, lanes in enumerate(n.layers()):
        # Without a scope of its own a layer would find the variables of the one below.
        with tf1.variable_scope(f"layer_{layer}"):
            h, states = both_ways(
                [n.cells[lane] for lane in lanes], h, [n.states[lane] for lane in lanes], n.ends.lengths
            )
        if n.lstm.merged:
            h = joined(n.lstm, tf.split(h, 2, axis=-1), lambda parts: tf.concat(parts, -1))
        final |= dict(zip(lanes, states, strict=True))
    return Unrolled(h, final)


def _turned(array: Any, lengths: Any) -> Any:
    """Turn (T, B, n) round, each sequence within its own length; what lies past it stays where it is."""
    if lengths is None:
        return tf.reverse(array, [0])
    return tf.reverse_sequence(array, lengths, seq_axis=0, batch_axis=1)

"""The four gates of an LSTM, and the blocks that an array has of them.

Weights stack one block for each gate along their first axis: W (4H, I), R (4H, H), b (4H,). Frameworks stack them in
different orders; ``reorder`` is the one place where blocks change places.
"""

from __future__ import annotations

from collections.abc import Iterable

from lockstep.harness.arrays import Array

GATES = "ifgo"  # the canonical order: input gate, forget gate, candidate, output gate


def blocks(array: Array) -> Array:
    """The blocks of the four gates, (4, n, ...), of an array (4n, ...)."""
    return array.reshape(4, len(array) // 4, *array.shape[1:])


def block(array: Array, gate: str) -> Array:
    """The block of one gate, (n, ...), of an array (4n, ...) in canonical order, as a view."""
    n, k = len(array) // 4, GATES.index(gate)
    return array[k * n : (k + 1) * n]


def split_gates(array: Array) -> tuple[Array, Array, Array, Array]:
    """The parts i, f, g, o of gates side by side along the last axis, (..., H) of (..., 4H), as views."""
    H = array.shape[-1] // 4
    return array[..., :H], array[..., H : 2 * H], array[..., 2 * H : 3 * H], array[..., 3 * H :]


def reorder(array: Array, order: Iterable[str], wanted: Iterable[str] = GATES) -> Array:
    """Stack the blocks of gates of an array (4n, ...) in another order, as a new array.

    ``order`` are the gates of its blocks, such as "iofg", ``wanted`` those of the new array's; one may stand twice.
    """
    stacked = [*order]
    return blocks(array)[[stacked.index(gate) for gate in wanted]].reshape(array.shape)

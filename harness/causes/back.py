"""The way back along a tape: gradients of values, and the uses of weights that their gradients are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.causes.tape import Node, Slot, Tape, variance_of


def go_back(tape: Tape, cotangents: list[tuple[Node, Node]]) -> Callable[[Node], Node | None]:
    """Go back from results with their cotangents; weights collect their uses.

    Args:
        tape: What was recorded.
        cotangents: Results, and what comes back to each.

    Returns:
        A function that gives the gradient of a value; None where nothing depends on it.
    """
    whole: dict[int, Node] = {}
    parts: dict[int, dict[int, Node]] = {}
    kinds: dict[int, tuple[str, int]] = {}

    def plus(node: Node, gradient: Node, slot: Slot | None) -> None:
        key = id(node)
        if slot is None:
            whole[key] = _plus(tape, whole[key], gradient) if key in whole else gradient
            return
        kind, k, count = slot
        kinds[key] = (kind, count)
        own = parts.setdefault(key, {})
        own[k] = _plus(tape, own[k], gradient) if k in own else gradient

    def gradient_of(node: Node) -> Node | None:
        key = id(node)
        if key in parts:
            joined = _joined(parts.pop(key), *kinds[key])
            whole[key] = _plus(tape, whole[key], joined) if key in whole else joined
        return whole.get(key)

    recorded, tape.records = tape.recorded, False
    try:
        for result, cotangent in cotangents:
            plus(result, cotangent, None)
        for node in reversed(recorded):
            gradient = gradient_of(node)
            if gradient is None:
                continue
            for leaf, step, use in node.uses:
                left, right = use(gradient)
                known = leaf.uses.get(step)
                # Rows of peepholes are used one by one.
                leaf.uses[step] = (left if known is None else accumulated(known[0], left), right)
            for operand, pull, slot in node.sources:
                plus(operand, pull(gradient), slot)
    finally:
        tape.records = True
    return gradient_of


def accumulated(one: Node, other: Node) -> Node:
    """A sum of which one part is 0 everywhere: nothing is rounded."""
    exact = one.variance is None and other.variance is None
    return Node(one.value + other.value, None if exact else variance_of(one) + variance_of(other))


def _plus(tape: Tape, one: Node, other: Node) -> Node:
    """Add what comes back from two uses; where one is 0, as past a sequence's end, nothing is rounded."""
    found = accumulated(one, other)
    if not tape.noisy:
        return found
    rounded = np.where((one.value == 0) | (other.value == 0), 0, tape.noise.rounded(found.value))
    if tape.kick is not None:
        return Node(tape.kick(found.value, rounded))
    return Node(found.value, variance_of(found) + rounded)


def _joined(parts: dict[int, Node], kind: str, count: int) -> Node:
    """Put the gradients of parts in their places, zeros where nothing came back."""
    shape = np.broadcast_shapes(*(part.value.shape for part in parts.values()))
    first = next(iter(parts.values()))

    def put(array_of: Callable[[Node], Array]) -> Array:
        arrays = [
            np.broadcast_to(array_of(parts[k]), shape) if k in parts else np.zeros(shape, first.value.dtype)
            for k in range(count)
        ]
        return np.concatenate(arrays, axis=-1) if kind == "columns" else np.stack(arrays)

    exact = all(part.variance is None for part in parts.values())
    return Node(put(lambda part: part.value), None if exact else put(variance_of))

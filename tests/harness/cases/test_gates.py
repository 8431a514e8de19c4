"""Blocks of gates: taken, split, and stacked in another order."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from lockstep.harness.cases.gates import GATES, block, blocks, reorder, split_gates

ORDERS = ["".join(order) for order in permutations(GATES)]
NUMBERS = np.arange(24).reshape(8, 3)  # two rows for each gate


@pytest.mark.parametrize("order", ORDERS)
def test_a_stacking_of_blocks_is_brought_to_the_canonical_order_and_back(order):
    stacked = np.concatenate([block(NUMBERS, gate) for gate in order])
    assert (reorder(stacked, order) == NUMBERS).all()
    assert (reorder(NUMBERS, GATES, order) == stacked).all()


def test_a_gate_may_stand_twice():
    assert (block(reorder(NUMBERS, GATES, "iigo"), "f") == block(NUMBERS, "i")).all()


def test_a_reordered_array_is_a_new_one():
    assert not np.shares_memory(reorder(NUMBERS, GATES), NUMBERS)


def test_blocks_stand_by_gate_along_the_first_axis_or_side_by_side_along_the_last():
    for k, gate in enumerate(GATES):
        assert (blocks(NUMBERS)[k] == block(NUMBERS, gate)).all()
        assert (block(NUMBERS, gate) == split_gates(NUMBERS.T)[k].T).all()

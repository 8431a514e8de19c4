"""What an array of the wrong shape probably is; a shape that looks like nothing gets no guess."""

from __future__ import annotations

import pytest
from lstm_cases import make_case

from lockstep.harness.ports.shape_errors import input_hint, shape_hint, state_hint, weight_hint


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((5, 3, 4), ""),
        ((5, 5, 4), ""),
        ((10, 4), "flattened"),
        ((4, 2), "only the last timestep, transposed"),
        ((1, 2, 4), "only the last timestep"),
        ((5, 2, 8), "side by side"),
        ((4, 2, 4), "a timestep left out"),
        ((5, 2, 4, 1), "an axis of length 1 too many"),
        ((4, 2, 5), "axes in the order (H, B, T)"),
        ((3, 2, 4), "cut at the longest sequence"),
    ],
)
def test_shapes_are_told_apart(shape, hint):
    found = shape_hint(shape, make_case(timesteps=5, batch=2, hidden_size=4, input_size=6, lengths=(3, 2)))
    assert hint in found if hint else not found


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((2, 5, 6), "batch-major"),
        ((4, 2, 6), "a timestep left out"),
        ((2, 6), "only the last timestep"),
        ((6, 2, 5), "axes in the order (I, B, T)"),
        ((5, 2, 7), ""),
    ],
)
def test_shapes_of_the_inputs_gradient_are_told_apart(shape, hint):
    found = input_hint(shape, make_case(timesteps=5, batch=2, hidden_size=4, input_size=6))
    assert hint in found if hint else not found


def test_of_one_lane_nothing_is_said_of_layers():
    case = make_case(timesteps=5, batch=2, hidden_size=4)
    assert state_hint((4, 2), (2, 4), case) == "transposed?"
    assert state_hint((3, 2, 4), (2, 4), case) == ""


def test_a_square_weight_is_not_taken_for_its_transpose():
    case = make_case(timesteps=5, batch=2, hidden_size=4, input_size=16)
    assert weight_hint((5, 16, 16), (16, 16), case) == "one for each timestep? add them up"
    assert weight_hint((3, 3), (16, 16), case) == ""

"""Sequences that arrive in pieces: how they are cut and joined, and which cases cannot be."""

import numpy as np
import pytest
from lstm_cases import make_case
from msgspec.structs import replace

from lockstep.harness.cases.case import AttentionDecoder, Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.streaming import final_states, joined, pieces_of


def problem(**changes):
    settings = {"timesteps": 12, "batch": 3, "initial_state": "probe", "chunks": (4, 1, 7)}
    return Problem.from_case(make_case("probe", **settings | changes))


def test_pieces_cut_inputs_and_lengths():
    whole = problem(lengths=(12, 2, 5))
    pieces = pieces_of(whole)
    assert [piece.case.run.timesteps for piece in pieces] == [len(piece.x) for piece in pieces] == [4, 1, 7]
    assert [piece.case.run.lengths for piece in pieces] == [(4, 2, 4), (1, 0, 1), (7, 0, 0)]
    assert [piece.lengths.tolist() for piece in pieces] == [[4, 2, 4], [1, 0, 1], [7, 0, 0]]
    np.testing.assert_array_equal(np.concatenate([piece.x for piece in pieces]), whole.x)
    assert {piece.case.run.chunks for piece in pieces} == {None}


def test_resets_are_those_of_each_piece():
    whole = problem(resets=((0, 4, 11), (), (5, 6)))
    pieces = pieces_of(whole)
    assert [piece.case.run.resets for piece in pieces] == [((0,), (), ()), ((0,), (), ()), ((6,), (), (0, 1))]
    np.testing.assert_array_equal(np.concatenate([piece.resets for piece in pieces]), whole.resets)


def test_inputs_of_zeros_are_those_of_the_whole():
    cut = problem(inputs=Values(kind="probe", zero_timesteps=(5,)))
    assert [bool(piece.x.any(axis=(1, 2)).all()) for piece in pieces_of(cut)] == [True, True, False]
    assert not pieces_of(cut)[2].x[0].any()


def test_the_final_state_of_a_sequence_is_that_of_its_last_valid_timestep():
    piece = pieces_of(problem(lengths=(12, 2, 0)))[0]
    h = np.arange(4 * 3 * piece.h0.shape[1], dtype=np.float32).reshape(4, 3, -1)
    starts = final_states({"h": h, "c": h + 100}, piece)
    np.testing.assert_array_equal(starts["h0"], [h[3, 0], h[1, 1], piece.h0[2]])
    np.testing.assert_array_equal(starts["c0"], [h[3, 0] + 100, h[1, 1] + 100, piece.c0[2]])


def test_final_states_that_are_given_go_before_the_sequence():
    piece = pieces_of(problem())[0]
    h = np.ones((4, 3, piece.h0.shape[1]), np.float32)
    starts = final_states({"h": h, "h_n": 2 * h[0], "c_n": 3 * h[0]}, piece)
    assert starts["h0"].max() == starts["h0"].min() == 2
    assert starts["c0"].max() == starts["c0"].min() == 3
    assert final_states({"h": h}, piece).keys() == {"h0"}


def test_final_states_of_several_layers_are_taken_as_they_are_given():
    piece = pieces_of(problem(num_layers=2, hidden_size=3))[0]
    states = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
    by_lane = {"c_n_l0": states[0], "c_n_l1": states[1]}
    starts = final_states({"h_n": states, **by_lane}, piece)
    np.testing.assert_array_equal(starts["h0"], states)
    np.testing.assert_array_equal(starts["c0"], states)
    assert final_states({"h_n": states, "c_n_l0": states[0]}, piece).keys() == {"h0"}


def test_rows_over_time_are_joined_and_final_states_are_the_last():
    parts = [{"h": np.full((n, 2, 3), n), "c_n": np.full((2, 3), n), "i": np.zeros((n, 2, 3))} for n in (2, 1)]
    del parts[1]["i"]
    whole = joined(parts)
    assert whole.keys() == {"h", "c_n"}
    assert whole["h"][:, 0, 0].tolist() == [2, 2, 1]
    assert whole["c_n"][0, 0] == 1


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"chunks": (4, 1)}, r"chunks = \[4, 1\] are 5 timesteps together, and timesteps = 12: make them equal"),
        ({"gradients": True}, "chunks go forward only, since gradients belong to the whole sequence"),
        ({"resets": ((1,),)}, "resets has 1 entries for batch = 3: give a list of timesteps for each sequence"),
        ({"resets": ((1,), (12,), ())}, "resets has 12 for sequence 1, beyond its last timestep: allowed are 0 to 11"),
        ({"resets": ((), (), (3,)), "lengths": (4, 4, 3)}, "resets has 3 for sequence 2, .* allowed are 0 to 2"),
        ({"resets": ((), (), ()), "chunks": None, "direction": "reverse"}, "is not agreed upon: remove resets"),
        ({"direction": "reverse"}, "the reverse direction begins at the end of the sequence, which comes last"),
        ({"direction": "bidirectional", "num_layers": 2}, 'chunks with direction = "bidirectional"'),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        problem(**changes)


def test_a_decoder_has_no_sequence_to_cut():
    case = problem(chunks=None).case
    decoder = AttentionDecoder(source_timesteps=3)
    with pytest.raises(ValueError, match="a decoder makes its own: remove chunks"):
        replace(case, attention_decoder=decoder, run=replace(case.run, chunks=(12,)))

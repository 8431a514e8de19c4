"""Two files' weights beside each other: what differs is named with its size, and what explains it is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed

from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Weights
from lockstep.harness.weights.differences import (
    difference_lines,
    difference_table,
    misfit,
    setting_differences,
    weight_differences,
)
from lockstep.harness.weights.model_file import LaneArrays, ModelError, StoredModel, canonical, names_under, network

rng = np.random.default_rng(5)
LSTM_3_4 = LSTM(input_size=3, hidden_size=4, direction="bidirectional", forget_bias=0.0)


def lane():
    return LaneArrays(
        *(rng.normal(size=(16, n)).astype("float32") for n in (3, 4)), tuple(rng.normal(size=(2, 16)).astype("float32"))
    )


def wide_lane():
    """A lane that takes the output of one below."""
    return replace(lane(), W=rng.normal(size=(16, 4)).astype("float32"))


@pytest.fixture
def model():
    """Two lanes, each with two biases."""
    made = [canonical(lane(), "ifgo") for _ in range(2)]
    halves = {name: (biases[0], biases[1]) for name, (_, biases) in zip(("b_l0", "b_l0_reverse"), made, strict=True)}
    return StoredModel(LSTM_3_4, (tuple(weights for weights, _ in made),), "nn.LSTM", halves=halves)


def with_weights(model, change):
    return replace(
        model, weights=tuple(tuple(Weights(**change(weights.arrays())) for weights in row) for row in model.weights)
    )


def lines(other, model):
    return difference_lines(
        weight_differences(other, model), setting_differences(other, model), len(other.arrays()), "mine", "yours"
    )


def test_equal_weights_are_said_to_be_equal_bit_for_bit(model):
    assert lines(model, model) == ["its weights are those of yours, bit for bit"]


def test_one_number_is_named_with_its_place_and_size(model):
    def change(arrays):
        W = arrays["W"].copy()
        W[2, 1] += 0.25
        return {**arrays, "W": W}

    first, second = lines(with_weights(model, change), model)
    assert first.startswith("W_l0: other numbers: W_l0[2, 1] is ")
    assert first.endswith(" (1 of 48 numbers, by 0.25 at most)")
    assert second.startswith("W_l0_reverse")


def blocks(array, order):
    return np.concatenate([np.split(array, 4)[k] for k in order])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        # ONNX reads its blocks as i, o, f, g; they hold i, f, g, o: what is read as i, f, g, o is i, g, o, f.
        (lambda a: {name: blocks(array, [0, 2, 3, 1]) for name, array in a.items()},
         "all of them: gates are stacked i, f, g, o, as keras and torch do, and read as i, o, f, g"),
        (lambda a: {**a, "R": a["R"].reshape(4, 4, 4).transpose(0, 2, 1).reshape(16, 4)},
         "R_l0, R_l0_reverse: each gate's block is transposed"),
        (lambda a: {**a, "R": a["R"].T.reshape(16, 4)},
         "R_l0, R_l0_reverse: the whole is reshaped where it should be transposed"),
        (lambda a: {**a, "b": np.zeros_like(a["b"])}, "b_l0, b_l0_reverse: the bias of yours is lost: it is zero"),
        (lambda a: {**a, "b": 2 * a["b"]}, "b_l0, b_l0_reverse: the bias of yours twice"),
        (lambda a: {**a, "b": a["b"] + np.repeat(np.float32([0, 1, 0, 0]), 4)},
         "its forget part is that of yours + 1: a forget bias is added once more"),
        (lambda a: {name: array.astype("float16").astype("float32") for name, array in a.items()},
         "all of them: the numbers of yours, rounded to float16"),
    ],
)  # fmt: skip
def test_what_was_done_to_the_weights_is_found(model, change, text):
    (line,) = lines(replace(with_weights(model, change), gates="iofg"), model)
    assert text in line


@pytest.mark.parametrize("half", [0, 1])
def test_a_lost_half_of_two_biases_is_named(model, half):
    rows = (
        tuple(
            replace(weights, b=model.halves[name][half])
            for weights, name in zip(model.weights[0], model.halves, strict=True)
        ),
    )
    (line,) = lines(replace(model, weights=rows), model)
    assert f"the {('first', 'second')[half]} of the two biases of yours alone: the other one is lost" in line


def test_exchanged_directions_are_named(model):
    told = lines(replace(model, weights=(model.weights[0][::-1],)), model)
    assert told[0].startswith(
        "W_l0, R_l0, b_l0: what yours has in layer 0, reverse: another direction's (128 of 128 numbers, "
    )


def test_the_table_has_ten_lines_at_most_and_names_what_they_are_instead():
    layers = [[canonical(lane(), "ifgo")[0]] if k == 0 else [canonical(wide_lane(), "ifgo")[0]] for k in range(12)]
    lstm, stack = network(layers, "forward", [f"layer {k}" for k in range(12)], bias=True)
    model = StoredModel(lstm, stack, "nn.LSTM")
    swapped = [*stack[:2], stack[3], stack[2], *stack[4:]]
    changed_rows = [(replace(row[0], b=row[0].b + np.float32(k)),) if k > 3 else row for k, row in enumerate(swapped)]
    other = replace(model, weights=tuple(changed_rows))
    table = difference_table(weight_differences(other, model), [], len(other.arrays()), "mine", "yours")
    assert len(table) == 10
    assert table[0].split() == ["weights", "numbers", "at", "most", "what", "they", "are,", "beside", "yours's"]
    assert table[1].split()[:3] == ["W_l3,", "R_l3,", "b_l3"]
    assert table[1].endswith("what yours has in layer 2: another layer's")
    assert table[2].endswith("what yours has in layer 3: another layer's")
    assert table[8].split()[:5] == ["b_l11", "16", "of", "16", "11"]
    assert table[-1].split() == ["2", "more", "arrays", "32", "of", "32", "5", "other", "numbers"]
    assert difference_table([], [], 3, "mine", "yours") == ["Weights: its weights are those of yours, bit for bit."]


def test_settings_that_differ_are_told_and_sizes_do_not_fit(model):
    other = replace(model, lstm=changed(LSTM_3_4, recurrent_activation="hard_sigmoid_0.2"))
    assert lines(other, model) == ["recurrent_activation is hard_sigmoid_0.2, and sigmoid in yours"]
    assert misfit(other, model) is None
    other = replace(model, lstm=changed(LSTM_3_4, hidden_size=5))
    assert misfit(other, model) == "hidden_size is 5 here and 4 there"


def test_shapes_that_do_not_fit_are_told_with_what_an_lstm_has():
    arrays = lane()
    with pytest.raises(ModelError, match=r"shapes do not fit together: W \(16, 3\), R \(12, 4\).*With H = 4"):
        canonical(replace(arrays, R=arrays.R[:12]), "ifgo")
    with pytest.raises(ModelError, match="W is int8: quantised weights are not taken"):
        canonical(replace(arrays, W=arrays.W.astype("int8")), "ifgo")
    with pytest.raises(ModelError, match="of several dtypes: float32, float64"):
        canonical(replace(arrays, W=arrays.W.astype("float64")), "ifgo")


def test_layers_that_do_not_fit_on_each_other_are_told():
    (first, _), (second, _) = (canonical(lane(), "ifgo") for _ in range(2))
    with pytest.raises(ModelError, match="b takes an input of width 3, and gets 4 from a"):
        network([[first], [second]], "forward", ["a", "b"], bias=True)


def test_a_prefix_that_fits_nothing_is_told_with_what_there_is():
    assert names_under(["decoder.", "encoder."], "dec") == ["decoder."]
    with pytest.raises(
        ModelError, match=r'begins with "encodr". Did you mean "encoder."\? There are: decoder., encoder.'
    ):
        names_under(["decoder.", "encoder."], "encodr")

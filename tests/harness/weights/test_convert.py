"""Conversions between any two dialects, of files too, and what a user is told of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from examples import share_of_examples
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from safetensors.numpy import load_file, save_file
from stored_weights import assert_same_bits, make_weights, read, weights

from lockstep.harness.cases.gates import GATES
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.errors import ConvertError
from lockstep.harness.weights.convert import convert, convert_network
from lockstep.harness.weights.dialects import CANONICAL, DIALECTS
from lockstep.harness.weights.layout import store

from_every_dialect = pytest.mark.parametrize("source", DIALECTS.values(), ids=DIALECTS)


def others(source):
    """All dialects that weights of one may be converted to."""
    return [target for target in DIALECTS.values() if target is not source]


def without_forget_bias(dialect):
    return replace(dialect, forget_bias=0.0)


@from_every_dialect
@share_of_examples(5)  # to each of 16 others
@given(weights=weights())
def test_there_and_back_again_is_the_same_bit_for_bit(source, weights):
    plain = without_forget_bias(source)
    stored = store(weights, plain)
    for target in map(without_forget_bias, others(source)):
        converted, _ = convert(stored, plain, target)
        again, _ = convert(converted, target, plain)
        assert_same_bits(again, stored, plain.names)
        assert_same_bits(read(converted, target), weights)


@from_every_dialect
@share_of_examples(5)  # to each of 16 others
@given(seed=st.integers(0, 2**32 - 1))
def test_converting_is_storing_what_was_read(source, seed):
    stored = store(make_weights(seed=seed), source)
    for target in others(source):
        converted, _ = convert(stored, source, target)
        expected = store(read(stored, source), target)
        if source.forget_bias == target.forget_bias:
            # It stays out of the stored bias, which moves as it is.
            stays = without_forget_bias(source)
            expected = store(read(stored, stays), without_forget_bias(target))
        assert_same_bits(converted, expected, target.names)
        assert set(converted) == set(target.names)


@pytest.mark.parametrize(("source", "target"), [("torch", "onnx"), ("onnx", "torch"), ("torch_cell", "torch")])
def test_two_biases_stay_two_where_both_dialects_have_two(source, target):
    source, target = DIALECTS[source], DIALECTS[target]
    stored = store(make_weights(), source, split_bias="uneven")
    converted, notes = convert(stored, source, target)
    assert notes == []
    assert_same_bits(converted, store(make_weights(), target, split_bias="uneven"), target.names)


def test_what_loses_nothing_has_no_notes():
    assert convert(store(make_weights(), DIALECTS["canonical"]), DIALECTS["canonical"], DIALECTS["keras"])[1] == []
    # The second bias is zero, as our own conversion leaves it.
    assert convert(store(make_weights(), DIALECTS["torch"]), DIALECTS["torch"], DIALECTS["keras"])[1] == []
    assert convert(store(make_weights(), DIALECTS["tf1"]), DIALECTS["tf1"], DIALECTS["haiku"])[1] == []


def notes_of(source, target, b=None, split_bias="first", **others):
    given_weights = make_weights() | ({} if b is None else {"b": np.full(16, b, np.float32)})
    arrays = store(given_weights, DIALECTS[source], split_bias=split_bias) | others
    return convert({k: v for k, v in arrays.items() if v is not None}, DIALECTS[source], DIALECTS[target])[1]


def test_summed_biases_are_told_and_how_many_sums_were_rounded():
    (note,) = notes_of("torch", "keras", split_bias="uneven")
    assert note == (
        "the two biases in bias_ih_l0, bias_hh_l0 are summed into bias: they cannot be told apart again."
    )  # fmt: skip
    arrays = store(make_weights(), DIALECTS["torch"]) | {"bias_hh_l0": np.full(16, 1e-3, np.float32)}
    (note,) = convert(arrays, DIALECTS["torch"], DIALECTS["keras"])[1]
    assert " of 16 sums rounded to float32, by " in note
    (note,) = notes_of("onnx", "keras", split_bias="uneven")
    assert note.startswith("the two biases in B are summed into bias")


def test_a_second_bias_of_zeros_is_told():
    assert notes_of("keras", "torch") == ["bias_hh_l0 is zero: all of the bias is in bias_ih_l0."]
    assert notes_of("keras", "onnx") == ["the second half of B is zero: all of the bias is in the first."]


def test_a_forget_bias_that_moves_is_told_and_whether_it_was_exact():
    assert notes_of("tf1", "keras", b=1.5) == [
        "forget bias: the 1 that tf1 adds at run time is now in the stored bias."
    ]
    assert notes_of("keras", "tf1", b=1.5) == [
        "forget bias: the 1 that tf1 adds at run time is taken out of the stored bias."
    ]
    (note,) = notes_of("keras", "tf1", b=0.1)
    assert "(4 of 4 sums rounded to float32, by " in note


def test_the_number_of_roundings_is_right():
    b = np.float32([0.1, 0.5, 1.0, 3.0])
    given_weights = make_weights() | {"b": np.concatenate([b, b, b, b])}
    (note,) = convert(given_weights, DIALECTS["canonical"], DIALECTS["tf1"])[1]
    exact = b.astype(np.float64) - 1
    rounded = exact.astype(np.float32).astype(np.float64)
    assert f"({np.count_nonzero(rounded != exact)} of 4 sums" in note
    assert f"by {np.abs(rounded - exact).max():.2g} at most" in note


def test_a_bias_that_is_not_there_is_told():
    assert notes_of("keras", "equinox", bias=None) == ["no bias in the file: zeros stand for bias."]


def test_other_arrays_are_told():
    notes = notes_of("torch", "equinox", **{"fc.weight": np.zeros(3), "fc.bias": np.zeros(1)})
    assert notes == ["left out, because not part of the LSTM: fc.bias, fc.weight."]


@pytest.mark.parametrize(
    ("source", "stored_as", "words"),
    [
        ("tf1", "keras", "look like keras: tf1 has no recurrent_kernel"),
        ("equinox", "torch_cell", "look like torch_cell: equinox has no bias_hh, bias_ih"),
        ("onnx", "canonical", "look like canonical: onnx has no b"),
        ("keras", "tf1", "recurrent_kernel missing: .* look like tf1"),
    ],
)
def test_arrays_that_would_be_read_in_part_are_refused(source, stored_as, words):
    arrays = store(make_weights(I=9), DIALECTS[stored_as])
    with pytest.raises(ConvertError, match=words):
        convert(arrays, DIALECTS[source], DIALECTS["torch"])


@pytest.mark.parametrize("gates", ["igfo", "iofg", "fiog", "ogfi"])
def test_another_order_of_gates_is_another_result(gates):
    """The control: an order that is wrong does not pass."""
    assert sorted(gates) == sorted(GATES)
    stored = store(make_weights(), replace(DIALECTS["torch"], gates=gates))
    for name in "WRb":
        assert (read(stored, DIALECTS["torch"])[name] != make_weights()[name]).any()


def write(path, arrays):
    save_file(arrays, path) if path.suffix == ".safetensors" else np.savez(path, **arrays)
    return path


def load(path):
    return load_file(path) if path.suffix == ".safetensors" else dict(np.load(path))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("other", [".safetensors", ".npz"])
def test_a_file_becomes_a_file_of_either_format(lockstep, tmp_path, suffix, other):
    path = write(tmp_path / f"in{suffix}", store(make_weights(), DIALECTS["torch"]))
    out = tmp_path / "new" / f"out{other}"
    status, text, err = lockstep("convert", path, "--from", "torch", "--to", "keras", out)
    assert (status, err) == (0, "")
    assert text.replace(str(out), "OUT") == (
        "OUT: Keras 3 and tf_keras LSTM, float32: kernel (3, 16), recurrent_kernel (4, 16), bias (16,).\n"
    )
    assert_same_bits(load(out), store(make_weights(), DIALECTS["keras"]), DIALECTS["keras"].names)
    status, text, _ = lockstep("convert", out, "--from", "keras", "--to", "torch", path)
    assert status == 0
    assert "bias_hh_l0 is zero" in text
    assert_same_bits(load(path), store(make_weights(), DIALECTS["torch"]), DIALECTS["torch"].names)


def test_arrays_under_a_prefix_are_converted_and_the_others_told(lockstep, tmp_path):
    arrays = {f"encoder.{name}": array for name, array in store(make_weights(), DIALECTS["torch"]).items()}
    path = write(tmp_path / "in.safetensors", arrays | {"fc.weight": np.zeros(2, np.float32)})
    out = tmp_path / "out.npz"
    status, _, err = lockstep("convert", path, "--from", "torch", "--to", "keras", out)
    assert status == 2
    assert "With a prefix they are there: 'encoder.'" in err
    assert not out.exists()
    status, text, _ = lockstep("convert", path, "--from", "torch", "--to", "keras", out, "--prefix", "encoder.")
    assert status == 0
    assert "left out, because not under 'encoder.': fc.weight." in text
    assert set(load(out)) == {"kernel", "recurrent_kernel", "bias"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("in.npz --from troch --to keras out.npz", 'no dialect is called "troch". Did you mean "torch"'),
        ("in.npz --from torch --to kers out.npz", 'no dialect is called "kers". Did you mean "keras"'),
        ("in.npz --from keras --to torch out.npz", "in.npz: kernel, recurrent_kernel missing: keras stores"),
        ("in.npz --from torch --to keras in.npz", "in.npz: would overwrite the file it is made from"),
        ("in.npz --from torch --to keras ../{here}/in.npz", "would overwrite the file it is made from"),
        ("in.npz --from torch --to keras link.npz", "would overwrite the file it is made from"),
        ("in.npz --from torch --to keras out.pt", "out.pt: not a .safetensors or .npz file"),
        ("absent.npz --from torch --to keras out.npz", "absent.npz: cannot be read"),
        ("absent.safetensors --from torch --to keras out.npz", "absent.safetensors: cannot be read"),
        ("text.npz --from torch --to keras out.npz", "text.npz: not a readable .npz"),
        ("text.safetensors --from torch --to keras out.npz", "text.safetensors: not a readable .safetensors"),
        ("in.npz --from torch --to keras text.npz/out.npz", "out.npz: cannot be written"),
        ("in.npz --from torch --to keras text.npz/out.safetensors", "out.safetensors: cannot be written"),
        ("in.npz --from torch --to keras folder.npz", "folder.npz: cannot be written"),
        ("in.npz --from torch --to keras folder.safetensors", "folder.safetensors: cannot be written"),
        ("in.npz --from torch", "out"),
        ("in.npz out.npz --to keras", "--from"),
        ("half.safetensors --from torch --to keras out.npz", "NumPy cannot hold weight_ih_l0 (BF16)"),
    ],
)
def test_a_wrong_request_exits_2_with_one_message_and_writes_nothing(lockstep, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "in.npz", store(make_weights(), DIALECTS["torch"]))
    (tmp_path / "link.npz").symlink_to(path)
    for name in ("text.npz", "text.safetensors"):
        (tmp_path / name).write_text("no arrays here")
    for name in ("folder.npz", "folder.safetensors"):
        (tmp_path / name).mkdir()
    (tmp_path / "half.safetensors").write_bytes(bfloat16_file("weight_ih_l0"))
    before = path.read_bytes()
    status, out, err = lockstep("convert", *arguments.format(here=tmp_path.name).split())
    assert status == 2
    assert words.lower() in err.lower().replace("\n", " ")
    assert out == ""
    assert path.read_bytes() == before
    assert not (tmp_path / "out.npz").exists()


def bfloat16_file(name):
    """A .safetensors file of one bfloat16 array (1,), by the format's description."""
    header = f'{{"{name}":{{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}}}'.encode()
    header += b" " * (-len(header) % 8)
    buffer = io.BytesIO()
    buffer.write(len(header).to_bytes(8, "little") + header + b"\x80\x3f")
    return buffer.getvalue()


def test_float16_is_converted_as_it_is(lockstep, tmp_path):
    path = write(tmp_path / "in.safetensors", store(make_weights(dtype=np.float16), DIALECTS["torch"]))
    assert lockstep("convert", path, "--from", "torch", "--to", "onnx", tmp_path / "out.npz")[0] == 0
    assert {array.dtype.name for array in load(tmp_path / "out.npz").values()} == {"float16"}


LANES = [Lane(layer, reverse) for layer in range(2) for reverse in (False, True)]
OWN_NAMES = {
    "torch": "weight_ih_l1_reverse",
    "canonical": "W_l1_reverse",
    "tf1": "stack_bidirectional_rnn/cell_1/bidirectional_rnn/bw/basic_lstm_cell/kernel",
    "keras": "layer_1.reverse.kernel",
    "burn": "layer_1.reverse.cell_gate.input_transform.weight",
    "onnx": "layer_1.W",
}


def network_weights():
    """Canonical weights of two bidirectional layers by lane, the upper taking both directions of the lower."""
    return {lane: make_weights(I=3 if lane.layer == 0 else 8, seed=k) for k, lane in enumerate(LANES)}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_network_is_converted_there_and_back_in_every_dialect(name):
    given_weights, dialect = network_weights(), without_forget_bias(DIALECTS[name])
    whole = {
        weight + lane.suffix: array
        for lane, lane_weights in given_weights.items()
        for weight, array in lane_weights.items()
    }
    stored, notes = convert_network(whole, CANONICAL, dialect)
    assert OWN_NAMES.get(name, next(iter(stored))) in stored
    assert len(notes) == (dialect.biases == "two")
    back, _ = convert_network(stored, dialect, CANONICAL)
    assert back.keys() == whole.keys()
    assert_same_bits(back, whole, tuple(whole))
    for lane in LANES:
        picked, notes = convert_network(stored, dialect, CANONICAL, layer=lane.layer, reverse=lane.reverse)
        assert_same_bits(picked, given_weights[lane])
        assert notes[-1].startswith("left out, because not asked for: layer ")


def test_one_layer_of_both_directions_and_two_of_one_direction():
    both = {weight + lane.suffix: array for lane in LANES[:2] for weight, array in network_weights()[lane].items()}
    assert set(convert_network(both, CANONICAL, DIALECTS["onnx"])[0]) == {"W", "R", "B"}
    assert "forward.kernel" in convert_network(both, CANONICAL, DIALECTS["keras"])[0]
    two = {name.replace("_l0_reverse", "_l1"): array for name, array in both.items()}
    assert "layer_1.W" in convert_network(two, CANONICAL, DIALECTS["onnx"])[0]
    scopes = convert_network(two, CANONICAL, DIALECTS["tf1"])[0]
    assert "rnn/multi_rnn_cell/cell_1/basic_lstm_cell/kernel" in scopes
    scopes["dense/bias"] = np.zeros(2, np.float32)
    assert convert_network(scopes, DIALECTS["tf1"], CANONICAL)[1][-1].startswith(
        "left out, because not part of the LSTM: d"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--reverse", "--reverse of which of its 2 layers? Add --layer, 0 to 1."),
        ("--layer 2", "it has no layer 2. It has: layer 0; layer 0, reverse; layer 1; layer 1, reverse."),
        ("--layer 1 --reverse", ""),
        ("", ""),
    ],
)
def test_layers_and_directions_are_chosen_at_the_command(lockstep, tmp_path, arguments, words):
    whole = {
        weight + lane.suffix: array for lane, arrays in network_weights().items() for weight, array in arrays.items()
    }
    path = write(tmp_path / "in.npz", convert_network(whole, CANONICAL, DIALECTS["torch"])[0])
    status, out, err = lockstep(
        "convert", path, "--from", "torch", "--to", "keras", tmp_path / "out.npz", *arguments.split()
    )
    assert (status, words in " ".join(err.split())) == (2 if words else 0, True), err
    if not words:
        assert ("kernel (8, 16)" in out) if arguments else ("layer_1.reverse.kernel (8, 16)" in out)


def test_a_network_without_one_of_its_lanes_is_refused():
    whole = {
        weight + lane.suffix: array for lane, arrays in network_weights().items() for weight, array in arrays.items()
    }
    del whole["W_l1_reverse"], whole["R_l1_reverse"], whole["b_l1_reverse"]
    with pytest.raises(ConvertError, match="of its 2 layers layer 1, reverse is missing"):
        convert_network(whole, CANONICAL, DIALECTS["torch"])

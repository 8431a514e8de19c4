"""Dialects: weights stored and read back bit for bit, and one clear message where they are not what they should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from stored_weights import assert_same_bits, make_weights, read, weights

from lockstep.harness.cases.gates import GATES
from lockstep.harness.errors import ConvertError
from lockstep.harness.weights.convert import convert
from lockstep.harness.weights.dialects import CANONICAL, DIALECTS
from lockstep.harness.weights.layout import guess, pack, store, summed, uneven, unpack

every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
FORGET_BIAS = [dialect for dialect in DIALECTS.values() if dialect.forget_bias]


def forget_part(b):
    return b[len(b) // 4 : len(b) // 2]


@every_dialect
@given(weights=weights(), split_bias=st.sampled_from(["first", "uneven"]))
def test_what_is_stored_is_read_back_bit_for_bit(dialect, weights, split_bias):
    dialect = replace(dialect, forget_bias=0.0)
    assert_same_bits(read(store(weights, dialect, split_bias=split_bias), dialect), weights)


@pytest.mark.parametrize("dialect", FORGET_BIAS, ids=lambda dialect: dialect.name)
@given(weights=weights(min_value=-4, max_value=4))
def test_a_forget_bias_at_run_time_costs_a_rounding_each_way_in_the_forget_gate_alone(dialect, weights):
    again = read(store(weights, dialect), dialect)
    assert_same_bits(again, weights, ("W", "R"))
    H = weights["R"].shape[1]
    others = np.r_[0:H, 2 * H : 4 * H]
    assert again["b"][others].tobytes() == weights["b"][others].tobytes()
    b, u = forget_part(weights["b"]).astype(np.float64), np.finfo(weights["b"].dtype).eps / 2
    difference = np.abs(forget_part(again["b"]).astype(np.float64) - b)
    assert (difference <= u * (np.abs(b - 1) + np.abs(b)) * (1 + 4 * u)).all()


@pytest.mark.parametrize("dialect", FORGET_BIAS, ids=lambda dialect: dialect.name)
@given(weights=weights(min_value=0.5, max_value=2))
def test_a_forget_bias_at_run_time_costs_nothing_between_a_half_and_two(dialect, weights):
    """By Sterbenz' lemma."""
    assert_same_bits(read(store(weights, dialect), dialect), weights)


def test_a_forget_bias_at_run_time_does_round_elsewhere():
    given_weights = make_weights() | {"b": np.full(16, 0.1, np.float32)}
    again = read(store(given_weights, DIALECTS["tf1"]), DIALECTS["tf1"])
    assert again["b"][0] == np.float32(0.1)
    assert again["b"][4] != np.float32(0.1)
    assert again["b"][4] == pytest.approx(0.1, abs=1e-7)


@given(weights=weights(allow_nan=False, allow_infinity=False))
def test_an_uneven_split_has_two_parts_that_differ_and_sum_to_the_bias_exactly(weights):
    b = weights["b"]
    first, second = uneven(b)
    assert first.dtype == second.dtype == b.dtype
    assert (first + second == b).all()
    some = b != 0
    for part in (first, second):
        assert (part[some] != 0).all()
        assert (part[some] != b[some]).all()
        assert not part[~some].any()
    assert (first[some] != second[some]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_uneven_split_holds_for_the_smallest_and_the_largest_numbers(dtype):
    info = np.finfo(dtype)
    quanta = np.arange(1, 65).astype(dtype) * info.smallest_subnormal
    b = np.concatenate([quanta, -quanta, np.array([info.max, info.min, info.tiny, np.nextafter(info.tiny, dtype(0))])])
    first, second = uneven(b.astype(dtype))
    assert (first + second == b).all()
    assert ((first != 0) & (second != 0) & (first != second)).all()


@every_dialect
@given(weights=weights(), data=st.data())
def test_two_biases_that_are_stored_are_unpacked_and_packed_again_bit_for_bit(dialect, weights, data):
    stored = store(weights, dialect, split_bias=data.draw(st.sampled_from(["first", "uneven"])))
    again = pack(*unpack(stored, dialect), dialect)
    assert_same_bits(again, stored, dialect.names)
    assert set(again) == set(dialect.names)


@given(weights=weights())
def test_adding_zeros_to_a_bias_leaves_its_bits(weights):
    b = weights["b"]
    assert summed(b, np.zeros_like(b)).tobytes() == b.tobytes()


@every_dialect
def test_stored_and_read_arrays_are_new_contiguous_and_the_given_ones_untouched(dialect):
    given_weights = make_weights()
    before = {name: array.copy() for name, array in given_weights.items()}
    for array in given_weights.values():
        array.setflags(write=False)
    stored = store(given_weights, dialect)
    back = read(stored, dialect)
    for made in (stored, back):
        for array in made.values():
            assert array.flags.c_contiguous
            array[...] = 7
    assert_same_bits(given_weights, before)


@every_dialect
def test_a_dialect_names_its_conventions_without_contradiction(dialect):
    assert sorted(dialect.gates) == sorted(GATES)
    assert len(set(dialect.names)) == len(dialect.names)
    for names in (dialect.input_kernel, dialect.recurrent_kernel):
        assert len(names) in {1, 4} or (dialect.fused and names == ())
    assert dialect.source
    assert DIALECTS[dialect.name] is dialect


def test_each_layout_holds_each_number_in_the_place_its_framework_has_for_it():
    """One unit and one input, the canonical gates being 1, 2, 3, 4 (W), 10 ... (R) and 100 ... (b)."""
    small = {
        "W": np.array([[1.0], [2], [3], [4]]),
        "R": np.array([[10.0], [20], [30], [40]]),
        "b": np.array([100.0, 200, 300, 400]),
    }
    stored = {name: store(small, dialect) for name, dialect in DIALECTS.items()}
    lists = {name: {key: array.tolist() for key, array in arrays.items()} for name, arrays in stored.items()}
    assert lists["tf1"] == {"kernel": [[1, 3, 2, 4], [10, 30, 20, 40]], "bias": [100, 300, 199, 400]}
    assert lists["haiku"] == {"w": [[1, 3, 2, 4], [10, 30, 20, 40]], "b": [100, 300, 199, 400]}
    assert lists["keras"] == {
        "kernel": [[1, 2, 3, 4]], "recurrent_kernel": [[10, 20, 30, 40]], "bias": [100, 200, 300, 400]
    }  # fmt: skip
    assert lists["onnx"] == {
        "W": [[[1], [4], [2], [3]]], "R": [[[10], [40], [20], [30]]], "B": [[100, 400, 200, 300, 0, 0, 0, 0]]
    }  # fmt: skip
    assert lists["torch"]["bias_ih_l0"] == [100, 200, 300, 400]
    assert lists["torch"]["bias_hh_l0"] == [0, 0, 0, 0]
    assert lists["torch"]["weight_hh_l0"] == [[10], [20], [30], [40]]
    assert lists["flax"]["if.kernel"] == lists["nnx"]["if_.kernel"] == [[2]]
    assert lists["flax"]["hg.kernel"] == [[30]]
    assert lists["flax"]["ho.bias"] == [400]
    assert lists["equinox"]["weight_ih"] == [[1], [2], [3], [4]]
    assert lists["mlx"]["Wx"] == lists["candle"]["weight_ih_l0"] == lists["paddle"]["weight_ih_l0"]
    burn = [lists["burn"][f"{gate}_gate.input_transform.weight"] for gate in ("input", "forget", "cell", "output")]
    assert burn == [[[1]], [[2]], [[3]], [[4]]]
    assert lists["burn"]["cell_gate.hidden_transform.weight"] == [[30]]
    assert (lists["burn"]["forget_gate.input_transform.bias"], lists["burn"]["forget_gate.hidden_transform.bias"]) == (
        [200], [0]
    )  # fmt: skip


def test_torchs_two_biases_are_summed():
    arrays = store(make_weights(), DIALECTS["torch"])
    arrays["bias_hh_l0"] += 0.5
    np.testing.assert_array_equal(read(arrays, DIALECTS["torch"])["b"], make_weights()["b"] + np.float32(0.5))


@every_dialect
def test_a_bias_that_a_framework_may_leave_out_is_read_as_zeros(dialect):
    arrays = store(make_weights(), dialect)
    for name in dialect.bias:
        del arrays[name]
    if dialect.bias_optional:
        assert not read(arrays, dialect)["b"].any()
    else:
        with pytest.raises(ConvertError, match="missing"):
            read(arrays, dialect)


def test_one_of_two_biases_alone_is_an_error():
    arrays = store(make_weights(), DIALECTS["torch"])
    del arrays["bias_hh_l0"]
    with pytest.raises(
        ConvertError,
        match=r"^bias_hh_l0 missing: torch stores weight_ih_l0, .*Found: bias_ih_l0, weight_hh_l0, weight_ih_l0\.$",
    ):
        read(arrays, DIALECTS["torch"])


# Arrays of the same names and shapes: of these the one is guessed that files are made of.
ALIKE = {"tf_block": "haiku", "tf_block_v2": "haiku", "paddle": "torch", "candle": "torch"}


@every_dialect
@pytest.mark.parametrize(("I", "H"), [(3, 4), (4, 3), (1, 1), (9, 2), (2, 8), (12, 3), (16, 4)])
def test_stored_arrays_are_guessed(dialect, I, H):
    assert guess(store(make_weights(I, H), dialect)) is DIALECTS[ALIKE.get(dialect.name, dialect.name)]


def test_other_arrays_beside_them_do_not_change_the_guess_and_none_is_none():
    arrays = store(make_weights(), DIALECTS["keras"]) | {"dense": np.zeros(3)}
    assert guess(arrays) is DIALECTS["keras"]
    assert guess({"dense": np.zeros(3)}) is None
    assert guess({}) is None


@every_dialect
def test_a_big_endian_file_is_read_as_numbers(dialect):
    arrays = {name: array.astype(">f4") for name, array in store(make_weights(), dialect).items()}
    again = read(arrays, dialect)
    assert {array.dtype.isnative for array in again.values()} == {True}
    for name, array in make_weights().items():
        np.testing.assert_allclose(again[name], array, rtol=0, atol=1e-7)


def test_bfloat16_is_moved_as_it_is():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="comes with JAX and TensorFlow; NumPy alone has no bfloat16")
    given_weights = {name: array.astype(ml_dtypes.bfloat16) for name, array in make_weights().items()}
    for name in ("torch", "onnx", "keras"):
        assert_same_bits(read(store(given_weights, DIALECTS[name], split_bias="uneven"), DIALECTS[name]), given_weights)


def arrays_of(name, **changes):
    arrays = store(make_weights(), DIALECTS[name]) | changes
    return {key: array for key, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    ("name", "arrays", "words"),
    [
        ("torch", arrays_of("keras"), "weight_ih_l0, weight_hh_l0 missing: torch stores .* These look like keras."),
        ("keras", arrays_of("torch"), "kernel, recurrent_kernel missing: .* These look like torch."),
        ("canonical", arrays_of("onnx"), "b missing: canonical stores W, R, b. Found: B, R, W. These look like onnx."),
        ("flax", arrays_of("nnx"), "if.kernel missing: .* These look like nnx."),
        ("flax", arrays_of("flax", **{"hg.bias": None}), "^hg.bias missing: "),
        ("torch", {}, "missing: .* Found: nothing"),
        ("torch", {f"lstm.{name}": a for name, a in arrays_of("torch").items()}, "With a prefix .*: 'lstm.'"),
        ("keras", arrays_of("keras", kernel=np.zeros((16, 3), np.float32)),
         r"kernel has shape \(16, 3\), and keras needs \(I, 16\), H = 4. It looks transposed"),
        ("keras", arrays_of("keras", recurrent_kernel=np.zeros((16, 4), np.float32)),
         r"recurrent_kernel has shape \(16, 4\), and keras needs \(4, 16\), H = 4. It looks transposed"),
        ("torch", arrays_of("torch", weight_hh_l0=np.zeros((4, 16), np.float32)), "weight_hh_l0 .* looks transposed"),
        ("tf1", arrays_of("tf1", kernel=np.zeros((16, 7), np.float32)), r"needs \(I \+ 4, 16\), .* looks transposed"),
        ("tf1", arrays_of("tf1", kernel=np.zeros((4, 16), np.float32)), r"\(4, 16\), and tf1 needs \(I \+ 4, 16\)"),
        ("tf1", arrays_of("tf1", bias=np.zeros(15, np.float32)), r"needs \(I \+ 3, 12\), H = 3"),
        ("tf1", arrays_of("tf1", bias=np.zeros(0, np.float32)), "a hidden size of 0"),
        ("tf1", arrays_of("tf1", bias=np.float32(0)), r"bias has shape \(\), expected \(4H,\)"),
        ("torch", arrays_of("torch", weight_hh_l0=np.zeros(3, np.float32)), r"\(3,\), expected \(4H, H\)"),
        ("torch", arrays_of("torch", weight_ih_l0=np.zeros((16, 0), np.float32)), r"needs \(16, I\)"),
        ("torch", arrays_of("torch", bias_hh_l0=np.zeros(12, np.float32)), r"\(12,\), and torch needs \(16,\)"),
        ("onnx", arrays_of("onnx", W=np.zeros((2, 16, 3), np.float32)), "holds 2 directions; only one"),
        ("onnx", arrays_of("onnx", B=np.zeros((1, 16), np.float32)), r"needs \(1, 32\)"),
        ("onnx", arrays_of("onnx", P=np.zeros((1, 12), np.float32)), "P is peepholes: only a plain LSTM"),
        ("flax", arrays_of("flax", **{"ig.kernel": np.zeros((5, 4), np.float32)}), "differ in shape"),
        ("torch", arrays_of("torch", weight_ih_l1=np.zeros((16, 4))), "weight_ih_l1 is a further layer"),
        ("torch", arrays_of("torch", weight_ih_l0_reverse=np.zeros((16, 4))), "is the backward direction"),
        ("torch", arrays_of("torch", weight_hr_l0=np.zeros((2, 4))), "is a projection"),
        ("tf1", arrays_of("tf1", w_f_diag=np.zeros(4)), "w_f_diag is peepholes"),
        ("keras", arrays_of("keras", bias=np.zeros(16, np.float64)), "kernel is float32 and bias is float64"),
        ("keras", arrays_of("keras", bias=np.zeros(16, np.int8)), "bias is int8: weights are one of float16"),
    ],
)  # fmt: skip
def test_wrong_arrays_end_in_one_message(name, arrays, words):
    with pytest.raises(ConvertError, match=words):
        read(arrays, DIALECTS[name])


def test_canonical_weights_of_a_wrong_shape_are_not_stored():
    with pytest.raises(ConvertError, match=r"b has shape \(15,\), and canonical needs \(16,\)"):
        convert(make_weights() | {"b": np.zeros(15, np.float32)}, CANONICAL, DIALECTS["torch"])


def test_canonical_is_what_problems_hold():
    assert CANONICAL.names == ("W", "R", "b")
    assert_same_bits(store(make_weights(), CANONICAL), make_weights())

"""The readers of users' model files: what they read, in canonical form, and one message for each file they refuse."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from model_reading import PLANTED, line_of, make, needs, read_files, said
from stored_weights import read

from lockstep.harness.adapters.model_reader import find_readers
from lockstep.harness.cases.array_file import load_arrays
from lockstep.harness.weights.dialects import DIALECTS

TORCH = PLANTED / "torch_modules.py"


@pytest.fixture
def reading(processes):
    """Read files in a process that has read others before."""
    return partial(read_files, processes)


def test_every_reader_says_what_it_needs_and_how_to_get_it():
    for kind, reader in find_readers().items():
        assert reader.summary, kind
        assert reader.dialect in DIALECTS
        assert not reader.requires or reader.install, kind


@pytest.mark.xdist_group("torch")
@needs("torch")
def test_python_files_give_their_lstm_or_say_why_they_have_none(reading):
    functions = [
        "AT_TOP",
        "make_torch_lstm",
        "unseeded",
        "projected",
        "double",
        "gru",
        "cell",
        "linear",
        "nothing",
        "needs",
        "raises",
    ]
    found = dict(zip(functions, reading(*(f"{TORCH}:{name}" for name in functions)), strict=True))
    lstm = found["make_torch_lstm"].value
    assert (lstm.lstm.num_layers, lstm.lstm.direction, lstm.dtype) == (2, "bidirectional", "float32")
    assert list(lstm.halves) == ["b_l0", "b_l0_reverse", "b_l1", "b_l1_reverse"]
    assert lstm.what.startswith("nn.LSTM of torch ")
    assert found["AT_TOP"].value.lstm.single
    projected = found["projected"].value
    assert (projected.lstm.proj_size, projected.lstm.bias, projected.weights[0][0].P.shape) == (2, False, (2, 4))
    assert found["double"].value.dtype == "float64"
    assert said(found["gru"]).startswith("it is a GRU: a GRU is another network than an LSTM")
    assert said(found["cell"]).startswith(
        "it is an LSTMCell: it is one step of an LSTM: load its weights into an nn.LSTM"
    )
    assert said(found["linear"]).startswith("it is a Linear without an nn.LSTM. Lockstep takes an nn.LSTM")
    assert said(found["nothing"]).startswith("it gives nothing. Lockstep takes")
    assert "needs needs arguments (path), and is called without any" in said(found["needs"])
    assert (found["raises"].status, found["raises"].message) == (
        "failed", f"it raised ValueError in torch_modules.py, line {line_of('raise ValueError')}: no weights here"
    )  # fmt: skip


@pytest.mark.xdist_group("torch")
@needs("torch")
def test_weights_that_are_drawn_without_a_seed_are_the_same_each_time(reading):
    one, other = (reading(f"{TORCH}:unseeded")[0].value for _ in range(2))
    assert one.digest == other.digest


@pytest.mark.xdist_group("torch")
@needs("torch")
def test_a_module_of_several_lstms_names_them(reading):
    whole, encoder, decoder, wrong = reading(
        f"{TORCH}:net", (f"{TORCH}:net", "enc"), (f"{TORCH}:net", "decoder"), (f"{TORCH}:net", "attention")
    )
    assert said(whole).startswith("it has 2 LSTMs: encoder, decoder. Choose one by what its name begins with")
    assert "batch_first" in encoder.value.what
    assert decoder.value.notes == (
        "dropout = 0.5 between its layers is off: it runs in evaluation mode",
        "it is module decoder of a Net, whose other parts are not run",
    )
    assert said(wrong) == 'no LSTM in it begins with "attention". There are: encoder, decoder.'


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Files that PyTorch writes."""
    folder = tmp_path_factory.mktemp("torch")
    onnx = all(reader.missing() is None for kind, reader in find_readers().items() if kind == "onnx")
    make("export_torch.py", folder, *(["onnx"] if onnx else []))
    return folder


@pytest.mark.xdist_group("torch")
@needs("torch")
def test_state_dicts_are_read_without_their_framework(reading, exported):
    names = ["my", "cell", "projected", "gru", "quantised", "misfit", "dense", "other"]
    found = dict(zip(names, reading(*(exported / f"{name}.safetensors" for name in names)), strict=True))
    (direct,) = reading(f"{TORCH}:make_torch_lstm")
    assert found["my"].value.digest == direct.value.digest
    assert (found["my"].value.runner, found["cell"].value.what) == ("torch_lstm", "a state dict of nn.LSTMCell")
    assert (found["projected"].value.dtype, found["projected"].value.lstm.proj_size) == ("bfloat16", 2)
    assert said(found["gru"]).startswith("it is a GRU: it has three gates where an LSTM has four")
    assert said(found["quantised"]).startswith("weight_ih_l0 is int8: quantised weights are not taken")
    assert said(found["misfit"]).startswith(
        "shapes do not fit together: weight_ih_l0 (16, 3), weight_hh_l0 (12, 4)"
    ) or ("GRU" in said(found["misfit"]))
    assert said(found["dense"]).endswith("It holds dense.weight.")
    assert "lockstep convert IN OUT --from onnx --to torch" in said(found["other"])
    whole, decoder = reading(exported / "net.safetensors", (exported / "net.safetensors", "decoder"))
    assert said(whole).startswith("it has 2 LSTMs: decoder., encoder..")
    assert (decoder.value.lstm.num_layers, decoder.value.lstm.input_size) == (2, 4)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoints that TF1 writes."""
    folder = tmp_path_factory.mktemp("tf1")
    make("save_checkpoints.py", folder)
    return folder


@pytest.mark.xdist_group("tensorflow")
@needs("tensorflow", "tf_keras")
def test_checkpoints_give_their_cell_or_say_why_they_have_none(reading, checkpoints):
    names = ["model.ckpt-100", "peepholes", "two", "gru", "dense", "misfit"]
    found = dict(zip(names, reading(*(checkpoints / name for name in names)), strict=True))
    plain = found["model.ckpt-100"].value
    expected = read(load_arrays(checkpoints / "cell.npz"), DIALECTS["tf1"])
    for name, array in plain.arrays().items():
        np.testing.assert_array_equal(array, expected[name])
    assert (plain.runner, plain.lstm.forget_bias) == ("tf_dynamic_rnn", 1.0)
    assert "taken are forget_bias = 1" in plain.notes[0]
    assert (found["peepholes"].value.lstm.peephole, found["peepholes"].value.lstm.proj_size) == (True, 2)
    assert said(found["two"]).startswith("it has 2 LSTMs: a/lstm/, b/lstm/. Choose one")
    assert said(found["gru"]).startswith("gru_cell is a GRU: it has gates and a candidate")
    assert said(found["dense"]).endswith("It holds dense/bias, dense/kernel.")
    assert said(found["misfit"]).startswith("shapes do not fit together: lstm/kernel's part for x")


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory):
    """Files that Keras saves."""
    folder = tmp_path_factory.mktemp("keras")
    make("save_keras.py", folder)
    return folder


@pytest.mark.xdist_group("tensorflow")
@needs("keras", "tensorflow")
def test_keras_files_give_their_lstm_or_say_why_they_have_none(reading, keras_files):
    (keras_files / "junk.keras").write_text("no archive")
    names = ["sequences", "stack", "backwards", "sizes", "summed", "gru", "dense", "selu", "two", "junk"]
    found = dict(zip(names, reading(*(keras_files / f"{name}.keras" for name in names)), strict=True))
    assert found["sequences"].value.what.startswith("layer LSTM lstm of Keras 3")
    stack = found["stack"].value
    assert (stack.lstm.num_layers, stack.lstm.direction, stack.lstm.bias) == (2, "bidirectional", True)
    assert stack.notes[0] == "not run, since no part of the LSTM: its Dense"
    assert "only the last output is compared" in stack.notes[1]
    backwards = found["backwards"].value.lstm
    assert (backwards.direction, backwards.bias) == ("reverse", False)
    assert (backwards.activation, backwards.recurrent_activation) == ("relu", "hard_sigmoid_1/6")
    assert "its layers are of several sizes (small has 4 units, large 5)" in said(found["sizes"])
    assert said(found["summed"]).startswith('both has merge_mode = "sum": of a file, layers are read that put both')
    assert said(found["gru"]) == "memory is a GRU: it cannot be compared with an LSTM."
    assert said(found["dense"]) == "there is no layers.LSTM in it. Its layers are: Dense."
    assert said(found["selu"]).startswith("odd asks for activation = selu, for which a case has no setting")
    assert said(found["two"]).startswith("it has 2 LSTMs that do not stand on each other: first, second.")
    assert said(found["junk"]).startswith("Keras 3")
    (large,) = reading((keras_files / "sizes.keras", "large"))
    assert (large.value.lstm.input_size, large.value.lstm.hidden_size) == (4, 5)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """ONNX files of one node each, and what each asks for."""
    onnx = pytest.importorskip("onnx", reason="onnx not installed: pip install 'lockstep-rnn[onnx]'")
    helper, folder = onnx.helper, tmp_path_factory.mktemp("onnx")
    rng = np.random.default_rng(1)

    def node(kind, inputs=("x", "W", "R", "B"), name="memory", **attributes):
        return helper.make_node(
            kind, list(inputs), ["Y", "Y_h", "Y_c"][: 2 if kind != "LSTM" else 3], name=name, **attributes
        )

    def save(name, *made, weights=(), gates=4, inputs=("x",)):
        held = {"W": (1, 4 * gates, 3), "R": (1, 4 * gates, 4), "B": (1, 8 * gates), **dict(weights)}
        arrays = [
            onnx.numpy_helper.from_array(
                shape if isinstance(shape, np.ndarray) else rng.uniform(-1, 1, shape).astype("float32"), key)
            for key, shape in held.items()
        ]  # fmt: skip
        given = [helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, [None] * 3) for key in inputs]
        wanted = [helper.make_tensor_value_info(made[-1].output[0], onnx.TensorProto.FLOAT, None)]
        graph = helper.make_graph(list(made), "graph", given, wanted, arrays)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.save(model, folder / f"{name}.onnx")

    save("plain", node("LSTM", hidden_size=4))
    save("peepholes", node("LSTM", ["x", "W", "R", "B", "", "", "", "P"], hidden_size=4), weights={"P": (1, 12)})
    save("activations", node("LSTM", hidden_size=4, activations=["HardSigmoid", "Tanh", "Relu"], input_forget=1))
    save("affine", node("LSTM", hidden_size=4, activations=["Sigmoid", "Softsign", "Tanh"]))
    save("clip", node("LSTM", hidden_size=4, clip=3.0))
    save("gru", node("GRU", hidden_size=4), gates=3)
    save("misfit", node("LSTM", hidden_size=4), weights={"R": (1, 12, 4)})
    save("inputs", node("LSTM", hidden_size=4, inputs=("x", "W2", "R")), inputs=("x", "W2"))
    save("relu", helper.make_node("Relu", ["x"], ["y"], name="r"))
    second = node("LSTM", ["x", "W", "R", "B"], name="beside", hidden_size=4)
    second.output[:] = ["Z", "Z_h", "Z_c"]
    save("two", node("LSTM", hidden_size=4), second)
    scale = {"scale": np.float32(0.02), "q": rng.integers(-99, 99, (1, 16, 3)).astype("int8")}
    save(
        "quantised",
        helper.make_node("DequantizeLinear", ["q", "scale"], ["dequantised"], name="dq"),
        node("LSTM", ["x", "dequantised", "R", "B"], hidden_size=4),
        weights={key: np.asarray(value) for key, value in scale.items()},
    )
    (folder / "junk.onnx").write_bytes(b"\xff\xff\xff")
    (folder / "empty.onnx").write_bytes(b"")
    return folder


@pytest.mark.xdist_group("onnx")
@needs("onnx", "onnxruntime")
def test_onnx_files_give_their_lstm_or_say_why_they_have_none(reading, nodes):
    names = [
        "plain",
        "peepholes",
        "activations",
        "affine",
        "clip",
        "gru",
        "misfit",
        "inputs",
        "relu",
        "two",
        "quantised",
        "junk",
        "empty",
    ]
    found = dict(zip(names, reading(*(nodes / f"{name}.onnx" for name in names)), strict=True))
    plain = found["plain"].value
    assert (plain.lstm.input_size, plain.lstm.hidden_size, plain.from_zeros, plain.whole) == (3, 4, True, True)
    assert found["peepholes"].value.weights[0][0].p.shape == (3, 4)
    settings = found["activations"].value.lstm
    assert (settings.recurrent_activation, settings.activation, settings.cell_activation, settings.input_forget) == (
        "hard_sigmoid_0.2", "tanh", "relu", True
    )  # fmt: skip
    assert said(found["affine"]).startswith("memory asks for the activation Softsign, for which a case has no setting")
    assert said(found["clip"]).startswith("memory has clip = 3, which holds the inputs of the activations")
    assert said(found["gru"]) == "memory is a GRU: it cannot be compared with an LSTM."
    assert said(found["misfit"]).startswith("memory: shapes do not fit together: W (16, 3), R (12, 4)")
    assert said(found["inputs"]).startswith("its weights are no constants: W2 is computed from the graph's input W2")
    assert said(found["relu"]) == "there is no LSTM node in it. Its nodes are of: Relu."
    assert said(found["two"]).startswith("it has 2 LSTMs that do not stand on each other: memory, beside.")
    assert said(found["quantised"]).startswith("its weights are quantised (DequantizeLinear dq)")
    assert said(found["junk"]).startswith("it cannot be read as an ONNX model: ")
    assert said(found["empty"]) == "it has no nodes: it is no ONNX model, or an empty one."
    (one,) = reading((nodes / "two.onnx", "beside"))
    assert one.status == "ran"


@pytest.mark.xdist_group("torch")
@needs("torch", "onnx", "onnxruntime", "onnxscript")
def test_what_pytorch_exports_has_the_weights_of_its_module(reading, exported):
    (module,), (dynamic, static) = (
        reading(f"{TORCH}:make_torch_lstm"),
        reading(exported / "my.onnx", exported / "static.onnx"),
    )
    assert dynamic.value.digest == static.value.digest == module.value.digest
    assert (dynamic.value.from_zeros, static.value.from_zeros) == (False, True)
    assert (static.value.timesteps, static.value.batch, dynamic.value.timesteps) == (5, 2, None)

"""The readers of users' model files: what they read, in canonical form, and one message for each file they refuse."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from lstm_cases import make_case
from model_reading import PLANTED, line_of, make, needs, read_files, running, said
from msgspec.structs import replace
from stored_weights import make_weights, read
from values_alone import forward

from lockstep.harness.adapters.model_reader import find_readers, parse_model
from lockstep.harness.cases.array_file import load_arrays
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import lanes, name_of
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store
from lockstep.harness.weights.model_file import fitted_case, with_own_weights

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
    assert said(found["gru"]).startswith("it is a GRU: three gates and no cell state, another network than an LSTM")
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
        "it is module decoder of a Net, whose other parts are run with it as a whole",
    )
    assert said(wrong) == 'no LSTM in it begins with "attention". There are: encoder, decoder.'


@pytest.mark.xdist_group("torch")
@needs("torch")
def test_state_dicts_are_read_without_their_framework(reading, exported):
    names = ["my", "cell", "projected", "gru", "quantised", "misfit", "dense", "other"]
    found = dict(zip(names, reading(*(exported / f"{name}.safetensors" for name in names)), strict=True))
    (direct,) = reading(f"{TORCH}:make_torch_lstm")
    assert found["my"].value.digest == direct.value.digest
    assert (found["my"].value.runner, found["cell"].value.what) == ("torch_lstm", "a state dict of nn.LSTMCell")
    assert (found["projected"].value.dtype, found["projected"].value.lstm.proj_size) == ("bfloat16", 2)
    assert said(found["gru"]).endswith("TF1's GRUCell). Torch's is of the first kind.")
    assert said(found["quantised"]).startswith("weight_ih_l0 is int8: quantised weights are not taken")
    assert said(found["misfit"]).startswith(
        "shapes do not fit together: weight_ih_l0 (16, 3), weight_hh_l0 (12, 4)"
    ) or ("GRU" in said(found["misfit"]))
    assert said(found["dense"]).endswith("It holds dense.weight.")
    assert "lockstep convert IN OUT --from onnx --to torch" in said(found["other"])
    whole, decoder = reading(exported / "net.safetensors", (exported / "net.safetensors", "decoder"))
    assert said(whole).startswith("it has 2 LSTMs: decoder., encoder..")
    assert (decoder.value.lstm.num_layers, decoder.value.lstm.input_size) == (2, 4)


@pytest.mark.xdist_group("torch")
@needs("torch")
def test_what_torch_saves_is_read_without_a_pickle(reading, exported):
    names = ["traced.pt", "scripted.pt", "frozen.pt", "alone.ts", "program.pt2", "decomposed.pt2", "lightning.ckpt",
             "old.pth", "dropped.pt", "wrapped.pth", "whole.pt", "junk.pt"]  # fmt: skip
    (exported / "junk.pt").write_text("no checkpoint")
    found = dict(zip(names, reading(*(exported / name for name in names)), strict=True))
    (direct,) = reading(f"{TORCH}:make_torch_lstm")
    for name in names[:-2]:
        assert found[name].value.digest == direct.value.digest, name
        assert found[name].value.runner == "torch_lstm"
    assert found["program.pt2"].value.what == "an aten.lstm of an exported program, memory"
    assert found["decomposed.pt2"].value.what == "the weights of an exported program of nn.LSTM, memory"
    assert found["lightning.ckpt"].value.what == "a checkpoint's weights of nn.LSTM, state_dict.memory"
    (note,) = found["dropped.pt"].value.notes
    assert note.startswith("memory.weight_hh_l0_raw is used: its weights are dropped in training; memory.weight_hh_l0 ")
    assert "is stale, what one training step drew: 64 of 64 numbers differ, by 0." in note
    (note,) = found["wrapped.pth"].value.notes
    assert note == "rnns.0.weight_hh_l0_raw is used: its weights are dropped in training"
    assert "it is of Python objects, __main__.Tagger among them, which only unpickling would" in said(found["whole.pt"])
    assert "or is damaged: which only unpickling would make" in said(found["junk.pt"])


def test_torch_files_are_told_from_checkpoints_of_tf1_by_the_files_that_are_there(tmp_path):
    (tmp_path / "model.ckpt").touch()
    assert parse_model(str(tmp_path / "model.ckpt"), "").kind == "torch"
    (tmp_path / "model.ckpt.index").touch()
    assert parse_model(str(tmp_path / "model.ckpt"), "").kind == "tf1"
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "variables" / "variables.index").touch()
    file = parse_model(f"{tmp_path}/saved/", "")
    assert (file.name, file.kind, file.path) == ("saved", "tf1", f"{tmp_path}/saved/variables/variables")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Checkpoints that TF1 writes."""
    folder = tmp_path_factory.mktemp("tf1")
    make("save_checkpoints.py", folder)
    return folder


@pytest.mark.slow  # writes and reads with frameworks of its own
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
    assert said(found["gru"]).endswith("This is TF1's, of the second kind.")
    assert said(found["dense"]).endswith("It holds dense/bias, dense/kernel.")
    assert said(found["misfit"]).startswith("shapes do not fit together: lstm/kernel's part for x")


@pytest.mark.slow  # writes and reads with frameworks of its own
@pytest.mark.xdist_group("tensorflow")
@needs("tensorflow", "tf_keras")
def test_checkpoints_of_old_names_and_of_whole_stacks_are_one_network(reading, checkpoints):
    names = ["model.ckpt-100", "old", "older", "multi", "deep", "stack", "gap"]
    parts = {"backward": ("deep", "bidirectional_rnn/bw"), "second": ("multi", "rnn/multi_rnn_cell/cell_1")}
    asked = [*((name, "") for name in names), *parts.values()]
    files = [(checkpoints / name, prefix) for name, prefix in asked]
    found = dict(zip([*names, *parts], reading(*files), strict=True))
    assert found["model.ckpt-100"].value.lstm == found["old"].value.lstm == found["older"].value.lstm
    assert found["older"].value.what.startswith("RNN/BasicLSTMCell of a TensorFlow checkpoint")
    sizes = {name: (found[name].value.lstm.num_layers, found[name].value.lstm.direction) for name in names[3:-1]}
    assert sizes == {"multi": (2, "forward"), "deep": (2, "bidirectional"), "stack": (2, "bidirectional")}
    deep, backward = found["deep"].value, found["backward"].value
    assert "each direction is a stack of its own: columns of zeros in W" in deep.notes[1]
    assert (backward.lstm.num_layers, backward.lstm.direction) == (2, "reverse")
    upper = deep.arrays()["W_l1_reverse"]
    np.testing.assert_array_equal(upper[:, :4], 0)
    np.testing.assert_array_equal(upper[:, 4:], backward.weights[1][0].W)
    assert len(found["stack"].value.notes) == 1
    assert said(found["gap"]).startswith("of one network layer 1 is missing: rnn/multi_rnn_cell/cell_0/")
    second = found["second"].value.lstm
    assert (second.num_layers, second.input_size) == (1, 4)


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@needs("tensorflow", "tf_keras", "h5py")
def test_files_and_saved_models_of_keras_2_are_read_with_their_settings(reading, tmp_path):
    make("save_keras2.py", tmp_path, TF_USE_LEGACY_KERAS="1")
    names = ["stack.h5", "both.h5", "gru.h5", "weights.h5"]
    found = dict(zip(names, reading(*(tmp_path / name for name in names)), strict=True))
    stack = found["stack.h5"].value
    assert (stack.lstm.num_layers, stack.lstm.direction, stack.runner) == (2, "bidirectional", "tf_keras2")
    assert stack.lstm.recurrent_activation == "hard_sigmoid_0.2"
    assert said(found["gru.h5"]).endswith("This one has reset_after = False.")
    assert said(found["weights.h5"]).startswith("it holds weights without the settings of their layers")
    (saved,) = reading(tmp_path / "saved")
    assert saved.value.digest == found["both.h5"].value.digest
    assert (saved.value.lstm.merge_mode, saved.value.lstm.recurrent_activation) == ("sum", "hard_sigmoid_0.2")


@needs("h5py")
@pytest.mark.parametrize(("version", "curve"), [("2.4.0", "hard_sigmoid_0.2"), ("3.9.0", "hard_sigmoid_1/6")])
def test_an_hdf5_file_is_read_without_a_framework_and_by_the_keras_that_wrote_it(reading, tmp_path, version, curve):
    import h5py

    settings = {
        "name": "memory",
        "units": 4,
        "activation": "tanh",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": True,
    }
    layers = [
        {"class_name": "Lambda", "config": {"name": "odd", "function": ["code"]}},
        {"class_name": "LSTM", "config": settings},
    ]
    config = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}
    arrays = store(make_weights(), DIALECTS["keras"])
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["model_config"] = version, json.dumps(config)
        for name, array in arrays.items():
            file[f"model_weights/memory/memory/lstm_cell/{name}:0"] = array
    (found,) = reading(tmp_path / "net.h5")
    assert found.value.what == f"layer LSTM memory of an HDF5 file by Keras {version}"
    assert (found.value.lstm.recurrent_activation, found.value.lstm.single) == (curve, True)
    for name, array in read(arrays, DIALECTS["keras"]).items():
        np.testing.assert_array_equal(found.value.arrays()[name], array)


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory):
    """Files that Keras saves."""
    folder = tmp_path_factory.mktemp("keras")
    make("save_keras.py", folder)
    return folder


@pytest.mark.slow  # writes and reads with frameworks of its own
@pytest.mark.xdist_group("tensorflow")
@needs("keras", "tensorflow")
def test_keras_files_give_their_lstm_or_say_why_they_have_none(reading, keras_files):
    (keras_files / "junk.keras").write_text("no archive")
    names = ["sequences", "stack", "backwards", "sizes", "summed", "gru", "dense", "selu", "two", "junk"]
    found = dict(zip(names, reading(*(keras_files / f"{name}.keras" for name in names)), strict=True))
    assert found["sequences"].value.what.startswith("layer LSTM lstm of Keras 3")
    stack = found["stack"].value
    assert (stack.lstm.num_layers, stack.lstm.direction, stack.lstm.bias) == (2, "bidirectional", True)
    assert stack.notes[0] == "run with it as a whole, since no part of the LSTM: its Dense"
    assert "only the last output is compared" in stack.notes[1]
    backwards = found["backwards"].value.lstm
    assert (backwards.direction, backwards.bias) == ("reverse", False)
    assert (backwards.activation, backwards.recurrent_activation) == ("relu", "hard_sigmoid_1/6")
    assert "its layers are of several sizes (small has 4 units, large 5)" in said(found["sizes"])
    assert said(found["summed"]).startswith('both has merge_mode = "sum": of a file, layers are read that put both')
    assert said(found["gru"]).startswith("memory is a GRU: three gates and no cell state")
    assert said(found["gru"]).endswith("This one has reset_after = True.")
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
    assert said(found["gru"]).endswith("This one has linear_before_reset = 0.")
    assert said(found["misfit"]).startswith("memory: shapes do not fit together: W (16, 3), R (12, 4)")
    assert said(found["inputs"]).startswith("its weights are no constants: W2 is computed from the graph's input W2")
    assert said(found["relu"]) == "there is no LSTM node in it. Its nodes are of: Relu."
    assert said(found["two"]).startswith("it has 2 LSTMs that do not stand on each other: memory, beside.")
    assert said(found["quantised"]).startswith("its weights are quantised (DequantizeLinear dq)")
    assert said(found["junk"]).startswith("it cannot be read as an ONNX model: ")
    assert said(found["empty"]) == "it has no nodes: it is no ONNX model, or an empty one."
    (one,) = reading((nodes / "two.onnx", "beside"))
    assert one.status == "ran"


@pytest.fixture(scope="module")
def careful_nodes(tmp_path_factory):
    """ONNX files whose LSTM stands or starts elsewhere."""
    pytest.importorskip("onnx", reason="onnx not installed: pip install 'lockstep-rnn[onnx]'")
    folder = tmp_path_factory.mktemp("careful")
    make("save_onnx.py", folder)
    return folder


IN_ONNX = ["if", "loop", "function", "sliced", "split", "split_open", "layout", "layout_stack", "external", "lost",
           "old", "older", "shared"]  # fmt: skip


@pytest.mark.xdist_group("onnx")
@needs("onnx", "onnxruntime")
def test_lstms_of_onnx_are_found_wherever_they_stand(reading, careful_nodes):
    asked = [*((name, "") for name in IN_ONNX), ("if", "choice.then"), ("function", "inner__2")]
    found = dict(
        zip(asked, reading(*((careful_nodes / f"{name}.onnx", prefix) for name, prefix in asked)), strict=True)
    )
    whole = {name: found[name, ""] for name in IN_ONNX}
    assert said(whole["if"]).startswith("it has 2 LSTMs: choice.else_branch.memory, choice.then_branch.memory.")
    chosen = found["if", "choice.then"].value
    assert chosen.notes == ("it stands inside choice.then_branch, and is run without what is around it",)
    assert (whole["loop"].value.from_zeros, found["function", "inner__2"].status) == (False, "ran")
    assert said(whole["function"]).startswith("it has 2 LSTMs that do not stand on each other: inner__1, inner__2.")
    for name in ("sliced", "split", "split_open"):
        assert whole[name].value.notes == ("h and c are cut out of one input, state, by its own nodes",)
    assert whole["layout"].value.notes[0].startswith("layout = 1 (batch first) is run by our own transposition")
    assert (whole["layout_stack"].value.lstm.num_layers, whole["old"].value.what[:30]) == (
        2,
        "one LSTM node of ONNX opset 7,",
    )
    assert said(whole["lost"]).endswith("Its weights are in a file of their own: put that beside it.")
    assert said(whole["older"]).startswith("it is of opset 6, and runtimes run LSTM as it is since opset 7")
    assert whole["shared"].value.unrunnable.startswith("several of its states are the same numbers of one input")


@pytest.mark.xdist_group("onnx")
@needs("onnx", "onnxruntime")
def test_what_is_found_in_onnx_computes_what_the_reference_does(reading, processes, careful_nodes):
    names = ["loop", "sliced", "split", "split_open", "layout", "layout_stack", "external", "old"]
    problems = []
    for found in reading(*(careful_nodes / f"{name}.onnx" for name in names)):
        case = fitted_case(make_case(initial_state="probe"), found.value)
        problems.append(with_own_weights(Problem.from_case(replace(case, lstm=found.value.lstm)), found.value))
    for name, problem, trace in zip(names, problems, running(processes, careful_nodes, names, problems), strict=True):
        expected, lstm = forward(problem), problem.case.lstm
        top = [name_of("h", lane, lstm) for lane in lanes(lstm) if lane.layer == lstm.num_layers - 1]
        assert np.abs(trace.h - np.concatenate([expected[key] for key in top], axis=-1)).max() < 1e-6, name


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

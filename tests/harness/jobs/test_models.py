"""``lockstep run --model``: a user's file as a backend, its weights for all others; one message for each mistake."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from examples import mostly_slow
from model_reading import PLANTED, line_of, make, needs
from safetensors.numpy import load_file, save_file

from lockstep.harness.adapters.model_reader import parse_model

TORCH = PLANTED / "torch_modules.py"


def torch(test):
    """What starts PyTorch does so in one worker of the suite, and in one process."""
    return pytest.mark.xdist_group("torch")(pytest.mark.usefixtures("kept_processes")(test))


@torch
@needs("torch")
def test_a_file_is_one_more_backend_and_all_others_run_its_weights(lockstep, tmp_path):
    status, out, err = lockstep(
        "run", "--model", f"{TORCH}:make_torch_lstm", "--backend", "numpy_loop", "--json", tmp_path / "run.json"
    )
    assert (status, err) == (0, "")
    said = " ".join(out.split())
    assert "torch_modules.py:make_torch_lstm: nn.LSTM of torch" in said
    assert "Case probe, as the model asks: input_size 5 -> 3, hidden_size 7 -> 4, num_layers 1 -> 2, direction" in said
    assert "2 runs: 2 agree" in said
    found = json.loads((tmp_path / "run.json").read_bytes())
    (model,) = found["environment"]["models"]
    assert (model["name"], model["lstm"]["hidden_size"], model["dtype"]) == (
        "torch_modules.py:make_torch_lstm",
        4,
        "float32",
    )
    assert [run["backend"] for run in found["runs"]] == ["torch_modules.py:make_torch_lstm", "numpy_loop"]
    words = shlex.split(found["runs"][1]["rerun"])
    assert words == ["lockstep", "run", "--model", f"{TORCH}:make_torch_lstm", "--backend", "numpy_loop"]


@torch
@needs("torch")
def test_named_cases_keep_their_data_and_take_the_network(lockstep):
    status, out, _ = lockstep(
        "run",
        "lengths",
        "gradients",
        "ones",
        "--model",
        f"{TORCH}:net",
        "--model-prefix",
        "encoder",
        "--backend",
        "numpy_loop",
    )
    said = " ".join(out.split())
    assert status == 0, said
    assert "Case gradients, as the model asks: input_size 5 -> 3, hidden_size 7 -> 4." in said
    assert "its golden values, which are of other weights, left out" in said
    assert "6 runs: 6 agree" in said


@torch
@needs("torch")
def test_weights_are_brought_to_the_dtypes_of_named_cases(lockstep):
    dtypes = ("float16", "bfloat16", "float64")
    status, out, _ = lockstep("run", *dtypes, "--model", f"{TORCH}:unseeded", "--backend", "numpy_loop")
    said = " ".join(out.split())
    assert status == 0
    assert "3 agree" in said
    for dtype in dtypes:
        assert (f"weights rounded from float32 to {dtype}" in said) == (dtype != "float64")
        assert f"unseeded, unsupported: it computes in float32, and the case in {dtype} ({dtype})" in said


@torch
@needs("torch")
def test_without_a_case_the_data_are_such_that_the_file_can_be_run(lockstep):
    status, out, _ = lockstep("run", "--model", f"{TORCH}:double", "--backend", "numpy_loop")
    assert status == 0
    assert "dtype float32 -> float64" in out
    assert "2 runs: 2 agree" in out


def planted(arrays):
    """Give wrong exports by name, and one that is right though its two biases are exchanged."""

    def changed(change):
        return {name: np.ascontiguousarray(change(name, array)) for name, array in arrays.items()}

    def other_name(name):
        return name.replace("bias_ih", "bias_xx").replace("bias_hh", "bias_ih").replace("bias_xx", "bias_hh")

    return {
        "dropped": changed(lambda name, a: 0 * a if "bias_hh" in name else a),
        "transposed": changed(
            lambda name, a: a.reshape(4, 4, 4).transpose(0, 2, 1).reshape(16, 4) if "weight_hh" in name else a
        ),
        "gates": changed(lambda name, a: np.concatenate([np.split(a, 4)[k] for k in (0, 2, 1, 3)])),
        "exchanged": {other_name(name): array for name, array in arrays.items()},
    }


@pytest.mark.slow
@torch
@needs("torch")
def test_wrong_exports_diverge_and_are_named(lockstep, exported, tmp_path):
    names = [f"{tmp_path}/{name}.safetensors" for name in planted(load_file(exported / "my.safetensors"))]
    for name, arrays in zip(names, planted(load_file(exported / "my.safetensors")).values(), strict=True):
        save_file(arrays, name)
    models = [word for name in (f"{TORCH}:make_torch_lstm", *names) for word in ("--model", name)]
    status, out, _ = lockstep("run", *models, "--backend", "numpy_loop", "--json", tmp_path / "run.json")
    runs = {run["backend"]: run for run in json.loads((tmp_path / "run.json").read_bytes())["runs"]}
    said = " ".join(out.split())
    assert status == 1, said
    for name, fault, text in (
        (
            "dropped",
            "other-weights",
            "the first of the two biases of torch_modules.py:make_torch_lstm alone: the other one",
        ),
        ("transposed", "R:transposed-by-gate", "each gate's block is transposed"),
        ("gates", "WRb:read-as-igfo", "gates are stacked i, g, f, o, as tf1 does, and read as i, f, g, o"),
    ):
        run = runs[f"{name}.safetensors"]
        assert (run["status"], run["diagnosis"][0]["fault"]) == ("diverge", fault)
        assert text in said
        assert run["rerun"] == shlex.join(["lockstep", "run", *models, "--backend", f"{name}.safetensors"])
    assert "Expected from its own weights, it agrees to " in runs["dropped.safetensors"]["diagnosis"][0]["evidence"]
    # Two biases are summed: which of them is which changes no number.
    assert runs["exchanged.safetensors"]["status"] == "agree"
    assert "its weights are those of torch_modules.py:make_torch_lstm, bit for bit" in said
    assert "lockstep anatomy" not in said


@torch
@needs("torch", "onnx", "onnxruntime", "onnxscript")
def test_an_export_to_onnx_keeps_its_numbers_and_one_with_gates_in_another_order_is_named(lockstep, exported, tmp_path):
    import onnx

    status, out, _ = lockstep(
        "run", "--model", exported / "my.onnx", "--model", f"{TORCH}:make_torch_lstm", "--backend", "torch_lstm"
    )
    assert status == 0
    assert "its weights are those of my.onnx, bit for bit" in out
    status, out, _ = lockstep("run", "--model", exported / "static.onnx", "--backend", "numpy_loop")
    assert status == 0
    assert "timesteps 12 -> 5, batch 3 -> 2, initial_state probe -> zeros" in out
    model = onnx.load(exported / "my.onnx")
    names = {name for node in model.graph.node if node.op_type == "LSTM" for name in node.input[1:3]}
    biases = {node.input[3] for node in model.graph.node if node.op_type == "LSTM"}
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        halves = np.split(array, 2, 1) if tensor.name in biases else [array] if tensor.name in names else []
        if halves:
            # The blocks of i, o, f, g put as PyTorch has them: i, f, g, o.
            moved = [np.concatenate([np.split(half, 4, 1)[k] for k in (0, 2, 3, 1)], 1) for half in halves]
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate(moved, 1), tensor.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    status, out, _ = lockstep(
        "run", "--model", f"{TORCH}:make_torch_lstm", "--model", tmp_path / "wrong.onnx", "--backend", "torch_lstm"
    )
    said = " ".join(out.split())
    assert status == 1
    assert "gates are stacked i, f, g, o, as keras and torch do, and read as i, o, f, g" in said
    assert "[WRb:read-as-iofg]" in said


@torch
@needs("torch", "onnx", "onnxruntime", "onnxscript", "jax", "tensorflow", "tf_keras")
def test_the_page_on_model_files_shows_what_is_said(lockstep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("export_small.py", tmp_path)
    models = ("--model", "module.py:make_torch_lstm", "--model")
    right = lockstep("run", *models, "my.onnx", "--backend", "jax_scan", "--backend", "tf_dynamic_rnn")[1]
    wrong = lockstep("run", *models, "wrong.onnx", "--backend", "numpy_loop")[1]
    page = without_numbers((Path(__file__).parents[3] / "docs" / "how-to" / "model-files.md").read_text())
    assert without_numbers(right) in page
    lines = wrong.splitlines()
    what = next(k for k, line in enumerate(lines) if line.startswith("wrong.onnx: "))
    assert without_numbers("\n".join(lines[what : what + 3])) in page
    why = next(k for k, line in enumerate(lines) if "Why: " in line)
    assert without_numbers("\n".join(lines[why : why + 2])) in page


def without_numbers(text):
    """Give text with one space wherever there are some, and # for each number, which machines differ in."""
    return re.sub(r"\d[\d.]*(e[+-]\d+)?(\+cpu)?", "#", " ".join(text.split()))


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@needs("keras", "tensorflow", "tf_keras")
def test_keras_files_are_run_by_keras_and_checkpoints_by_the_backends_of_tf1(lockstep, tmp_path):
    make("save_keras.py", tmp_path)
    status, out, _ = lockstep("run", "--model", tmp_path / "stack.keras", "--backend", "numpy_loop")
    assert (status, "3 runs: 3 agree" in out) == (0, True)  # with the model as a whole
    make("save_checkpoints.py", tmp_path)
    status, out, _ = lockstep("run", "--model", tmp_path / "model.ckpt-100", "--backend", "tf_dynamic_rnn")
    said = " ".join(out.split())
    assert (status, "1 run: 1 agree" in said) == (0, True)
    assert "Its weights are run by tf_dynamic_rnn." in said


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@needs("keras", "tensorflow")
def test_a_keras_layer_that_goes_backwards_takes_lengths_as_its_mask(lockstep, tmp_path):
    make("save_keras.py", tmp_path)
    status, out, _ = lockstep("run", "lengths", "--model", tmp_path / "backwards.keras", "--backend", "numpy_loop")
    assert (status, "2 runs: 2 agree" in out) == (0, True), out


@torch
@needs("torch")
@pytest.mark.parametrize(
    ("function", "status", "text"),
    mostly_slow(
        [
            (
                "raises",
                3,
                f"it raised ValueError in torch_modules.py, line {line_of('raise ValueError')}: no weights here",
            ),
            ("hangs", 3, f"not done after 2 s, in torch_modules.py, line {line_of('time.sleep')}, in hangs"),
            ("dies", 3, "torch_modules.py:dies: its process ended with exit status 3 (does it call os._exit?)"),
            ("gru", 2, "torch_modules.py:gru: it is a GRU:"),
        ],
        every=2,
        names=3,
    ),
)
def test_functions_that_fail_exit_3_and_what_is_no_lstm_exits_2(lockstep, function, status, text):
    found, _, err = lockstep("run", "--model", f"{TORCH}:{function}", "--timeout", 2)
    assert found == status
    assert text in " ".join(err.split())


@pytest.mark.slow
@torch
@needs("torch")
def test_a_function_that_gives_other_weights_each_time_is_found_out(lockstep):
    status, out, _ = lockstep("run", "--model", f"{TORCH}:other_each_time", "--backend", "numpy_loop")
    assert status == 3
    assert "gave other weights when it was read again: let it load them, or draw them from a seed of its own" in out


@pytest.mark.slow
@torch
@needs("torch")
def test_files_of_other_sizes_do_not_go_together(lockstep):
    status, _, err = lockstep("run", "--model", f"{TORCH}:make_torch_lstm", "--model", f"{TORCH}:unseeded")
    assert status == 2
    assert (
        "do not go together: num_layers is 1 here and 2 there, direction is forward here and bidirectional there" in err
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere.onnx", "no such file. Did you mean"),
        ("weights.pb", "not a known kind of model file. Lockstep takes a .onnx file"),
        ("weights.pb", "Of a .pb file: of a SavedModel name the folder"),
        ("", "a folder. Lockstep takes"),
        ("file.py", 'no function is called "model". There are: build'),
        ("file.py:biuld", 'no function is called "biuld". Did you mean "build"?'),
    ],
)
def test_what_is_no_model_file_is_told_with_what_is_taken(lockstep, tmp_path, name, text):
    (tmp_path / "nowhere-else.onnx").touch()
    (tmp_path / "weights.pb").touch()
    (tmp_path / "file.py").write_text("def build():\n    pass\n")
    status, _, err = lockstep("run", "--model", tmp_path / name)
    assert status == 2
    assert text in err


def test_a_framework_that_is_not_installed_is_told_with_how_to_get_it(lockstep, tmp_path, monkeypatch):
    (tmp_path / "my.onnx").touch()
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name.startswith("onnx") else there(name))
    status, _, err = lockstep("run", "--model", tmp_path / "my.onnx")
    assert status == 2
    assert "my.onnx: onnx and onnxruntime not installed: pip install 'lockstep-rnn[onnx]'." in err


def test_prefixes_and_cases_that_do_not_go_with_a_model_are_refused(lockstep, tmp_path):
    save_file({f"{name}_l0": np.zeros((16, n), np.float32) for name, n in (("weight_ih", 3), ("weight_hh", 4))},
              tmp_path / "my.safetensors")  # fmt: skip
    model = ("--model", tmp_path / "my.safetensors")
    for arguments, text in (
        (
            ["--model-prefix", "lstm"],
            "--model-prefix chooses an LSTM of a --model, but no --model is given. Add --model FILE.",
        ),
        ([*model, "--model-prefix", "a", "--model-prefix", "b"], "--model-prefix is given 2 times, and --model 1."),
        ([*model, *model], f"--model {tmp_path}/my.safetensors [] is given twice."),
        (["attention-dot", *model], "case attention-dot is an attention decoder: --model is of LSTM networks."),
        ([*model, "--backend", "numpy"], 'no backend is called "numpy".'),
    ):
        status, _, err = lockstep("run", *arguments)
        assert status == 2
        assert text in err


def test_a_checkpoint_is_found_by_its_prefix_and_by_its_files(tmp_path):
    for suffix in (".index", ".data-00000-of-00001"):
        (tmp_path / f"model.ckpt-7{suffix}").touch()
    for text in ("model.ckpt-7", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"):
        found = parse_model(str(tmp_path / text), "")
        assert (found.kind, Path(found.path).name) == ("tf1", "model.ckpt-7")

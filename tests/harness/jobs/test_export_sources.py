"""Whole models in files of PyTorch as sources of exports, within this process; and files that are refused."""

from __future__ import annotations

import json
import os
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lockstep.harness.adapters.routes import elsewhere, find
from lockstep.harness.adapters.routes.find import find_routes
from lockstep.harness.adapters.routes.route_process import Question, export, reference_of
from lockstep.harness.cases.find import find_cases
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.exports.export import CHUNKS, REMEMBERS, judged, located, only_again
from lockstep.harness.jobs.exports.observe import SourceRun, source_run, weights_alone
from lockstep.harness.weights.model_file import ModelError, ModelFile

torch = pytest.importorskip("torch")

MODELS = Path(__file__).parents[2] / "planted_models"
(PROBE,) = find_cases(["probe"])


@pytest.fixture(autouse=True)
def _from_this_folder(monkeypatch):
    """Sources and routes by their modules, whatever is installed."""
    infos = {name: find.read_info(name, module) for name, module in sorted(ROUTES.items())}
    monkeypatch.setattr(find, "_parts", lambda: infos)
    modules = PROJECT["entry-points"]["lockstep.sources"]
    sources = {name: find.read_info(name, module) for name, module in modules.items()}
    for module in (find, __import__("lockstep.harness.adapters.routes.route_process", fromlist=["_"])):
        monkeypatch.setattr(module, "find_sources", lambda: sources)


PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
ROUTES = PROJECT["entry-points"]["lockstep.routes"]


@pytest.fixture
def models(monkeypatch):
    monkeypatch.syspath_prepend(str(MODELS))
    yield __import__("whole")
    sys.modules.pop("whole")


def streamed_example():
    generator = torch.Generator().manual_seed(0)
    x, h, c = (torch.randn(shape, generator=generator) for shape in ((3, 12, 4), (1, 3, 6), (1, 3, 6)))
    return x, (h, c)


def observed(file: Path, kind: str = "torch", function: str = "") -> SourceRun:
    question = Question(ModelFile(file.name, kind, str(file), function), 12, 3, 1)
    return source_run(PROBE.case, question, reference_of(question))


def through(source: SourceRun, name: str, folder: Path):
    (route,) = find_routes(source.reference.form, [name])
    if route.missing():
        pytest.skip(str(route.missing()))
    outcome = export(source.question, source.reference, route, folder, layers=True)
    assert outcome.status == "ran", outcome.message
    return judged(source, route.name, outcome, None), outcome


def program(module, example, path: Path) -> Path:
    torch.export.save(torch.export.export(module.eval(), example), path)
    return path


def script(module, example, path: Path) -> Path:
    torch.jit.trace(module.eval(), example).save(str(path))
    return path


@pytest.mark.filterwarnings("ignore")
def test_an_exported_program_is_a_whole_model_with_layers_and_states(models, tmp_path):
    source = observed(program(models.streamed(), streamed_example(), tmp_path / "model.pt2"))
    assert [(spec.name, spec.shape, spec.role) for spec in source.reference.specs] == [
        ("x", (3, 12, 4), "data"), ("state_0", (1, 3, 6), "state"), ("state_1", (1, 3, 6), "state"),
    ]  # fmt: skip
    assert list(source.reference.lstms) == ["lstm"]
    assert source.reference.parts["lstm"] == "lstm (LSTM)"
    assert source.reference.parts["out"] == "out (linear)"
    result, _ = through(source, "torchscript", tmp_path / "to")
    assert result.status == "agree"
    assert f"output.0{CHUNKS}" in result.tensors
    assert 0.1 < result.tensors["output.0"].worst.sigma < 5


@pytest.mark.filterwarnings("ignore")
def test_what_an_exported_program_gives_is_what_torch_gives(models, tmp_path):
    torch.manual_seed(3)
    module = models.streamed()
    source = observed(program(module, streamed_example(), tmp_path / "model.pt2"))
    x, h, c = (torch.from_numpy(array) for array in source.reference.inputs.values())
    with torch.no_grad():
        expected, _ = module(x, (h, c))
    np.testing.assert_array_equal(source.reference.narrow["output.0"], expected.numpy())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_traced_module_is_a_whole_model_with_layers(models, tmp_path):
    torch.manual_seed(3)
    module = models.speech()
    tokens = torch.zeros((3, 12), dtype=torch.int64)
    source = observed(script(module, tokens, tmp_path / "model.pt"))
    (spec,) = source.reference.specs
    assert (spec.name, spec.shape, spec.below) == ("tokens", (3, 12), 40)
    assert list(source.reference.lstms) == ["encoder"]
    assert source.reference.notes == []  # it is run in float64, though float32 stands in its graph
    with torch.no_grad():
        expected = module(torch.from_numpy(source.reference.inputs["tokens"]))
    np.testing.assert_array_equal(source.reference.narrow["output"], expected.numpy())
    result, _ = through(source, "torchscript", tmp_path / "to")
    assert result.status == "agree"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_scripted_module_goes_through_torch_export_as_its_converter_gives_it(models, tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.script(models.Speech().eval()).save(str(path))
    source = observed(path)
    assert list(source.reference.lstms) == ["encoder"]
    result, _ = through(source, "torch.export", tmp_path / "to")
    assert result.status == "agree"


@pytest.mark.filterwarnings("ignore")
def test_the_first_layer_that_differs_is_named_in_a_program_too(models, tmp_path, monkeypatch):
    from lockstep.backends import route_torchscript

    source = observed(program(models.streamed(), streamed_example(), tmp_path / "model.pt2"))
    convert = route_torchscript.convert

    def with_exchanged_gates(subject, folder):
        with torch.no_grad():
            for name, weight in subject.value.named_parameters():
                if "_l0" in name:
                    i, f, g, o = weight.clone().chunk(4)
                    weight.copy_(torch.cat([i, g, f, o]))
        return convert(subject, folder)

    monkeypatch.setattr(route_torchscript, "convert", with_exchanged_gates)
    result, outcome = through(source, "torchscript", tmp_path / "to")
    result = located(source, result, outcome)
    assert "the first layer whose output differs is lstm (LSTM); 1 layer of 3 right" in result.notes
    assert "read as i, g, f, o" in result.diagnosis[0].message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("torch.ops.aten.linear.default", "os.system", "it calls os.system; only operators of aten are"),
        ('"as_float": 1e-05', '"as_graph": {"name": "g"}', "one of its operators is given graph, which is not read"),
    ],
)
def test_a_program_calls_operators_and_nothing_else(models, tmp_path, old, new, message):
    path = program(models.streamed(), streamed_example(), tmp_path / "model.pt2")
    changed = tmp_path / "changed.pt2"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as written:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("models/model.json"):
                content = content.decode().replace(old, new).encode()
                json.loads(content)
            written.writestr(name, content)
    with pytest.raises(ModelError, match=r"FILE\.py:FUNCTION") as refusal:
        observed(changed)
    assert str(refusal.value).startswith(message)


def test_files_of_weights_are_refused_with_what_to_do(tmp_path):
    checkpoint = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(2)}, checkpoint)
    kinds = {
        "a checkpoint, weights without a model": ModelFile("", "torch", str(checkpoint)),
        "a SavedModel, whose layers TensorFlow has dissolved": ModelFile("", "tf1", "/a/variables/variables"),
        "a file of weights without a model": ModelFile("", "safetensors", "/a"),
        "": ModelFile("", "onnx", "/a"),
    }
    for told, file in kinds.items():
        assert weights_alone(file) == told


@pytest.mark.filterwarnings("ignore")
def test_a_runtime_that_remembers_is_told_from_one_that_is_wrong(models, tmp_path, monkeypatch):
    from lockstep.backends import route_torchscript

    source = observed(program(models.streamed(), streamed_example(), tmp_path / "model.pt2"))
    load = route_torchscript.load

    def that_remembers(path, subject):
        run, calls = load(path, subject), []

        def again(inputs):
            calls.append(1)
            return {name: array + 0.1 * (len(calls) == 3) for name, array in run(inputs).items()}

        return again

    monkeypatch.setattr(route_torchscript, "load", that_remembers)
    result, _ = through(source, "torchscript", tmp_path / "to")
    assert result.status == "diverge"
    assert only_again(result)
    assert "keeps something" in REMEMBERS


STREAMED = (
    "torchscript", "torch.export", "torch.compile", "pnnx>ncnn", "openvino", "executorch", "tvm", "aotinductor",
    *(f"torch.onnx-legacy>{name}" for name in ("onnxruntime", "opencv", "tract", "mnn", "iree", "openvino")),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("route", STREAMED)
def test_each_route_is_run_in_chunks_or_says_why_not(route, tmp_path):
    source = observed(MODELS / "whole.py", "python", "streamed")
    result, outcome = through(source, route, tmp_path)
    assert (f"output.0{CHUNKS}" in result.tensors) != bool(outcome.value.unchunked)
    if not outcome.value.unchunked:
        assert result.tensors[f"output.0{CHUNKS}"].verdict == result.tensors["output.0"].verdict == "agree"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("axes", "told"), [({1: "time"}, ""), ({}, "half as many timesteps it does not take")])
def test_an_onnx_file_is_run_in_chunks_where_its_time_is_open(models, tmp_path, axes, told):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    x, (h, c) = streamed_example()
    file, names = tmp_path / "model.onnx", ["x", "state.0", "state.1"]
    torch.onnx.export(
        models.streamed().eval(), (x, (h, c)), file, dynamo=False, input_names=names,
        output_names=["output.0", "output.1", "output.2"], dynamic_axes={"x": axes} if axes else None,
    )  # fmt: skip
    source = observed(file, "onnx")
    assert (source.reference.stream is None) == bool(told)
    assert told in " ".join(source.reference.notes)


@pytest.mark.filterwarnings("ignore")
def test_ncnn_keeps_the_numbers_of_embedding_layers_and_dense(tmp_path):
    source = observed(MODELS / "whole.py", "python", "speech")
    result, _ = through(source, "pnnx>ncnn", tmp_path)
    assert result.status == "agree"
    assert {file.name for file in (tmp_path / "model").iterdir()} == {
        "model.ncnn.param", "model.ncnn.bin", "model_ncnn.py",
    }  # fmt: skip


def hdf5(path: Path, version: str, layers: list[str]) -> Path:
    h5py = pytest.importorskip("h5py")
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": kind, "config": {}} for kind in layers]}}
    with h5py.File(path, "w") as stored:
        stored.attrs["keras_version"], stored.attrs["model_config"] = version, json.dumps(config)
    return path


@pytest.mark.parametrize("version", ["2.13.1", "3.4.0"])
def test_python_code_in_a_keras_file_is_not_run(tmp_path, version):
    with pytest.raises(ModelError, match="Lambda layer, which in such a file is compiled Python code") as refusal:
        observed(hdf5(tmp_path / "model.h5", version, ["LSTM", "Lambda"]), "hdf5")
    assert "FILE.py:FUNCTION" in str(refusal.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_file_of_keras_2_is_opened_by_tf_keras(tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    tokens = tf_keras.Input((12,), dtype="int32", name="tokens")
    x = tf_keras.layers.Embedding(40, 4, name="embedding")(tokens)
    x = tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(3, return_sequences=True), name="encoder")(x)
    model = tf_keras.Model(tokens, tf_keras.layers.Dense(2, name="classes")(x))
    model.save(tmp_path / "model.h5")
    source = observed(tmp_path / "model.h5", "hdf5")
    assert source.reference.form == "tf_keras"
    assert list(source.reference.lstms) == ["encoder"]
    expected = model(source.reference.inputs["tokens"]).numpy()
    np.testing.assert_allclose(source.reference.narrow["output"], expected, rtol=1e-5, atol=1e-6)


def test_a_program_that_needs_an_environment_tells_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.delenv("LOCKSTEP_ONNX2TF", raising=False)
    monkeypatch.setattr(elsewhere.os, "environ", dict(os.environ))
    (route,) = find_routes("onnx", ["onnx>onnx2tf"])
    assert 'onnx2tf==1.29.24, then --onnx2tf DIR, or onnx2tf = "DIR" in [tool.lockstep]' in str(route.missing())
    with pytest.raises(LockstepError, match=r"there is no \w+/onnx2tf in it. Name a virtual environment that has it"):
        elsewhere.name_environment("onnx2tf", tmp_path)
    program = tmp_path / ("Scripts/onnx2tf.exe" if os.name == "nt" else "bin/onnx2tf")
    program.parent.mkdir()
    program.touch()
    elsewhere.name_environment("onnx2tf", tmp_path)
    assert elsewhere.missing_environment("onnx2tf") is None


@pytest.mark.filterwarnings("ignore")
def test_why_it_does_not_convert_is_told_without_where_the_check_stands(models, tmp_path, monkeypatch):
    from lockstep.backends import route_torchscript

    lines = ["Check 'false' failed at src/report.cpp:151:", "FrontEnd API failed with X:", "-- prim::If: no", "more"]

    def refuses(*_):
        raise RuntimeError("\n".join(lines))

    monkeypatch.setattr(route_torchscript, "convert", refuses)
    source = observed(program(models.streamed(), streamed_example(), tmp_path / "model.pt2"))
    (route,) = find_routes("torch", ["torchscript"])
    outcome = export(source.question, source.reference, route, tmp_path / "to", layers=False)
    assert outcome.status == "unsupported"
    assert outcome.message == "it does not convert: RuntimeError: -- prim::If: no"


@pytest.mark.filterwarnings("ignore")
def test_a_script_whose_layers_cannot_be_told_says_why(models, tmp_path, monkeypatch):
    from lockstep.backends import source_torch_file

    def refuses(*_):
        raise RuntimeError("no graph of prim::If")

    monkeypatch.setattr(source_torch_file, "program_of_script", refuses)
    source = observed(script(models.speech(), torch.zeros((3, 12), dtype=torch.int64), tmp_path / "model.pt"))
    told = "its layers not told apart, since TS2EPConverter raised RuntimeError: no graph of prim::If"
    assert source.reference.what.count(told) == 1
    assert source.reference.lstms == {}

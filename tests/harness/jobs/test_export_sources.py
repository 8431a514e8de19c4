"""Whole models in files of PyTorch as sources of exports, within this process; and files that are refused."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lockstep.harness.adapters.routes import find
from lockstep.harness.adapters.routes.find import find_routes
from lockstep.harness.adapters.routes.route_process import Question, export, reference_of
from lockstep.harness.cases.find import find_cases
from lockstep.harness.jobs.exports.export import CHUNKS, REMEMBERS, judged, located, only_again
from lockstep.harness.jobs.exports.observe import SourceRun, source_run, weights_alone
from lockstep.harness.weights.model_file import ModelError, ModelFile

torch = pytest.importorskip("torch")

MODELS = Path(__file__).parents[2] / "planted_models"
(PROBE,) = find_cases(["probe"])


@pytest.fixture(autouse=True)
def _from_this_folder(monkeypatch):
    """Sources and routes by their modules, whatever is installed."""
    infos = {name: find.read_info(name, f"lockstep.backends.{module}") for name, module in ROUTES.items()}
    monkeypatch.setattr(find, "_parts", lambda: infos)
    sources = {name: find.read_info(name, f"lockstep.backends.source_{name}") for name in ("torch", "torch_file")}
    for module in (find, __import__("lockstep.harness.adapters.routes.route_process", fromlist=["_"])):
        monkeypatch.setattr(module, "find_sources", lambda: sources)


ROUTES = {"torchscript": "route_torchscript", "torch.export": "route_torch_export"}


@pytest.fixture
def models(monkeypatch):
    monkeypatch.syspath_prepend(str(MODELS))
    yield __import__("whole")
    sys.modules.pop("whole")


def streamed_example():
    generator = torch.Generator().manual_seed(0)
    x, h, c = (torch.randn(shape, generator=generator) for shape in ((3, 12, 4), (1, 3, 6), (1, 3, 6)))
    return x, (h, c)


def observed(file: Path) -> SourceRun:
    question = Question(ModelFile(file.name, "torch", str(file)), 12, 3, 1)
    return source_run(PROBE.case, question, reference_of(question))


def through(source: SourceRun, name: str, folder: Path):
    (route,) = find_routes("torch", [name])
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

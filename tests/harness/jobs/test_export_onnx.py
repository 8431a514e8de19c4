"""ONNX files as sources of ``lockstep export``, and the reasons that runtimes give."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from lockstep.harness.adapters.routes import find, route_process
from lockstep.harness.adapters.routes.find import find_routes
from lockstep.harness.adapters.routes.reasons import reason_of
from lockstep.harness.adapters.routes.route_process import Question, export, reference_of
from lockstep.harness.cases.find import find_cases
from lockstep.harness.jobs.exports.export import judged, located
from lockstep.harness.jobs.exports.observe import source_run
from lockstep.harness.weights.model_file import ModelFile

ENTRIES = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["entry-points"]
(PROBE,) = find_cases(["probe"])


@pytest.fixture(autouse=True)
def _from_this_folder(monkeypatch):
    """Sources and routes by their modules, whatever is installed."""
    infos, sources = (
        {name: find.read_info(name, module) for name, module in sorted(ENTRIES[f"lockstep.{kind}"].items())}
        for kind in ("routes", "sources")
    )
    monkeypatch.setattr(find, "_parts", lambda: infos)
    for module in (find, route_process):
        monkeypatch.setattr(module, "find_sources", lambda: sources)


def observed(file):
    question = Question(ModelFile(file.name, "onnx", str(file)), 12, 3, 1)
    return source_run(PROBE.case, question, reference_of(question))


def onnx_file(path: Path, nodes: list, weights: dict, **wanted: list[int]) -> Path:
    onnx = pytest.importorskip("onnx")
    ends = {name: onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in wanted.items()}
    graph = onnx.helper.make_graph(
        nodes, "g", [ends.pop(name) for name in list(ends) if name in {"x", "s"}], list(ends.values()),
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=7), path)
    return path


def lstm_weights():
    generator = np.random.default_rng(3)
    shapes = {"W": (1, 24, 4), "R": (1, 24, 6), "B": (1, 48), "D": (6, 5)}
    return {name: generator.standard_normal(shape).astype(np.float32) / 2 for name, shape in shapes.items()}


def test_a_runtime_that_ignores_layout_is_told_so(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from lockstep.backends import onnx_scopes, route_onnxruntime

    node = onnx.helper.make_node("LSTM", ["x", "W", "R", "B"], ["Y", "Y_h"], name="l", hidden_size=6, layout=1)
    path = onnx_file(tmp_path / "it.onnx", [node], lstm_weights(), x=[3, 12, 4], Y=[3, 12, 1, 6], Y_h=[3, 1, 6])
    source = observed(path)
    assert "its LSTM of layout 1, which that does not run, made time-major" in source.reference.what
    refusal = outcome_of(source, tmp_path)
    assert refusal.status == "unsupported"
    assert "Batchwise recurrent operations (layout == 1) are not supported" in str(refusal.message)
    load = route_onnxruntime.load

    def that_ignores_it(file, subject):
        model = onnx.load(file)
        onnx_scopes.without_layout(model.graph)
        model.graph.output[0].type.tensor_type.shape.ClearField("dim")
        model.graph.output[1].type.tensor_type.shape.ClearField("dim")
        onnx.save(model, tmp_path / "other.onnx")
        return load(tmp_path / "other.onnx", subject)

    monkeypatch.setattr(route_onnxruntime, "load", that_ignores_it)
    result, outcome = through_file(source, tmp_path)
    result = located(source, result, outcome)
    assert [cause.fault for cause in result.diagnosis] == ["ignores-layout"]
    assert "It ignores layout = 1, without a message" in result.diagnosis[0].message


def outcome_of(source, folder):
    (route,) = find_routes("onnx", ["onnx>onnxruntime"])
    return export(source.question, source.reference, route, folder / "to", layers=True)


def through_file(source, folder):
    outcome = outcome_of(source, folder)
    assert outcome.status == "ran", outcome.message
    return judged(source, "onnx>onnxruntime", outcome, None), outcome


def test_weights_beside_a_file_and_packed_states_are_read(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    nodes = [
        onnx.helper.make_node("Split", ["s"], ["h0", "c0"], axis=0),
        onnx.helper.make_node("LSTM", ["x", "W", "R", "B", "", "h0", "c0"], ["Y"], name="l", hidden_size=6),
        onnx.helper.make_node("MatMul", ["Y", "D"], ["out"]),
    ]
    path = onnx_file(tmp_path / "it.onnx", nodes, lstm_weights(), x=[12, 3, 4], s=[2, 3, 6], out=[12, 1, 3, 5])
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="it.data", size_threshold=0)
    source = observed(path)
    assert {spec.name: spec.role for spec in source.reference.specs} == {"x": "data", "s": "state"}
    assert set(source.reference.lstms["Y"].inputs) == {"x", "h0", "c0"}
    result, outcome = through_file(source, tmp_path)
    assert result.status == "agree"
    assert set(outcome.value.layers) == {"out", "Y"}


def test_the_cause_is_searched_in_an_onnx_layer_too(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from lockstep.backends import route_onnxruntime

    nodes = [
        onnx.helper.make_node("LSTM", ["x", "W", "R", "B"], ["Y"], name="l", hidden_size=6),
        onnx.helper.make_node("MatMul", ["Y", "D"], ["out"]),
    ]
    source = observed(onnx_file(tmp_path / "it.onnx", nodes, lstm_weights(), x=[12, 3, 4], out=[12, 1, 3, 5]))
    load = route_onnxruntime.load

    def with_exchanged_gates(file, subject):
        model = onnx.load(file)
        for tensor in model.graph.initializer:
            if tensor.name in {"W", "R"}:
                i, o, f, c = np.split(onnx.numpy_helper.to_array(tensor), 4, 1)
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate([i, f, o, c], 1), tensor.name))
            elif tensor.name == "B":
                parts = np.split(onnx.numpy_helper.to_array(tensor), 8, 1)
                moved = [parts[k] for k in (0, 2, 1, 3, 4, 6, 5, 7)]
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate(moved, 1), "B"))
        onnx.save(model, tmp_path / "other.onnx")
        return load(tmp_path / "other.onnx", subject)

    monkeypatch.setattr(route_onnxruntime, "load", with_exchanged_gates)
    result, outcome = through_file(source, tmp_path)
    result = located(source, result, outcome)
    assert "the first layer whose output differs is l (LSTM); 0 layers of 1 right" in result.notes
    assert "are read as" in result.diagnosis[0].message


REASONS = {
    "OpenCV(5.0.0) /io/a.cpp:1114: error: (-2:Unspecified error) in function 'handleNode'\n> Node [Shape@ai.onnx]:("
    "onnx_node!first/Shape) parse error: OpenCV(5.0.0) /io/a.cpp:2591: error: (-215:Assertion failed) !isDynamicShape "
    "in function 'parseShape'\n> ": "assertion failed: !isDynamicShape, in parseShape of Shape node first/Shape",
    'Failed analyse for node #9 "loop"\n\nCaused by:\n    0: Setting inputs\n    1: batch=3 != 1.\n\nStack:\n '
    "0: x": 'Failed analyse for node #9 "loop": batch=3 != 1',
    "Error invoking IREE compiler tool iree-compile\nDiagnostics:\n/a.mlir:13:12: error: failed to legalize operation "
    '\'torch.operator\': %19:3 = "torch.operator"(%9) <{name = "onnx.Loop"}>': "failed to legalize operation "
    "'torch.operator': onnx.Loop",
    "[ONNXRuntimeError] : 1 : FAIL : layout is not supported.": "layout is not supported",
}


@pytest.mark.parametrize("text", REASONS)
def test_a_reason_is_what_was_found(text):
    assert reason_of(RuntimeError(text)) == f"RuntimeError: {REASONS[text]}"

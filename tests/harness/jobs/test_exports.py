"""Whole models held against themselves by routes of PyTorch, within this process; one run of the command."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from lockstep.harness.adapters.routes import find
from lockstep.harness.adapters.routes.find import find_routes
from lockstep.harness.adapters.routes.route_process import Question, drawn, export, reference_of
from lockstep.harness.adapters.routes.whole import InputSpec
from lockstep.harness.cases.find import find_cases
from lockstep.harness.jobs.exports.export import CHUNKS, judged, located
from lockstep.harness.jobs.exports.observe import SourceRun, source_run
from lockstep.harness.weights.model_file import ModelError, ModelFile

pytestmark = [
    pytest.mark.xdist_group("torch"),
    pytest.mark.skipif(find_spec("torch") is None, reason="install the extra torch: the models are PyTorch's"),
]

MODELS = Path(__file__).parents[2] / "planted_models" / "whole.py"
(PROBE,) = find_cases(["probe"])


@pytest.fixture(autouse=True)
def _from_this_folder(monkeypatch):
    """Sources and routes by their modules, whatever is installed."""
    infos = {
        name: find.read_info(name, f"lockstep.backends.{module}")
        for name, module in {
            "torchscript": "route_torchscript", "torch.export": "route_torch_export",
        }.items()
    }  # fmt: skip
    monkeypatch.setattr(find, "_parts", lambda: infos)
    sources = {"torch": find.read_info("torch", "lockstep.backends.source_torch")}
    for module in (find, __import__("lockstep.harness.adapters.routes.route_process", fromlist=["_"])):
        monkeypatch.setattr(module, "find_sources", lambda: sources)


def observed(function: str) -> SourceRun:
    file = ModelFile(f"whole.py:{function}", "python", str(MODELS), function)
    question = Question(file, 12, 3, 1)
    return source_run(PROBE.case, question, reference_of(question))


def through(source: SourceRun, name: str, folder: Path):
    (route,) = find_routes("torch", [name])
    outcome = export(source.question, source.reference, route, folder, layers=True)
    assert outcome.status == "ran", outcome.message
    result = judged(source, route.name, outcome, None)
    return located(source, result, outcome) if result.status == "diverge" else result


@pytest.mark.parametrize("route", ["torchscript", pytest.param("torch.export", marks=pytest.mark.slow)])
def test_an_embedding_two_layers_and_a_dense_one_keep_their_numbers(route, tmp_path):
    source = observed("speech")
    result = through(source, route, tmp_path)
    assert list(result.tensors) == ["output"]
    assert source.reference.outputs == ["output"]
    assert result.status == "agree"
    assert 0.1 < result.tensors["output"].worst.sigma < 5
    assert result.size == sum(file.stat().st_size for file in tmp_path.glob("model*"))


def test_what_is_drawn_fits_the_signature():
    specs = observed("streamed").reference.specs
    assert [(spec.name, spec.role) for spec in specs] == [("x", "data"), ("state.0", "state"), ("state.1", "state")]
    (tokens,) = observed("speech").reference.specs
    assert (tokens.shape, tokens.dtype, tokens.below) == ((3, 12), "int64", 40)
    question = Question(ModelFile("", "python", ""), 12, 3, 1, (4, 12, 1))
    arrays = drawn([tokens, InputSpec("lengths", (3,), "int64", role="lengths")], question)
    assert arrays["tokens"].max() < 40
    assert arrays["lengths"].tolist() == [4, 12, 1]


def test_states_in_the_signature_are_handed_from_chunk_to_chunk(tmp_path):
    result = through(observed("streamed"), "torchscript", tmp_path)
    assert result.status == "agree"
    assert [name for name in result.tensors if name.endswith(CHUNKS)] == [
        f"output.{k}{CHUNKS}" for k in range(3)
    ]  # fmt: skip


def test_a_state_that_the_export_forgets_shows_in_chunks_alone(tmp_path):
    result = through(observed("forgets_its_state"), "torchscript", tmp_path)
    assert result.status == "diverge"
    assert result.first_divergence is not None
    assert result.first_divergence.tensor == f"output.0{CHUNKS}"
    assert result.first_divergence.timestep == 6


def test_the_first_layer_that_differs_is_named_and_explained_where_it_is_an_lstm(tmp_path):
    result = through(observed("exchanges_gates"), "torchscript", tmp_path)
    assert result.status == "diverge"
    assert result.first_divergence is not None
    assert result.first_divergence.tensor == "lstm"
    assert any("the first layer whose output differs is lstm (LSTM); 1 layer of 3 right" in n for n in result.notes)
    assert "read as i, g, f, o" in result.diagnosis[0].message


def test_another_layer_that_differs_is_named(tmp_path):
    result = through(observed("loses_a_bias"), "torchscript", tmp_path)
    assert any("the first layer whose output differs is out (Linear); 2 layers of 3 right" in n for n in result.notes)
    assert result.diagnosis == []


@pytest.mark.slow
def test_what_does_not_convert_says_why(tmp_path):
    source = observed("branches")
    (route,) = find_routes("torch", ["torch.export"])
    outcome = export(source.question, source.reference, route, tmp_path, layers=False)
    assert outcome.status == "unsupported"
    assert outcome.message is not None
    assert outcome.message.startswith("it does not convert: ")


def test_what_its_inputs_are_cannot_always_be_guessed():
    with pytest.raises(ModelError, match=r"--input x\.npz"):
        observed("asks_for_much")


def test_noise_is_that_of_the_models_own_precision():
    source = observed("speech")
    for name, tensor in source.expected.items():
        narrow = source.reference.narrow[name].astype(np.float64)
        sigma = np.abs(narrow - tensor.value) / tensor.noise
        assert sigma.max() < 6, name

"""Dialects through the frameworks' own layers: what is stored under one computes what the reference computes."""

from __future__ import annotations

import numpy as np
import pytest
from lstm_cases import make_case
from values_alone import forward

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.backend import read_info as read_backend
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS

LAYERS = {
    "tf1": ("tf1_basic_cell", "tf1_cell"),
    "keras": ("keras_layer", "tf_keras_layer"),
    "torch": ("torch_layer",),
    "torch_cell": ("torch_cell",),
    "onnx": ("onnx_node",),
    "flax": ("flax_cell", "flax_optimized_cell"),
    "nnx": ("nnx_cell",),
    "equinox": ("equinox_cell",),
    "haiku": ("haiku_core",),
    # The backends themselves, which have such a layer.
    "nnx_optimized": ("lockstep.backends.flax_nnx_optimized",),
    "tf_block": ("lockstep.backends.tf_block_cell", "lockstep.backends.tf_block_fused"),
    "tf_block_v2": ("lockstep.backends.tf_block_fused_v2",),
    "paddle": ("lockstep.backends.paddle_lstm",),
    "mlx": ("lockstep.backends.mlx_lstm",),
}
INFOS = [
    read_backend(name.removeprefix("lockstep.backends."), name if "." in name else f"layers.{name}")
    for names in LAYERS.values()
    for name in names
]
every_layer = pytest.mark.parametrize(
    "layer",
    [
        pytest.param(info, id=info.name, marks=pytest.mark.xdist_group("+".join(map(str, info.worker))))
        for info in INFOS
    ],
)


def run_layer(run_backend, layer: BackendInfo, problem: Problem):
    missing = layer.missing()
    if missing:
        pytest.skip(missing)
    answer = run_backend.problem(layer, problem)
    assert answer.status == "ran", answer
    return answer.trace


def worst_difference(trace, expected):
    h, c_n = np.abs(trace.h - expected["h"]).max(), np.abs(trace.c_n - expected["c"][-1]).max()
    assert (trace.h_n == trace.h[-1]).all()
    return max(h, c_n)


def test_every_dialect_of_a_python_framework_has_a_layer():
    # Those of Rust are read off their sources alone: none of them can be called from Python.
    assert set(LAYERS) == set(DIALECTS) - {"canonical", "candle", "burn"}


@every_layer
@pytest.mark.parametrize("seed", [1, 2])
def test_stored_weights_compute_in_the_frameworks_layer_what_the_reference_computes(run_backend, layer, seed):
    problem = Problem.from_case(make_case(initial_state="probe", seed=seed))
    assert worst_difference(run_layer(run_backend, layer, problem), forward(problem)) < 1e-6


@every_layer
@pytest.mark.parametrize("gates", ["if", "fg", "go", "io"])
def test_the_test_above_can_fail(run_backend, layer, gates):
    problem = Problem.from_case(make_case(initial_state="probe"))
    order = [{gates[0]: gates[1], gates[1]: gates[0]}.get(gate, gate) for gate in "ifgo"]
    swapped = Problem.plain(
        **{"case": problem.case, **problem.arrays()}
        | {name: blocks(getattr(problem, name), order) for name in ("W", "R", "b")}
    )
    assert worst_difference(run_layer(run_backend, layer, swapped), forward(problem)) > 1e-2


def blocks(array, order):
    return array.reshape(4, -1, *array.shape[1:])[["ifgo".index(gate) for gate in order]].reshape(array.shape)


def test_onnxruntime_gives_zeros_past_the_end_of_a_sequence(run_backend):
    (layer,) = (info for info in INFOS if info.name == "onnx_node")
    problem = Problem.from_case(make_case(lengths=(2, 5)))
    trace = run_layer(run_backend, layer, problem)
    assert DIALECTS["onnx"].after_end == "zero"
    assert not trace.h[2:, 0].any()

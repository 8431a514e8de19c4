"""A TensorFlow checkpoint, by its prefix, or a SavedModel, by its folder: cells of TF1, or a layer of Keras.

Of ``BasicLSTMCell`` and ``LSTMCell`` kernel, bias, peepholes and projection are read, also under their names of before
TF 1.2 (``weights``, ``biases``) and 1.0 (``Linear/Matrix``, ``Linear/Bias``). Scopes ``cell_N``, ``fw`` and ``bw`` are
read as one network. Optimisers' slots are left out. A checkpoint holds no settings: ``forget_bias``, which the cells
add at run time, is taken from the case, 1 as by default; the activation is tanh, and there is no clip.
``tf_dynamic_rnn`` runs it, ``tf_keras2`` the arrays of Keras, whose settings a SavedModel by tf_keras has beside them.
Sources: TensorFlow documentation, ``tf.train.load_checkpoint``; tf_keras, ``src/layers/rnn/legacy_cells.py``;
TensorFlow, ``core/protobuf/trackable_object_graph.proto``; TensorFlow 1.1,
``contrib/rnn/python/ops/core_rnn_cell_impl.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from lockstep.backends.given_model import given_model, read_lanes, refused_by_runner, run_by_runner
from lockstep.backends.model_hdf5 import LayerConfig, settings_of
from lockstep.backends.refusals import joined
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelError,
    ModelFile,
    StoredModel,
    canonical,
    gru_refusal,
    listed,
    names_under,
    network,
    too_many,
    unfit_reason,
)
from lockstep.harness.weights.network_file import lane_of_scope, lane_text

REQUIRES = ("tensorflow", "tf_keras")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "tf1"
RUNNER = "tf_dynamic_rnn"
KERAS_RUNNER = "tf_keras2"

GATE_ORDER = DIALECTS["tf1"].gates
PEEPHOLES = ("w_i_diag", "w_f_diag", "w_o_diag")
# Kernel and bias: as they are called now, before TF 1.2, and before TF 1.0.
NAMES = (("kernel", "bias"), ("weights", "biases"), ("Linear/Matrix", "Linear/Bias"))
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # in checkpoints of TF2: which object holds which variable


class Checkpoint:
    """The variables of a checkpoint under the names that their model gave them."""

    def __init__(self, path: str) -> None:
        """Open a checkpoint, or say by a ModelError that it cannot be read."""
        try:
            self._reader = tf.train.load_checkpoint(path)
            shapes = self._reader.get_variable_to_shape_map()
            self._keys = self._named(shapes)
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise ModelError(f"it cannot be read as a checkpoint: {first_line(error)}.") from error
        self.shapes = {name: list(shapes[key]) for name, key in self._keys.items()}

    def _named(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
        """The key of each variable by its name; those that only training needs are left out."""
        if OBJECT_GRAPH not in shapes:
            return {name: name for name in shapes}
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(self._reader.get_tensor(OBJECT_GRAPH))
        attributes = [attribute for node in graph.nodes for attribute in node.attributes]
        return {
            attribute.full_name.partition(":")[0]: attribute.checkpoint_key
            for attribute in attributes
            if attribute.full_name
            and attribute.checkpoint_key in shapes
            and "optimizer" not in attribute.checkpoint_key
        }

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self._reader.get_tensor(self._keys[name]))

    def __contains__(self, name: str) -> bool:
        return name in self._keys


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the one network that a checkpoint holds, or that whose names begin with the prefix.

    Raises:
        ModelError: If there is none, or there are several.
    """
    stored = Checkpoint(file.path)
    layers = [name.removesuffix("recurrent_kernel") for name in stored.shapes if name.endswith("/recurrent_kernel")]
    of_keras = sorted(scope for scope in layers if _is_keras_lstm(stored, scope))
    scopes = of_keras or _cells(stored.shapes)
    chosen = names_under(scopes, file.prefix)
    if not chosen:
        raise ModelError(_no_lstm(stored.shapes, layers))
    networks: dict[str, dict[Lane, str]] = {}
    for scope in chosen:
        alike, lane = _keras_lane(scope) if of_keras else lane_of_scope(scope)
        networks.setdefault(alike, {})[lane] = scope
    if len(networks) > 1:
        raise too_many([_common(list(lanes.values())) for lanes in networks.values()])
    (lanes,) = networks.values()
    rows = _rows(lanes)
    whole = _common(list(lanes.values()))
    what = f"{whole.removesuffix('/') or 'the cell'} of a TensorFlow checkpoint, read by tensorflow {tf.__version__}"
    if of_keras:
        return _keras_layer(stored, rows, file, what)
    return _cells_network(stored, rows, file, what)


def _common(scopes: list[str]) -> str:
    """What the names of a network begin with."""
    return scopes[0] if len(scopes) == 1 else f"{os.path.commonpath(scopes)}/"


def _rows(lanes: Mapping[Lane, str]) -> list[dict[bool, str]]:
    """The scopes by layer, then by whether it is the reverse direction; counted from the lowest that is asked for."""
    directions = sorted({lane.reverse for lane in lanes})
    layers = sorted({lane.layer for lane in lanes})
    missing = [Lane(k, reverse) for k in layers for reverse in directions if Lane(k, reverse) not in lanes]
    missing += [Lane(k, directions[0]) for k in range(layers[0], layers[-1]) if k not in layers]
    if missing:
        raise ModelError(
            f"of one network {' and '.join(map(lane_text, missing))} is missing: {listed(lanes.values())}."
        )
    return [{reverse: lanes[Lane(layer, reverse)] for reverse in directions} for layer in layers]


def _direction(row: Mapping[bool, str]) -> str:
    return "bidirectional" if len(row) > 1 else "reverse" if True in row else "forward"


def _cells_network(stored: Checkpoint, rows: list[dict[bool, str]], file: ModelFile, what: str) -> StoredModel:
    """A network of TF1's cells."""
    lanes = [[_cell(stored, scope) for scope in row.values()] for row in rows]
    taken = (
        f"a checkpoint holds no settings: taken are forget_bias = {file.forget_bias:g}, which the cell adds at run "
        "time (its default is 1; a named case with another has that taken), tanh, and no clip"
    )
    notes = [taken]
    if len(rows) > 1 and len(rows[0]) > 1 and _stands_alone(lanes):
        lanes = [lanes[0], *(_beside(row) for row in lanes[1:])]
        notes.append(
            "each direction is a stack of its own: columns of zeros in W of the upper layers stand for what they do "
            "not take of the other direction"
        )
    weights = [[canonical(lane, GATE_ORDER, file.forget_bias)[0] for lane in row] for row in lanes]
    names = [next(iter(row.values())) for row in rows]
    lstm, stack = network(weights, _direction(rows[0]), names, bias=True, forget_bias=file.forget_bias)
    return StoredModel(lstm, stack, what, gates=GATE_ORDER, notes=tuple(notes), runner=RUNNER)


def _cell(stored: Checkpoint, scope: str) -> LaneArrays:
    """The arrays of one TF1 cell."""
    kernel_name, bias_name = next(pair for pair in NAMES if scope + pair[0] in stored)
    kernel, bias = stored[scope + kernel_name], stored[scope + bias_name]
    projection = f"{scope}projection/{kernel_name}"
    P = stored[projection].T if projection in stored else None
    width = len(bias) // 4 if P is None else len(P)
    peepholes = [scope + name for name in PEEPHOLES if scope + name in stored]
    if peepholes and len(peepholes) < len(PEEPHOLES):
        raise ModelError(f"of the peepholes {', '.join(PEEPHOLES)} it holds only {', '.join(peepholes)}.")
    if kernel.ndim != 2 or len(kernel) <= width:  # noqa: PLR2004
        raise ModelError(
            f"shapes do not fit together: {scope}{kernel_name} {kernel.shape}, {scope}{bias_name} {bias.shape}. A cell "
            "of H units has a kernel (I + H, 4H) and a bias (4H,)."
        )
    name = f"{scope}{kernel_name}"
    p = np.stack([stored[name] for name in peepholes]) if peepholes else None
    return LaneArrays(
        kernel[:-width].T, kernel[-width:].T, (bias,), P, p,
        names=(f"{name}'s part for x, transposed,", f"{name}'s part for h, transposed,", f"{scope}{bias_name}"),
    )  # fmt: skip


def _stands_alone(lanes: list[list[LaneArrays]]) -> bool:
    """Whether upper layers take the width of one direction: a MultiRNNCell in each direction."""
    return all(lane.W.shape[1] == below.R.shape[1] for row, lower in zip(lanes[1:], lanes, strict=False)
               for lane, below in zip(row, lower, strict=True))  # fmt: skip


def _beside(row: list[LaneArrays]) -> list[LaneArrays]:
    """Lanes that take their own direction alone, as lanes that take both."""
    forward, backward = row
    return [
        replace(forward, W=np.hstack([forward.W, np.zeros_like(forward.W)])),
        replace(backward, W=np.hstack([np.zeros_like(backward.W), backward.W])),
    ]


def _keras_layer(stored: Checkpoint, rows: list[dict[bool, str]], file: ModelFile, what: str) -> StoredModel:
    """A layer of Keras."""
    (row,) = rows
    lanes = []
    for scope in row.values():
        names = (f"{scope}kernel", f"{scope}recurrent_kernel", f"{scope}bias")
        biases = (stored[names[2]],) if names[2] in stored else ()
        lanes.append(LaneArrays(stored[names[0]].T, stored[names[1]].T, biases, names=names))
    weights, _ = read_lanes([lanes], DIALECTS["keras"].gates)
    described = _metadata(file, next(iter(row.values())))
    settings: dict[str, Any] = {"direction": _direction(row), "bias": bool(lanes[0].biases)}
    notes = ()
    if described is None:
        notes = ("a checkpoint holds no settings: taken are sigmoid gates, tanh, and both directions side by side",)
    else:
        settings = settings_of(described, "2")
    lstm, stack = network(weights, names=[next(iter(row.values()))], **settings)
    return StoredModel(lstm, stack, what, gates=DIALECTS["keras"].gates, notes=notes, runner=KERAS_RUNNER)


def _keras_lane(scope: str) -> tuple[str, Lane]:
    """The direction of a Keras layer inside Bidirectional, and what is alike in the scopes of both."""
    parts = scope.split("/")
    reverse = any(part.startswith("backward_") for part in parts)
    alike = [part.removeprefix("backward_").removeprefix("forward_") for part in parts]
    return "/".join(alike), Lane(0, reverse)


def _metadata(file: ModelFile, scope: str) -> LayerConfig | None:
    """How tf_keras describes a layer beside a SavedModel's variables; None where nothing does."""
    path = Path(file.path).parents[1] / "keras_metadata.pb"
    if Path(file.path).name != "variables" or not path.is_file():
        return None
    from tf_keras.protobuf import saved_metadata_pb2

    metadata = saved_metadata_pb2.SavedMetadata()  # pyright: ignore[reportAttributeAccessIssue] (made when imported)
    metadata.ParseFromString(path.read_bytes())
    described = [json.loads(node.metadata) for node in metadata.nodes if node.identifier == "_tf_keras_rnn_layer"]
    described += [json.loads(node.metadata) for node in metadata.nodes if "Bidirectional" in node.metadata]
    layers = [
        LayerConfig(each["config"]["name"], each["class_name"], each["config"], ())
        for each in described if "config" in each and "name" in each["config"]
    ]  # fmt: skip
    fitting = [layer for layer in layers if layer.lstm is not None and layer.name in scope.split("/")]
    # A layer inside Bidirectional is described too: by the name of its direction.
    return next((layer for layer in fitting if layer.kind == "Bidirectional"), next(iter(fitting), None))


def _is_keras_lstm(stored: Checkpoint, scope: str) -> bool:
    shape = stored.shapes[f"{scope}recurrent_kernel"]
    return len(shape) == 2 and shape[1] == 4 * shape[0] and f"{scope}kernel" in stored  # noqa: PLR2004


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run with the file's weights; None if it can."""
    model = given_model(read)
    return joined(unfit_reason(model, case), refused_by_runner(model, case))


def run(problem: Problem) -> Trace:
    """Run ``tf_dynamic_rnn`` on the data of ``problem``, with the file's weights."""
    return run_by_runner(given_model(read), problem)


def _cells(shapes: dict[str, list[int]]) -> list[str]:
    """The scopes that hold a kernel (I + H, 4H) and a bias (4H,); where some are called so, LSTMs alone.

    A dense layer may have such shapes too.
    """
    fitting = sorted(
        name.removesuffix(kernel)
        for kernel, bias in NAMES
        for name in shapes
        if (name == kernel or name.endswith(f"/{kernel}"))
        and f"{name.removesuffix(kernel)}{bias}" in shapes
        and _may_be_lstm(name.removesuffix(kernel), (kernel, bias), shapes)
    )
    named = [scope for scope in fitting if "lstm" in scope.lower()]
    return named or fitting


def _may_be_lstm(scope: str, names: tuple[str, str], shapes: dict[str, list[int]]) -> bool:
    if scope.endswith(("gates/", "candidate/", "projection/")):
        return False  # a GRU's, and a part of an LSTM
    kernel, bias = (shapes[scope + name] for name in names)
    if "lstm" in scope.lower():
        return True  # what does not fit is told
    width = shapes.get(f"{scope}projection/{names[0]}", [0, bias[0] // 4 if bias else 0])[1]
    two, is_vector = len(kernel) == 2, len(bias) == 1  # noqa: PLR2004
    return two and is_vector and bias[0] > 0 and bias[0] % 4 == 0 and kernel[1] == bias[0] and kernel[0] > width


def _no_lstm(shapes: dict[str, list[int]], keras_scopes: list[str]) -> str:
    names = sorted(name for name in shapes if not name.startswith("_CHECKPOINTABLE"))
    for scope in keras_scopes:
        if shapes[f"{scope}recurrent_kernel"][-1] == 3 * shapes[f"{scope}recurrent_kernel"][0]:
            after = len(shapes.get(f"{scope}bias", [])) == 2  # noqa: PLR2004 (a bias for each side)
            return gru_refusal(scope.removesuffix("/"), f"by its bias this one has reset_after = {after}")
    if any(name.endswith(("gates/kernel", "gates/weights")) for name in names):
        first = next(name for name in names if name.endswith(("gates/kernel", "gates/weights")))
        return gru_refusal(first.rpartition("/gates/")[0], "this is TF1's, of the second kind")
    if any("opaque_kernel" in name for name in names):
        return "it holds cuDNN's opaque weights: save the model by CudnnLSTMSaveable, as its canonical form."
    return f"there is no LSTM in it: no kernel (I + H, 4H) with a bias (4H,). It holds {listed(names) or 'nothing'}."

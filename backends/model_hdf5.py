"""A Keras model saved as HDF5 (.h5): the weights of its ``LSTM`` layers, and their settings from its configuration.

No framework reads it: the configuration is JSON, and a layer of other kinds, a ``Lambda`` with code of its own too, is
never built. Layers are taken as of a .keras file: one ``LSTM``, perhaps inside ``Bidirectional``, or several on each
other with dropouts and masks between. The Keras that wrote the file matters: ``hard_sigmoid`` was 0.2 z + 0.5 in
version 2 and is z / 6 + 0.5 in version 3. ``tf_keras2`` runs a file of version 2, ``keras_tf`` one of version 3.
Source: tf_keras 2.21, ``src/saving/legacy/hdf5_format.py``; Keras 3, ``src/legacy/saving/legacy_h5_format.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from lockstep.backends.given_model import from_first_up, given_model, read_lanes, refused_by_runner, run_by_runner
from lockstep.backends.refusals import joined
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelError,
    ModelFile,
    StoredModel,
    check_alike,
    gru_refusal,
    listed,
    names_under,
    network,
    unfit_reason,
)

REQUIRES = ("h5py",)
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"

GATE_ORDER = DIALECTS["keras"].gates
RUNNERS = {"2": "tf_keras2", "3": "keras_tf"}
ACTIVATIONS = {"tanh": "tanh", "sigmoid": "sigmoid", "relu": "relu", "linear": "linear"}
HARD_SIGMOIDS = {"2": "hard_sigmoid_0.2", "3": "hard_sigmoid_1/6"}
# What may stand between two layers: it changes no number, but for which timesteps are valid.
BETWEEN = frozenset({"Dropout", "SpatialDropout1D", "Masking", "Identity", "InputLayer"})


@dataclass(frozen=True)
class LayerConfig:
    """A layer as the file describes it."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    below: tuple[str, ...]  # the layers whose output it takes

    @property
    def lstm(self) -> Mapping[str, Any] | None:
        """The settings of the LSTM that it is, or has inside; None where it is none."""
        if self.kind == "LSTM":
            return self.settings
        inner = self.settings.get("layer", {}) if self.kind == "Bidirectional" else {}
        return inner["config"] if inner.get("class_name") == "LSTM" else None


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the LSTM layers of a file.

    Raises:
        ModelError: If there is none, there are several, or they ask for what a case has no setting for.
    """
    try:
        with h5py.File(file.path) as stored:
            return _read(stored, file.prefix)
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ModelError(f"it cannot be read as a Keras model in HDF5: {first_line(error)}.") from error


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run with the file's weights; None if it can."""
    model = given_model(read)
    return joined(unfit_reason(model, case), refused_by_runner(model, case))


def run(problem: Problem) -> Trace:
    """Run the Keras that wrote the file on the data of ``problem``, with the file's weights."""
    return run_by_runner(given_model(read), problem)


def read_config(stored: h5py.File) -> tuple[str, Any]:
    """The major version of the Keras that wrote a file, and its model's configuration.

    Raises:
        ModelError: If it has none, or was written by another.
    """
    if "model_config" not in stored.attrs:
        raise ModelError(
            "it holds weights without the settings of their layers: build the model, load them into it, and save it "
            "whole by model.save."
        )
    version = _text(stored.attrs.get("keras_version", "2"))
    major = version.partition(".")[0]
    if major not in RUNNERS:
        raise ModelError(f"it was written by Keras {version}: files of {' and '.join(RUNNERS)} are taken.")
    return major, json.loads(_text(stored.attrs["model_config"]))


def _read(stored: h5py.File, prefix: str) -> StoredModel:
    major, config = read_config(stored)
    version = _text(stored.attrs.get("keras_version", "2"))
    layers = _stack(list(_layers(config)), prefix)
    settings = [settings_of(layer, major) for layer in layers]
    check_alike([layer.name for layer in layers], settings)
    arrays = _datasets(stored["model_weights"])
    rows, _ = read_lanes([_arrays(arrays, layer) for layer in layers], GATE_ORDER)
    lstm, stack = network(rows, names=[layer.name for layer in layers], **settings[0])
    kind = "Bidirectional(LSTM)" if layers[0].kind == "Bidirectional" else "LSTM"
    what = f"{len(layers)} layers {kind}" if len(layers) > 1 else f"layer {kind} {layers[0].name}"
    return StoredModel(
        lstm, stack, f"{what} of an HDF5 file by Keras {version}", gates=GATE_ORDER, runner=RUNNERS[major]
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _layers(model: Mapping[str, Any]) -> Iterator[LayerConfig]:
    """All layers, those of models inside too."""
    config = model["config"]
    # Before Keras 2.2.3 the configuration of a Sequential was the list of its layers.
    layers = config if isinstance(config, list) else config["layers"]
    last = ""
    for layer in layers:
        if "layers" in layer["config"]:
            yield from _layers(layer)
            continue
        name = layer["config"].get("name", layer.get("name", ""))
        below = (last,) if model["class_name"] == "Sequential" else tuple(_parents(layer.get("inbound_nodes", [])))
        yield LayerConfig(name, layer["class_name"], layer["config"], below)
        last = name


def _parents(nodes: Any) -> Iterator[str]:
    """The names in a layer's inbound nodes: [name, node, tensor, ...] in Keras 2, a keras_history in Keras 3."""
    if isinstance(nodes, Mapping):
        if "keras_history" in nodes:
            yield nodes["keras_history"][0]
            return
        nodes = list(nodes.values())
    if not isinstance(nodes, list):
        return
    if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):  # noqa: PLR2004
        yield nodes[0]
        return
    for node in nodes:
        yield from _parents(node)


def _stack(layers: list[LayerConfig], prefix: str) -> list[LayerConfig]:
    """The layers of the one network, from the first up."""
    by_name = {layer.name: layer for layer in layers}
    lstms = {name: layer for name, layer in by_name.items() if layer.lstm is not None}
    names = names_under(list(lstms), prefix)
    if not names:
        raise ModelError(_no_lstm(layers))
    return [lstms[name] for name in from_first_up(names, {name: _below(name, by_name) for name in names})]


def _below(name: str, by_name: Mapping[str, LayerConfig]) -> str:
    """The name of the LSTM whose output a layer takes; nothing if it takes none."""
    below = by_name[name].below
    while len(below) >= 1 and below[0] in by_name:
        layer = by_name[below[0]]
        if layer.lstm is not None:
            return layer.name
        if layer.kind not in BETWEEN:
            return ""
        below = layer.below
    return ""


def settings_of(layer: LayerConfig, major: str) -> dict[str, Any]:
    """What a layer asks for, as fields of a case's network; ``major`` is the version of Keras.

    Raises:
        ModelError: If a case has no setting for it.
    """
    lstm = layer.lstm
    assert lstm is not None
    direction = "reverse" if lstm.get("go_backwards") else "forward"
    settings: dict[str, Any] = {"bias": lstm.get("use_bias", True)}
    if layer.kind == "Bidirectional":
        merge = layer.settings.get("merge_mode", "concat")
        if merge is None or direction == "reverse":
            raise ModelError(
                f"{layer.name} has merge_mode = {merge}, go_backwards = {lstm['go_backwards']}: a case has not."
            )
        direction = "bidirectional"
        settings["merge_mode"] = merge
    known = {**ACTIVATIONS, "hard_sigmoid": HARD_SIGMOIDS[major]}
    for key in ("activation", "recurrent_activation"):
        name = lstm[key]
        if not isinstance(name, str) or name not in known:
            raise ModelError(
                f"{layer.name} asks for {key} = {name}, for which a case has no setting. Those of Keras that it has: "
                f"{', '.join(known)}."
            )
        settings[key] = known[name]
    return {"direction": direction, **settings, "cell_activation": settings["activation"]}


def _datasets(group: Any) -> dict[str, Array]:
    arrays: dict[str, Array] = {}

    def keep(name: str, held: Any) -> None:
        if isinstance(held, h5py.Dataset):
            arrays[name.removesuffix(":0")] = np.asarray(held)

    group.visititems(keep)
    return arrays


def _arrays(arrays: Mapping[str, Array], layer: LayerConfig) -> list[LaneArrays]:
    """The weights of a layer, forward before reverse."""
    held = {name: array for name, array in arrays.items() if layer.name in name.split("/")}
    assert layer.lstm is not None
    directions = ("forward_", "backward_") if layer.kind == "Bidirectional" else ("",)
    lanes = []
    for direction in directions:
        parts = {
            name.rpartition("/")[2]: array
            for name, array in held.items()
            if not direction or any(part.startswith(direction) for part in name.split("/"))
        }
        wanted = ("kernel", "recurrent_kernel", *(["bias"] if layer.lstm.get("use_bias", True) else []))
        missing = [name for name in wanted if name not in parts]
        if missing:
            raise ModelError(
                f"{layer.name} has no {', '.join(missing)} in it. It has: {listed(sorted(held)) or 'nothing'}."
            )
        kernel, recurrent_kernel, *biases = (parts[name] for name in wanted)
        names = tuple(f"{layer.name}'s {direction}{name}" for name in ("kernel", "recurrent_kernel", "bias"))
        lanes.append(LaneArrays(kernel.T, recurrent_kernel.T, tuple(biases), names=(names[0], names[1], names[2])))
    return lanes


def _no_lstm(layers: list[LayerConfig]) -> str:
    for layer in layers:
        inner = layer.settings.get("layer", {}) if layer.kind == "Bidirectional" else {}
        kind, settings = inner.get("class_name", layer.kind), inner.get("config", layer.settings)
        if kind == "GRU":
            return gru_refusal(layer.name, f"this one has reset_after = {settings.get('reset_after', False)}")
        if kind == "CuDNNLSTM":
            return (
                f"{layer.name} is a CuDNNLSTM, whose arrays lie otherwise: load its weights into an LSTM with "
                'recurrent_activation = "sigmoid", which Keras converts, and save that.'
            )
    kinds = listed(sorted({layer.kind for layer in layers})) or "none"
    return f"there is no layers.LSTM in it. Its layers are: {kinds}."

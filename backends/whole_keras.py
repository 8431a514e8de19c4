"""A whole model of Keras 3 or tf_keras: its layers observed as further outputs, and given fixed sizes for converters.

Taken are functional and sequential models whose inputs are known. Layers inside of models within it are those of these
models. Source: Keras documentation, ``keras.Model``, ``keras.models.load_model``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lockstep.backends.given_model import read_lanes
from lockstep.backends.model_hdf5 import LayerConfig, settings_of
from lockstep.harness.adapters.routes.whole import InputSpec, LayerLSTM, Observed, Subject, rounding_error
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.model_file import LaneArrays, ModelError, StoredModel, network


def open_model(value: Any, path: Path | None, keras: Any, form: str, engine: str) -> WholeKeras:
    """A model that a function returned, or that a file holds.

    Raises:
        ModelError: If it cannot be loaded, or its inputs are not known.
    """
    if value is None:
        try:
            value = keras.models.load_model(path, compile=False)
        except Exception as error:  # whatever Keras and its engine raise
            raise ModelError(f"Keras {keras.__version__} cannot load it: {first_line(error)}.") from error
    if isinstance(value, keras.Sequential) and value.built and getattr(value, "inputs", None):
        value = keras.Model(value.inputs, value.outputs, name=value.name)
    if not isinstance(value, keras.Model) or not getattr(value, "inputs", None):
        raise ModelError(
            f"it is a {type(value).__name__} whose inputs are not known: build it from keras.Input(...), as a "
            "functional or sequential model."
        )
    return WholeKeras(value, keras, form, engine)


class WholeKeras:
    """A functional model."""

    def __init__(self, model: Any, keras: Any, form: str, engine: str) -> None:
        """Take a model, and the library that it is of, by its import name too."""
        self.model, self.keras, self.form = model, keras, form
        self.what = f"{model.name} of Keras {keras.__version__} on {engine}"
        floats = [_dtype(weight) for weight in model.weights if "float" in _dtype(weight)]
        self.dtype = floats[0] if floats else "float32"
        self._wide: Any = None
        self._layers = [layer for layer in model.layers if not isinstance(layer, self.keras.layers.InputLayer)]

    def specs(self, timesteps: int, batch: int) -> list[InputSpec]:
        """The model's inputs; an axis whose size is open is the batch in front, and else time."""
        specs = []
        for tensor in self.model.inputs:
            shape = tuple(size or (timesteps if k else batch) for k, size in enumerate(tensor.shape))
            sizes = [
                layer.input_dim for layer in self._fed_by(tensor) if isinstance(layer, self.keras.layers.Embedding)
            ]
            role = "state" if tensor.name.startswith(("h0", "c0", "state")) else "data"
            specs.append(InputSpec(tensor.name, shape, _dtype(tensor), min(sizes, default=None), role))
        return specs

    def _fed_by(self, tensor: Any) -> list[Any]:
        return [layer for layer in self._layers if any(tensor is given for given in _tensors(layer.input))]

    def observe(self, inputs: Arrays, *, wide: bool = False, shaken: np.random.Generator | None = None) -> Observed:
        """Run it, the outputs of its layers among its own."""
        model = self._of(wide=wide)
        before = model.get_weights()
        if shaken is not None:
            model.set_weights([_shaken(weight, self.dtype, shaken) for weight in before])
            inputs = {name: _shaken(array, self.dtype, shaken) for name, array in inputs.items()}
        dtype = "float64" if wide else None
        fed = [array.astype(dtype) if dtype and array.dtype.kind == "f" else array for array in inputs.values()]
        layers, named = self._named(model)
        watched = self.keras.Model(model.inputs, [*named.values(), *model.outputs])
        to_numpy = self.keras.ops.convert_to_numpy if hasattr(self.keras, "ops") else np.asarray
        results = _tensors(watched(fed, training=False))
        arrays = [to_numpy(tensor) for tensor in results]
        model.set_weights(before)
        count = len(model.outputs)
        names = ["output"] if count == 1 else [f"output.{k}" for k in range(count)]
        tensors = dict(zip([*named, *names], map(np.asarray, arrays), strict=True))
        parts = {name: f"{layer.name} ({type(layer).__name__})" for name, layer in layers.items()}
        lstms = {} if shaken is not None or wide else self._lstms(layers, tensors, inputs)
        return Observed(tensors, parts, lstms)

    def _of(self, *, wide: bool) -> Any:
        if not wide:
            return self.model
        if self._wide is None:
            self._wide = type(self.model).from_config(_in_float64(self.model.get_config()))
            self._wide.set_weights([np.asarray(weight, np.float64) for weight in self.model.get_weights()])
        return self._wide

    def _named(self, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The layers and the symbolic outputs of a model by name, in order of computation."""
        layers, outputs = {}, {}
        for layer in model.layers:
            if isinstance(layer, self.keras.layers.InputLayer):
                continue
            for k, tensor in enumerate(_tensors(layer.output)):
                if "float" in _dtype(tensor):
                    name = layer.name if k == 0 else f"{layer.name}.{k}"
                    layers[name], outputs[name] = layer, tensor
        return layers, outputs

    def _lstms(self, layers: dict[str, Any], tensors: Arrays, inputs: Arrays) -> dict[str, LayerLSTM]:
        """The LSTMs that give whole sequences, with what went into them."""
        found = {}
        by_tensor = {id(tensor): name for name, tensor in self._named(self.model)[1].items()}
        known = {**{id(tensor): inputs[spec] for tensor, spec in zip(self.model.inputs, inputs, strict=True)}}
        for name, layer in layers.items():
            stored = self._stored(layer) if name == layer.name else None
            given = _tensors(layer.input) if stored is not None else []
            x = known.get(id(given[0]), tensors.get(by_tensor.get(id(given[0]), ""))) if len(given) == 1 else None
            if stored is not None and x is not None and tensors[name].ndim == 3:  # noqa: PLR2004 (B, T, H)
                found[name] = LayerLSTM(stored, True, {"x": x})  # noqa: FBT003
        return found

    def _stored(self, layer: Any) -> StoredModel | None:
        """One layer by itself; None if it is no LSTM, or one for which a case has no settings."""
        config = LayerConfig(layer.name, type(layer).__name__, layer.get_config(), ())
        if config.lstm is None:
            return None
        gates, arrays = DIALECTS["keras"].gates, layer.get_weights()
        count = len(arrays) // (2 if config.kind == "Bidirectional" else 1)
        lanes = [_lane(arrays[k : k + count], layer.name) for k in range(0, len(arrays), count)]
        try:
            settings = settings_of(config, self.keras.__version__.partition(".")[0])
            rows, _ = read_lanes([lanes], gates)
            return StoredModel(*network(rows, names=[layer.name], **settings), f"layer {layer.name}", gates=gates)
        except ModelError:
            return None

    def subject(self, inputs: Arrays, observed: Observed, *, layers: bool = False) -> Subject:
        """The model with inputs of fixed sizes, outputs called ``output_0`` and so on."""
        given = [
            self.keras.Input(
                array.shape[1:], batch_size=len(array), dtype=array.dtype.name, name=name.replace(".", "_")
            )
            for name, array in inputs.items()
        ]
        names, model = list(observed.outputs), self.model
        if layers:
            named = self._named(model)[1]
            names += named
            model = self.keras.Model(model.inputs, [*model.outputs, *named.values()])
        outputs = [
            self.keras.layers.Activation("linear", name=f"output_{k}", dtype=_dtype(tensor))(tensor)
            for k, tensor in enumerate(_tensors(model(given if len(given) > 1 else given[0])))
        ]
        return Subject(self.keras.Model(given, outputs), inputs, tuple(names))


def _lane(arrays: list[Array], name: str) -> LaneArrays:
    kernel, recurrent_kernel, *biases = arrays
    names = (f"{name}'s kernel", f"{name}'s recurrent_kernel", f"{name}'s bias")
    return LaneArrays(kernel.T, recurrent_kernel.T, tuple(biases), names=names)


def _dtype(tensor: Any) -> str:
    """The name of a precision: a text in Keras 3, TensorFlow's type in tf_keras."""
    return getattr(tensor.dtype, "name", str(tensor.dtype))


def _tensors(value: Any) -> list[Any]:
    return (
        list(value)
        if isinstance(value, (list, tuple))
        else list(value.values())
        if isinstance(value, dict)
        else [value]
    )


def _shaken(array: Any, dtype: str, generator: np.random.Generator) -> Any:
    array = np.asarray(array)
    if array.dtype.kind != "f":
        return array
    wide = array.astype(np.float64)
    return (wide + rounding_error(wide, dtype, generator)).astype(array.dtype)


def _in_float64(config: Any) -> Any:
    """A model's configuration with float64 in the place of every other precision of floating point."""
    if isinstance(config, dict):
        return {key: _in_float64(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_in_float64(value) for value in config)
    return "float64" if config in {"float32", "float16", "bfloat16", "mixed_float16"} else config

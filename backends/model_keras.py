"""A ``.keras`` file: the weights of its ``LSTM`` layers, and those layers called one after the other as they are.

Taken are one ``layers.LSTM``, perhaps inside ``Bidirectional``, and several that stand on each other with nothing but
dropouts and masks between; layers are called with initial states and with the case's lengths as their mask. A layer
that gives the last output alone gives just that. Keras runs on the engine that ``KERAS_BACKEND`` names, else on the
first that is installed of TensorFlow, PyTorch and JAX. Source: Keras documentation, ``keras.layers.LSTM``,
``keras.saving.load_model``.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.backends import refusals
from lockstep.backends.given_model import from_first_up, given_model, read_lanes
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem, Stack
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

REQUIRES = ("keras",)
INSTALL = "lockstep-rnn[tf]"
# Without the first JAX would narrow float64.
ENVIRONMENT = {"JAX_ENABLE_X64": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"

ENGINES = ("tensorflow", "torch", "jax")
if "KERAS_BACKEND" not in os.environ:
    os.environ["KERAS_BACKEND"] = next((engine for engine in ENGINES if importlib.util.find_spec(engine)), "tensorflow")

import keras  # noqa: E402 (it chooses its engine when it is imported)

GATE_ORDER = DIALECTS["keras"].gates
ACTIVATIONS = {
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "hard_sigmoid_1/6",
    "relu": "relu",
    "linear": "linear",
}
# What may stand between two layers: it changes no number, but for which timesteps are valid.
BETWEEN = (keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.Masking, keras.layers.Identity)


@dataclass(frozen=True)
class Layer:
    """One layer of the file: an LSTM, or Bidirectional around two."""

    whole: Any
    directions: tuple[Any, ...]  # the LSTMs

    @property
    def name(self) -> str:
        """Its name in the file."""
        return self.whole.name

    @property
    def backwards(self) -> bool:
        """Whether it is one LSTM that goes from the last timestep to the first."""
        return len(self.directions) == 1 and self.directions[0].go_backwards


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the LSTM layers of a file.

    Raises:
        ModelError: If there is none, there are several, or they ask for what a case has no setting for.
    """
    try:
        model = keras.saving.load_model(file.path, compile=False)
    except Exception as error:  # whatever Keras and its engine raise
        raise ModelError(f"Keras {keras.__version__} cannot load it: {first_line(error)}.") from error
    layers = _stack(model, file.prefix)
    lstm, stack = _network(layers)
    kept = {layer.whole for layer in layers}
    left = sorted(
        {type(layer).__name__ for layer in _flat(model) if layer not in kept and not isinstance(layer, BETWEEN)}
        - {"InputLayer"}
    )
    notes = [f"run with it as a whole, since no part of the LSTM: its {listed(left)}"] if left else []
    if not layers[-1].directions[0].return_sequences:
        notes.append(
            f"{layers[-1].name} has return_sequences = False: of the file itself only the last output is compared"
        )
    policies = {direction.compute_dtype for layer in layers for direction in layer.directions}
    dtype = stack[0][0].W.dtype.name
    mixed = policies != {dtype}
    return StoredModel(
        lstm, stack, f"{_what(layers)} of Keras {keras.__version__} on {keras.backend.backend()}", gates=GATE_ORDER,
        notes=tuple(notes), beside=bool(left), more=layers,
        unrunnable=f"it computes in {', '.join(sorted(policies))} with weights in {dtype}" * mixed,
    )  # fmt: skip


def _network(layers: list[Layer]) -> tuple[LSTM, Stack]:
    settings, names = [_settings(layer) for layer in layers], [layer.name for layer in layers]
    check_alike(names, settings)
    rows, _ = read_lanes([[_arrays(lstm, layer.name) for lstm in layer.directions] for layer in layers], GATE_ORDER)
    return network(rows, names=names, **settings[0])


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run by the model as it is; None if it can."""
    model = given_model(read)
    top = model.more[-1].directions[0]
    reasons = {
        "gradients of a .keras file are not taken; those of its weights are, by the other backends": case.run.gradients,
        "zero_output_for_mask = False in the file: past a sequence's end it repeats its output, and a case has 0": (
            case.run.lengths is not None and top.return_sequences and not top.zero_output_for_mask
        ),
    }
    return refusals.of(reasons, first=unfit_reason(model, case))


def run(problem: Problem) -> Trace:
    """Call the layers of the file on the data of ``problem``, with their own weights.

    Returns:
        ``h`` (T, B, D H), or ``h_n`` alone where the top layer gives the last output; final states where it gives them.
    """
    stopwatch, layers = Stopwatch(), given_model(read).more
    p = problem
    with stopwatch("run"):
        x: Any = keras.ops.convert_to_tensor(np.ascontiguousarray(p.x.swapaxes(0, 1)))
        mask = None
        if p.lengths is not None:
            mask = keras.ops.convert_to_tensor(np.arange(len(p.x)) < p.lengths[:, None])
        D = len(p.case.lstm.directions)
        states: list[list[Any]] = []
        for k, layer in enumerate(layers):
            rows = slice(k * D, (k + 1) * D)
            first = [
                keras.ops.convert_to_tensor(state)
                for pair in zip(p.states("h0")[rows], p.states("c0")[rows], strict=True) for state in pair
            ]  # fmt: skip
            result = layer.whole(x, initial_state=first, mask=mask)
            x, *finals = result if isinstance(result, (list, tuple)) else [result]
            if layer.backwards and layer.directions[0].return_sequences:
                x = keras.ops.flip(x, 1)
            states.append(finals)
        arrays = _traced(problem, layers, x, states)
    return Trace(device=str(getattr(x, "device", "cpu")), seconds=stopwatch.seconds, **arrays)


def _traced(problem: Problem, layers: list[Layer], x: Any, states: list[list[Any]]) -> dict[str, Any]:
    lstm, arrays = problem.case.lstm, dict[str, Any]()
    D, H = len(lstm.directions), lstm.hidden_size
    if layers[-1].directions[0].return_sequences:
        arrays["h"] = np.ascontiguousarray(_array(x).swapaxes(0, 1))
    names = ("h_n", "c_n")
    if all(states):
        for k, name in enumerate(names):
            final = np.stack([_array(state) for of_layer in states for state in of_layer[k::2]])
            arrays[name] = final[0] if lstm.single else final
    elif "h" not in arrays:
        last = _array(x)
        for d, reverse in enumerate(lstm.directions):
            final = np.ascontiguousarray(last[:, d * H : (d + 1) * H])
            suffix = "" if lstm.single else f"_l{lstm.num_layers - 1}{'_reverse' if reverse else ''}"
            arrays[f"h_n{suffix}"] = final
        assert last.shape[1] == D * H
    return arrays


def _array(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def _flat(model: Any) -> list[Any]:
    """All layers, those inside of models too, in the order in which the file has them."""
    layers = []
    for layer in getattr(model, "layers", [model]):
        layers += _flat(layer) if isinstance(layer, keras.Model) else [layer]
    return layers


def _stack(model: Any, prefix: str) -> list[Layer]:
    """The layers of the one network, from the first up."""
    lstms = {layer.name: layer for layer in map(_layer, _flat(model)) if layer is not None}
    names = names_under(list(lstms), prefix)
    if not names:
        raise ModelError(_no_lstm(_flat(model)))
    below = {name: _below(lstms[name].whole, lstms) for name in names}
    return [lstms[name] for name in from_first_up(names, below)]


def _layer(layer: Any) -> Layer | None:
    if isinstance(layer, keras.layers.LSTM):
        return Layer(layer, (layer,))
    if not isinstance(layer, keras.layers.Bidirectional) or not isinstance(layer.forward_layer, keras.layers.LSTM):
        return None
    if not isinstance(layer.backward_layer, keras.layers.LSTM):
        raise ModelError(f"{layer.name} has an LSTM forward, and a {type(layer.backward_layer).__name__} backward.")
    return Layer(layer, (layer.forward_layer, layer.backward_layer))


def _below(layer: Any, lstms: dict[str, Layer]) -> str:
    """The name of the LSTM whose output a layer takes; nothing if it takes none."""
    while True:
        nodes = getattr(layer, "_inbound_nodes", ())
        parents = nodes[0].parent_nodes if nodes else ()
        if not parents:
            return ""
        layer = parents[0].operation
        if layer.name in lstms:
            return layer.name
        if not isinstance(layer, BETWEEN):
            return ""


def _settings(layer: Layer) -> dict[str, Any]:
    """What a layer asks for, as fields of a case's network."""
    first, *others = layer.directions
    settings = {
        "direction": "bidirectional" if others else "reverse" if first.go_backwards else "forward",
        "activation": _activation(first.activation, layer.name, "activation"),
        "recurrent_activation": _activation(first.recurrent_activation, layer.name, "recurrent_activation"),
        "bias": bool(first.use_bias),
    }
    if others:
        if layer.whole.merge_mode != "concat":
            raise ModelError(
                f'{layer.name} has merge_mode = "{layer.whole.merge_mode}": of a file, layers are read that put both '
                'directions side by side ("concat").'
            )
        if first.go_backwards or not others[0].go_backwards:
            raise ModelError(f"{layer.name}: its forward layer goes backward, or its backward layer does not.")
        names = {_activation(direction.activation, layer.name, "activation") for direction in others}
        gates = {
            _activation(direction.recurrent_activation, layer.name, "recurrent_activation") for direction in others
        }
        if (names, gates) != ({settings["activation"]}, {settings["recurrent_activation"]}) or others[
            0
        ].use_bias != first.use_bias:
            raise ModelError(
                f"{layer.name} has other activations or biases backward than forward: a case has one for both."
            )
    return {**settings, "cell_activation": settings["activation"]}


def _activation(function: Any, layer: str, key: str) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    if getattr(keras.activations, name, None) is not function or name not in ACTIVATIONS:
        raise ModelError(
            f"{layer} asks for {key} = {name}, for which a case has no setting. Those of Keras that it has: "
            f"{', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]


def _arrays(lstm: Any, name: str) -> LaneArrays:
    if getattr(lstm.cell, "quantization_mode", None):
        raise ModelError(f"{name}: quantised weights are not taken, save it in floating point.")
    kernel, recurrent_kernel = _array(lstm.cell.kernel), _array(lstm.cell.recurrent_kernel)
    biases = (_array(lstm.cell.bias),) if lstm.use_bias else ()
    names = (f"{name}'s kernel, transposed,", f"{name}'s recurrent_kernel, transposed,", f"{name}'s bias")
    return LaneArrays(kernel.T, recurrent_kernel.T, biases, names=names)


def _what(layers: list[Layer]) -> str:
    kind = "Bidirectional(LSTM)" if len(layers[0].directions) > 1 else "LSTM"
    return f"{len(layers)} layers {kind}" if len(layers) > 1 else f"layer {kind} {layers[0].name}"


def _no_lstm(layers: list[Any]) -> str:
    for layer in layers:
        inner = getattr(layer, "forward_layer", layer)
        if isinstance(inner, keras.layers.GRU):
            return gru_refusal(layer.name, f"this one has reset_after = {inner.reset_after}")
        if isinstance(inner, keras.layers.SimpleRNN):
            return f"{layer.name} is a {type(inner).__name__}: it cannot be compared with an LSTM."
        if isinstance(inner, keras.layers.RNN):
            return f"{layer.name} is an RNN around {type(inner.cell).__name__}: taken is layers.LSTM."
    kinds = sorted({type(layer).__name__ for layer in layers})
    return f"there is no layers.LSTM in it. Its layers are: {listed(kinds) or 'none'}."

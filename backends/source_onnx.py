"""A whole ONNX file, run by onnxruntime; what its nodes give is added to the graph's outputs.

onnxruntime computes an LSTM in float32 alone: expected is that run, its noise measured by shaken weights and inputs.
Sources: ONNX, ``ModelProto``; onnxruntime documentation, ``InferenceSession``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, inliner, numpy_helper, shape_inference

from lockstep.backends import model_onnx
from lockstep.backends.onnx_scopes import TURNED, time_major, without_layout
from lockstep.backends.onnxruntime_session import session_of
from lockstep.harness.adapters.routes.whole import InputSpec, LayerLSTM, Observed, Subject, rounding_error
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Arrays
from lockstep.harness.weights.model_file import ModelError, ModelFile, StoredModel

REQUIRES = ("onnx", "onnxruntime")
INSTALL = "lockstep-rnn[onnx]"

_BATCH = ("batch", "n", "b")
# Operators that move numbers and compute none.
_MOVES = frozenset({
    "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Slice", "Concat", "Split", "Expand", "Flatten", "Cast",
    "Constant", "ConstantOfShape", "Shape", "Dropout",
})  # fmt: skip


def open_model(value: Any, path: Path | None) -> WholeOnnx:
    """The model in a file."""
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own exceptions have no common home
        raise ModelError(f"it cannot be read as an ONNX model: {first_line(error)}.") from error
    return WholeOnnx(model, str(path))


class WholeOnnx:
    """A graph with its weights."""

    form = "onnx"
    dtype = "float32"

    def __init__(self, model: onnx.ModelProto, path: str) -> None:
        """Take a model that was read from a file."""
        self.path, self._file = path, inliner.inline_local_functions(model) if model.functions else model
        self.model, turned = time_major(self._file)
        self.what = f"graph {model.graph.name} of ONNX, run by onnxruntime {onnxruntime.__version__}"
        self.what += ", its LSTM of layout 1, which that does not run, made time-major between transpositions" * turned
        held = {tensor.name for tensor in self.model.graph.initializer}
        self._inputs = [given for given in self.model.graph.input if given.name not in held]
        self._nodes = {name: node for node in self.model.graph.node for name in node.output}

    def specs(self, timesteps: int, batch: int) -> list[InputSpec]:
        """The graph's inputs; an open axis is the batch where its name says so, or it is the first of several."""
        specs = []
        for given in self._inputs:
            kind = given.type.tensor_type
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
            axes = list(kind.shape.dim)
            open_axes = [axis.dim_param for axis in axes if not axis.dim_value]
            named = any(name.lower().startswith(_BATCH) for name in open_axes)
            # Keras has the batch first, and leaves it open.
            batch_first = len(open_axes) > 1 or self.model.producer_name == "tf2onnx"
            shape, opened = [], 0
            for axis in axes:
                if axis.dim_value:
                    shape.append(axis.dim_value)
                    continue
                is_batch = axis.dim_param.lower().startswith(_BATCH) if named else opened == 0 and batch_first
                shape.append(batch if is_batch else timesteps)
                opened += 1
            role = "state" if given.name in self._states() else "data"
            specs.append(InputSpec(given.name, tuple(shape), dtype, self._below(given.name), role))
        return specs

    def _states(self) -> set[str]:
        """The graph's inputs that LSTMs start from, cut and laid out otherwise perhaps."""
        names = [name for node in self.model.graph.node if node.op_type == "LSTM" for name in node.input[5:7]]
        taken = set()
        for name in names:
            while name in self._nodes and self._nodes[name].op_type in _MOVES and self._nodes[name].input:
                name = self._nodes[name].input[0]  # noqa: PLW2901
            taken.add(name)
        return taken & {given.name for given in self._inputs}

    def _below(self, name: str) -> int | None:
        """How large the integers of an input may be: the rows of the table that they choose from."""
        held = {tensor.name: tensor.dims for tensor in self.model.graph.initializer}
        sizes = [
            held[node.input[0]][0] for node in self.model.graph.node
            if node.op_type == "Gather" and node.input[1] == name and node.input[0] in held
        ]  # fmt: skip
        return min(sizes, default=None)

    def observe(self, inputs: Arrays, *, wide: bool = False, shaken: np.random.Generator | None = None) -> Observed:
        """Run it, with the outputs of nodes among its own."""
        if wide:
            raise NotImplementedError("onnxruntime has no LSTM in float64")
        model, names = self._watched(self.model)
        if shaken is not None:
            for tensor in model.graph.initializer:
                array = numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array(_shaken(array, shaken), tensor.name))
            inputs = {name: _shaken(array, shaken) for name, array in inputs.items()}
        wanted = [*names, *(given.name for given in self.model.graph.output)]
        begins = [name for node in self._lstm_nodes() for name in (self._x(node), *node.input[5:7])]
        begins = [name for name in dict.fromkeys(begins) if name in self._nodes and name not in wanted]
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in begins)
        session = session_of(model.SerializeToString(), silent=True)
        arrays = dict(zip([*wanted, *begins], session.run([*wanted, *begins], inputs), strict=True))
        lstms = {} if shaken is not None else self._lstms({**inputs, **arrays})
        without = self._without_layout(inputs) if shaken is None else {}
        return Observed({name: arrays[name] for name in wanted}, names, lstms, without)

    def _without_layout(self, inputs: Arrays) -> dict[str, Arrays]:
        """What the first LSTM of layout 1 gives where that is not heeded."""
        name = next((self._named(node) for node in self._lstm_nodes() if node.doc_string == TURNED), "")
        if not name:
            return {}
        model = model_onnx.cut_to(self._file, [name])
        without_layout(model.graph)
        fed = {given.name: inputs[given.name] for given in model.graph.input}
        try:
            (array,) = session_of(model.SerializeToString(), silent=True).run([name], fed)
        except Exception:  # noqa: BLE001 (its initial states need not fit then)
            return {}
        return {"layout = 1": {name: np.asarray(array)}}

    def _watched(self, file: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
        """A copy whose outputs are those of all nodes that compute floating point, and the names of these."""
        model = onnx.ModelProto()
        model.CopyFrom(file)
        known = {info.name: info for info in shape_inference.infer_shapes(model).graph.value_info}
        outer = {given.name for given in model.graph.output}
        names: dict[str, str] = {}
        for node in model.graph.node:
            # With what moves numbers among them, a compiler joins fewer nodes: a wrong one may be right then.
            for name in [self._named(node)] if node.op_type not in _MOVES and node.output else ():
                floats = name in known and known[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
                if floats and name not in outer:
                    names[name] = f"{node.name or name} ({node.op_type})"
                    model.graph.output.append(known[name])
        return model, names

    def _named(self, node: onnx.NodeProto) -> str:
        """A node's first output, as the file has it."""
        if node.doc_string != TURNED or not node.output[0]:
            return node.output[0]
        return next(turn.output[0] for turn in self.model.graph.node if node.output[0] in turn.input)

    def _x(self, node: onnx.NodeProto) -> str:
        """An LSTM's sequence, likewise."""
        return self._nodes[node.input[0]].input[0] if node.doc_string == TURNED else node.input[0]

    def _lstm_nodes(self) -> list[onnx.NodeProto]:
        """Nodes whose sequences have no lengths."""
        return [
            node for node in self.model.graph.node
            if node.op_type == "LSTM" and node.output and node.output[0] and not any(node.input[4:5])
        ]  # fmt: skip

    def _lstms(self, arrays: Arrays) -> dict[str, LayerLSTM]:
        """The nodes whose inputs were observed."""
        known = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer} | arrays
        layers = {}
        for node in self._lstm_nodes():
            y, x, turned = self._named(node), self._x(node), node.doc_string == TURNED
            states = {key: name for key, name in zip(("h0", "c0"), node.input[5:7], strict=False) if name}
            if y not in known or not {x, *states.values()} <= set(known):
                continue
            stored = self._stored(node)
            if stored is not None:
                fed = {"x": known[x]} | {key: known[name] for key, name in states.items()}
                layers[y] = LayerLSTM(stored, turned, fed, directions=2 if turned else 1)
        return layers

    def _stored(self, node: onnx.NodeProto) -> StoredModel | None:
        try:
            return model_onnx.read(ModelFile("it", "onnx", self.path, prefix=node.name or node.output[0]), None)
        except ModelError:
            return None

    def subject(self, inputs: Arrays, observed: Observed, *, layers: bool = False) -> Subject:
        """The file, or one with the outputs of its nodes as further outputs."""
        names = observed.outputs
        if not layers:
            return Subject(self.path, inputs, tuple(names))
        model, parts = self._watched(self._file)
        return Subject(model.SerializeToString(), inputs, (*names, *parts))


def _shaken(array: Any, generator: np.random.Generator) -> Any:
    array = np.asarray(array)
    if array.dtype.kind != "f":
        return array
    wide = array.astype(np.float64)
    return (wide + rounding_error(wide, str(array.dtype), generator)).astype(array.dtype)

"""A file that PyTorch saves: a checkpoint, a TorchScript or traced module, or an exported program (.pt2).

No pickle is ever executed. A checkpoint is read with ``weights_only=True``; TorchScript by its own reader, which
builds no Python objects; of a .pt2 the program's JSON and the raw numbers are read, since ``torch.export.load``
unpickles. In programs the LSTM is the one ``aten::lstm``, its weights are that operator's; where there is none, as
after decomposition, it is found by names, as in checkpoints. ``torch_lstm``, which calls the same operator, runs it.
Sources: PyTorch documentation, ``torch.load``, ``torch.jit.load``, ``torch.export``, PT2 Archive Spec.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch

from lockstep.backends import torch_lstm
from lockstep.backends.given_model import given_model, refused_by_runner, run_by_runner
from lockstep.backends.refusals import joined
from lockstep.backends.torch_state_dict import FlatLSTM, read_programs, read_state_dict
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.weights.model_file import ModelError, ModelFile, StoredModel, unfit_reason

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
DIALECT = "torch"

_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
# Of .pt2's schema.
_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the LSTM of a file that PyTorch saved.

    Raises:
        ModelError: If there is none, there are several, or only unpickling would read it.
    """
    kind = kind_of(file.path)
    if kind == "script":
        return _script(file)
    if kind == "program":
        return _program(file)
    return read_state_dict(_checkpoint(file.path), file.prefix, kind="a checkpoint's weights")


def kind_of(path: str) -> Literal["script", "program", "checkpoint"]:
    """What a file holds, by the names of its parts.

    Raises:
        ModelError: If it is a program that only unpickling would read.
    """
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    inside = {"/".join(PurePosixPath(name).parts[1:]) for name in names}
    if "constants.pkl" in inside:
        return "script"
    if any(name.startswith((_WEIGHTS, "models/")) for name in inside):
        return "program"
    if "serialized_exported_program.json" in {*names, *inside}:
        raise ModelError(
            "it is an exported program in the format of PyTorch before 2.8: load it with torch.export.load, and save "
            "it with torch.export.save of a newer one."
        )
    return "checkpoint"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run with the file's weights; None if it can."""
    model = given_model(read)
    return joined(unfit_reason(model, case), refused_by_runner(model, case))


def run(problem: Problem) -> Trace:
    """Run ``torch_lstm`` on the data of ``problem``, with the file's weights."""
    return run_by_runner(given_model(read), problem)


def _checkpoint(path: str | io.BytesIO) -> Arrays:
    """The tensors of a checkpoint by their names, those of dicts in dicts joined by dots."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        kind = str(error).partition("GLOBAL ")[2].split()
        held = f"of Python objects, {kind[0]} among them," if kind else "of Python objects, or is damaged:"
        raise ModelError(
            f"torch does not read it with weights_only=True: it is {held} which only unpickling would make, and that "
            "runs code. Save the weights alone: torch.save(model.state_dict(), FILE)."
        ) from error
    except Exception as error:  # whatever a damaged file makes of it
        raise ModelError(f"torch {torch.__version__} cannot read it: {first_line(error)}.") from error
    return {name: _array(tensor) for name, tensor in _tensors(stored, "") if tensor.layout == torch.strided}


def _tensors(stored: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(stored, torch.Tensor):
        yield name, stored
    elif isinstance(stored, Mapping):
        for key, value in stored.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))


def _array(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().cpu()
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    return torch_lstm.array_of(tensor.contiguous())


def load_script(path: str) -> Any:
    """A TorchScript file's module; its own reader makes no Python objects.

    Raises:
        ModelError: If it cannot be read.
    """
    try:
        return torch.jit.load(path, map_location="cpu")
    except Exception as error:  # the reader's own exceptions have no common home
        raise ModelError(f"torch {torch.__version__} cannot read it as TorchScript: {first_line(error)}.") from error


def _script(file: ModelFile) -> StoredModel:
    """Read a TorchScript file by the ``aten::lstm`` in its methods, those of submodules inlined."""
    module = load_script(file.path)
    found = {}
    for method in module._c._method_names():  # noqa: SLF001 (a script of nn.LSTM alone has no method forward)
        graph = module._c._get_method(method).graph.copy()  # noqa: SLF001
        torch._C._jit_pass_inline(graph)  # noqa: SLF001
        for node in graph.findAllNodes("aten::lstm"):
            lstm = _flat(node, module, len(found))
            found.setdefault(lstm.name, lstm)
        if not found and "aten::quantized_lstm" in str(graph):
            raise ModelError("its LSTM is quantised (aten::quantized_lstm), which is not taken: take the float module.")
    if not found:
        arrays = {name: _array(tensor) for name, tensor in module.state_dict().items()}
        return read_state_dict(arrays, file.prefix, kind="a TorchScript file's state dict")
    return read_programs(
        [*found.values()], file.prefix, f"an aten::lstm of TorchScript, read by torch {torch.__version__}"
    )


def _flat(node: Any, module: Any, k: int) -> FlatLSTM:
    """The LSTM of a node; its name is what the names of its weights begin with, where they are attributes."""
    schema = torch._C.parse_schema(node.schema())  # noqa: SLF001
    inputs = dict(zip([argument.name for argument in schema.arguments], node.inputs(), strict=True))
    path, parameters = _value(inputs["params"], module)
    settings = {name: _value(inputs[name], module)[1] for name in ("has_biases", "num_layers", "bidirectional")}
    return FlatLSTM(
        f"{path.rpartition('.')[0]}." if "." in path else "" if path else f"lstm_{k}",
        [_array(tensor) for tensor in parameters],
        bias=settings["has_biases"], num_layers=settings["num_layers"], bidirectional=settings["bidirectional"],
    )  # fmt: skip


def _value(value: Any, module: Any) -> tuple[str, Any]:
    """What a value of a graph is, and the path of the attribute that holds it."""
    node = value.node()
    if node.kind() == "prim::GetAttr":
        path, owner = _value(next(node.inputs()), module)
        name = node.s("name")
        held = getattr(owner, name)
        return f"{path}.{name}" if path else name, held
    if node.kind() == "prim::ListConstruct":
        parts = [_value(part, module) for part in node.inputs()]
        return parts[0][0] if parts else "", [part for _, part in parts]
    if node.kind() == "prim::Param":
        return "", module
    return "", value.toIValue()


@dataclass(frozen=True)
class Archive:
    """What is read of an exported program: its graph, which is JSON, and its tensors, which are raw numbers."""

    graph: Mapping[str, Any]
    tensors: dict[str, torch.Tensor]


def read_archive(path: str) -> Archive:
    """Read an exported program.

    Raises:
        ModelError: If there is none in the file, or no weights.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {"/".join(PurePosixPath(name).parts[1:]): name for name in archive.namelist()}
        models = [name for name in parts if name.startswith("models/") and name.endswith(".json")]
        if not models:
            raise ModelError(
                "it holds no program, only what is compiled of one (AOTInductor): take the file of torch.export.save."
            )
        stem = Path(models[0]).stem
        config = f"{_WEIGHTS}{stem}_weights_config.json"
        if config not in parts:
            raise ModelError(f"it has no {config}, and so no weights: it was saved without them.")
        graph = json.loads(archive.read(parts[models[0]]))["graph_module"]
        tensors = {}
        for folder, listed in ((_WEIGHTS, config), (_CONSTANTS, f"{_CONSTANTS}{stem}_constants_config.json")):
            entries = json.loads(archive.read(parts[listed]))["config"] if listed in parts else {}
            for name, entry in entries.items():
                if entry.get("tensor_meta") is not None:  # what is none is an object of a class
                    tensors[name] = _weight(entry, archive.read(parts[folder + entry["path_name"]]))
    return Archive(graph, tensors)


def _program(file: ModelFile) -> StoredModel:
    """Read the LSTM of an exported program."""
    archive = read_archive(file.path)
    arrays = {name: _array(tensor) for name, tensor in archive.tensors.items()}
    found = list(_lstms(archive.graph, arrays))
    kind = "an exported program"
    if not found:
        return read_state_dict(arrays, file.prefix, kind=f"the weights of {kind}")
    return read_programs(found, file.prefix, f"an aten.lstm of {kind}")


def _weight(entry: dict[str, Any], raw: bytes) -> torch.Tensor:
    if entry["use_pickle"]:
        return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    meta = entry["tensor_meta"]
    dtype = _DTYPES.get(meta["dtype"])
    if dtype is None:
        return torch.empty(0)  # of a type that no LSTM's weights have
    sizes, strides = ([each["as_int"] for each in meta[key]] for key in ("sizes", "strides"))
    flat = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    return torch.as_strided(flat, sizes, strides, meta["storage_offset"]["as_int"])


def _lstms(graph: Mapping[str, Any], arrays: Arrays) -> Iterator[FlatLSTM]:
    names = {}
    for spec in graph["signature"]["input_specs"]:
        for kind in ("parameter", "buffer"):
            if kind in spec:
                names[spec[kind]["arg"]["name"]] = spec[kind][f"{kind}_name"]
    for node in graph["graph"]["nodes"]:
        if not node["target"].startswith("torch.ops.aten.lstm."):
            continue
        given = {argument["name"]: next(iter(argument["arg"].values())) for argument in node["inputs"]}
        held: Sequence[str] = [names.get(tensor["name"], "") for tensor in given["params"]]
        if not all(name in arrays for name in held):
            raise ModelError("the weights of its aten.lstm are computed, not stored: export the module without that.")
        prefix = held[0].rpartition(".")[0]
        yield FlatLSTM(
            f"{prefix}." if prefix else "", [arrays[name] for name in held], bias=given["has_biases"],
            num_layers=given["num_layers"], bidirectional=given["bidirectional"],
        )  # fmt: skip

"""Users' model files: which kind a file is, and its network read in a process of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from msgspec.structs import replace

from lockstep.harness.adapters.backend import BackendInfo, read_info
from lockstep.harness.adapters.model_process import serve
from lockstep.harness.adapters.user_calls import ask_once
from lockstep.harness.adapters.user_code import parse_target, similar_file
from lockstep.harness.adapters.worker import Process, quiet_environment
from lockstep.harness.errors import LockstepError
from lockstep.harness.weights.model_file import ModelFile, StoredModel

READER_GROUP = "lockstep.models"

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".pt2", ".ts", ".torchscript")
SUFFIXES = {
    ".onnx": "onnx",
    ".keras": "keras",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".safetensors": "safetensors",
    **dict.fromkeys(TORCH_SUFFIXES, "torch"),
}

FILES_TAKEN = (
    "Lockstep takes a .onnx file, a .keras or .h5 file, FILE.py:FUNCTION that returns an nn.LSTM, a .safetensors file "
    "of a torch state dict, a checkpoint, TorchScript or exported program of torch (.pt, .pth, .ckpt, .pt2), the "
    "prefix of a TensorFlow checkpoint, and the folder of a SavedModel"
)

# What is often offered, and how to make of it what is taken.
HINTS = {
    ".pb": "of a SavedModel name the folder; of a frozen graph, take the checkpoint that it was made of",
    ".tflite": "its weights are quantised or fused: take the model that it was made of",
    ".npz": "lockstep convert writes it as .safetensors: --to torch",
}

# What follows the prefix of a checkpoint in the names of its files.
CHECKPOINT_PARTS = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def find_readers() -> dict[str, BackendInfo]:
    """The readers by kind of file."""
    return {entry.name: read_info(entry.name, entry.module) for entry in entry_points(group=READER_GROUP)}


def parse_model(text: str, prefix: str) -> ModelFile:
    """Which file is meant, and of which kind it is; a LockstepError if it is not there, or none that is taken."""
    if text.endswith(".py") or ".py:" in text:
        target = parse_target(text if ":" in text else f"{text}:model")
        return ModelFile(f"{target.file.name}:{target.function}", "python", str(target.file), target.function, prefix)
    path = Path(text)
    # A shell completes the name to that of one of the checkpoint's files: any of them will do.
    checkpoint = Path(CHECKPOINT_PARTS.sub("", text))
    if checkpoint.with_name(f"{checkpoint.name}.index").is_file():
        return ModelFile(checkpoint.name, "tf1", str(checkpoint.absolute()), prefix=prefix)
    if path.is_dir() and (path / "variables" / "variables.index").is_file():
        variables = (path / "variables" / "variables").absolute()
        return ModelFile(path.absolute().name, "tf1", str(variables), prefix=prefix)
    if path.is_dir():
        checkpoints = sorted(file.with_suffix("") for file in path.glob("*.index"))
        hint = f" It holds a checkpoint: name it by its prefix, {checkpoints[-1]}." if checkpoints else ""
        raise LockstepError(f"{text}: a folder. {FILES_TAKEN}.{hint}")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES and path.is_file():
        return ModelFile(path.name, SUFFIXES[suffix], str(path.absolute()), prefix=prefix)
    if not path.exists():
        taken = "" if suffix in SUFFIXES else f" {FILES_TAKEN}."
        raise LockstepError(f"{text}: no such file.{similar_file(path)}{taken}")
    hint = f" Of a {suffix} file: {HINTS[suffix]}." if suffix in HINTS else ""
    raise LockstepError(f"{text}: not a known kind of model file. {FILES_TAKEN}.{hint}")


def distinct_names(files: list[ModelFile], texts: Sequence[str]) -> list[ModelFile]:
    """The files, those of one name told apart: as the user wrote them, and with their prefixes."""
    names = [file.name for file in files]
    # No longer than they need to be: results show them in every table.
    for longer_names in (texts, [f"{text} [{file.prefix}]" for text, file in zip(texts, files, strict=True)]):
        count = Counter(names)
        names = [longer if count[name] > 1 else name for name, longer in zip(names, longer_names, strict=True)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise LockstepError(f"--model {twice[0]} is given twice.")
    return [replace(file, name=name) for file, name in zip(files, names, strict=True)]


def read_model(file: ModelFile, reader: BackendInfo, timeout: float) -> StoredModel:
    """Read a file in a process of its own, which has ``timeout`` seconds for it.

    Raises:
        LockstepError: If it is of a kind that is not taken.
        UserFileError: If reading it fails.
    """
    with Process(quiet_environment(*reader.environment)) as process:
        outcome = ask_once(
            process, serve, (file, reader.module), timeout, Path(file.path),
            importing="while its framework was imported: ",
        )  # fmt: skip
    return outcome.value_read_of(file.name)

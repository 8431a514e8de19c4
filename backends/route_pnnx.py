"""A module by the program ``pnnx``, which takes a traced one, into ncnn's two files, in float32.

Source: ncnn documentation, "use ncnn with pytorch or onnx".
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pnnx
import torch

from lockstep.backends import route_torchscript
from lockstep.harness.adapters.routes.whole import Subject

REQUIRES = ("pnnx", "torch")
INSTALL = "lockstep-rnn[ncnn]"
SOURCES = ("torch",)
FORMAT = "ncnn"

_DTYPES = {"float32": "f32", "float64": "f64", "float16": "f16", "int64": "i64", "int32": "i32", "bool": "u8"}


def convert(subject: Subject, folder: Path) -> Path:
    """Convert a module into a folder."""
    made = folder / "model"
    made.mkdir(exist_ok=True)
    traced = _traced(subject, made)
    shapes = ",".join(
        f"[{','.join(map(str, array.shape))}]{_DTYPES[array.dtype.name]}" for array in subject.inputs.values()
    )
    command = [pnnx.EXEC_PATH, traced.name, f"inputshape={shapes}", "fp16=0"]
    done = subprocess.run(command, cwd=made, check=False, capture_output=True, text=True)  # noqa: S603 (its own program)
    if done.returncode or not (made / "model.ncnn.param").is_file():
        raise RuntimeError(f"pnnx ended with status {done.returncode}: {_reason(done.stderr) or 'no message'}")
    for file in made.iterdir():
        # Beside these it writes its own format, and the traced module stays.
        if file.name not in {"model.ncnn.param", "model.ncnn.bin", "model_ncnn.py"}:
            file.unlink()
    return made


def _traced(subject: Subject, folder: Path) -> Path:
    """A file of TorchScript: the user's own where it is one, since pnnx knows layers by their classes' names."""
    module: Any = getattr(subject.value, "module", None)
    if not isinstance(module, torch.jit.ScriptModule):
        return route_torchscript.convert(subject, folder)
    path = folder / "model.pt"
    module.save(str(path))
    return path


def _reason(text: str) -> str:
    """The last line that is no frame of its stack."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("frame #")]
    return lines[-1] if lines else ""

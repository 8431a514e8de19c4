"""TorchScript: ``torch.jit.trace``, saved, loaded and run. Source: PyTorch documentation, ``torch.jit.trace``."""

from __future__ import annotations

from pathlib import Path

import torch

from lockstep.backends.torch_tensors import runner_of, traced
from lockstep.harness.adapters.routes.whole import RunArrays, Subject

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
SOURCES = ("torch",)
FORMAT = "torchscript"
RUNS = ("torchscript",)


def convert(subject: Subject, folder: Path) -> Path:
    """Trace a module into a file."""
    path = folder / "model.pt"
    traced(subject).save(str(path))
    return path


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    return runner_of(torch.jit.load(str(path)), subject)

"""TorchScript: ``torch.jit.trace``, saved, loaded and run. Source: PyTorch documentation, ``torch.jit.trace``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lockstep.backends.torch_tensors import example_of, runner_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
SOURCES = ("torch",)
FORMAT = "torchscript"
RUNS = ("torchscript",)


def convert(subject: Subject, folder: Path) -> Path:
    """Trace a module into a file."""
    path = folder / "model.pt"
    with torch.no_grad():
        # What its own check would only warn of is compared here.
        traced: Any = torch.jit.trace(subject.value, example_of(subject), check_trace=False)
        traced.save(str(path))
    return path


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    return runner_of(torch.jit.load(str(path)), subject)

"""``torch.export``: a program in a ``.pt2`` file, loaded and run. Source: PyTorch documentation, ``torch.export``."""

from __future__ import annotations

from pathlib import Path

import torch

from lockstep.backends.torch_tensors import example_of, exportable, runner_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
SOURCES = ("torch",)
FORMAT = "pt2"
RUNS = ("pt2",)


def convert(subject: Subject, folder: Path) -> Path:
    """Export a module into a file."""
    path = folder / "model.pt2"
    torch.export.save(exported(subject), path)
    return path


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    return runner_of(torch.export.load(path).module(), subject)


def exported(subject: Subject) -> torch.export.ExportedProgram:
    """The program of a module, as other runtimes take it."""
    with torch.no_grad():
        return torch.export.export(exportable(subject), example_of(subject))

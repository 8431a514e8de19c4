"""``torch.compile`` with Inductor: compiled in memory. Source: PyTorch documentation, ``torch.compile``."""

from __future__ import annotations

from pathlib import Path

import torch

from lockstep.backends.torch_tensors import runner_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
SOURCES = ("torch",)


def convert(subject: Subject, folder: Path) -> RunArrays:
    """What runs a compiled module; it compiles when it is first called."""
    compiled = torch.compile(subject.value, dynamic=False)
    run = runner_of(compiled, subject)
    run(subject.inputs)
    return run

"""``torch.export`` compiled ahead of time by AOTInductor, which needs a C++ compiler; as ``backends.torch_aoti``."""

from __future__ import annotations

from pathlib import Path

from lockstep.backends import torch_aoti
from lockstep.backends.torch_tensors import example_of, exportable
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"
SOURCES = ("torch",)
FORMAT = "package of AOTInductor"
RUNS = ("package of AOTInductor",)


def convert(subject: Subject, folder: Path) -> Path:
    """Compile a module into a file."""
    return torch_aoti.packaged(exportable(subject), example_of(subject), folder / "model.pt2")


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    model = torch_aoti.loaded(path)

    def run(inputs: Arrays) -> Arrays:
        outputs = torch_aoti.call(model, *(inputs[name] for name in subject.input_names))
        return subject.named([output.copy() for output in outputs])

    return run

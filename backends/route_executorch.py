"""``torch.export`` into ExecuTorch, on its portable kernels.

Source: ExecuTorch documentation, "Model Export and Lowering".
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from lockstep.backends import executorch_program
from lockstep.backends.torch_tensors import example_of, exportable
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays

REQUIRES = ("executorch", "torch")
INSTALL = "lockstep-rnn[executorch]"
SOURCES = ("torch",)
FORMAT = "pte"
RUNS = ("pte",)


def convert(subject: Subject, folder: Path) -> Path:
    """Export and lower a module into a file."""
    path = folder / "model.pte"
    path.write_bytes(executorch_program.lowered(exportable(subject), example_of(subject), None))
    return path


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    call = executorch_program.loaded(path.read_bytes())

    def run(inputs: Arrays) -> Arrays:
        return subject.named(call(*(inputs[name] for name in subject.input_names)))

    return run

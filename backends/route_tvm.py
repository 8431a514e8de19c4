"""``torch.export`` into TVM's Relax, compiled in memory; as ``backends.tvm_relax``."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from lockstep.backends import tvm_relax
from lockstep.backends.torch_tensors import example_of, exportable
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays

REQUIRES = ("tvm", "torch")
INSTALL = "lockstep-rnn[tvm]"
SOURCES = ("torch",)


def convert(subject: Subject, folder: Path) -> RunArrays:
    """What runs a compiled module."""
    call = tvm_relax.compiled(exportable(subject), example_of(subject))

    def run(inputs: Arrays) -> Arrays:
        return subject.named(call(*(inputs[name] for name in subject.input_names)))

    return run

"""``torch.nn.LSTM`` by ``torch.export`` compiled ahead of time by AOTInductor, which needs a C++ compiler.

Each network takes 10 to 40 seconds. Source: PyTorch documentation, "AOTInductor: Ahead-Of-Time Compilation for
Torch.Export-ed Models".
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from lockstep.backends import torch_lstm, torch_runtime
from lockstep.backends.kept import kept
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("torch",)
MAIN = False
INSTALL = "lockstep-rnn[torch]"
DIALECT = "torch"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lengths = "torch.export does not get through nn.LSTM with pack_padded_sequence: what it does depends on the lengths"
    return torch_runtime.unsupported(case, lengths=lengths)


@kept
def _compiled(problem: Problem) -> torch_runtime.Call:
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        return loaded(packaged(*torch_runtime.network_of(problem), Path(folder) / "lstm.pt2"))


def packaged(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], path: Path) -> Path:
    """A package of a module, compiled for inputs of such sizes."""
    inductor: Any = torch._inductor  # noqa: SLF001 (documented under this name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, inputs)
        return Path(inductor.aoti_compile_and_package(exported, package_path=str(path)))


def loaded(package: Path) -> torch_runtime.Call:
    """A package as a function."""
    inductor: Any = torch._inductor  # noqa: SLF001 (likewise)
    model = inductor.aoti_load_package(str(package))

    def call(*arrays: Array) -> list[Array]:
        return [torch_lstm.array_of(output) for output in model(*map(torch_lstm.tensor_of, arrays))]

    return call


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, _compiled)

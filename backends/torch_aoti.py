"""``torch.nn.LSTM`` by ``torch.export`` compiled ahead of time by AOTInductor, which needs a C++ compiler.

Each network takes a compiler 7 seconds, whatever its size; other weights are loaded into what was compiled. Source:
PyTorch documentation, "AOTInductor: Ahead-Of-Time Compilation for Torch.Export-ed Models"; ``load_constants`` of
``AOTICompiledModel``.
"""

from __future__ import annotations

import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lockstep.backends import refusals, torch_lstm, torch_runtime
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
    refused = torch_runtime.unsupported(case, lengths=lengths)
    return refusals.of(refusals.no_compiler("AOTInductor"), first=refused)


# Precompiled headers save a tenth of a compilation, and take a minute and 300 MB before the first one; numbers are the
# same.
CONFIGS = {"aot_inductor.precompile_headers": False}


def packaged(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], path: Path) -> Path:
    """A package of a module, compiled for inputs of such sizes."""
    inductor: Any = torch._inductor  # noqa: SLF001 (documented under this name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, inputs)
        return Path(inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs=CONFIGS))


def loaded(package: Path) -> Any:
    """A package in memory."""
    return torch._inductor.aoti_load_package(str(package))  # noqa: SLF001 (likewise)


def call(model: Any, *arrays: Array) -> list[Array]:
    """Call what was loaded."""
    return [torch_lstm.array_of(output) for output in model(*map(torch_lstm.tensor_of, arrays))]


def _compile(problem: Problem) -> Any:
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        return loaded(packaged(*torch_runtime.network_of(problem), Path(folder) / "lstm.pt2"))


def _set_weights(model: Any, problem: Problem) -> bool:
    module, _ = torch_runtime.network_of(problem)
    try:
        model.load_constants(module.state_dict(), check_full_update=True)
    except RuntimeError as error:
        # Weights that were alike when it was compiled, such as biases of zeros, are one constant in it.
        if "Constant not found" in str(error):
            return False
        raise
    return True


_compiled = kept(_compile, _set_weights, most=32)


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, lambda own: partial(call, _compiled(own)))

"""``torch.nn.LSTM`` by ``torch.export`` into TVM's Relax, compiled by LLVM.

Relax's frontend unrolls it: the number of timesteps is fixed. Source: TVM documentation,
``tvm.relax.frontend.torch.from_exported_program``, ``tvm.relax.VirtualMachine``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import warnings

import torch
import tvm
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program

from lockstep.backends import refusals, torch_runtime
from lockstep.backends.kept import kept
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("tvm", "torch")
INSTALL = "lockstep-rnn[tvm]"
DIALECT = "torch"
MOST_STEPS = 240  # 0.15 seconds each, and more of many


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    refused = torch_runtime.unsupported(
        case,
        dtypes="TVM's frontend makes float32 of the weights alone: Binary operators must have the same datatype",
        lengths="torch.export does not get through nn.LSTM with pack_padded_sequence: what it does depends on the "
        "lengths",
        most_steps=MOST_STEPS,
    )
    return refusals.of({"TVM's frontend reshapes no batch of no sequence": case.run.batch == 0}, first=refused)


@kept
def _compiled(problem: Problem) -> torch_runtime.Call:
    return compiled(*torch_runtime.network_of(problem))


def compiled(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch_runtime.Call:
    """A module, compiled for inputs of such sizes, as a function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, inputs)
        executable = tvm.compile(from_exported_program(exported), target="llvm")
    machine = relax.VirtualMachine(executable, tvm.cpu())

    def call(*arrays: Array) -> list[Array]:
        return [output.numpy() for output in machine["main"](*map(tvm.runtime.tensor, arrays))]

    return call


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D P), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, _compiled)

"""``torch.nn.LSTM`` exported and lowered for ExecuTorch, for whichever of its backends."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import warnings
from typing import Any

import torch
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

from lockstep.backends import torch_lstm, torch_runtime
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem


def unsupported(case: Case, most_steps: int) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lengths = "torch.export does not get through nn.LSTM with pack_padded_sequence: what it does depends on the lengths"
    return torch_runtime.unsupported(case, lengths=lengths, most_steps=most_steps)


def converted(problem: Problem, partitioner: Any) -> torch_runtime.Call:
    """Export, lower and load the LSTM of ``problem``."""
    return loaded(lowered(*torch_runtime.network_of(problem), partitioner))


def lowered(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], partitioner: Any) -> bytes:
    """The program of a module, for inputs of such sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, inputs)
        return to_edge_transform_and_lower(exported, partitioner=partitioner).to_executorch().buffer


def loaded(buffer: bytes) -> torch_runtime.Call:
    """A program in the runtime."""
    program = Runtime.get().load_program(buffer)
    method = program.load_method("forward")

    def call(*arrays: Array) -> list[Array]:
        # The runtime holds no references of its own: program and buffer live as long as this function.
        assert buffer
        assert program
        # It gives views of memory that the next call writes into.
        outputs = method.execute([torch_lstm.tensor_of(array) for array in arrays])
        return [torch_lstm.array_of(output.clone()) for output in outputs]

    return call

"""``torch.nn.LSTM`` quantised by ``torch.ao.quantization.quantize_dynamic`` to int8.

Kernels are kept as int8, inputs and hidden states are quantised as they come, to 7 bits; all else is float32. Source:
PyTorch documentation, ``torch.ao.quantization.quantize_dynamic``, ``default_dynamic_qconfig``.
"""

from __future__ import annotations

import warnings
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
QUANTISED = "int8, inputs of 7 bits"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        "the quantised LSTM of torch.ao keeps two biases for each layer": not case.lstm.bias,
        "the quantised LSTM of torch.ao runs no batch of no sequence": case.run.batch == 0,
    }
    refused = torch_runtime.unsupported(case, dtypes="torch.ao quantises float32", projection=False)
    return refusals.of(reasons, first=refused)


@kept
def _quantised(problem: Problem) -> torch_runtime.Call:
    module, _ = torch_runtime.network_of(problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.ao moves to torchao
        ao: Any = torch.ao.quantization
        model = ao.quantize_dynamic(module, {torch.nn.LSTM}, dtype=torch.qint8)

    def call(*arrays: Array) -> list[Array]:
        with torch.inference_mode():
            return [torch_lstm.array_of(output) for output in model(*map(torch_lstm.tensor_of, arrays))]

    return call


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, _quantised)

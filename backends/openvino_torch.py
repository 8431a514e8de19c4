"""``torch.nn.LSTM`` converted by ``openvino.convert_model``, which traces it, on OpenVINO's CPU plugin.

Lengths are ``pack_padded_sequence`` and ``pad_packed_sequence`` around it. Source: OpenVINO documentation,
"Converting a PyTorch Model".
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import warnings

import openvino

from lockstep.backends import torch_runtime
from lockstep.backends.kept import kept
from lockstep.backends.openvino_settings import SETTINGS
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("openvino", "torch")
MAIN = False
INSTALL = "lockstep-rnn[openvino]"
DIALECT = "torch"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    if case.run.dtype == "float64":
        return "OpenVINO's CPU plugin computes float64 in float32"
    return torch_runtime.unsupported(case, projection=False)


@kept
def _compiled(problem: Problem) -> torch_runtime.Call:
    module, inputs = torch_runtime.network_of(problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what tracing makes constant
        model = openvino.convert_model(module, example_input=inputs)
    compiled = openvino.Core().compile_model(model, "CPU", SETTINGS)

    def call(*arrays: Array) -> list[Array]:
        by_output = compiled(arrays)
        # bfloat16 comes as bits, in arrays that say float16.
        return [by_output[output].copy().view(arrays[0].dtype) for output in compiled.outputs]

    return call


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return torch_runtime.run(problem, _compiled)

"""The ONNX operator ``LSTM`` in OpenVINO, on its CPU plugin.

The model is built for each problem, weights included, as ``backends.onnx_model`` says, and read by OpenVINO's ONNX
frontend. Settings are as ``backends.openvino_settings`` says. Source: OpenVINO documentation, ``Core.compile_model``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import onnx
import openvino
from onnx import helper

from lockstep.backends import onnx_model, refusals
from lockstep.backends.openvino_settings import SETTINGS
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("openvino", "onnx")
INSTALL = "lockstep-rnn[openvino]"
DIALECT = "onnx"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm = case.lstm
    names = {lstm.recurrent_activation, lstm.activation, lstm.cell_activation}
    operators = sorted(onnx_model.ACTIVATIONS[name][0] for name in names if onnx_model.ACTIVATIONS[name][1])
    reasons = {
        "OpenVINO's CPU plugin computes float64 in float32": case.run.dtype == "float64",
        f"OpenVINO's CPU plugin refuses the activation {', '.join(operators)}": bool(operators),
    }
    return refusals.of(reasons, first=onnx_model.unsupported(case))


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return onnx_model.run(problem, load)


def load(model: onnx.ModelProto) -> onnx_model.Loaded:
    """The model compiled."""
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", SETTINGS)
    dtypes = [helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type) for output in model.graph.output]

    def run_model(fed: Arrays) -> list[Array]:
        by_output = compiled(fed)
        # bfloat16 comes as bits, in arrays that say float16.
        return [by_output[output].copy().view(dtype) for output, dtype in zip(compiled.outputs, dtypes, strict=True)]

    return run_model

"""The ONNX operator ``LSTM`` in OpenVINO, on its CPU plugin.

The model is built for each problem, weights included, as ``backends.onnx_model`` says, and read by OpenVINO's ONNX
frontend. ``INFERENCE_PRECISION_HINT`` is f32: by default some processors compute in bfloat16. Source: OpenVINO
documentation, ``Core.compile_model``, CPU device.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import openvino

from lockstep.backends import onnx_model, refusals
from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("openvino", "onnx")
INSTALL = "lockstep-rnn[openvino]"
DIALECT = "onnx"

SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}


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
    stopwatch = Stopwatch()
    with stopwatch("build"):
        core = openvino.Core()
        model = core.read_model(onnx_model.model_of(problem).SerializeToString())
        compiled = core.compile_model(model, "CPU", SETTINGS)
    with stopwatch("run"):
        by_output = compiled(onnx_model.inputs_of(problem))
        # bfloat16 comes as bits, in arrays that say float16.
        outputs = [by_output[output].copy().view(problem.x.dtype) for output in compiled.outputs]
    return Trace(seconds=stopwatch.seconds, **onnx_model.traced(problem, outputs))

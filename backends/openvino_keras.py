"""Keras 3 ``layers.LSTM`` as a SavedModel of TensorFlow, read by OpenVINO, on its CPU plugin.

The model is as ``backends.keras_model`` says, written by ``Model.export``. Source: OpenVINO documentation,
"Converting a TensorFlow Model".
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import tempfile

import keras
import openvino

from lockstep.backends import keras3, keras_model, refusals
from lockstep.backends.kept import kept
from lockstep.backends.openvino_settings import SETTINGS
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("openvino", "keras", "tensorflow")
MAIN = False
INSTALL = "lockstep-rnn[openvino]"
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
DIALECT = "keras"


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    lstm, dtype = case.lstm, case.run.dtype
    hard = "hard_sigmoid" in f"{lstm.recurrent_activation} {lstm.activation} {lstm.cell_activation}"
    reasons = {
        "OpenVINO's CPU plugin computes float64 in float32": dtype == "float64",
        "OpenVINO's frontend for TensorFlow reads no constants of bfloat16, which a hard sigmoid has": (
            hard and dtype == "bfloat16"
        ),
    }
    return refusals.of(reasons, first=keras_model.unsupported(case))


@kept
def _converted(problem: Problem) -> keras_model.Call:
    flip = lambda h: keras.ops.flip(h, axis=1)  # noqa: E731
    model = keras_model.model_of(keras, keras3.HARD_SIGMOIDS, problem, flip)
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        model.export(folder, verbose=False)
        compiled = openvino.Core().compile_model(openvino.convert_model(folder), "CPU", SETTINGS)

    def call(inputs: Arrays) -> Arrays:
        by_output = compiled(inputs)
        # bfloat16 comes as bits, in arrays that say float16.
        return {output.any_name: by_output[output].copy().view(inputs["x"].dtype) for output in compiled.outputs}

    return call


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), and the final states of all layers and directions.
    """
    return keras_model.run(problem, _converted)

"""A model of Keras through TensorFlow's converter into TFLite, run by ``ai_edge_litert``.

``tf.lite.TFLiteConverter.from_keras_model``; the signature is called, its inputs and outputs by name. Source: LiteRT
documentation, ``tf.lite.TFLiteConverter``, ``Interpreter.get_signature_runner``.
"""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from lockstep.backends import keras_model, refusals
from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import Case


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run faithfully; None if it can."""
    reasons = {
        "TensorFlow's converter does not translate an LSTM of another dtype than float32 into TFLite": (
            case.run.dtype != "float32"
        ),
    }
    return refusals.of(reasons, first=keras_model.unsupported(case))


def converted(model: Any) -> keras_model.Call:
    """Convert and load a model."""
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = Interpreter(model_content=content, num_threads=THREADS)
    signature = interpreter.get_signature_runner()

    def call(inputs: Arrays) -> Arrays:
        return signature(**inputs)

    return call

"""TFLite: TensorFlow's converter, and its interpreter, which is ``ai_edge_litert``'s where that is installed.

Source: TensorFlow documentation, ``tf.lite.TFLiteConverter``; LiteRT documentation, ``Interpreter``.
"""

# The runtime is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

import importlib.util
from pathlib import Path

import tensorflow as tf

from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays

REQUIRES = ("tensorflow", "keras")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
SOURCES = ("keras", "tf_keras")
FORMAT = "tflite"
RUNS = ("tflite",)


def convert(subject: Subject, folder: Path) -> Path:
    """Convert a model into a file."""
    path = folder / "model.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(subject.value).convert())
    return path


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter
    else:
        Interpreter = tf.lite.Interpreter
    signature = Interpreter(str(path), num_threads=THREADS).get_signature_runner()
    names = {name.replace(".", "_"): name for name in subject.input_names}

    def run(inputs: Arrays) -> Arrays:
        # Inputs and outputs come in another order: they go by name.
        outputs = signature(**{given: inputs[name] for given, name in names.items()})
        return subject.named([outputs[f"output_{k}"].copy() for k in range(len(outputs))])

    return run

"""onnxruntime on its CPU provider. Source: onnxruntime documentation, ``InferenceSession``."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from lockstep.backends.onnxruntime_session import session_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays

REQUIRES = ("onnxruntime",)
INSTALL = "lockstep-rnn[onnx]"
RUNS = ("onnx",)


def load(path: Path, subject: Subject) -> RunArrays:
    """What runs a file."""
    # By its path: weights may lie in files beside it.
    session = session_of(str(path), silent=True)
    taken = [wanted.name for wanted in session.get_inputs()]
    names = [given.name for given in session.get_outputs()]

    def run(inputs: Arrays) -> Arrays:
        # By order: an exporter may write other names. An input that nothing depends on may be gone.
        fed = inputs if set(taken) <= set(inputs) else dict(zip(taken, inputs.values(), strict=True))
        outputs = session.run(names, {name: fed[name] for name in taken})
        return subject.named(outputs)

    return run

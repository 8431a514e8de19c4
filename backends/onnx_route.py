"""ONNX files in runtimes that have a ``load(model)`` of their own: what the routes into them share."""

# The framework is not in the main environment, nor are its types.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from lockstep.backends.onnx_model import Loaded
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays


def runner_of(path: Path, subject: Subject, load: Callable[[onnx.ModelProto], Loaded]) -> RunArrays:
    """What runs a file, loaded by a runtime."""
    model = onnx.load(path)
    call = load(model)
    held = {tensor.name for tensor in model.graph.initializer}
    names = [given.name for given in model.graph.input if given.name not in held]

    def run(inputs: Arrays) -> Arrays:
        # By order where an exporter wrote other names.
        by_name = inputs if set(names) <= set(inputs) else dict(zip(names, inputs.values(), strict=True))
        return subject.named(call({name: by_name[name] for name in names}))

    return run

"""Arrays of a whole model as tensors of PyTorch, and a callable of tensors as a runner: what torch's routes share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lockstep.backends.torch_lstm import array_of, tensor_of
from lockstep.harness.adapters.routes.whole import RunArrays, Subject
from lockstep.harness.arrays import Arrays


def example_of(subject: Subject) -> tuple[torch.Tensor, ...]:
    """The inputs for which a module is converted, in their order."""
    return tensors_in(subject.inputs)


def tensors_in(inputs: Arrays) -> tuple[torch.Tensor, ...]:
    """Arrays as tensors."""
    return tuple(tensor_of(np.ascontiguousarray(array)) for array in inputs.values())


def runner_of(module: Any, subject: Subject) -> RunArrays:
    """What calls a module with arrays in the order of the subject's inputs."""

    def run(inputs: Arrays) -> Arrays:
        with torch.no_grad():
            outputs = module(*tensors_in({name: inputs[name] for name in subject.input_names}))
        return subject.named([array_of(output.contiguous()).copy() for output in outputs])

    return run

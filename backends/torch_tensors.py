"""Arrays of a whole model as tensors of PyTorch, and a callable of tensors as a runner: what torch's routes share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx
from torch.fx.graph import CodeGen
from torch.utils import _pytree as trees

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


def is_script(subject: Subject) -> bool:
    """Whether a module is, or has, one of TorchScript."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in subject.value.modules())


def traced(subject: Subject) -> Any:
    """A module of TorchScript, traced."""
    with torch.no_grad():
        # What its own check would only warn of is compared here.
        return torch.jit.trace(subject.value, example_of(subject), check_trace=False)


def exportable(subject: Subject) -> Any:
    """A module as ``torch.export`` takes it: of TorchScript, which it refuses, as its ``TS2EPConverter`` gives it."""
    return program_of_script(traced(subject), example_of(subject)) if is_script(subject) else subject.value


def program_of_script(script: Any, arguments: tuple[Any, ...]) -> fx.GraphModule:
    """The graph of a TorchScript module for arguments of these sizes, inputs and outputs in a row."""
    from torch._export.converter import TS2EPConverter

    with torch.no_grad():
        module = TS2EPConverter(script, arguments).convert().module()
    graph = module.graph
    graph.set_codegen(CodeGen())
    for node in list(graph.nodes):
        # Checks of sizes stand in no program of the user's.
        if node.op == "call_module" and "_guards_fn" in str(node.target):
            graph.erase_node(node)
        if node.op == "output":
            node.args = (tuple(trees.tree_leaves(node.args[0])),)
    module.recompile()
    return module

"""A whole model in a file that PyTorch saves: TorchScript, as saved by tracing or scripting, or an exported program.

Both are run by PyTorch's own operators, and observed as ``backends.torch_program`` says. What TorchScript gives in its
own precision is the script's own; its graph is converted for that by ``TS2EPConverter``, as ``torch.export`` advises.
No pickle is executed. Sources: PyTorch documentation, ``torch.jit.load``, ``torch.export``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.utils import _pytree as trees

from lockstep.backends.model_torch_file import kind_of, load_script, read_archive
from lockstep.backends.source_torch import WholeModule, candidates, role_of
from lockstep.backends.torch_program import Program, held_at
from lockstep.backends.torch_pt2 import Taken, read_graph
from lockstep.backends.torch_tensors import program_of_script
from lockstep.harness.adapters.routes.reasons import reason_of
from lockstep.harness.adapters.routes.whole import InputSpec, Observed, Subject
from lockstep.harness.arrays import Arrays
from lockstep.harness.weights.model_file import ModelError

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"


def open_model(value: Any, path: Path) -> WholeModule:
    """The model in a file.

    Raises:
        ModelError: If it holds weights alone, or cannot be read without unpickling.
    """
    kind = kind_of(str(path))
    if kind == "script":
        return WholeScript(load_script(str(path)))
    if kind == "program":
        return WholeProgram(*read_graph(read_archive(str(path))))
    raise ModelError("it is a checkpoint, which holds weights and no model.")


class WholeProgram(WholeModule):
    """An exported program; its inputs and their sizes stand in it."""

    def __init__(self, module: fx.GraphModule, names: dict[str, str], taken: list[Taken]) -> None:
        """Take a graph, its weights' names, and its inputs."""
        program = Program(module, names).eval()
        super().__init__(program)
        self.what = f"an exported program, run by torch {torch.__version__}"
        self._taken = taken

    def specs(self, timesteps: int, batch: int) -> list[InputSpec]:
        """Its inputs; an axis whose size is open is batch or time, as its LSTM has them."""
        lstms = [layer for layer in self.module.layers().values() if isinstance(layer, torch.nn.LSTM)]  # type: ignore[operator]
        lead = (batch, timesteps) if not lstms or lstms[0].batch_first else (timesteps, batch)
        arguments = {}
        for given in self._taken:
            # A state is (layers, batch, width), whatever comes first elsewhere.
            sizes = [lead[k > 0] if len(given.sizes) > 1 else batch for k in range(len(given.sizes))]
            sizes = [batch] * len(sizes) if role_of(given.name) == "state" else sizes
            shape = [size or open_size for size, open_size in zip(given.sizes, sizes, strict=True)]
            arguments[given.name] = torch.zeros(shape, dtype=getattr(torch, given.dtype))
        return self._take(arguments)


class WholeScript(WholeModule):
    """A TorchScript module."""

    def __init__(self, script: Any) -> None:
        """Take a module."""
        self.script = script.eval()
        super().__init__(script)
        self.what = f"{script.original_name} of TorchScript, run by torch {torch.__version__}"
        self._shaped = _outline(script)
        self._programs: dict[Any, Program | None] = {}

    def _candidates(self, timesteps: int, batch: int) -> Iterator[dict[str, Any]]:
        parameters = [
            inspect.Parameter(
                given.name, inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=given.default_value if given.has_default_value() else inspect.Parameter.empty,
            )
            for given in self.script.forward.schema.arguments[1:]
        ]  # fmt: skip
        return candidates(parameters, self._shaped, timesteps, batch, getattr(torch, self.dtype))

    def observe(self, inputs: Arrays, *, wide: bool = False, shaken: np.random.Generator | None = None) -> Observed:
        """Run the script, and its graph for what its layers give."""
        program = self._program(inputs)
        if program is not self.module:
            self.module, self._wide = program, None
        observed = super().observe(inputs, wide=wide, shaken=shaken)
        if wide or shaken is not None or program is self.script:
            return observed
        self.module = self.script
        outputs = super().observe(inputs).tensors
        self.module = program
        return Observed({**observed.tensors, **outputs}, observed.parts, observed.lstms)

    def _program(self, inputs: Arrays) -> torch.nn.Module:
        """The script's graph for inputs of these sizes; the script itself where it has no plain graph."""
        sizes = tuple((name, array.shape) for name, array in inputs.items())
        if sizes not in self._programs:
            try:
                self._programs[sizes] = self._converted(inputs)
            except Exception as error:  # noqa: BLE001 (whatever its converter raises: it only adds what layers give)
                self._programs[sizes] = None
                told = f", its layers not told apart, since TS2EPConverter raised {reason_of(error)}"
                self.what += told if told not in self.what else ""
        return self._programs[sizes] or self.script

    def _converted(self, inputs: Arrays) -> Program:
        arguments = trees.tree_unflatten(
            [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.values()], self._tree_for(inputs)
        )
        module = program_of_script(self.script, tuple(arguments.values()))
        # Constants of a script lose their names.
        weights = dict(self.script.named_parameters())
        paths = {node.target for node in module.graph.nodes if node.op == "get_attr"}
        names = {
            path: name for path in paths for name, weight in weights.items() if _same(held_at(module, path), weight)
        }
        return Program(module, names).eval()

    def subject(self, inputs: Arrays, observed: Observed, *, layers: bool = False) -> Subject:
        """The script, or its graph with what its layers give."""
        self.module = self._program(inputs) if layers else self.script
        return super().subject(inputs, observed, layers=layers)


def _same(tensor: Any, weight: torch.Tensor) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.shape == weight.shape and torch.equal(tensor, weight)


def _outline(script: Any) -> torch.nn.Module:
    """Modules like those of a script, without numbers: a script's own do not tell what they take."""
    outline = torch.nn.Sequential()
    for k, (kind, weights) in enumerate(
        (module.original_name, dict(module.named_parameters(recurse=False))) for module in script.modules()
    ):
        layer = _layer_like(kind, {name: tuple(weight.shape) for name, weight in weights.items()})
        if layer is not None:
            outline.add_module(f"layer_{k}", layer)
    return outline


def _layer_like(kind: str, shapes: dict[str, tuple[int, ...]]) -> torch.nn.Module | None:
    """A layer of a kind by the shapes of its weights; None of a kind that tells nothing of its input."""
    weight = shapes.get("weight", shapes.get("weight_ih_l0", ()))
    makers: dict[str, Callable[[], torch.nn.Module]] = {
        "Embedding": lambda: torch.nn.Embedding(weight[0], weight[1], device="meta"),
        "LSTM": lambda: _lstm_like(shapes),
        "Linear": lambda: torch.nn.Linear(weight[1], weight[0], device="meta"),
        "LayerNorm": lambda: torch.nn.LayerNorm(list(weight), device="meta"),
        "Conv1d": lambda: torch.nn.Conv1d(weight[1], weight[0], 1, device="meta"),
        "Conv2d": lambda: torch.nn.Conv2d(weight[1], weight[0], 1, device="meta"),
        "BatchNorm1d": lambda: torch.nn.BatchNorm1d(weight[0], device="meta"),
    }
    return makers[kind]() if weight and kind in makers else None


def _lstm_like(shapes: dict[str, tuple[int, ...]]) -> torch.nn.LSTM:
    forward = [name for name in shapes if name.startswith("weight_ih") and not name.endswith("_reverse")]
    (rows, width), (_, output) = shapes["weight_ih_l0"], shapes["weight_hh_l0"]
    return torch.nn.LSTM(
        width, rows // 4, len(forward), batch_first=True, bidirectional="weight_ih_l0_reverse" in shapes,
        proj_size=output if output != rows // 4 else 0, device="meta",
    )  # fmt: skip

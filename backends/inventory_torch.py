"""The parameters and buffers of a ``torch.nn.Module``, and, given inputs, what reads each in a forward run.

A tensor that modules hold under several names is one: tied weights, or a module that stands at several places. What
reads it is seen while the module runs, with a mode that every function of torch passes. It runs twice: a parameter that
no module holds and only one run reads is made anew at every call (``backends.unregistered_torch``). Source: PyTorch
2.13, ``torch.overrides.TorchFunctionMode``, ``register_module_parameter_registration_hook``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

import lockstep.harness
from lockstep.backends.unregistered_torch import UNKNOWN, Loose, judged
from lockstep.harness.adapters.inventory import Around, InventoryError, Made, Material, Read

_OURS = (str(Path(torch.__file__).parent) + os.sep, str(Path(lockstep.harness.__file__).parent) + os.sep, __file__, "<")
_OVER_TIME = {"lstm", "gru", "rnn_tanh", "rnn_relu"}  # functions that run over a whole sequence


def material(value: Any, built: Any) -> Material | None:
    """Read a module, or the module of (module, inputs), which is run once; None if it is neither.

    Raises:
        InventoryError: If its parameters have no shape yet.
    """
    module, inputs = value if isinstance(value, tuple) and len(value) == 2 else (value, None)  # noqa: PLR2004 (a pair)
    if not isinstance(module, torch.nn.Module):
        return None
    watch = _Watch(module)
    notes = () if inputs is not None else (UNKNOWN,)
    if inputs is not None:
        notes = watch.run_twice(module, inputs)
    names: dict[int, list[str]] = {}
    tensors: dict[int, Any] = {}
    for name, tensor in _held(module):
        names.setdefault(id(tensor), []).append(name)
        tensors[id(tensor)] = tensor
    lists = {
        name
        for name, submodule in module.named_modules()
        if isinstance(submodule, torch.nn.ModuleList | torch.nn.ParameterList)
    }
    made = tuple(
        Made(
            of[0],
            _shape(of[0], tensors[key]),
            str(tensors[key].dtype).removeprefix("torch."),
            role=_role(of[0], lists),
            aliases=tuple(of[1:]),
            trainable=tensors[key].requires_grad,
            reads=tuple(watch.reads.get(key, ())),
        )
        for key, of in names.items()
    )
    return Material(
        "torch module", made, numbers="in lists", reads_known=inputs is not None, notes=notes,
        judged=tuple(judged(module, watch.loose, set(names))),
    )  # fmt: skip


def _held(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    # Duplicates are what is looked for.
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _shape(name: str, tensor: Any) -> tuple[int, ...]:
    if torch.nn.parameter.is_lazy(tensor):
        raise InventoryError(f"{name} has no shape yet: run the lazy module once, or return (module, inputs).")
    return tuple(tensor.shape)


def _role(name: str, lists: set[str]) -> str:
    """A name with a star for its place in a list of modules; in nn.Sequential, modules follow each other."""
    parts = name.split(".")
    return ".".join("*" if ".".join(parts[:k]) in lists else part for k, part in enumerate(parts))


class _Watch(TorchFunctionMode):
    """Notes which functions of torch take which parameters."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.reads: dict[int, list[Read]] = {}
        self._modules = {id(submodule): name for name, submodule in module.named_modules()}
        self._held = {id(tensor) for _, tensor in _held(module)}
        self._calls: list[str] = []
        self.loose: dict[int, Loose] = {}  # with their tensors, whose ids would be given away again
        self._born: dict[int, tuple[Any, str, str]] = {}  # what was made meanwhile, its name and line
        self._round = 0

    def run_twice(self, module: torch.nn.Module, inputs: Any) -> tuple[str, ...]:
        """Run a module forward, and once more; notes on what that did not tell."""
        self._run(module, inputs)
        self._round = 1
        try:
            self._run(module, inputs)
        except Exception as error:  # noqa: BLE001 (the user's code: a module may be made for one run)
            unknown = "whether what no module holds is the same at every call is unknown"
            return (f"A second forward run raised {type(error).__name__}: {unknown}.",)
        return ()

    def _run(self, module: torch.nn.Module, inputs: Any) -> None:
        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave, always_call=True)
        made = register_module_parameter_registration_hook(self._note_birth)
        try:
            with self, torch.no_grad():
                if isinstance(inputs, dict):
                    module(**inputs)
                else:
                    module(*(inputs if isinstance(inputs, tuple | list) else (inputs,)))
        finally:
            for hook in (before, after, made):
                hook.remove()

    def _note_birth(self, module: torch.nn.Module, name: str, parameter: Any) -> None:
        if parameter is not None:
            place = next(iter(_lines()), "").rpartition(":")[0]
            self._born[id(parameter)] = (parameter, f"{type(module).__name__}.{name}", place)

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(result)):
            return result  # it asked for a shape or the like
        name = _name(func)
        taken = {id(leaf): leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        operation = f"{self._calls[-1] or 'forward'}/{name}" if self._calls else name
        for key, tensor in taken.items():
            if key in self._held and not self._round:
                around = (Around("loop over timesteps", name),) if name in _OVER_TIME else ()
                read = Read(operation, name, (*self._calls, *_lines()), around=around)
                self.reads.setdefault(key, []).append(read)
            elif key not in self._held and isinstance(tensor, torch.nn.Parameter) and _uses(name):
                if key not in self.loose:
                    line = next(iter(_lines()), "").rpartition(":")[0]
                    _, called, place = self._born.get(key, (tensor, operation, line))
                    self.loose[key] = Loose(tensor, called, place, set(), born=key in self._born)
                self.loose[key].rounds.add(self._round)
        return result

    def _enter(self, module: torch.nn.Module, _inputs: Any) -> None:
        self._calls.append(self._modules.get(id(module), type(module).__name__))

    def _leave(self, *_: Any) -> None:
        self._calls.pop()


_RUN = _Watch._run.__code__  # noqa: SLF001 (of this file)


def _name(func: Any) -> str:
    """A function's name; of a property, the property's."""
    return (resolve_name(func) or getattr(func, "__name__", "?")).removesuffix(".__get__").rpartition(".")[2]


def _frames() -> Iterator[Any]:
    """What is at work in a run, innermost first; a forked process has frames of its parent beyond that."""
    frame = sys._getframe(1)  # noqa: SLF001 (as the traceback module does)
    while frame is not None and frame.f_code is not _RUN:
        yield frame
        frame = frame.f_back


def _lines() -> list[str]:
    """The places of the user's code that are at work, innermost first; two calls on one line are two."""
    frames = [(frame.f_code.co_filename, frame.f_lineno, frame.f_lasti) for frame in _frames()]
    return [f"{file}:{line}:{call}" for file, line, call in frames if not file.startswith(_OURS)]


def _uses(function: str) -> bool:
    """Whether a function computes with a parameter, and does not set it up."""
    return not function.endswith("_") and not any(
        frame.f_code.co_name in {"reset_parameters", "__init__"} for frame in _frames()
    )

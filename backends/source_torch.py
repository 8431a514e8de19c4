"""A whole ``nn.Module``: its inputs found out, its layers observed through hooks, and made flat for converters.

Layers are modules of ``torch.nn`` and a user's own modules without further ones inside. Weights, inputs and layers'
outputs are shaken for the noise. Source: PyTorch documentation, ``torch.nn.Module.register_forward_hook``.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as trees

from lockstep.backends import model_torch, torch_lstm
from lockstep.backends.torch_program import Program
from lockstep.harness.adapters.routes.whole import InputSpec, LayerLSTM, Observed, Subject, rounding_error
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.arrays import Arrays
from lockstep.harness.weights.model_file import ModelError, ModelFile, StoredModel

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"

INPUT_HINT = "Give its inputs as a file of arrays, named as the arguments of its forward: --input x.npz"
_STATES = ("h", "c", "state", "hx", "cx", "hidden", "hc", "prev")


def open_model(value: Any, path: Path | None) -> WholeModule:
    """A module, or a pair of a module and its example inputs."""
    example = None
    if isinstance(value, tuple) and value and isinstance(value[0], torch.nn.Module):
        value, example = value[0], value[1] if len(value) > 1 else None
    if not isinstance(value, torch.nn.Module):
        raise ModelError(f"it gives a {type(value).__name__}, and not an nn.Module.")
    return WholeModule(value.eval(), example)


class WholeModule:
    """An ``nn.Module`` in evaluation mode."""

    form = "torch"

    def __init__(self, module: torch.nn.Module, example: Any = None) -> None:
        """Take a module and, where it comes with some, example inputs."""
        self.module = module
        self.what = f"{type(module).__name__} of torch {torch.__version__}"
        floats = [p.dtype for p in module.parameters() if p.is_floating_point()]
        self.dtype = str(floats[0] if floats else torch.float32).removeprefix("torch.")
        example = getattr(module, "example_input_array", None) if example is None else example
        self._example = _by_argument(module, example) if example is not None else None
        self._tree: trees.TreeSpec | None = None  # of the arguments by name, of which inputs are the leaves
        self._wide: torch.nn.Module | None = None
        self._shaped = module  # whose layers' sizes tell what it takes

    def specs(self, timesteps: int, batch: int) -> list[InputSpec]:
        """The inputs: those of an example that comes with it, or the first that it can be called with.

        Raises:
            ModelError: If it can be called with none that its layers let one guess.
        """
        if self._example is not None:
            return self._take(self._example)
        failures = []
        for arguments in self._candidates(timesteps, batch):
            try:
                with torch.no_grad():
                    self.module(**arguments)
            except Exception as error:  # noqa: BLE001 (the user's code, called with a guess)
                failures.append(first_line(error))
                continue
            return self._take(arguments)
        why = f" The last try said: {failures[-1]}." if failures else ""
        raise ModelError(f"what its inputs are cannot be seen from its layers.{why} {INPUT_HINT}.")

    def _candidates(self, timesteps: int, batch: int) -> Iterator[dict[str, Any]]:
        parameters = list(inspect.signature(self.module.forward).parameters.values())
        return candidates(parameters, self._shaped, timesteps, batch, getattr(torch, self.dtype))

    def _take(self, arguments: dict[str, Any]) -> list[InputSpec]:
        leaves, self._tree = trees.tree_flatten(arguments)
        names = _leaf_names(arguments)
        below = _embedding_sizes(self._shaped, arguments)
        return [
            InputSpec(
                name, tuple(leaf.shape), str(leaf.dtype).removeprefix("torch."),
                below.get(id(leaf)) if not leaf.is_floating_point() else None, role_of(name),
            )
            for name, leaf in zip(names, leaves, strict=True)
        ]  # fmt: skip

    def observe(self, inputs: Arrays, *, wide: bool = False, shaken: np.random.Generator | None = None) -> Observed:
        """Run it, with hooks on its layers."""
        module = self._module(wide=wide, shaken=shaken)
        tensors = [_tensor(array, torch.float64 if wide else None) for array in inputs.values()]
        if shaken is not None:
            for tensor in tensors:
                _shake(tensor, self.dtype, shaken)
        record = Record(module, None if shaken is None else lambda tensor: _shake(tensor, self.dtype, shaken))
        with torch.no_grad(), record.watching():
            result = module(**trees.tree_unflatten(tensors, self._tree_for(inputs)))
        arrays = {name: _array(tensor) for name, tensor in record.tensors.items()}
        arrays |= _outputs(result, arrays)
        return Observed(arrays, dict(record.parts), _lstms(record, arrays) if shaken is None else {})

    def _module(self, *, wide: bool, shaken: np.random.Generator | None) -> torch.nn.Module:
        if not wide:
            module = self.module
        else:
            self._wide = self._wide or copy.deepcopy(self.module).double()
            module = self._wide
        if shaken is None:
            return module
        module = copy.deepcopy(module)
        with torch.no_grad():
            for parameter in [*module.parameters(), *module.buffers()]:
                _shake(parameter, self.dtype, shaken)
        return module

    def _tree_for(self, inputs: Arrays) -> trees.TreeSpec:
        if self._tree is None or self._tree.num_leaves != len(inputs):
            # A file of arrays: each is one argument of forward.
            self._tree = trees.tree_structure(dict.fromkeys(inputs, 0))
        return self._tree

    def subject(self, inputs: Arrays, observed: Observed, *, layers: bool = False) -> Subject:
        """The module with arrays for inputs and outputs."""
        module = copy.deepcopy(self.module)
        record = Record(module) if layers else None
        names = [*observed.outputs, *(observed.parts if layers else ())]
        return Subject(Flat(module, self._tree_for(inputs), record).eval(), inputs, tuple(names))


class Record:
    """What the layers of a module give while it is called, in order."""

    def __init__(self, module: torch.nn.Module, change: Any = None) -> None:
        """Watch a module; ``change`` is done to what each layer gives."""
        self.layers = _layers(module)
        self.tensors: dict[str, torch.Tensor] = {}
        self.parts: dict[str, str] = {}
        self.lstms: dict[str, tuple[torch.nn.LSTM, tuple[Any, ...]]] = {}
        self._change = change

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hold hooks on the layers."""
        self.tensors, self.parts, self.lstms = {}, {}, {}
        hooks = [layer.register_forward_hook(self._hook(name), with_kwargs=True) for name, layer in self.layers.items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, name: str) -> Any:
        def hook(layer: torch.nn.Module, arguments: Any, keywords: Any, result: Any) -> Any:
            leaves, tree = trees.tree_flatten(result)
            if self._change is not None:
                leaves = [self._change(leaf.clone()) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
            self._keep(name, layer, leaves)
            if isinstance(layer, torch.nn.LSTM):
                self.lstms.setdefault(name, (layer, (*arguments, *keywords.values())))
            return trees.tree_unflatten(leaves, tree)

        return hook

    def _keep(self, name: str, layer: torch.nn.Module, leaves: Sequence[Any]) -> None:
        kinds = ("", ".h_n", ".c_n") if isinstance(layer, torch.nn.LSTM) else ("", ".1", ".2", ".3")
        call, k = name, 1
        while call in self.tensors:  # a layer that is called again
            k += 1
            call = f"{name}#{k}"
        for kind, leaf in zip(kinds, leaves, strict=False):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                self.tensors[call + kind] = leaf
                self.parts[call + kind] = f"{call} ({type(layer).__name__})"


class Flat(torch.nn.Module):
    """A module whose inputs and outputs are tensors in a row, perhaps followed by what its layers gave."""

    def __init__(self, module: torch.nn.Module, tree: trees.TreeSpec, record: Record | None = None) -> None:
        """Take a module, how its arguments are nested, and what records its layers."""
        super().__init__()
        self.module = module
        self._arguments = tree
        # In a list: torch takes no notice of what it cannot trace.
        self._records = [record] if record is not None else []

    def forward(self, *leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs, as a tuple."""
        arguments = trees.tree_unflatten(list(leaves), self._arguments)
        if not self._records:
            return _tensors_of(self.module(**arguments))
        record = self._records[0]
        with record.watching():
            outputs = _tensors_of(self.module(**arguments))
        return (*outputs, *record.tensors.values())


def _tensors_of(result: Any) -> tuple[torch.Tensor, ...]:
    return tuple(leaf for leaf in trees.tree_leaves(result) if isinstance(leaf, torch.Tensor))


def _outputs(result: Any, taken: Arrays) -> Arrays:
    """The outputs by name: those of a dictionary by its keys, others by their number; no layer's name."""
    tensors = _tensors_of(result)
    if isinstance(result, dict) and len(result) == len(tensors):
        names = [str(key) for key in result]
    else:
        names = ["output"] if len(tensors) == 1 else [f"output.{k}" for k in range(len(tensors))]
    names = [f"{name} of all" if name in taken else name for name in names]
    return {name: _array(tensor) for name, tensor in zip(names, tensors, strict=True)}


def _layers(module: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The modules that compute something themselves, by name."""
    if isinstance(module, Program):
        return module.layers()
    if isinstance(module, torch.jit.ScriptModule):
        return {}  # hooks on its parts are not called
    layers: dict[str, torch.nn.Module] = {}

    def walk(name: str, part: torch.nn.Module) -> None:
        library = type(part).__module__.startswith("torch.nn.modules")
        containers = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
        children = list(part.named_children())
        if isinstance(part, containers) or (children and not library):
            for child, inner in children:
                walk(f"{name}.{child}" if name else child, inner)
        elif not isinstance(part, torch.nn.Identity):
            layers[name or type(part).__name__] = part

    walk("", module)
    return layers


def _lstms(record: Record, arrays: Arrays) -> dict[str, LayerLSTM]:
    found = {}
    for name, (lstm, arguments) in record.lstms.items():
        x, *states = arguments
        if not isinstance(x, torch.Tensor) or x.ndim != 3 or name not in arrays:  # noqa: PLR2004 (T, B, I)
            continue  # a packed sequence
        inputs = {"x": _array(x)}
        if states and states[0] is not None:
            inputs |= {"h0": _array(states[0][0]), "c0": _array(states[0][1])}
        found[name] = LayerLSTM(_stored(lstm), lstm.batch_first, inputs)
    return found


def _stored(lstm: torch.nn.LSTM) -> StoredModel:
    stored = model_torch.read(ModelFile("it", "python", ""), copy.deepcopy(lstm).float())
    return StoredModel(stored.lstm, stored.weights, stored.what, gates=stored.gates, halves=stored.halves)


def candidates(
    parameters: Sequence[inspect.Parameter], module: torch.nn.Module, T: int, B: int, dtype: torch.dtype
) -> Iterator[dict[str, Any]]:
    """Arguments that a module may take, by its parameters: those that its first layers ask for before others."""
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    named = [p for p in parameters if p.kind not in variadic]
    if not named:
        return
    first, *others = named
    for x in _data(module, T, B, dtype):
        for with_optional in (True, False):
            wanted = [p for p in others if p.default is p.empty or (with_optional and role_of(p.name) == "state")]
            for packed in (True, False):  # a state is a pair, or an array
                arguments = {p.name: _further(p.name, x, module, T, B, packed=packed) for p in wanted}
                yield {first.name: x, **arguments}
                if all(role_of(p.name) != "state" for p in wanted):
                    break


def _data(module: torch.nn.Module, T: int, B: int, dtype: torch.dtype) -> Iterator[torch.Tensor]:
    recurrent = [m for m in module.modules() if isinstance(m, torch.nn.RNNBase)]
    batch_first = recurrent[0].batch_first if recurrent else True
    lead = (B, T) if batch_first else (T, B)
    for layer in _layers(module).values():
        if isinstance(layer, torch.nn.Embedding):
            yield torch.zeros(lead, dtype=torch.int64)
            yield torch.zeros(lead[::-1], dtype=torch.int64)
        width = next(
            (getattr(layer, key) for key in ("input_size", "in_features", "embed_dim") if hasattr(layer, key)), None
        )
        if width is None and isinstance(layer, torch.nn.LayerNorm):
            width = layer.normalized_shape[-1]
        if width is not None:
            own = getattr(layer, "batch_first", batch_first)
            yield torch.zeros((B, T, width) if own else (T, B, width), dtype=dtype)
            yield torch.zeros((B, width), dtype=dtype)
        channels = getattr(layer, "in_channels", getattr(layer, "num_features", None))
        if channels is not None:
            yield torch.zeros((B, channels, T), dtype=dtype)
            yield torch.zeros((B, T, channels), dtype=dtype)  # a module that turns them itself
            yield torch.zeros((B, T, channels, 8), dtype=dtype)
            yield torch.zeros((B, channels, T, 8), dtype=dtype)


def _further(name: str, x: torch.Tensor, module: torch.nn.Module, T: int, B: int, *, packed: bool) -> Any:
    if role_of(name) == "lengths":
        return torch.full((B,), T, dtype=torch.int64)
    recurrent = next((m for m in module.modules() if isinstance(m, torch.nn.RNNBase)), None)
    if role_of(name) == "state" and recurrent is not None:
        rows = recurrent.num_layers * (2 if recurrent.bidirectional else 1)
        dtype = next(recurrent.parameters()).dtype
        h = torch.zeros(rows, B, recurrent.proj_size or recurrent.hidden_size, dtype=dtype)
        c = torch.zeros(rows, B, recurrent.hidden_size, dtype=dtype)
        single = "c" if name.strip("_0").lower() in {"c", "cx", "c_n", "cell"} else "h"
        return (h, c) if packed else c if single == "c" else h
    return torch.zeros_like(x)


def role_of(name: str) -> Any:
    """What an argument is by its name."""
    stem = name.partition(".")[0].lower().strip("_0")
    if "len" in stem:
        return "lengths"
    return "state" if stem in _STATES or stem.startswith(("hidden", "state")) or stem.endswith("state") else "data"


def _by_argument(module: torch.nn.Module, example: Any) -> dict[str, Any]:
    if isinstance(example, dict):
        return example
    values = example if isinstance(example, (tuple, list)) else (example,)
    return dict(zip(inspect.signature(module.forward).parameters, values, strict=False))


def _leaf_names(arguments: dict[str, Any]) -> list[str]:
    paths, _ = trees.tree_flatten_with_path(arguments)
    return [".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path) for path, _ in paths]


def _embedding_sizes(module: torch.nn.Module, arguments: dict[str, Any]) -> dict[int, int]:
    """How large the integers of an input may be, by its identity: where it goes into embeddings, by these."""
    sizes = [layer.num_embeddings for layer in module.modules() if isinstance(layer, torch.nn.Embedding)]
    smallest = min(sizes, default=2)
    return {id(leaf): smallest for leaf in trees.tree_leaves(arguments)}


def _tensor(array: Any, dtype: torch.dtype | None) -> torch.Tensor:
    tensor = torch_lstm.tensor_of(np.ascontiguousarray(array)).clone()
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _array(tensor: torch.Tensor) -> Any:
    return torch_lstm.array_of(tensor.detach().cpu().contiguous()).copy()


def _shake(tensor: torch.Tensor, dtype: str, generator: np.random.Generator) -> torch.Tensor:
    if tensor.is_floating_point():
        error = rounding_error(tensor.detach().to(torch.float64).numpy(), dtype, generator)
        tensor.add_(torch.from_numpy(np.asarray(error)).to(tensor.dtype))
    return tensor

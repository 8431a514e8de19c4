"""What a whole model is asked, and what it gives: the contract between sources, routes and the harness.

A *source* is a module that is found by an entry point of the group ``lockstep.sources``, by the import name of the
framework whose models it opens (and ``onnx`` for files). It has one function:

    open_model(value, path) -> WholeModel    of what a function returned, or of a file

A *route* is a converter and a runtime, modules that are found by entry points of the group ``lockstep.routes``. One
module may be both. Beside the constants of backends (``harness.adapters.backend``) these stand in it as literals:

    SOURCES = ("torch",)    whose models it converts
    FORMAT = "onnx"         what it makes of them; "" where it makes no file
    RUNS = ("onnx",)        the formats that it runs
    ELSEWHERE = "onnx2tf"   a program that has to be in an environment of its own (``elsewhere``)

    convert(subject, folder) -> Path | RunArrays    of a ``Subject``: a file or folder, or what runs it
    load(path, subject) -> RunArrays                a function: arrays by inputs' names -> arrays by outputs' names

What cannot be converted is told by any exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from msgspec import Struct

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.weights.model_file import StoredModel

RunArrays = Callable[[Arrays], Arrays]

FLOATS_NARROW = frozenset({"float16", "bfloat16", "float32"})


class InputSpec(Struct, frozen=True):
    """One input of a whole model, of a size for which it is run."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    below: int | None = None  # integers: all are below it
    role: Literal["data", "state", "lengths"] = "data"


class LayerLSTM(Struct, frozen=True):
    """An LSTM within a whole model: its weights, and how its arrays lie."""

    model: StoredModel
    batch_major: bool  # whether its x and h are (B, T, ·)
    inputs: Arrays  # x, and h0 and c0 where it was handed some, as they were observed
    directions: int | None = None  # the axis of its h that they have, where they do not lie side by side


@dataclass(frozen=True)
class Observed:
    """What a whole model gave, in order of computation: its layers' outputs, then its own."""

    tensors: Arrays
    parts: dict[str, str]  # by tensor the layer that gave it, "encoder (LSTM)"; its own outputs are not in it
    lstms: dict[str, LayerLSTM] = field(default_factory=dict)  # by the tensor that holds h
    without: dict[str, Arrays] = field(default_factory=dict)  # by a feature what it gives that leaves this out

    @property
    def outputs(self) -> list[str]:
        """The names of the model's own outputs."""
        return [name for name in self.tensors if name not in self.parts]


class Subject(Struct, frozen=True):
    """A model as a converter gets it: flat, so that every input and output is one array with a name."""

    value: Any  # the framework's own: a module, a model, a file's path
    inputs: Arrays  # of the sizes for which it is converted
    outputs: tuple[str, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of its inputs, in their order."""
        return tuple(self.inputs)

    def named(self, arrays: Sequence[Array]) -> Arrays:
        """Outputs by name, from their order."""
        return dict(zip(self.outputs, map(np.asarray, arrays), strict=True))


class WholeModel(Protocol):
    """A model that a source has opened."""

    what: str  # what it is, and of which framework's version
    dtype: str  # in which it computes
    form: str  # the format of routes that it is in already, or the framework whose converters take it

    def specs(self, timesteps: int, batch: int) -> list[InputSpec]:
        """Its inputs at such a size; a ModelError if they cannot be found out."""
        ...

    def observe(self, inputs: Arrays, *, wide: bool = False, shaken: np.random.Generator | None = None) -> Observed:
        """Run it in evaluation mode.

        ``wide``: in float64. ``shaken``: every weight, input and layer's output is off by a rounding error of the
        model's own dtype, drawn by it.
        """
        ...

    def subject(self, inputs: Arrays, observed: Observed, *, layers: bool = False) -> Subject:
        """What converters take; ``layers``: with the outputs of its layers as further outputs."""
        ...


def rounding_error(array: Array, dtype: str, generator: np.random.Generator) -> Array:
    """The rounding errors that an array of a precision has at random, uniform within half a unit of the last place."""
    eps = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float64": 2.0**-53}.get(dtype, 2.0**-24)
    return array * (eps * generator.uniform(-1, 1, array.shape))

"""What a target is, a port or an object with weights, and how an object of given sizes is made of it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockstep.harness.adapters.user_code import UserCodeError, text_of
from lockstep.harness.ports.objects.holders import Holder, family_of, family_of_kind
from lockstep.harness.ports.objects.mapping import Sizes
from lockstep.harness.ports.signature import is_written_as_port, parameters_of

# Names of sizes as people write them, in small letters and without underscores.
_NAMES = {
    "input_size": "inputsize insize nin ninput ninputs inputdim infeatures indim numinputs inputsz inputwidth nx dimin "
    "inputfeatures i din insz inchannels inputchannels numfeatures nfeatures features featuresize xdim dx d "
    "embeddim embeddingdim embsize dinput",
    "hidden_size": "hiddensize hiddendim nhidden units numunits nunits hidden hiddensz outfeatures hiddenfeatures nout "
    "numhidden nh hiddenunits h dimout statesize outputsize outdim outputdim dhidden hiddenwidth hdim dh dimhidden "
    "size cellsize hiddenchannels nhid dout",
    "num_layers": "numlayers nlayers layers nlayer depth",
    "bidirectional": "bidirectional bidirection bidir",
}
_MEANINGS = {name: meaning for meaning, names in _NAMES.items() for name in names.split()}
_SEEDS = ("rngs", "key")  # of Flax and Equinox
_AS_ASKED = {"return_sequences": True, "return_state": True}
PROBE = Sizes(5, 3)  # of the object that is asked: with T = 7 and B = 2 all are told from each other


@dataclass(frozen=True)
class Maker:
    """Makes objects of given sizes, or gives the one that there is."""

    target: Any
    name: str
    init: str | None
    names: Mapping[str, Any]  # of the user's file, which an init may use
    part: str = ""  # of the object, which alone is meant

    def make(self, sizes: Sizes) -> Any:
        """An object of these sizes, or of its own, where it does not ask for any.

        Raises:
            UserCodeError: If that needs what is not known, or fails.
        """
        thing = self.target if self.made else self._made(sizes)
        for step in self.part.split(".") if self.part else ():
            thing = thing[int(step)] if step.isdigit() else getattr(thing, step)
        return thing

    def _made(self, sizes: Sizes) -> Any:
        given = {**sizes._asdict(), "num_layers": 1, "bidirectional": False, "proj_size": 0, "bias": True}
        try:
            if self.init is not None:
                names = {**self.names, **given, self.name: self.target}
                thing = eval(f"{self.name}({self.init})", names)  # noqa: S307 (the user's own words)
            else:
                thing = self._called(given)
            return _built(thing, sizes)
        except UserCodeError:
            raise
        except (Exception, SystemExit) as error:
            how = f" with --init {self.init!r}" if self.init is not None else ""
            text = f"{type(error).__name__}: {text_of(error)}"
            raise UserCodeError(f"making {self.name}{how} raised {text}", "wrong") from error

    @property
    def made(self) -> bool:
        """Whether the target is an object already."""
        return not inspect.isclass(self.target) and not inspect.isroutine(self.target)

    def _called(self, given: Mapping[str, Any]) -> Any:
        parameters = _parameters(self.target)
        if parameters and all(p.kind in _VARIABLE for p in parameters.values()):  # as of torch.nn.LSTM
            return self.target(given["input_size"], given["hidden_size"])
        needed = {name for name, p in parameters.items() if p.default is p.empty and p.kind not in _VARIABLE}
        unmet = [name for name in parameters if name in needed and not _meaning(name) and name not in _SEEDS]
        if unmet:
            raise UserCodeError(
                f"{self.name} needs {', '.join(unmet)}, of which nothing is known: write what it is made with, as in "
                f'--init "input_size, hidden_size, {unmet[0]}=..."',
                "wrong",
            )
        sized = {name: given[_meaning(name)] for name in parameters if _meaning(name) in {"input_size", "hidden_size"}}
        sized |= {name: given[_meaning(name)] for name in needed if _meaning(name)}
        seeds = {name: _seed(name) for name in needed & set(_SEEDS)}
        layers = inspect.isclass(self.target) and family_of_kind(self.target) in {"keras", "tensorflow"}
        as_asked = _AS_ASKED if layers and _AS_ASKED.keys() <= parameters.keys() else {}
        return self.target(**sized, **seeds, **as_asked)


_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    """What making an object takes; a metaclass, as Flax has one, may hide it."""
    parameters = parameters_of(target) or {}
    if inspect.isclass(target) and parameters and all(p.kind in _VARIABLE for p in parameters.values()):
        bound = list((parameters_of(target.__init__) or {}).items())[1:]
        return dict(bound)
    return parameters


def _meaning(name: str) -> str:
    """Which size a parameter is by its name; none if it is empty."""
    return _MEANINGS.get(name.replace("_", "").lower(), "")


def _seed(name: str) -> Any:
    # By name: the harness itself imports no framework.
    if name == "rngs":
        return importlib.import_module("flax.nnx").Rngs(0)
    return importlib.import_module("jax").random.PRNGKey(0)


def _built(thing: Any, sizes: Sizes) -> Any:
    """A Keras layer with its variables, which it has from its first input on."""
    if family_of(thing) in {"keras", "tensorflow"} and not getattr(thing, "weights", True):
        import numpy as np

        try:
            thing(np.zeros((2, 7, sizes.input_size), "float32"))
        except (TypeError, ValueError) as error:  # as a cell has it, which takes one timestep and its states
            try:
                thing(np.zeros((2, sizes.input_size), "float32"), [np.zeros((2, sizes.hidden_size), "float32")] * 2)
            except (TypeError, ValueError):
                raise error from None  # a sequence was the likelier guess
    return thing


def is_object(target: Any, init: str | None = None) -> bool:
    """Whether a target is, or makes, an object with weights of its own, and is no port."""
    if init is not None:
        return True
    parameters = parameters_of(target)
    if is_written_as_port(parameters):
        return False
    if inspect.isclass(target):
        return True
    if not inspect.isroutine(target) and not hasattr(target, "__wrapped__"):
        return bool(Holder(target).leaves)
    if not parameters:  # "port" is what ports are called: one without parameters is told what it lacks
        return parameters is not None and getattr(target, "__name__", "port") != "port"
    needed = [name for name, p in parameters.items() if p.default is p.empty and p.kind not in _VARIABLE]
    return any(map(_meaning, parameters)) and all(_meaning(name) or name in _SEEDS for name in needed)

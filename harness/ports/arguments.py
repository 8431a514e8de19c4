"""What a port is given: the arguments of one call, fresh, writable, of the kind that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.problem import Problem, Weights
from lockstep.harness.errors import ConvertError, LockstepError, unknown
from lockstep.harness.ports.framework_arrays import ARRAYS, differs, maker
from lockstep.harness.weights.arranged import Arranged, arranged
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

if TYPE_CHECKING:
    from lockstep.harness.ports.objects.rule import Rule


@dataclass(frozen=True)
class Form:
    """How a port gets its arguments: the dialect of its weights, and whose arrays they are."""

    layout: str = "canonical"
    arrays: str = "numpy"
    init: str | None = None  # of an object: what it is made with
    rule: Rule | None = None  # of an object: what is said of its arrays

    def __post_init__(self) -> None:
        if self.layout not in DIALECTS:
            raise LockstepError(unknown("layout", self.layout, DIALECTS))
        if self.arrays not in ARRAYS:
            raise LockstepError(unknown("kind of arrays", self.arrays, ARRAYS))


@dataclass(frozen=True)
class _Held:
    """A dict or list of weights as it was handed over: its place, what was in it, and of which arrays."""

    place: str
    given: dict[str, Any] | list[Any]
    values: dict[Any, Any]
    originals: dict[Any, Array]


class Given:
    """The arguments of one call, and whether they were changed."""

    def __init__(self, problem: AnyProblem, form: Form) -> None:
        """Make arguments of a problem."""
        # Arrays of JAX and TensorFlow cannot be changed in place.
        self._writable = form.arrays in {"numpy", "torch"}
        case, make = problem.case, maker(form.arrays)
        if isinstance(problem, DecoderProblem):
            names, stored = ("enc", "h0", "c0", "y0", "lengths"), decoder_weights_in(problem, form.layout)
        else:
            names = ("x", "h0", "c0", "dh", "dc", "lengths", "resets")
            stored = network_weights_in(problem, form.layout)
        self._originals: Arrays = {name: getattr(problem, name) for name in names if getattr(problem, name) is not None}
        self.values: dict[str, Any] = {name: make(array) for name, array in self._originals.items()}
        self._held: list[_Held] = []
        self.values["weights"] = self._handed(stored, make, case.lstm.cell_clip, "")
        if isinstance(problem, DecoderProblem):
            self.values["steps"] = case.run.timesteps

    def _handed(self, stored: Any, make: Callable[[Array], Any], clip: float | None, place: str) -> Any:
        """Weights as a port gets them, in containers of its own: compared with ours they show what it changed."""
        if isinstance(stored, list) and not isinstance(stored[0], np.ndarray):
            return [self._handed(part, make, clip, f"{place}[{k}]") for k, part in enumerate(stored)]
        originals = _entries(stored)
        values = {name: make(array) for name, array in originals.items()}
        if isinstance(stored, dict):
            values |= {} if clip is None else {"clip": clip}
        elif clip is not None:
            raise UserCodeError("a list of arrays has no place for the bound of a cell clip", "unsupported")
        given = dict(values) if isinstance(stored, dict) else list(values.values())
        self._held.append(_Held(place, given, values, originals))
        return given

    def changed(self) -> list[str]:
        """Name the arguments that are not what they were."""
        changed = [name for name in self._originals if self._differs(self.values[name], self._originals[name])]
        for held in self._held:
            given = _entries(held.given)
            names = [
                str(name)
                for name, value in held.values.items()
                if given.get(name) is not value  # another array in its place
                or (name in held.originals and self._differs(value, held.originals[name]))
            ]
            names += [str(name) for name in given if name not in held.values]
            changed += [f"weights{held.place} ({', '.join(names)})"] if names else []
        return changed

    def _differs(self, handed: Any, original: Any) -> bool:
        return self._writable and differs(handed, original)


def _entries(container: dict[str, Any] | list[Any]) -> dict[Any, Any]:
    return dict(container) if isinstance(container, dict) else dict(enumerate(container))


def network_weights_in(problem: Problem, layout: str) -> Arranged:
    """All weights of a network as a layout has them."""
    lanes = [[weights_in(weights, layout) for weights in layer] for layer in problem.weights]
    return arranged(lanes, DIALECTS[layout], problem.case.lstm)


def decoder_weights_in(problem: DecoderProblem, layout: str) -> Arrays:
    """All weights in one dict, the cell's as a layout has them."""
    w = problem.weights
    others = {name: array for name, array in w.arrays().items() if name not in {"W", "R", "b"}}
    return weights_in(Weights(w.W, w.R, w.b), layout) | others


def weights_in(weights: Weights, layout: str) -> Arrays:
    """The weights of a lane as a layout has them."""
    try:
        return store(weights.arrays(), DIALECTS[layout], split_bias="uneven")
    except ConvertError as error:
        raise UserCodeError(str(error).rstrip("."), "unsupported") from error

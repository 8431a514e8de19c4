"""What a port is given: the arguments of one call, fresh, writable, of the kind that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem
from lockstep.harness.cases.problem import Weights
from lockstep.harness.errors import ConvertError, LockstepError, unknown
from lockstep.harness.ports.framework_arrays import ARRAYS, differs, maker
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store


@dataclass(frozen=True)
class Form:
    """How a port gets its arguments: the dialect of its weights, and whose arrays they are."""

    layout: str = "canonical"
    arrays: str = "numpy"

    def __post_init__(self) -> None:
        if self.layout not in DIALECTS:
            raise LockstepError(unknown("layout", self.layout, DIALECTS))
        if self.arrays not in ARRAYS:
            raise LockstepError(unknown("kind of arrays", self.arrays, ARRAYS))


@dataclass(frozen=True)
class _Lane:
    """The weights of one lane as they were handed over: its place, the dict, what was in it, and of which arrays."""

    place: str
    given: dict[str, Any]
    values: dict[str, Any]
    originals: Arrays


class Given:
    """The arguments of one call, and whether they were changed."""

    def __init__(self, problem: AnyProblem, form: Form) -> None:
        """Make arguments of a problem."""
        # Arrays of JAX and TensorFlow cannot be changed in place.
        self._writable = form.arrays in {"numpy", "torch"}
        case, make = problem.case, maker(form.arrays)
        if isinstance(problem, DecoderProblem):
            names, stored = ("enc", "h0", "c0", "y0", "lengths"), [[decoder_weights_in(problem, form.layout)]]
        else:
            names = ("x", "h0", "c0", "dh", "dc", "lengths")
            stored = [[weights_in(weights, case, form.layout) for weights in layer] for layer in problem.weights]
        self._originals: Arrays = {name: getattr(problem, name) for name in names if getattr(problem, name) is not None}
        self.values: dict[str, Any] = {name: make(array) for name, array in self._originals.items()}
        lanes: list[list[_Lane]] = []
        for k, layer in enumerate(stored):
            lanes.append([])
            for d, originals in enumerate(layer):
                values: dict[str, Any] = {name: make(array) for name, array in originals.items()}
                values |= {} if case.lstm.cell_clip is None else {"clip": case.lstm.cell_clip}
                # The port gets a dict of its own: compared with ours it shows what was put into it, or taken out.
                place = "" if case.lstm.single else f"[{k}][{d}]"
                lanes[-1].append(_Lane(place, dict(values), values, originals))
        self._lanes = [lane for layer in lanes for lane in layer]
        dicts = [[lane.given for lane in layer] for layer in lanes]
        self.values["weights"] = dicts[0][0] if case.lstm.single else dicts
        if isinstance(problem, DecoderProblem):
            self.values["steps"] = case.run.timesteps

    def changed(self) -> list[str]:
        """Name the arguments that are not what they were."""
        changed = [name for name in self._originals if self._differs(self.values[name], self._originals[name])]
        for lane in self._lanes:
            names = [
                name
                for name, value in lane.values.items()
                if lane.given.get(name) is not value  # another array in its place
                or (name in lane.originals and self._differs(value, lane.originals[name]))
            ]
            names += [str(name) for name in lane.given if name not in lane.values]
            changed += [f"weights{lane.place} ({', '.join(names)})"] if names else []
        return changed

    def _differs(self, handed: Any, original: Any) -> bool:
        return self._writable and differs(handed, original)


def decoder_weights_in(problem: DecoderProblem, layout: str) -> Arrays:
    """All weights in one dict, the cell's as a layout has them."""
    w = problem.weights
    others = {name: array for name, array in w.arrays().items() if name not in {"W", "R", "b"}}
    return weights_in(Weights(w.W, w.R, w.b), problem.case, layout) | others


def weights_in(weights: Weights, case: Case, layout: str) -> Arrays:
    """The weights of a lane as a layout has them."""
    if case.run.gradients and layout != "canonical":
        raise UserCodeError(
            f"gradients are compared in the canonical layout, and weights are asked for as {layout} stores them: "
            "leave the layout out",
            "unsupported",
        )
    try:
        return store(weights.arrays(), DIALECTS[layout], split_bias="uneven")
    except ConvertError as error:
        raise UserCodeError(str(error).rstrip("."), "unsupported") from error

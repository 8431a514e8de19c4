"""One run of a dump: what it may be as a problem and a trace, and what was taken for what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lockstep.harness.adapters.trace import Trace, check_trace
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.case import Case, Run, Tolerance, Values
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import lanes
from lockstep.harness.comparison.precision import computed_in_float32
from lockstep.harness.errors import DumpError, TraceError
from lockstep.harness.jobs.dumps.axes import DumpAxes, axes_of, expected_shapes, past_the_end, placed
from lockstep.harness.jobs.dumps.stored_network import StoredNetwork
from lockstep.harness.weights.model_file import with_own_weights

_INPUTS = ("x", "lengths", "h0", "c0")
OUTPUTS = ("h_seq", "c_seq", "i", "f", "g", "o", "h_n", "c_n")
_COTANGENTS = ("dh", "dc")
_GRADIENTS = ("dx", "dh0", "dc0")
_ONE_STEP = frozenset({"torch_cell", "equinox"})  # dialects of cells, which take one timestep a call
_GRADIENT = re.compile(r"(?:d|d_|grads?[_./])(?P<of>.+)|(?P<by>.+?)[_./]grads?")


@dataclass(frozen=True)
class DumpedRun:
    """The arrays of a run by what they are; its network may be read in several ways."""

    name: str
    path: Path
    arrays: Arrays  # by role, of one lane with its suffix behind; what belongs to the weights is apart
    names: Mapping[str, str]  # in the file, by role
    gradient_names: Mapping[str, str]  # in the file, of the gradients of weights, by the names of these
    weight_gradients: Arrays  # by the names of the weights
    networks: tuple[StoredNetwork, ...]
    unread: tuple[str, ...] = ()
    lent: tuple[str, ...] = ()  # what was taken from another dump, where time is first: "weights", and roles
    lender: str = ""  # its name
    unit: float = 0.0  # of the last decimal in which outputs are written, where these are few; 0 where they are exact

    def interpretations(self, network: StoredNetwork) -> list[Interpretation]:
        """What it may be with a network, where most of its arrays fit; the likeliest first.

        Raises:
            DumpError: If its inputs fit in no way, or none of its outputs does.
        """
        dialect = network.layers.dialect
        ways = axes_of(self.arrays["x"], batch_major=dialect.batch_major, one_step=dialect.name in _ONE_STEP)
        ways = [way for way in ways if way.order != "batch first" or "x" not in self.lent]
        if not ways:
            shape = self.arrays["x"].shape
            raise DumpError(f"{self.names['x']} has shape {shape}: x is (T, B, I) or (B, T, I), and none of them is 0.")
        fitted = [_Fitted.of(self, network, way) for way in ways]
        possible = [way for way in fitted if not way.misfit_inputs]
        if not possible:
            raise DumpError(f"{fitted[0].misfit_inputs[0]}.")
        fewest = min(len(way.misfits) for way in possible)
        return [self._made(way) for way in possible if len(way.misfits) == fewest]

    def _made(self, fitted: _Fitted) -> Interpretation:
        """The problem and the trace that arrays are."""
        outputs, gradients, notes = self._returned(fitted)
        dtype, note = _dtype(outputs, self.names)
        notes += [note] if note else []
        if self.unit:
            notes.append(f"the outputs are written to {self.unit:g}: held to that. Write nine digits, %.9g")
        traced, rounded_outputs = _cast(outputs | gradients, dtype)
        given, rounded_inputs = _cast(self._inputs(fitted, backward=bool(gradients)), dtype)
        case, model = self._case(fitted, dtype, backward=bool(gradients)), fitted.network.model
        weights_rounded = _cast(model.arrays(), dtype)[1][:1] and [f"weights {_rounded(model.dtype, dtype)}"]
        problem = Problem(
            case,
            model.weights,
            lengths=fitted.arrays.get("lengths"),
            halves=tuple(model.halves.values()) or None,
            **given,
        )
        trace = Trace().replaced(**traced)
        try:
            check_trace(trace, case)
        except TraceError as error:
            raise DumpError(f"{error}.") from error
        notes += [*weights_rounded, *rounded_inputs, *rounded_outputs, *_not_finite(traced)]
        return Interpretation(self, fitted.network, fitted.axes, with_own_weights(problem, model), trace, tuple(notes))

    def _returned(self, fitted: _Fitted) -> tuple[Arrays, Arrays, list[str]]:
        """The outputs, the gradients that can be compared, and notes on what is not."""
        arrays, notes = fitted.arrays, [f"{misfit}: not compared" for misfit in fitted.misfits]
        outputs = {name: arrays[name] for name in arrays if name not in {*_INPUTS, *_COTANGENTS, *_GRADIENTS}}
        if not outputs:
            found = "; ".join(fitted.misfits) or "no outputs: dump what the LSTM returned, as out, hn and cn"
            raise DumpError(f"{found}.")
        if "lengths" in arrays and "h" in outputs:
            after_end = fitted.network.layers.dialect.after_end
            outputs["h"], note = past_the_end(outputs["h"], arrays["lengths"], after_end)
            notes += [note] if note else []
        gradients = {name: arrays[name] for name in _GRADIENTS if name in arrays}
        gradients |= fitted.network.gradients(self.weight_gradients)
        if gradients and not {*_COTANGENTS} & arrays.keys():
            names = [*self.gradient_names.values(), *(self.names[name] for name in _GRADIENTS if name in gradients)]
            notes.append(
                f"gradients are not compared ({', '.join(names)}): they need what they were computed from, dh, the "
                "gradient of the loss by the output"
            )
            gradients = {}
        return outputs, gradients, notes

    def _inputs(self, fitted: _Fitted, *, backward: bool) -> Arrays:
        """What a problem has beside its weights; zeros for what is missing."""
        lstm, axes, x = fitted.network.model.lstm, fitted.axes, fitted.arrays["x"]
        lead = (axes.batch,) if lstm.single else (len(lanes(lstm)), axes.batch)
        shapes = {"h0": (*lead, lstm.output_size), "c0": (*lead, lstm.hidden_size)}
        if backward:
            width = len(lstm.directions) * lstm.output_size
            shapes |= {"dh": (axes.timesteps, axes.batch, width), "dc": shapes["c0"]}
        there = fitted.arrays
        return {"x": x} | {
            name: there[name] if name in there else np.zeros(shape, np.float32) for name, shape in shapes.items()
        }

    def _case(self, fitted: _Fitted, dtype: np.dtype, *, backward: bool) -> Case:
        file, arrays = Values(file=str(self.path)), fitted.arrays
        lengths = arrays.get("lengths")
        try:
            run = Run(
                timesteps=fitted.axes.timesteps, batch=fitted.axes.batch, dtype=dtype.name,  # type: ignore[arg-type]
                weights=file, inputs=file, initial_state=file if {"h0", "c0"} & arrays.keys() else "zeros",
                lengths=None if lengths is None else tuple(int(n) for n in lengths), gradients=backward,
                cotangents=file if backward else None,
            )  # fmt: skip
            # What is cut off a number when it is written is no mistake of its.
            tolerance = Tolerance(rtol=0.0, atol=self.unit) if self.unit else None
            return Case(
                tolerance=tolerance,
                lstm=fitted.network.model.lstm,
                run=run,
                name=self.name,
                description=f"Arrays of {self.path.name}.",
            )
        except ValueError as error:
            raise DumpError(f"{error}.") from error


@dataclass(frozen=True)
class Interpretation:
    """What a run is in one way to read it."""

    run: DumpedRun
    network: StoredNetwork
    axes: DumpAxes
    problem: Problem
    trace: Trace
    notes: tuple[str, ...]  # what a user should know of it


@dataclass(frozen=True)
class _Fitted:
    """The arrays of a run, as they fit when x lies in one way."""

    network: StoredNetwork
    axes: DumpAxes
    arrays: Arrays = field(default_factory=dict)  # by name of a problem or a trace
    misfits: list[str] = field(default_factory=list)  # outputs that do not fit, in words
    misfit_inputs: list[str] = field(default_factory=list)  # likewise

    @classmethod
    def of(cls, run: DumpedRun, network: StoredNetwork, axes: DumpAxes) -> _Fitted:
        lstm, fitted = network.model.lstm, cls(network, axes)
        for role, array in run.arrays.items():
            suffix = "".join(re.findall(r"_l\d+(?:_reverse)?$", role))
            kind = role.removesuffix(suffix) if suffix else role
            parts = _of_lane(kind, suffix, array, axes, network) if suffix else placed(kind, array, axes, lstm)
            if parts is not None:
                fitted.arrays.update({name: part for name, part in parts.items() if name not in fitted.arrays})
                continue
            name, expected = run.names[role], expected_shapes(kind, axes, lstm)
            taken = f", taken for {role}," if name != role else ""
            misfits = fitted.misfit_inputs if kind in {*_INPUTS, *_COTANGENTS} else fitted.misfits
            misfits.append(f"{name}{taken} has shape {array.shape}, expected {expected}")
        for name in ("h0", "c0"):
            _stack_lanes(fitted, name)
        return fitted


def _of_lane(kind: str, suffix: str, array: Array, axes: DumpAxes, network: StoredNetwork) -> Arrays | None:
    """An array of one layer and direction, which is one of a network of that lane alone."""
    lstm = network.model.lstm
    if suffix not in [lane.suffix for lane in lanes(lstm)]:
        return None
    alone = type(lstm)(input_size=1, hidden_size=lstm.hidden_size, proj_size=lstm.proj_size)
    parts = placed(kind, array, axes, alone)
    return None if parts is None else {name + ("" if lstm.single else suffix): part for name, part in parts.items()}


def _stack_lanes(fitted: _Fitted, name: str) -> None:
    """Initial states of single lanes as those of all, zeros where there are none."""
    lstm = fitted.network.model.lstm
    there = {lane.suffix: fitted.arrays.pop(name + lane.suffix, None) for lane in lanes(lstm)}
    first = next((array for array in there.values() if array is not None), None)
    if first is not None:
        parts = [np.zeros_like(first) if part is None else part for part in there.values()]
        fitted.arrays[name] = np.stack(parts)


def gradients_by_weight(arrays: Arrays, weights: list[str]) -> dict[str, str]:
    """The names of arrays that are gradients of weights, such as dW, weight_ih_l0.grad, by those of the weights."""

    def pairs() -> Iterator[tuple[str, str]]:
        for name in arrays:
            match = _GRADIENT.fullmatch(name)
            target = match and (match["of"] or match["by"])
            if target in weights:
                yield target, name

    return dict(pairs())


def _dtype(outputs: Arrays, names: Mapping[str, str]) -> tuple[np.dtype, str]:
    """The dtype in which the outputs came, the narrowest where they differ; and a note where they are narrower."""
    for name, array in outputs.items():
        if array.dtype.kind in "iub":
            shown = names.get(f"{name}_seq") or names.get(name, name)
            raise DumpError(f"{shown} is {array.dtype}, which holds no fractions: dump it as it came.")
    dtype = min((array.dtype for array in outputs.values()), key=lambda dtype: dtype.itemsize)
    if dtype.name == "float64" and computed_in_float32(Trace().replaced(**outputs)):
        return np.dtype(np.float32), "every number of the outputs is one of float32: judged by float32's rounding"
    return dtype, ""


def _cast(arrays: Arrays, dtype: np.dtype) -> tuple[Arrays, list[str]]:
    """Arrays in one dtype, and which of them were rounded for it."""
    cast, notes = {}, []
    for name, array in arrays.items():
        with np.errstate(all="ignore"):
            cast[name] = array.astype(dtype)
            exact = np.array_equal(cast[name].astype(np.float64), array.astype(np.float64), equal_nan=True)
        if not exact:
            notes.append(f"{name} {_rounded(array.dtype.name, dtype)}")
    return cast, notes


def _rounded(was: str, dtype: np.dtype) -> str:
    return f"rounded from {was} to {dtype}, in which the outputs came"


def _not_finite(arrays: Arrays) -> list[str]:
    notes = []
    for name, array in arrays.items():
        finite = np.isfinite(array)
        if not finite.all():
            first = tuple(int(k) for k in np.argwhere(~finite)[0])
            notes.append(f"{name} holds {array[first]}, first at {name}[{', '.join(map(str, first))}]")
    return notes

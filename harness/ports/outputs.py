"""What a port returned, read as a trace; or, where it is none, what it looks like and what to do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import dtype_of
from lockstep.harness.cases.tensors import Lane, lanes, name_of, weight_shapes
from lockstep.harness.ports.framework_arrays import SLIPS, as_array
from lockstep.harness.ports.shape_errors import Shape, decoder_hint, input_hint, shape_hint, state_hint, weight_hint
from lockstep.harness.ports.signature import results_by_name, results_of
from lockstep.harness.ports.weight_gradients import read_gradients
from lockstep.harness.text import counted

# The tensors of a trace by the names they have in a result; W, R, b, P and p are those of each lane.
TENSOR_OF = {
    "h_seq": "h", "c_seq": "c", "h_n": "h_n", "c_n": "c_n", "x": "dx", "h0": "dh0", "c0": "dc0",
    "W": "dW", "R": "dR", "b": "db", "P": "dP", "p": "dp", "logits": "logit", "h_tilde": "y",
}  # fmt: skip
WEIGHTS = ("W", "R", "b", "P", "p")
FINAL_STATES = ("h_n", "c_n", "dh0", "dc0")


class Returned(NamedTuple):
    """What a port returned as a trace of new arrays in the case's dtype, and notes on what was taken otherwise."""

    trace: Trace
    notes: list[str]
    conversions: list[str]  # those notes that tell in which other dtype something came


def read_returned(value: Any, case: Case, layout: str = "canonical") -> Returned:
    """Read what a port returned; ``layout``: that of the weights, and so of their gradients.

    Raises:
        UserCodeError: If it cannot be read as a trace; the message guesses the slip.
    """
    parts = _parts(value, case, layout)
    reader = _Reader(case)
    tensors: dict[str, Any] = {}
    missing: list[str] = []
    if parts.get("weights") is not None:
        tensors, missing = read_gradients(parts["weights"], case, layout, reader.of_weights)
    for name, part in _by_lane(parts, case):
        # None is left out; of h_seq, which is always needed, the reader tells that it is None.
        if part.value is None and (name not in {"h_seq", "logits"} or case.run.gradients):
            continue
        array = reader(part)
        # For c_seq the final state may come instead: it is compared as what it is.
        tensors[part.tensor if array.ndim == len(part.wanted.shape) else "c_n"] = array
    conversions = reader.conversions()
    notes = [*conversions, *reader.not_finite, *_missing(parts, tensors, case, layout, missing)]
    return Returned(Trace(**tensors), notes, conversions)


class ByLane(dict[Lane, Any]):
    """A weight's gradients where each lane has an array of its own name, such as W_l0_reverse."""


class _Wanted(NamedTuple):
    """The shape that a tensor must have, in numbers and in words, and who guesses what another is."""

    shape: Shape
    axes: str
    hint: Callable[[Shape], str]


class _Part(NamedTuple):
    """One array of a result, as it came: how the user knows it, and what it is in a trace."""

    place: str
    value: Any
    tensor: str
    wanted: _Wanted


def _by_lane(parts: Mapping[str, Any], case: Case) -> Iterator[tuple[str, _Part]]:
    """Go through the arrays of a result; a weight's gradients come one for each lane."""
    for name, value in parts.items():
        if name == "weights":  # in the form of a layout, which is read by itself
            continue
        kind = TENSOR_OF[name]
        if name not in WEIGHTS:
            yield name, _Part(name, value, kind, _wanted(kind, case))
        elif value is not None and (name != "b" or case.lstm.bias):  # whoever has no bias may give its gradient
            for place, lane, part in _lanes(name, value, case):
                tensor = name_of(kind, lane, case.lstm)
                yield name, _Part(place, part, tensor, _wanted(kind, case, lane.layer))


def _lanes(name: str, value: Any, case: Case) -> Iterator[tuple[str, Lane, Any]]:
    """Take apart what is given for each layer and direction."""
    all_lanes = lanes(case.lstm)
    if case.lstm.single:
        yield name, all_lanes[0], value
        return
    if isinstance(value, ByLane):
        yield from ((name_of(name, lane, case.lstm), lane, value.get(lane)) for lane in all_lanes)
        return
    layers, directions = case.lstm.num_layers, len(case.lstm.directions)
    for layer, part_of_layer in enumerate(_list_of(name, value, layers, "layer")):
        for k, part in enumerate(_list_of(f"{name}[{layer}]", part_of_layer, directions, "direction")):
            yield f"{name}[{layer}][{k}]", all_lanes[layer * directions + k], part


def _list_of(place: str, value: Any, count: int, what: str) -> Sequence[Any]:
    form = "a list over layers of a list over directions, as weights has them"
    if not isinstance(value, (list, tuple)):
        shape = f" of shape {_shape(value)}" if _shape(value) else ""
        came = f"{place} is a {type(value).__name__}{shape}"
        raise UserCodeError(f"{came}, expected a list over {counted(count, what)}: gradients are {form}")
    if len(value) != count:
        raise UserCodeError(f"{place} holds {counted(len(value), what)}, expected {count}: gradients are {form}")
    return value


def _wanted(kind: str, case: Case, layer: int = 0) -> _Wanted:
    """The shape that a tensor must have; of a weight's gradient that of its layer."""
    lstm, (T, B, I, _) = case.lstm, case.shape
    if case.attention_decoder is not None:
        shape = (T, B, case.attention_decoder.output_size if kind == "logit" else I)
        axes = f"(steps, B, {'O' if kind == 'logit' else 'A'})"
        return _Wanted(shape, axes, lambda shape_found: decoder_hint(shape_found, shape))
    side = "D*" if len(lstm.directions) > 1 and not lstm.merged else ""
    out = "P" if lstm.proj_size else "H"
    width = out if kind in {"h", "h_n", "dh0"} else "H"
    if kind in {"h", "c"}:
        shape = case.natural_shape(kind)
        return _Wanted(shape, f"(T, B, {side}{width})", lambda shape_found: shape_hint(shape_found, case, shape[-1]))
    if kind == "dx":
        return _Wanted((T, B, I), "(T, B, I)", lambda shape_found: input_hint(shape_found, case))
    if kind in FINAL_STATES:
        shape = case.natural_shape(kind)
        axes = f"({'' if lstm.single else 'L*D, '}B, {width})"
        return _Wanted(shape, axes, lambda shape_found: state_hint(shape_found, shape, case))
    axes = {
        "dW": f"(4H, {side + out if layer else 'I'})",
        "dR": f"(4H, {out})",
        "db": "(4H,)",
        "dP": "(P, H)",
        "dp": "(3, H)",
    }
    shape = weight_shapes(lstm, layer)[kind[1:]]
    return _Wanted(shape, axes[kind], lambda shape_found: weight_hint(shape_found, shape, case))


def _missing(
    parts: Mapping[str, Any], tensors: Mapping[str, Array], case: Case, layout: str, of_weights: Sequence[str]
) -> list[str]:
    """Note what a port left out, and is not compared."""
    if case.run.gradients or case.attention_decoder is not None or not case.lstm.single:
        wanted = [name for name, needed in results_by_name(case, layout).items() if needed]
        absent = [*(name for name in wanted if parts.get(name) is None), *of_weights]
        absent += [part.place for name, part in _by_lane(parts, case) if part.value is None and name in WEIGHTS]
        return [f"it returned no {', '.join(absent)}: not compared"] if absent else []
    if "c_seq" not in parts and "c_n" not in parts:
        return ["it returned h_seq alone: c is not compared"]
    if "c" in tensors:
        return []
    if "c_n" in tensors:
        return ["c comes as the final state only: it is compared after the last timestep alone"]
    return ["it returned None for c_seq: c is not compared"]


def _parts(value: Any, case: Case, layout: str) -> dict[str, Any]:
    """The parts of a result by name."""
    _refuse_forgotten(value, case)
    if isinstance(value, Mapping):
        return _named({str(key): part for key, part in value.items()}, case, layout)
    if hasattr(value, "h_seq"):
        return {name: getattr(value, name) for name in results_by_name(case, layout) if hasattr(value, name)}
    if case.run.gradients:
        raise UserCodeError(f"it returned a {type(value).__name__}: expected {results_of(case, layout)}")
    if isinstance(value, (list, tuple)) and type(value).__name__ not in SLIPS:
        return _listed(value, case)
    return {"h_seq" if case.attention_decoder is None else "logits": value}


def _named(parts: dict[str, Any], case: Case, layout: str) -> dict[str, Any]:
    allowed = results_by_name(case, layout)
    known = {name: parts[name] for name in allowed if name in parts}
    present = [name for name, part in known.items() if part is not None]
    needed = "h_seq" if case.attention_decoder is None else "logits"
    if not present if case.run.gradients else needed not in known:
        what = ", ".join(parts) or "nothing"
        expected = "h_seq and c_seq" if allowed.get("c_seq") else results_of(case, layout)
        raise UserCodeError(f"it returned a dict of {what}: expected {expected}")
    unknown = [name for name, part in parts.items() if name not in allowed and part is not None]
    if unknown and not allowed.get("c_seq"):
        raise UserCodeError(
            f"it returned {', '.join(unknown)}, of which nothing is known. Allowed: {', '.join(allowed)}"
        )
    return known


def _listed(value: Sequence[Any], case: Case) -> dict[str, Any]:
    """The parts of a tuple or list, or the timesteps of one part."""
    decoder = case.attention_decoder is not None
    first, full = ("logits", _wanted("logit", case).shape) if decoder else ("h_seq", case.natural_shape("h"))
    shapes = [_shape(part) for part in value]
    # First of all: of two timesteps a list over them is a pair too.
    if (len(value), *(shapes[0] if shapes else ())) == full:
        return {first: value}  # a list over timesteps, of whatever length
    match value:
        case [part]:
            return {first: part}
        # As torch's nn.LSTM returns it.
        case [h, [h_n, c_n]] if shapes[1] != full and not decoder:
            return {"h_seq": h, "h_n": h_n, "c_n": c_n}
        case [part, second] if decoder or case.lstm.single:
            return {first: part, "h_tilde" if decoder else "c_seq": second}
        case [h, h_n, c_n] if len(shapes[0]) == len(full) and not decoder:
            return {"h_seq": h, "h_n": h_n, "c_n": c_n}
    if len(set(shapes)) == 1 and shapes[0] and len(value) > 2 and not decoder:  # noqa: PLR2004 (two are no timesteps)
        return {first: value}
    raise UserCodeError(f"it returned a {type(value).__name__} of {len(value)}: expected {results_of(case)}")


def _refuse_forgotten(value: Any, case: Case) -> None:
    """What was forgotten where no result came back at all."""
    if value is None:
        raise UserCodeError("it returns nothing: is `return` missing?")
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that nobody awaited it
        raise UserCodeError("it returns a coroutine: a port is a plain function, `def` without `async`")
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        raise UserCodeError("it is a generator, since it has `yield`: collect the timesteps and return them at once")
    if isinstance(value, Callable):
        what = f"it returned a {type(value).__name__}, not its results: is a call missing?"
        raise UserCodeError(f"{what} expected {results_of(case)}")


class _Reader:
    """Reads the arrays of one result, and keeps what there is to note of them."""

    def __init__(self, case: Case) -> None:
        self._case, self._dtype = case, dtype_of(case.run.dtype)
        self._converted: dict[str, list[str]] = {}  # by the dtype they came in
        self.not_finite: list[str] = []  # where each of these arrays is not

    def __call__(self, part: _Part) -> Array:
        """An array in the case's dtype; for c_seq the state after the last timestep will do as well."""
        place = part.place
        try:
            array, dtype = as_array(part.value)
        except UserCodeError as error:
            raise UserCodeError(f"{place} {error}") from error
        self._check_dtype(part, array, dtype)
        array = self._shaped(part, array)
        with np.errstate(all="ignore"):  # also where a port made NumPy raise
            # A copy: the port may write into the same buffer at its next call.
            converted = np.array(array, dtype=self._dtype, order="C")
            finite = np.isfinite(converted)
        if dtype != self._dtype.name:
            self._converted.setdefault(dtype, []).append(place)
        if not finite.all():
            first = tuple(np.argwhere(~finite)[0])
            at = ", ".join(str(index) for index in first)
            self.not_finite.append(f"{place} holds {converted[first]}, first at {place}[{at}]")
        return converted

    def of_weights(self, place: str, value: Any, shape: Shape) -> Array:
        """An array of gradients of weights, as they were handed over."""
        return self(_Part(place, value, "", _Wanted(shape, "that of the weight", lambda _: "")))

    def conversions(self) -> list[str]:
        """Which arrays came in another dtype."""
        return [
            f"{', '.join(places)} came as {dtype} where the case is {self._dtype.name}: converted"
            for dtype, places in self._converted.items()
        ]

    def _check_dtype(self, part: _Part, array: Array, dtype: str) -> None:
        kind, place = array.dtype.kind, part.place
        if kind == "f" or dtype == "bfloat16":
            return
        shape = f"an array of shape {part.wanted.shape}"
        # No array at all: None, a text, an object of the framework's.
        if not array.shape and kind in "OUSM":
            raise UserCodeError(f"{place} is a {type(part.value).__name__}, expected {shape}")
        if kind in "iub":
            raise UserCodeError(
                f"{place} is {dtype}, which holds no fractions: was an array for results made without a float dtype?"
            )
        if kind == "O":
            raise UserCodeError(
                f"{place} has dtype object: are its parts of different shapes, or no numbers? expected {shape}"
            )
        raise UserCodeError(f"{place} is {dtype}, expected {self._dtype.name}")

    def _shaped(self, part: _Part, array: Array) -> Array:
        wanted = part.wanted
        if array.shape == wanted.shape:
            return array
        state = _wanted("c_n", self._case).shape if part.tensor == "c" else wanted.shape
        # Of one lane with the axis of lanes too, which torch has in any case.
        if part.tensor in {"c", *FINAL_STATES} and array.shape in {state, (1, *state)}:
            return array.reshape(state)
        hint = wanted.hint(array.shape)
        expected = f"{wanted.axes} = {wanted.shape}"
        raise UserCodeError(f"{part.place} has shape {array.shape}, expected {expected}{hint and ': '}{hint}")


def _shape(value: Any) -> tuple[Any, ...]:
    """The shape of a value that may be a list of arrays, without making an array of it."""
    if isinstance(value, (list, tuple)):
        return (len(value), *(_shape(value[0]) if value else ()))
    try:
        return tuple(getattr(value, "shape", ()))
    except (TypeError, ValueError):  # TensorFlow's shape of unknown rank
        return ()

"""How an object is called: with what, in which arrangement, and what of its results is what."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.ports.framework_arrays import as_array
from lockstep.harness.ports.objects.holders import Holder, make_arrays
from lockstep.harness.ports.signature import parameters_of


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_X_NAMES = _names("x xs input inputs seq sequence sequences input_seq x_seq x_t xt input_ inp")
_H_NAMES = _names("h h0 h_0 h_prev prev_h h_t ht h_tm1 h_init init_h hidden_state h_in h_n")
_C_NAMES = _names("c c0 c_0 c_prev prev_c c_t ct c_tm1 c_init init_c cell_state c_in cell c_n cx")
_PAIR_NAMES = _names(
    "hx state states hidden init_states init_state initial_state initial_states carry initial_carry hc prev_state "
    "prev_states hiddens hidden_states memory state0 s0 hs prev"
)
_LENGTH_NAMES = ("lengths", "seq_lengths", "sequence_lengths", "seq_lens", "seq_len", "x_lengths", "sequence_length")
_IN_EVALUATION = {"training": False, "train": False, "is_training": False, "deterministic": True}
_METHODS = ("__call__", "forward", "call", "run", "predict", "apply", "step")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_COLUMN = "each"  # in a place: of each pair of a list over timesteps

XForm = Literal["sequences", "one", "column", "step", "step one"]
X_FORMS: dict[XForm, str] = {
    "sequences": "x {axes}",
    "one": "one sequence at a time, x (T, I)",
    "column": "one sequence at a time, x (T, I, 1)",
    "step": "one timestep at a time, x (B, I)",
    "step one": "one timestep of one sequence at a time, x (I,)",
}


@dataclass(frozen=True)
class Entry:
    """The method that an object is called by, and what its parameters are for."""

    name: str
    x: str  # the parameter that x is given as
    states: tuple[str, ...]  # none, one that takes both, or two
    needs_states: bool
    lengths: str | None
    constants: dict[str, bool]
    order: tuple[str, ...]  # of its positional parameters

    @property
    def swapped(self) -> bool | None:
        """Whether states are (c, h), as far as names say."""
        if len(self.states) == 2:  # noqa: PLR2004
            return self.states[0].lower() in _C_NAMES
        return True if self.states and self.states[0] in {"carry", "initial_carry"} else None


@dataclass(frozen=True)
class Style:
    """One way to call an object."""

    x: XForm = "sequences"
    batch_first: bool = False
    states: bool = False  # whether it is given h0 and c0
    swapped: bool = False  # (c, h)
    lane_axis: bool = False  # (1, B, H)
    h_alone: bool = False  # of both states it takes h alone


def entry_of(thing: Any) -> Entry | None:
    """How an object is called, by its method; None if it is not.

    Raises:
        UserCodeError: If it needs what is not known.
    """
    # A framework's own __call__ takes anything, and hands it on to one of these.
    framework = any(base.__module__.startswith(("torch.", "keras.", "tf_keras.")) for base in type(thing).__mro__)
    for name in ("forward", "call") if framework and not hasattr(thing, "get_config") else _METHODS:
        method = getattr(thing, name, None)
        named = "call" if name == "__call__" and hasattr(thing, "get_config") else name
        if callable(method) and (name != "__call__" or callable(thing)):
            return _entry("__call__" if framework else name, parameters_of(getattr(thing, named)) or {})
    return None


def _entry(name: str, parameters: Mapping[str, inspect.Parameter]) -> Entry:
    positional = [key for key, p in parameters.items() if p.kind in _POSITIONAL]
    two = [key for key in parameters if key.lower() in _H_NAMES | _C_NAMES][:2]
    states = two if len(two) > 1 else [key for key in parameters if key.lower() in _PAIR_NAMES][:1] or two
    named = [key for key in positional if key.lower() in _X_NAMES]
    x = next(iter([*named, *(key for key in positional if key not in states)]), "")
    if not x and any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        x, positional = "x", ["x"]
    lengths = next((key for key in _LENGTH_NAMES if key in parameters), None)
    known = {x, lengths, *states, *_IN_EVALUATION}
    unmet = [
        key for key, p in parameters.items() if key not in known and p.default is p.empty and p.kind not in _VARIABLE
    ]
    if unmet or not x:
        why = f"nothing is known of {', '.join(unmet)}; give it a default" if unmet else "it takes no x"
        raise UserCodeError(f"it is called as {name}({', '.join(map(str, parameters.values()))}): {why}", "wrong")
    needs = any(parameters[key].default is inspect.Parameter.empty for key in states)
    constants = {key: value for key, value in _IN_EVALUATION.items() if key in parameters}
    return Entry(name, x, tuple(states), needs, lengths, constants, tuple(positional))


class Caller:
    """Calls an object in a style, and gives the arrays of its results by where they lie."""

    def __init__(self, holder: Holder, entry: Entry) -> None:
        """Take an object, and what its parameters are for."""
        self.thing, self.family, self.entry, self.calls = holder.thing, holder.family, entry, 0
        self._method = holder.thing if entry.name == "__call__" else getattr(holder.thing, entry.name)
        self._make: Callable[[Array], Any] | None = None
        self.plan: tuple[str, ...] | None = None  # where in the results to look, once that is known

    def __call__(self, style: Style, x: Array, h0: Array, c0: Array, lengths: Array | None = None) -> Arrays:
        """The arrays of the results: those over timesteps (T, B, n) or (B, T, n), as they come, others as they are.

        Args:
            style: How to call it.
            x: (T, B, I).
            h0: (B, H).
            c0: (B, H).
            lengths: (B,), where it takes them.
        """
        if style.x == "sequences":
            given = x.swapaxes(0, 1) if style.batch_first else x
            states = [state[None] if style.lane_axis and state.ndim == 2 else state for state in (h0, c0)]  # noqa: PLR2004
            value = self._once(style, given, states, lengths)
            return self._leaves(value, len(x))
        if style.x in {"one", "column"}:
            return self._by_sequence(style, x, h0, c0)
        return self._by_step(style, x, h0, c0)

    def _by_sequence(self, style: Style, x: Array, h0: Array, c0: Array) -> Arrays:
        column = style.x == "column"
        rows = []
        for k in range(x.shape[1]):
            given = x[:, k, :, None] if column else x[:, k]
            states = [state[k][:, None] if column else state[k] for state in (h0, c0)]
            rows.append(self._leaves(self._once(style, given, states, None), len(x)))
        if column:
            rows = [{path: a[..., 0] if a.shape[-1:] == (1,) else a for path, a in row.items()} for row in rows]
        # (T, n) over timesteps becomes (T, B, n), a state (n,) becomes (B, n).
        alike = {
            path: [row[path] for row in rows]
            for path, array in rows[0].items()
            if array.ndim in {1, 2} and all(path in row and row[path].shape == array.shape for row in rows)
        }
        return {path: np.stack(arrays, axis=arrays[0].ndim - 1) for path, arrays in alike.items()}

    def _by_step(self, style: Style, x: Array, h0: Array, c0: Array) -> Arrays:
        if style.x == "step one":
            rows = [self._steps(style, x[:, k], h0[k], c0[k]) for k in range(x.shape[1])]
            return {path: np.stack([row[path] for row in rows], axis=1) for path in rows[0]}
        return self._steps(style, x, h0, c0)

    def _steps(self, style: Style, x: Array, h0: Array, c0: Array) -> Arrays:
        states: Any = [h0, c0]
        steps = []
        for x_t in x:
            value = self._once(style, x_t, states, None)
            steps.append({path: array for path, array in self._leaves(value, -1).items() if array.shape == h0.shape})
            states = self._next_states(value, h0.shape)
        return {path: np.stack([step[path] for step in steps]) for path in steps[0]}

    def _next_states(self, value: Any, shape: tuple[int, ...]) -> Any:
        """The states that a step gives, as the next one takes them."""
        pairs = [pair for pair in _pairs(value) if all(np.shape(as_array(part)[0]) == shape for part in pair)]
        if not pairs:
            raise UserCodeError("a step returns no pair of states")
        return _Given(pairs[-1])

    def _once(self, style: Style, x: Array, states: Any, lengths: Array | None) -> Any:
        self.calls += 1
        self._make = self._make or make_arrays(self.family)
        make, entry = self._make, self.entry
        original = np.ascontiguousarray(x)
        handed = make(original)
        values: dict[str, Any] = {entry.x: handed, **entry.constants}
        if style.states:
            both = (
                states.pair
                if isinstance(states, _Given)
                else [make(np.ascontiguousarray(s)) for s in self._ordered(style, states)]
            )
            if style.h_alone:
                values[entry.states[0]] = both[0]
            elif len(entry.states) == 2:  # noqa: PLR2004
                values |= dict(zip(entry.states, both, strict=True))
            else:
                values[entry.states[0]] = list(both) if "initial_state" in entry.states else tuple(both)
        if lengths is not None and entry.lengths:
            values[entry.lengths] = make(lengths)
        positional = []
        for name in entry.order:
            if name not in values or name in entry.constants:
                break
            positional.append(values.pop(name))
        value = self._method(*positional, **values)
        left = as_array(handed)[0]
        if left.shape == x.shape and left.tobytes() != original.tobytes():
            np.copyto(x, left)  # whoever gave x sees then that it was changed
        return value

    def _leaves(self, value: Any, timesteps: int) -> Arrays:
        if self.plan is None:
            return dict(leaves_of(value, timesteps))
        return {path: as_array(_at(value, path))[0] for path in self.plan}

    def _ordered(self, style: Style, states: Sequence[Array]) -> Sequence[Array]:
        return states[::-1] if style.swapped else states


@dataclass(frozen=True)
class _Given:
    """States as an object gave them."""

    pair: Sequence[Any]


def _pairs(value: Any) -> Iterator[Sequence[Any]]:
    """The pairs of arrays in a result, the innermost too; of three arrays the last two."""
    if not isinstance(value, (list, tuple)):
        return
    if len(value) >= 2 and not any(isinstance(part, (list, tuple)) for part in value[-2:]):  # noqa: PLR2004
        yield value[-2:]
    for part in value:
        yield from _pairs(part)


def leaves_of(value: Any, timesteps: int, path: str = "") -> Iterator[tuple[str, Array]]:
    """The arrays of a result, by where they lie; a list over timesteps is one array."""
    dot = f"{path}." if path else ""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves_of(part, timesteps, f"{dot}{key}")
    elif isinstance(value, (list, tuple)) and not _is_one(value, timesteps):
        if len(value) == timesteps and all(isinstance(part, tuple) for part in value):  # of pairs (h, c)
            value = [list(column) for column in zip(*value, strict=False)]
            dot = f"{dot}{_COLUMN}."
        for k, part in enumerate(value):
            yield from leaves_of(part, timesteps, f"{dot}{k}")
    elif value is not None:
        try:
            array, _ = as_array(value)
        except UserCodeError:
            return
        if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
            yield path, array


def _at(value: Any, path: str) -> Any:
    """What lies at a place of a result."""
    for step in path.split(".") if path else ():
        if step == _COLUMN:
            value = [list(column) for column in zip(*value, strict=False)]
        else:
            value = value[step] if isinstance(value, Mapping) and step in value else value[int(step)]
    return value


def _is_one(value: Sequence[Any], timesteps: int) -> bool:
    """Whether a list is one array: a row of numbers, or one over timesteps of arrays of one shape."""
    if value and all(isinstance(part, (float, np.floating)) for part in value):
        return True
    if len(value) != timesteps or any(isinstance(part, tuple) for part in value):
        return (
            isinstance(value, list)
            and bool(value)
            and all(
                isinstance(part, list) and part and all(isinstance(v, (float, np.floating)) for v in part)
                for part in value
            )
        )
    try:
        return len({as_array(part)[0].shape for part in value}) == 1
    except UserCodeError:
        return False

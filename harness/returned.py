"""What a port returned, read as a trace; or, where it is none, what it looks like and what to do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from harness.case import Case
from harness.problem import Array
from harness.trace import Trace

EXPECTED = "expected (h_seq, c_seq), or (h_seq, None)"
SYMBOLIC = (
    "is a symbolic TensorFlow tensor, which has no values yet: run it, as in "
    "`with tf.compat.v1.Session() as session: return session.run((h_seq, c_seq))`"
)
MOST_TEXT = 500  # characters of an exception
# What comes back where a step was forgotten, by the name of its type.
SLIPS = {
    "PackedSequence": "a PackedSequence: unpack it with torch.nn.utils.rnn.pad_packed_sequence",
    "TensorArray": "a TensorArray: return its stack()",
    "RaggedTensor": "a RaggedTensor: return its to_tensor()",
}


class PortError(Exception):
    """Why a call of a port gave no trace: a message, a status, and what goes to stderr."""

    def __init__(self, message: str, status: str = "failed", stderr: str | None = None) -> None:
        """Take what a reply is made of."""
        super().__init__(message)
        self.status, self.stderr = status, stderr


def read_returned(value: Any, case: Case) -> tuple[Trace, list[str]]:
    """Read what a port returned for a case.

    Returns:
        A trace of new arrays in the case's dtype, and notes on what was taken otherwise than it came.

    Raises:
        PortError: If it cannot be read as a trace; the message guesses the slip.
    """
    parts = _parts(value, case)
    h, notes = _tensor("h_seq", parts["h_seq"], case)
    tensors: dict[str, Any] = {"h": h}
    if parts.get("c_seq") is not None:
        c, more = _tensor("c_seq", parts["c_seq"], case, or_final=True)
        tensors["c" if c.ndim == h.ndim else "c_n"] = c
        notes += more
    elif "c_seq" not in parts and "c_n" not in parts:
        notes.append("it returned h_seq alone: c is not compared")
    elif parts.get("c_n") is None:
        notes.append("it returned None for c_seq: c is not compared")
    for name in ("h_n", "c_n"):
        if parts.get(name) is not None:
            tensors[name], more = _tensor(name, parts[name], case, final=True)
            notes += more
    if "c_n" in tensors:
        notes.append("c comes as the final state only: it is compared after the last timestep alone")
    return Trace(**tensors), notes


def as_array(value: Any) -> tuple[Array, str]:
    """Give the array that lies in a value of any framework, and the name of the dtype it came in.

    Raises:
        PortError: If there is none; the message continues one that begins with what the value is.
    """
    family, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if kind in SLIPS:
        raise PortError(f"is {SLIPS[kind]}")
    try:
        if isinstance(value, (list, tuple)):
            return _stacked(value)
        if family == "torch":
            return _from_torch(value)
        if family in {"tensorflow", "keras", "tf_keras"}:
            value = _from_tensorflow(value)
        array = np.asarray(value)
    except PortError:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {text_of(error)}"
        raise PortError(f"is a {kind} that cannot be read as an array: {text}") from error
    return array, array.dtype.name


def text_of(error: BaseException) -> str:
    """Give the text of an exception of the user's own, at most its beginning: TensorFlow's fill pages."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (making it is the user's code too)
        return "(its text cannot be made)"
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."


def shape_hint(shape: tuple[int, ...], case: Case) -> str:
    """Guess what an array of the wrong shape is, where (T, B, H) was expected; empty if it looks like nothing."""
    T, B, I, H = case.shape
    longest = max(case.run.lengths, default=T) if case.run.lengths is not None else T
    looks: list[tuple[Iterable[tuple[int, ...]], str]] = [
        ([(B, T, H)], "batch-major? time comes first"),
        ([(T, H)] if B == 1 else [], "squeezed? the batch axis is there for B = 1 too"),
        ([(B, H)] if T == 1 else [], "squeezed? the time axis is there for T = 1 too"),
        ([(T, B)] if H == 1 else [], "squeezed? the last axis is there for H = 1 too"),
        ([(B, H), (1, B, H), *([(H,)] if B == 1 else [])] if T > 1 else [], "only the last timestep?"),
        ([(H, B)] if T > 1 else [], "only the last timestep, transposed?"),
        ([(T, B, 4 * H), (B, T, 4 * H)], "all four gates? h is one of their results"),
        ([(T, B, 2 * H)], "h and c side by side? return them as a pair"),
        ([(2, T, B, H), (2, B, T, H)], "h and c stacked? return them as a pair"),
        ([(longest, B, H)] if longest < T else [], "cut at the longest sequence? go on with zeros to all T timesteps"),
        ([(T + 1, B, H)], "with the initial state? begin with the state after the first timestep"),
        ([(T - 1, B, H)], "a timestep left out?"),
        ([(T * B, H), (T, B * H), (T * B * H,)], "flattened?"),
        ([(1, T, B, H), (T, 1, B, H), (T, B, 1, H), (T, B, H, 1)], "an axis of length 1 too many?"),
        ([(T, B, I), (B, T, I)], "as wide as the input: was x returned?"),
    ]
    hints = [hint for shapes, hint in looks if shape in shapes]
    axes = {"T": T, "B": B, "H": H}
    orders = [order for order in permutations(axes) if tuple(axes[name] for name in order) == shape]
    others = [order for order in orders if order != ("B", "T", "H")]
    if others and not hints:
        hints.append(f"axes in the order ({', '.join(others[0])})?")
    return " or ".join(hints)


def _parts(value: Any, case: Case) -> dict[str, Any]:
    """Give the parts of a result by name: h_seq, and c_seq or final states where there are any."""
    _refuse_forgotten(value)
    names = ("h_seq", "c_seq")
    if isinstance(value, Mapping):
        return _named({str(key): part for key, part in value.items()}, "a dict")
    if hasattr(value, "h_seq"):
        return _named({name: getattr(value, name) for name in names if hasattr(value, name)}, type(value).__name__)
    if isinstance(value, (list, tuple)) and type(value).__name__ not in SLIPS:
        return _listed(value, case)
    return {"h_seq": value}


def _listed(value: Sequence[Any], case: Case) -> dict[str, Any]:
    full, shapes = _full(case), [_shape(part) for part in value]
    if (len(value), *(shapes[0] if shapes else ())) == full:
        return {"h_seq": value}  # a list over timesteps, of whatever length
    match value:
        case [h]:
            return {"h_seq": h}
        case [h, [h_n, c_n]] if shapes[1] != full:
            return {"h_seq": h, "h_n": h_n, "c_n": c_n}
        case [h, c]:
            return {"h_seq": h, "c_seq": c}
        case [h, h_n, c_n] if len(shapes[0]) == len(full):
            return {"h_seq": h, "h_n": h_n, "c_n": c_n}
    if len(set(shapes)) == 1 and shapes[0]:
        return {"h_seq": value}
    raise PortError(f"it returned a {type(value).__name__} of {len(value)}: {EXPECTED}")


def _named(parts: dict[str, Any], what: str) -> dict[str, Any]:
    if "h_seq" not in parts:
        raise PortError(f"it returned {what} of {', '.join(parts) or 'nothing'}: expected h_seq and c_seq")
    return {name: part for name, part in parts.items() if name in {"h_seq", "c_seq", "h_n", "c_n"}}


def _refuse_forgotten(value: Any) -> None:
    """Say what was forgotten where no result came back at all."""
    if value is None:
        raise PortError("it returns nothing: is `return` missing?")
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that nobody awaited it
        raise PortError("it returns a coroutine: a port is a plain function, `def` without `async`")
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        raise PortError("it is a generator, since it has `yield`: collect the timesteps and return them at once")
    if isinstance(value, Callable):
        raise PortError(f"it returned a {type(value).__name__}, not its results: is a call missing? {EXPECTED}")


def _tensor(
    name: str, value: Any, case: Case, *, final: bool = False, or_final: bool = False
) -> tuple[Array, list[str]]:
    """Read one tensor: (T, B, H), or the state after the last timestep where that may be or must be."""
    try:
        array, dtype = as_array(value)
    except PortError as error:
        raise PortError(f"{name} {error}") from error
    _check_dtype(name, value, array, dtype, case)
    array = _shaped(name, array, case, final=final, or_final=or_final)
    wanted = case.run.dtype
    with np.errstate(all="ignore"):  # also where a port made NumPy raise
        converted = np.array(array, dtype=wanted, order="C")
        finite = bool(np.isfinite(converted).all())
    notes = [] if dtype == wanted else [f"{name} came as {dtype} where the case is {wanted}: converted"]
    if not finite:
        first = np.argwhere(~np.isfinite(converted))[0]
        place = ", ".join(str(index) for index in first)
        notes.append(f"{name} holds {converted[tuple(first)]}, first at {name}[{place}]")
    return converted, notes


def _check_dtype(name: str, value: Any, array: Array, dtype: str, case: Case) -> None:
    kind = array.dtype.kind
    if kind == "f" or dtype == "bfloat16":
        return
    shape = f"an array of shape {_full(case)}"
    if not array.shape and kind in "OUSM":
        raise PortError(f"{name} is a {type(value).__name__}, expected {shape}")
    if kind in "iub":
        raise PortError(
            f"{name} is {dtype}, which holds no fractions: was an array for results made without a float dtype?"
        )
    if kind == "O":
        raise PortError(f"{name} has dtype object: are its parts of different shapes, or no numbers? expected {shape}")
    raise PortError(f"{name} is {dtype}, expected {case.run.dtype}")


def _shaped(name: str, array: Array, case: Case, *, final: bool, or_final: bool) -> Array:
    _, B, _, H = case.shape
    if array.shape == _full(case) and not final:
        return array
    if (final or or_final) and array.shape in {(B, H), (1, B, H)}:  # torch has an axis of layers
        return array.reshape(B, H)
    expected = f"(B, H) = {(B, H)}" if final else f"(T, B, H) = {_full(case)}"
    hint = "" if final else shape_hint(array.shape, case)
    raise PortError(f"{name} has shape {array.shape}, expected {expected}{hint and ': '}{hint}")


def _full(case: Case) -> tuple[int, int, int]:
    T, B, _, H = case.shape
    return T, B, H


def _shape(value: Any) -> tuple[Any, ...]:
    """Give the shape of a value that may be a list of arrays, without making an array of it."""
    if isinstance(value, (list, tuple)):
        return (len(value), *(_shape(value[0]) if value else ()))
    try:
        return tuple(getattr(value, "shape", ()))
    except (TypeError, ValueError):  # TensorFlow's shape of unknown rank
        return ()


def _stacked(value: Sequence[Any]) -> tuple[Array, str]:
    if not value or isinstance(value[0], (int, float)):
        array = np.asarray(value)
        return array, array.dtype.name
    arrays, dtypes = zip(*(as_array(part) for part in value), strict=True)
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) > 1:
        raise PortError(f"is a {type(value).__name__} whose parts differ in shape: {', '.join(map(str, shapes))}")
    array = np.stack(arrays)
    return array, dtypes[0] if len(set(dtypes)) == 1 else array.dtype.name


def _from_torch(value: Any) -> tuple[Array, str]:
    dtype = str(value.dtype).removeprefix("torch.")
    tensor = value.detach().cpu()
    # NumPy has no bfloat16, and every one of its values is a float32.
    tensor = tensor.float() if dtype == "bfloat16" else tensor
    return tensor.resolve_conj().resolve_neg().numpy(), dtype


def _from_tensorflow(value: Any) -> Any:
    try:
        return value.numpy()
    except (AttributeError, NotImplementedError) as error:
        raise PortError(SYMBOLIC) from error

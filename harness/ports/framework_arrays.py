"""Arrays of frameworks: made of NumPy's for a port's arguments, and read again from what it returns."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

from lockstep.harness.adapters.user_code import UserCodeError, text_of
from lockstep.harness.arrays import Array

ARRAYS = ("numpy", "torch", "jax", "tensorflow")

SYMBOLIC = (
    "is a symbolic TensorFlow tensor, which has no values yet: run it, as in "
    "`with tf.compat.v1.Session() as session: return session.run((h_seq, c_seq))`"
)
# What comes back where a step was forgotten, by the name of its type.
SLIPS = {
    "PackedSequence": "a PackedSequence: unpack it with torch.nn.utils.rnn.pad_packed_sequence",
    "TensorArray": "a TensorArray: return its stack()",
    "RaggedTensor": "a RaggedTensor: return its to_tensor()",
}


def maker(arrays: str) -> Callable[[Array], Any]:
    """What turns a NumPy array into a fresh one of a framework, which is imported now."""
    if arrays == "numpy":
        return lambda array: array.copy()
    try:
        # By name: the harness itself imports no framework.
        framework = importlib.import_module("jax.numpy" if arrays == "jax" else arrays)
    except ImportError as error:
        raise UserCodeError(f"{arrays} arrays are asked for, and {arrays} cannot be imported: {error}") from error
    make = {
        "torch": _torch_tensor,
        "jax": _jax_array,
        "tensorflow": lambda tensorflow, array: tensorflow.constant(array),
    }[arrays]
    return lambda array: make(framework, array)


def as_array(value: Any) -> tuple[Array, str]:
    """The array that lies in a value of any framework, and the name of the dtype it came in.

    Raises:
        UserCodeError: If there is none; the message continues one that begins with what the value is.
    """
    family, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if kind in SLIPS:
        raise UserCodeError(f"is {SLIPS[kind]}")
    try:
        if isinstance(value, (list, tuple)):
            return _stacked(value)
        if family == "torch":
            value = _from_torch(value)
        elif family in {"tensorflow", "keras", "tf_keras"}:
            value = _from_tensorflow(value)
        array = np.asarray(value)
    except UserCodeError:
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {text_of(error)}"
        raise UserCodeError(f"is a {kind} that cannot be read as an array: {text}") from error
    return array, array.dtype.name


def differs(handed: Any, original: Array) -> bool:
    """Whether an array of any framework is no longer what it was made of."""
    try:
        array, _ = as_array(handed)
    except UserCodeError:
        return True
    # Bytes, not values: NaN equals itself then.
    return (array.shape, array.dtype) != (original.shape, original.dtype) or array.tobytes() != original.tobytes()


def _torch_tensor(torch: ModuleType, array: Array) -> Any:
    if array.dtype.name != "bfloat16":
        return torch.from_numpy(array.copy())
    # torch takes no bfloat16 of NumPy's: the same bits, under another name.
    return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)


def _jax_array(jnp: ModuleType, array: Array) -> Any:
    made = jnp.array(array)
    if array.dtype == "float64" and made.dtype != array.dtype:
        raise UserCodeError("JAX would narrow float64 to float32: start Python with JAX_ENABLE_X64=1")
    return made


def _from_torch(value: Any) -> Array:
    tensor = value.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # NumPy has none; every one of its values is a float32
        return tensor.float().numpy().astype(ml_dtypes.bfloat16)
    # torch keeps conjugates and negatives as views with a mark, which NumPy does not know.
    return tensor.resolve_conj().resolve_neg().numpy()


def _from_tensorflow(value: Any) -> Any:
    try:
        return value.numpy()
    except (AttributeError, NotImplementedError) as error:
        raise UserCodeError(SYMBOLIC) from error


def _stacked(value: Sequence[Any]) -> tuple[Array, str]:
    if not value or isinstance(value[0], (int, float)):  # a row of plain numbers: NumPy finds their dtype
        array = np.asarray(value)
        return array, array.dtype.name
    arrays, dtypes = zip(*(as_array(part) for part in value), strict=True)
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if len(shapes) > 1:
        raise UserCodeError(f"is a {type(value).__name__} whose parts differ in shape: {', '.join(map(str, shapes))}")
    array = np.stack(arrays)
    return array, dtypes[0] if len(set(dtypes)) == 1 else array.dtype.name

"""A file of named arrays as it was dumped: .npz, .safetensors or .json. Nothing in it is ever unpickled."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.array_file import load_safetensors
from lockstep.harness.errors import DumpError
from lockstep.harness.text import names_text

DUMP_SUFFIXES = (".npz", ".safetensors", ".json")
_SAVE = "save each array by its name, np.savez(FILE, x=x, out=out, ...)"
# What is often offered, and how to make of it what is taken.
_HINTS = {
    ".npy": f"it holds one array without a name: {_SAVE}",
    **dict.fromkeys(
        (".pt", ".pth", ".bin", ".pkl", ".pickle", ".joblib"),
        f"it is a pickle, which is never loaded: {_SAVE}, or safetensors.torch.save_file",
    ),
    **dict.fromkeys((".h5", ".hdf5", ".keras", ".onnx", ".mat", ".csv", ".txt"), f"load it, and {_SAVE}"),
}
_EXACT_DIGITS = 9  # with so many every float32 is told from every other
_FEW_DIGITS = 6  # with so few no float32 is
_MOST_NAMES = 12  # in a message


@dataclass(frozen=True)
class DumpFile:
    """The arrays of a file, in the machine's order of bytes, and what was left out of it."""

    path: Path
    arrays: Arrays
    left_out: dict[str, str] = field(default_factory=dict)  # the reason by name
    notes: tuple[str, ...] = ()
    units: dict[str, float] = field(default_factory=dict)  # of the last decimal, where a text has few digits

    @property
    def holds(self) -> str:
        """Its arrays with their shapes, in words."""
        arrays = [f"{name} {array.shape}" for name, array in self.arrays.items()]
        left_out = [f"{name} ({reason})" for name, reason in self.left_out.items()]
        return names_text([*arrays, *left_out], _MOST_NAMES) or "nothing"


def read_dump(path: Path) -> DumpFile:
    """Read a file.

    Raises:
        DumpError: If it is of no kind that is taken, cannot be read, or holds nothing that is an array of numbers.
    """
    suffix = path.suffix.lower()
    if suffix not in DUMP_SUFFIXES:
        hint = f" Of a {suffix} file: {_HINTS[suffix]}." if suffix in _HINTS else ""
        raise DumpError(f"{path}: not a {', '.join(DUMP_SUFFIXES[:-1])} or {DUMP_SUFFIXES[-1]} file by its name.{hint}")
    try:
        dump = _READERS[suffix](path)
    except OSError as error:
        raise DumpError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if not dump.arrays:
        raise DumpError(f"{path}: no array in it. It holds {dump.holds}. What to do: {_SAVE}.")
    return dump


def _from_npz(path: Path) -> DumpFile:
    arrays, left_out = {}, {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
            for name in loaded.files:
                try:
                    arrays[name] = loaded[name]
                except ValueError as error:
                    if "allow_pickle" not in str(error):
                        raise
                    left_out[name] = "Python objects, a pickle, which is never loaded"
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError, NotImplementedError) as error:
        raise DumpError(f"{path}: not a readable .npz file: {error}. Pickled objects are never loaded.") from error
    return _checked(path, {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}, left_out)


def _from_safetensors(path: Path) -> DumpFile:
    return _checked(path, load_safetensors(path, DumpError)[0], {})


def _from_json(path: Path) -> DumpFile:
    try:
        # Not msgspec: Python writes NaN and Infinity, and they are what is looked for.
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DumpError(f"{path}: not readable as JSON: {error}.") from error
    if not isinstance(data, (dict, list)) or (isinstance(data, list) and not any(isinstance(e, dict) for e in data)):
        raise DumpError(f'{path}: no names in it. Give nested lists by name: {{"x": [[[0.1, ...]]], "out": ...}}.')
    arrays, left_out = {}, {}
    for name, value in _named(data):
        try:
            arrays[name] = np.array(value, dtype=np.float64)  # null is NaN: JavaScript writes it so
        except (ValueError, TypeError, OverflowError):
            left_out[name] = (
                "no numbers" if not isinstance(value, list) else "lists of different lengths, or no numbers"
            )
    return _in_its_precision(_checked(path, arrays, left_out))


def _named(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Go through nested tables and lists of tables; names are joined by "/"."""
    if isinstance(data, dict) and data and not _is_array(data):
        for name, value in data.items():
            yield from _named(value, f"{prefix}/{name}" if prefix else name)
    elif isinstance(data, list) and any(isinstance(value, dict) for value in data) and not _is_array(data[0]):
        for k, value in enumerate(data):
            yield from _named(value, f"{prefix or 'run'}{k}")
    elif data is not None:
        yield prefix, _as_list(data)


def _is_array(data: Any) -> bool:
    """Whether it is what JavaScript makes of a typed array: {"0": 0.1, "1": 0.2}."""
    return isinstance(data, dict) and [*data] == [str(k) for k in range(len(data))] and not any(
        isinstance(value, (dict, list)) for value in data.values()
    )  # fmt: skip


def _as_list(data: Any) -> Any:
    if _is_array(data):
        return [*data.values()]
    return [_as_list(value) for value in data] if isinstance(data, list) else data


def _in_its_precision(dump: DumpFile) -> DumpFile:
    """Numbers of float32 as float32: what is one exactly; the others if none has more digits than that takes."""
    written = {name: _written(array) for name, array in dump.arrays.items()}
    most = _EXACT_DIGITS if max((digits for digits, _ in written.values()), default=0) <= _EXACT_DIGITS else 0
    arrays = {
        name: array.astype(np.float32) if written[name][0] <= most else array for name, array in dump.arrays.items()
    }
    units = {name: unit for name, (digits, unit) in written.items() if 0 < digits <= _FEW_DIGITS}
    return replace(dump, arrays=arrays, units=units)


def _written(array: Array) -> tuple[int, float]:
    """How many digits the longest of its numbers has that are no float32's exactly, and the unit of the last; or 0."""
    with np.errstate(over="ignore"):
        longer = array[np.isfinite(array) & (array != array.astype(np.float32))]
    if not longer.size:
        return 0, 0.0
    parts = [Decimal(repr(float(value))).as_tuple() for value in longer.flat]
    exponents = [part.exponent for part in parts if isinstance(part.exponent, int)]
    return max(len(part.digits) for part in parts), 10.0 ** min(exponents)


def _checked(path: Path, arrays: Arrays, left_out: dict[str, str]) -> DumpFile:
    """Arrays of numbers in the machine's order of bytes; what holds no numbers is left out, with the reason."""
    kept, notes = {}, []
    foreign = [name for name, array in arrays.items() if not array.dtype.isnative]
    if foreign:
        notes.append(f"{names_text(foreign, _MOST_NAMES)} came in the other order of bytes: read as what they are")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
            left_out[name] = f"{array.dtype}, which are no real numbers"
        else:
            kept[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return DumpFile(path, kept, left_out, tuple(notes))


_READERS = {".npz": _from_npz, ".safetensors": _from_safetensors, ".json": _from_json}

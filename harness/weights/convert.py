"""Weights of one framework, rewritten as another stores them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.array_file import load_arrays, save_safetensors
from lockstep.harness.cases.gates import block
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.errors import ConvertError, unknown
from lockstep.harness.files import replacing
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import guess, pack, summed, unpack, with_forget_bias
from lockstep.harness.weights.network_file import arrays_by_lane, chosen_lanes, lane_text, network_arrays

ARRAY_SUFFIXES = (".safetensors", ".npz")
NUMPY_TYPES = r"BOOL|C64|F(16|32|64)|[IU](8|16|32|64)"  # as a .safetensors file calls them


def find_dialect(name: str) -> Dialect:
    """The dialect of a name; a ConvertError if there is none."""
    if name not in DIALECTS:
        raise ConvertError(unknown("dialect", name, DIALECTS))
    return DIALECTS[name]


def convert(arrays: Arrays, source: Dialect, target: Dialect) -> tuple[Arrays, list[str]]:
    """Rewrite the weights of one LSTM.

    Two biases stay two where both dialects have two; a forget bias added at run time stays out of the stored
    bias where both add the same.

    Returns:
        The arrays of ``target``, and notes for the user: what could not be kept, moved, rounded or taken along.

    Raises:
        ConvertError: If the arrays are not those of ``source``, or look like those of another dialect.
    """
    _check_no_better_guess(arrays, source)
    W, R, biases = unpack(arrays, source)
    notes = []
    if not any(name in arrays for name in source.bias):
        notes.append(f"no bias in the file: zeros stand for {', '.join(source.bias)}.")
    if target.biases != "two" and len(biases) == 2:  # noqa: PLR2004
        biases = (_sum(biases, source, target, notes),)
    # After the sum, so that the forget part is rounded once for it, and not in each half.
    if source.forget_bias != target.forget_bias:
        biases = (_move_forget_bias(biases[0], source, target, notes), *biases[1:])
    if target.biases == "two" and len(biases) == 1:
        halves = ("the first", f"the second half of {target.bias[0]}") if len(target.bias) == 1 else target.bias
        notes.append(f"{halves[1]} is zero: all of the bias is in {halves[0]}.")
        biases = (biases[0], np.zeros_like(biases[0]))
    others = sorted(set(arrays) - set(source.names))
    if others:
        notes.append(f"left out, because not part of the LSTM: {', '.join(others)}.")
    return pack(W, R, biases, target), notes


def convert_file(
    path: Path,
    source: Dialect,
    target: Dialect,
    out: Path,
    prefix: str = "",
    *,
    layer: int | None = None,
    reverse: bool = False,
) -> tuple[Arrays, list[str]]:
    """Rewrite a .safetensors or .npz file into another, of either format, which is overwritten if it is there.

    Of a network of several layers or directions all are rewritten, or the one that ``layer`` and ``reverse`` name.
    ``prefix`` is what the names of the LSTM's arrays begin with in ``path``; ``out`` has them without.

    Returns:
        The arrays that were written, and notes for the user.

    Raises:
        ConvertError: If a file cannot be read or written, or the weights cannot be converted.
        CaseError: If ``path`` is damaged.
    """
    _check_files(path, out)
    arrays = load_arrays(path)
    chosen = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    try:
        converted, notes = convert_network(chosen, source, target, layer=layer, reverse=reverse)
    except ConvertError as error:
        under = f" under {prefix!r}" if prefix else ""
        raise ConvertError(f"{path}{under}: {error}") from error
    others = sorted(name for name in arrays if not name.startswith(prefix))
    if others:
        notes.append(f"left out, because not under {prefix!r}: {', '.join(others)}.")
    _save(out, converted, target)
    return converted, notes


def convert_network(
    arrays: Arrays, source: Dialect, target: Dialect, *, layer: int | None = None, reverse: bool = False
) -> tuple[Arrays, list[str]]:
    """Rewrite the weights of all layers and directions, or of one, each as ``convert`` does.

    Raises:
        ConvertError: As of ``convert``, or if a lane that is asked for is not there.
    """
    lanes, others = arrays_by_lane(arrays, source)
    converted: dict[Lane, Arrays] = {}
    notes: dict[str, list[Lane]] = {}
    for lane, stored in chosen_lanes(lanes, layer, reverse=reverse).items():
        try:
            converted[lane], told = convert(stored, source, target)
        except ConvertError as error:
            raise ConvertError(f"{lane_text(lane)}: {error}" if len(lanes) > 1 else str(error)) from error
        for note in told:
            notes.setdefault(note, []).append(lane)
    lines = [
        note if len(of_lanes) == len(converted) else f"{'; '.join(map(lane_text, of_lanes))}: {note}"
        for note, of_lanes in notes.items()
    ]
    lines += [f"left out, because not part of the LSTM: {', '.join(sorted(others))}."] if others else []
    left = sorted(lanes.keys() - converted.keys())
    lines += [f"left out, because not asked for: {'; '.join(map(lane_text, left))}."] if left else []
    return network_arrays(converted, target), lines


def conversion_text(out: Path, target: Dialect, arrays: Arrays, notes: list[str]) -> str:
    """What was written, and what a user should know of it, one line each."""
    dtype = next(iter(arrays.values())).dtype
    what = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    return "\n".join([f"{out}: {target.title}, {dtype}: {what}.", *(f"  {note}" for note in notes)])


def _check_no_better_guess(arrays: Arrays, source: Dialect) -> None:
    """Refuse arrays of which ``source`` would read a part and another dialect more: they would mean other things."""
    better = guess(arrays)
    if better is None or not set(source.required) <= set(arrays):
        return  # unpacking tells what is missing
    of_source, of_other = set(source.names) & set(arrays), set(better.names) & set(arrays)
    if of_source & of_other and len(of_source) < len(of_other):
        missing = ", ".join(sorted(of_other - of_source))
        raise ConvertError(f"these look like {better.name}: {source.name} has no {missing}.")


def _sum(biases: tuple[Array, ...], source: Dialect, target: Dialect, notes: list[str]) -> Array:
    first, second = biases
    if first.any() and second.any():
        into = ", ".join(target.bias)
        notes.append(
            f"the two biases in {', '.join(source.bias)} are summed into {into}: they cannot be told apart "
            f"again{_rounded(first, second)}."
        )
    return summed(first, second)


def _move_forget_bias(b: Array, source: Dialect, target: Dialect, notes: list[str]) -> Array:
    change = source.forget_bias - target.forget_bias
    forget, words = block(b, "f"), []
    if source.forget_bias:
        words.append(f"the {source.forget_bias:g} that {source.name} adds at run time is now in the stored bias")
    if target.forget_bias:
        words.append(f"the {target.forget_bias:g} that {target.name} adds at run time is taken out of the stored bias")
    notes.append(f"forget bias: {', and '.join(words)}{_rounded(forget, np.full_like(forget, change))}.")
    return with_forget_bias(b, change)


def _rounded(a: Array, b: Array) -> str:
    """How many sums of two arrays are rounded, and by how much at most, in words; empty where all are exact."""
    with np.errstate(all="ignore"):
        total = a + b
        part = total - a
        error = np.abs((a - (total - part)) + (b - part))  # Knuth's TwoSum: exact in any IEEE format
    inexact = int(np.count_nonzero(error > 0))
    worst = float(np.max(error, initial=0.0, where=error > 0))
    return f" ({inexact} of {len(a)} sums rounded to {a.dtype}, by {worst:.2g} at most)" if inexact else ""


def _check_files(path: Path, out: Path) -> None:
    for file in (path, out):
        if file.suffix not in ARRAY_SUFFIXES:
            raise ConvertError(f"{file}: not a {' or '.join(ARRAY_SUFFIXES)} file by its name.")
    # By its name they may be two: one may be a link to the other.
    if path.exists() and out.exists() and path.samefile(out):
        raise ConvertError(f"{out}: would overwrite the file it is made from. Give another name.")
    if path.suffix == ".safetensors":
        _check_types(path)


def _check_types(path: Path) -> None:
    """Refuse types that NumPy has not, such as bfloat16, with a message of their own."""
    try:
        with safe_open(path, framework="numpy") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return  # loading it will say more
    strange = [f"{name} ({dtype})" for name, dtype in types.items() if not re.fullmatch(NUMPY_TYPES, dtype)]
    if strange:
        raise ConvertError(
            f"{path}: NumPy cannot hold {', '.join(strange)}. Convert to float32 in the framework first, which "
            "is exact."
        )


def _save(out: Path, arrays: Arrays, target: Dialect) -> None:
    try:
        if out.suffix == ".safetensors":
            save_safetensors(out, arrays, {"dialect": target.name})
            return
        with replacing(out) as beside:
            np.savez(beside, **arrays)  # type: ignore[arg-type]
    except (OSError, SafetensorError) as error:
        raise ConvertError(f"{out}: cannot be written: {getattr(error, 'strerror', None) or error}.") from error

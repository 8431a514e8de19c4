"""The LSTM of a torch state dict, found by its names: for the files that hold one, in whatever format.

Of an LSTM with dropout of weights (AWD-LSTM) ``weight_hh_l0_raw`` is the trained array; ``weight_hh_l0`` beside it is
what the last training step drew from it, and is not used. Sources: PyTorch documentation, ``torch.nn.LSTM``, Variables;
fastai, ``fastai/text/models/awdlstm.py``, WeightDropout; salesforce/awd-lstm-lm, ``weight_drop.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.backends.given_model import read_lanes
from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.text import number
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import guess
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelError,
    StoredModel,
    gru_refusal,
    halves_of,
    listed,
    names_under,
    network,
    too_many,
)

RUNNER = "torch_lstm"

_GATE_ORDER = DIALECTS["torch"].gates
_LAYER = re.compile(r"(?P<prefix>.*?)weight_ih_l0")
_CELL = re.compile(r"(?P<prefix>.*?)weight_ih")
_RAW = re.compile(r"(?P<prefix>.*?)(?P<name>(weight|bias)_(ih|hh)_l\d+(_reverse)?)_raw")
_WRAPPED = "module."  # what a wrapper that drops weights calls the LSTM inside


@dataclass(frozen=True)
class FlatLSTM:
    """An ``aten::lstm`` of a program: its weights in the order of nn.LSTM's, and how it is called."""

    name: str
    parameters: Sequence[Array]
    bias: bool
    num_layers: int
    bidirectional: bool


def read_state_dict(
    arrays: Arrays, prefix: str, *, kind: str = "a state dict", metadata: Mapping[str, str] | None = None
) -> StoredModel:
    """Read the one LSTM of a state dict, or that whose names begin with the prefix.

    Raises:
        ModelError: If there is none, or there are several.
    """
    arrays, notes_by_prefix = _undropped(arrays)
    prefixes = _prefixes(arrays)
    lstms = [name for name in prefixes if _gates(arrays, name) == 4]  # noqa: PLR2004
    names = names_under(lstms, prefix)
    if len(names) > 1:
        raise too_many(names)
    if not names:
        raise ModelError(_no_lstm(arrays, prefixes, metadata or {}))
    prefix = names[0]
    cell = f"{prefix}weight_ih_l0" not in arrays
    lanes = [Lane(0, reverse=False)] if cell else _lanes(arrays, prefix)
    both = any(lane.reverse for lane in lanes)
    layers = range(1 + max(lane.layer for lane in lanes))
    directions = (False, True) if both else (False,)
    suffixes = [["" if cell else Lane(layer, reverse).suffix for reverse in directions] for layer in layers]
    rows = [[_arrays(arrays, prefix, suffix) for suffix in layer] for layer in suffixes]
    bias = any(name.startswith(f"{prefix}bias_ih") for name in arrays)
    what = f"{kind} of {'nn.LSTMCell' if cell else 'nn.LSTM'}{f', {prefix.removesuffix(chr(46))}' if prefix else ''}"
    return _stored(rows, what, bias=bias, notes=tuple(notes_by_prefix.get(prefix, ())))


def read_programs(found: Sequence[FlatLSTM], prefix: str, what: str) -> StoredModel:
    """Read the one ``aten::lstm`` of a program, or that whose name begins with the prefix.

    Raises:
        ModelError: If there are several, or its parameters are not those of an LSTM.
    """
    names = names_under([lstm.name for lstm in found], prefix)
    if len(names) > 1:
        raise too_many(names)
    lstm = next(lstm for lstm in found if lstm.name == names[0])
    directions = 2 if lstm.bidirectional else 1
    size, left = divmod(len(lstm.parameters), lstm.num_layers * directions)
    plain = 4 if lstm.bias else 2
    if left or size not in {plain, plain + 1}:
        raise ModelError(f"{lstm.name} has {len(lstm.parameters)} parameters, which are not those of an LSTM.")
    lanes = [
        LaneArrays(
            W, R, tuple(others[:2]) if lstm.bias else (), others[-1] if size > plain else None,
            names=("weight_ih", "weight_hh", "bias_ih"),
        )
        for W, R, *others in _batched(lstm.parameters, size)
    ]  # fmt: skip
    rows = _batched(lanes, directions)
    name = lstm.name.removesuffix(".")
    return _stored(rows, f"{what}{f', {name}' if name else ''}", bias=lstm.bias)


def _batched(values: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(values[k : k + size]) for k in range(0, len(values), size)]


def _stored(rows: Sequence[Sequence[LaneArrays]], what: str, *, bias: bool, notes: tuple[str, ...] = ()) -> StoredModel:
    weights, biases = read_lanes(rows, _GATE_ORDER)
    names = [f"layer {layer}" for layer in range(len(rows))]
    lstm, stack = network(weights, "bidirectional" if len(rows[0]) > 1 else "forward", names, bias=bias)
    return StoredModel(lstm, stack, what, gates=_GATE_ORDER, halves=halves_of(lstm, biases), notes=notes, runner=RUNNER)


def _undropped(arrays: Arrays) -> tuple[Arrays, dict[str, list[str]]]:
    """The arrays with the trained ones in the place of those drawn from them, and notes by prefix of an LSTM."""
    undropped, notes = dict(arrays), dict[str, list[str]]()
    for raw in arrays:
        match = _RAW.fullmatch(raw)
        if match is None:
            continue
        # A wrapper keeps the trained array, and has the LSTM inside.
        wrapped = f"{match['prefix']}{_WRAPPED}"
        prefix = wrapped if any(name.startswith(f"{wrapped}weight_ih") for name in arrays) else match["prefix"]
        plain = prefix + match["name"]
        stale = undropped.pop(plain, None)
        undropped[plain] = undropped.pop(raw)
        notes.setdefault(prefix, []).append(
            f"{raw} is used: its weights are dropped in training{_staleness(plain, stale, arrays[raw])}"
        )
    return undropped, notes


def _staleness(name: str, stale: Array | None, raw: Array) -> str:
    if stale is None:
        return ""
    if stale.shape != raw.shape:
        return f"; {name} beside it, of shape {stale.shape}, is not"
    distance = np.abs(stale.astype(np.float64) - raw.astype(np.float64))
    count = int(np.count_nonzero(distance))
    if not count:
        return f"; {name} beside it holds the same numbers"
    return (
        f"; {name} beside it is stale, what one training step drew: {count} of {raw.size} numbers differ, by "
        f"{number(float(distance.max()))} at most"
    )


def _prefixes(arrays: Arrays) -> list[str]:
    """What the names of each recurrent module begin with."""
    layers = [match["prefix"] for name in arrays if (match := _LAYER.fullmatch(name))]
    cells = [match["prefix"] for name in arrays if (match := _CELL.fullmatch(name))]
    return sorted({*layers, *cells})


def _gates(arrays: Arrays, prefix: str) -> int:
    """Count a module's gates: rows of its kernel over its units; 4 where that cannot be told, or does not come out."""
    ending = "_l0" if f"{prefix}weight_ih_l0" in arrays else ""
    W, R, P = (arrays.get(f"{prefix}weight_{name}{ending}") for name in ("ih", "hh", "hr"))
    if W is None or R is None or P is not None or W.ndim != 2 or R.ndim != 2 or not R.shape[1]:  # noqa: PLR2004
        return 4
    # Three gates are those of a GRU, one is a plain RNN.
    return {3: 3, 1: 1}.get(len(R) / R.shape[1], 4)  # type: ignore[call-overload]


def _lanes(arrays: Arrays, prefix: str) -> list[Lane]:
    pattern = re.compile(re.escape(prefix) + r"weight_ih_l(?P<layer>\d+)(?P<reverse>_reverse)?")
    matches = (pattern.fullmatch(name) for name in arrays)
    return sorted(Lane(int(match["layer"]), match["reverse"] is not None) for match in matches if match)


def _arrays(arrays: Arrays, prefix: str, suffix: str) -> LaneArrays:
    names = tuple(f"{prefix}{name}{suffix}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    biased = [name for name in names[2:] if name in arrays]
    missing = [name for name in names[:2] if name not in arrays] or (
        [] if len(biased) != 1 else sorted({*names[2:]} - {*biased})
    )
    if missing:
        raise ModelError(f"{', '.join(missing)} missing: an nn.LSTM has {', '.join(names)}.")
    return LaneArrays(
        arrays[names[0]], arrays[names[1]], tuple(arrays[name] for name in biased),
        arrays.get(f"{prefix}weight_hr{suffix}"), names=(names[0], names[1], names[2]),
    )  # fmt: skip


def _no_lstm(arrays: Arrays, others: list[str], metadata: Mapping[str, str]) -> str:
    if others:
        where = others[0].removesuffix(".") or "it"
        if _gates(arrays, others[0]) == 3:  # noqa: PLR2004
            return gru_refusal(where, "torch's is of the first kind")
        return f"{where} is a plain RNN: it has no gates where an LSTM has four, and cannot be compared with one."
    dialect = metadata.get("dialect") or getattr(guess(arrays), "name", None)
    if dialect in DIALECTS and dialect != "torch":
        return (
            f"it looks like {dialect}, and a state dict of torch is asked for: "
            f"lockstep convert IN OUT --from {dialect} --to torch."
        )
    names = listed(sorted(arrays)) or "nothing"
    return f"there is no LSTM in it: no name ends in weight_ih_l0, as one of nn.LSTM does. It holds {names}."

"""A torch state dict in a .safetensors file: the weights of one ``nn.LSTM`` or ``nn.LSTMCell``, among perhaps more.

It holds weights and no settings: ``nn.LSTM``'s are taken, which has none beside its sizes. Reading it takes no
framework; ``torch_lstm`` runs it. Source: PyTorch documentation, ``torch.nn.LSTM``, Variables.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lockstep.backends.given_model import given_model, read_lanes, refused_by_runner, run_by_runner
from lockstep.backends.refusals import joined
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.arrays import Arrays
from lockstep.harness.cases.array_file import load_safetensors
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import Lane
from lockstep.harness.errors import ConvertError
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import guess
from lockstep.harness.weights.model_file import (
    LaneArrays,
    ModelError,
    ModelFile,
    StoredModel,
    halves_of,
    listed,
    names_under,
    network,
    too_many,
    unfit_reason,
)

DIALECT = "torch"
RUNNER = "torch_lstm"

GATE_ORDER = DIALECTS["torch"].gates
_LAYER = re.compile(r"(?P<prefix>.*?)weight_ih_l0")
_CELL = re.compile(r"(?P<prefix>.*?)weight_ih")


def read(file: ModelFile, value: Any) -> StoredModel:
    """Read the one LSTM that a state dict holds, or that whose names begin with the prefix.

    Raises:
        ModelError: If there is none, or there are several.
    """
    try:
        arrays, metadata = load_safetensors(Path(file.path), ConvertError)
    except ConvertError as error:
        raise ModelError(str(error).removeprefix(f"{file.path}: ")) from error
    prefixes = _prefixes(arrays)
    lstms = [prefix for prefix in prefixes if _gates(arrays, prefix) == 4]  # noqa: PLR2004
    names = names_under(lstms, file.prefix)
    if len(names) > 1:
        raise too_many(names)
    if not names:
        raise ModelError(_no_lstm(arrays, prefixes, metadata))
    prefix = names[0]
    cell = f"{prefix}weight_ih_l0" not in arrays
    lanes = [Lane(0, reverse=False)] if cell else _lanes(arrays, prefix)
    both = any(lane.reverse for lane in lanes)
    layers = range(1 + max(lane.layer for lane in lanes))
    directions = (False, True) if both else (False,)
    suffixes = [["" if cell else Lane(layer, reverse).suffix for reverse in directions] for layer in layers]
    rows, biases = read_lanes([[_arrays(arrays, prefix, suffix) for suffix in layer] for layer in suffixes], GATE_ORDER)
    bias = any(name.startswith(f"{prefix}bias_ih") for name in arrays)
    lstm, stack = network(
        rows, "bidirectional" if both else "forward", [f"layer {layer}" for layer in layers], bias=bias
    )
    kind = "nn.LSTMCell" if cell else "nn.LSTM"
    what = f"a state dict of {kind}{f', {prefix.removesuffix(chr(46))}' if prefix else ''}"
    return StoredModel(lstm, stack, what, gates=GATE_ORDER, halves=halves_of(lstm, biases), runner=RUNNER)


def unsupported(case: Case) -> str | None:
    """Why ``case`` cannot be run with the file's weights; None if it can."""
    model = given_model(read)
    return joined(unfit_reason(model, case), refused_by_runner(model, case))


def run(problem: Problem) -> Trace:
    """Run ``torch_lstm`` on the data of ``problem``, with the file's weights."""
    return run_by_runner(given_model(read), problem)


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


def _no_lstm(arrays: Arrays, others: list[str], metadata: dict[str, str]) -> str:
    if others:
        first = others[0]
        kind = "GRU" if _gates(arrays, first) == 3 else "plain RNN"  # noqa: PLR2004
        return (
            f"{first.removesuffix('.') or 'it'} is a {kind}: it has {'three gates' if kind == 'GRU' else 'no gates'} "
            "where an LSTM has four, and cannot be compared with one."
        )
    dialect = metadata.get("dialect") or getattr(guess(arrays), "name", None)
    if dialect in DIALECTS and dialect != "torch":
        return (
            f"it looks like {dialect}, and a state dict of torch is asked for: "
            f"lockstep convert IN OUT --from {dialect} --to torch."
        )
    names = listed(sorted(arrays)) or "nothing"
    return f"there is no LSTM in it: no name ends in weight_ih_l0, as one of nn.LSTM does. It holds {names}."

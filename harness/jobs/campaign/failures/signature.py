"""Signatures: what failures have in common that are one finding."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.tensors import kind_of
from lockstep.harness.comparison.results import RunResult, TensorResult

MOST_OF_MESSAGE = 160  # characters that tell one message from another


class Signature(NamedTuple):
    """What a failure has in common with others, before anybody has looked for its cause."""

    backend: str
    status: str
    tensor: str  # the first that is wrong, whichever its lane; nothing where there are no numbers
    place: str  # the kind of place where; of what gave no numbers its message


def joined(parts: Iterable[str]) -> str:
    """A signature as one line."""
    return " | ".join(parts)


def signature_of(result: RunResult, case: Case) -> Signature:
    """The signature of a run that diverged, failed or died."""
    first = result.first_divergence
    if result.status != "diverge" or first is None:
        return Signature(result.backend, result.status, "", _message(result))
    tensor = result.tensors.get(first.tensor)
    place = "somewhere" if tensor is None else _place(first.tensor, tensor, case)
    return Signature(result.backend, result.status, kind_of(first.tensor), place)


def _message(result: RunResult) -> str:
    """The first line of a message without what differs from case to case: numbers, addresses, paths."""
    line = next(iter((result.message or "").splitlines()), "")
    line = re.sub(r"0x[0-9a-fA-F]+|(?:/[\w.+-]+){2,}", "...", line)
    return re.sub(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", "N", line)[:MOST_OF_MESSAGE].strip()


def _place(name: str, tensor: TensorResult, case: Case) -> str:
    """The kind of place where a tensor is wrong first: of which lanes, and when in their course."""
    where = tensor.first_divergence or tensor.worst
    words = []
    if tensor.layer:
        words.append("upper layer")
    if tensor.reverse:
        words.append("reverse")
    if not math.isfinite(where.observed) and math.isfinite(where.expected):
        words.append("not a number" if math.isnan(where.observed) else "infinite")
    words.append(_time(name, tensor, case))
    return ", ".join(words)


def _time(name: str, tensor: TensorResult, case: Case) -> str:
    where = tensor.first_divergence or tensor.worst
    if kind_of(name).startswith("d"):
        return "gradient"
    if kind_of(name).endswith("_n") or len(where.at) < 3:  # noqa: PLR2004 (timestep, sequence, unit)
        return "final"
    t, sequence = where.at[:2]
    if case.model != "lstm":
        return "first step" if t == 0 else "later step"
    length = case.run.timesteps if case.run.lengths is None else case.run.lengths[sequence]
    if t >= length:
        return "past a sequence's end"
    if case.run.resets is not None and t in case.run.resets[sequence]:
        return "where a state starts anew"
    return "first step" if t == (length - 1 if tensor.reverse else 0) else "later step"

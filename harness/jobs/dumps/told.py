"""What was taken for what, in lines for the user."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from lockstep.harness.jobs.dumps.stored_network import UNNAMED
from lockstep.harness.jobs.models import network_text
from lockstep.harness.text import names_text, number

if TYPE_CHECKING:
    from lockstep.harness.jobs.dumps.dump_file import DumpFile
    from lockstep.harness.jobs.dumps.dumped_run import Interpretation

_MOST_NAMES = 8  # in a line
_LONGEST = 100  # characters of a case's name


def case_name(text: str) -> str:
    """A name as a case may have it."""
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).lstrip("_.+-")[:_LONGEST]
    return plain or "dump"


def lines_of(file: DumpFile, chosen: Sequence[Interpretation], why: Sequence[str]) -> list[str]:
    """What the arrays of a file were taken for, what stands in for what is missing, and what was not read."""
    first = chosen[0]
    lines = [f"{file.path.name}: {_weights_text(first)}.", *(f"  {note}." for note in file.notes)]
    told: set[str] = set()
    for interpretation, reason in zip(chosen, why, strict=True):
        # Runs of one file are mostly alike: what was told of the first is not told again.
        of_run = [*_taken(interpretation), *([reason] if reason else [])]
        new = [line for line in of_run if line not in told]
        where = f"{interpretation.problem.case.name}: " if len(chosen) > 1 and new else ""
        lines += [f"  {where}{line}." for line in new]
        told |= {*new}
    unread = names_text([*first.run.unread, *file.left_out], _MOST_NAMES)
    reasons = "".join(f"; {name}: {reason}" for name, reason in file.left_out.items())
    return [*lines, *([f"  Not read: {unread}{reasons}."] if unread else [])]


def _weights_text(interpretation: Interpretation) -> str:
    """What the weights are, in how they were recognised."""
    layers, lstm = interpretation.network.layers, interpretation.network.model.lstm
    dialect = layers.dialect
    constant = f", {number(dialect.forget_bias)} added to the forget gate at run time" if dialect.forget_bias else ""
    if "weights" in interpretation.run.lent:
        return f"weights are those of {interpretation.run.lender}"
    if dialect.name != UNNAMED:
        prefix = _prefix(layers.used)
        under = f' under "{prefix}"' if prefix else ""
        return f"weights as in {dialect.title}{under}: {network_text(lstm)}{constant}"
    by_gate = len(dialect.input_kernel) > 1
    kinds = {"W": dialect.input_kernel, "R": dialect.recurrent_kernel, "b": dialect.bias}
    if dialect.fused:
        first = ", h first" if layers.state_first else ""
        kinds = {f"W and R side by side{first}": dialect.input_kernel, "b": dialect.bias}
    of_first = layers.names[0][0]
    taken = ", ".join(
        f"{names_text([of_first[name] for name in names], _MOST_NAMES)} for {kind}"
        for kind, names in kinds.items()
        if names
    )
    order = "" if by_gate else f", gates in the order {', '.join(dialect.gates)}"
    turned = ", transposed" if dialect.transposed else ""
    return f"weights by their {'names' if by_gate else 'shapes'}: {taken}{turned}{order}{constant}"


def _prefix(names: Sequence[str]) -> str:
    """What the names of all weights begin with, up to a mark."""
    parts = [re.split(r"(?<=[/.])", name)[:-1] for name in names]
    return "".join(alike[0] for alike in takewhile(lambda alike: len({*alike}) == 1, zip(*parts, strict=False)))


def _taken(interpretation: Interpretation) -> list[str]:
    run, axes = interpretation.run, interpretation.axes
    lines = []
    inputs = [role for role in run.lent if role != "weights"]
    if inputs:
        lines.append(f"{' and '.join(inputs)} of {run.lender}")
    for role, array in run.arrays.items():
        if role in inputs:
            continue
        way = f", {axes.order}" if role == "x" else ""
        if role in {"h_seq", "c_seq"} and axes.outputs_turned:
            way = f", {'time' if axes.order == 'batch first' else 'batch'} first"
        if role not in interpretation.problem.arrays() and not _is_traced(role, interpretation):
            continue
        name, final = run.names[role], role.replace("_seq", "_n")
        # An output without time is the final state.
        what = final if final in interpretation.trace.arrays and role[0] not in interpretation.trace.arrays else role
        lines.append(f"{name} {array.shape}{f' taken for {what}' if name != what else ''}{way}")
    missing = [name for name in ("h0", "c0") if not any(role.startswith(name) for role in run.arrays)]
    if missing:
        lines.append(f"no {' and no '.join(missing)}: {'they are' if len(missing) > 1 else 'it is'} taken to be zeros")
    if interpretation.problem.case.run.gradients:
        absent = [name for name in ("dh", "dc") if name not in run.arrays]
        lines += [f"no {name}: it is taken to be zeros" for name in absent]
    return lines


def _is_traced(role: str, interpretation: Interpretation) -> bool:
    name = role.replace("_seq", "")
    final = {"h": "h_n", "c": "c_n"}.get(name, name)
    return any(key.startswith((name, final)) for key in interpretation.trace.arrays)

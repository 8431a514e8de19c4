"""Why a backend refuses a case: the reasons that several backends have in common, and how they are put together."""

from __future__ import annotations

import shutil

from lockstep.harness.cases.case import LSTM


def of(reasons: dict[str, bool], *, first: str | None = None) -> str | None:
    """Those of the reasons that hold, behind a refusal that is there already; None if there is nothing to refuse."""
    return joined(first, *(reason for reason, holds in reasons.items() if holds))


def joined(*refused: str | None) -> str | None:
    """Several refusals as one; None if there is none."""
    return "; ".join(filter(None, refused)) or None


def plain_cell(lstm: LSTM, name: str, *, projection: bool = False) -> dict[str, bool]:
    """What a cell of standard equations and fixed activations lacks, which perhaps has a projection."""
    return {
        f"{name} has no projection": bool(lstm.proj_size) and not projection,
        f"{name} has no peepholes": lstm.peephole,
        f"{name} does not clip the cell state": lstm.cell_clip is not None,
        f"{name} does not couple its forget gate to its input gate": lstm.input_forget,
        f"{name} has sigmoid gates, and tanh for the candidate and the cell state": not standard_activations(lstm),
    }


def side_by_side(lstm: LSTM, name: str) -> dict[str, bool]:
    """What a layer lacks that gives both directions side by side."""
    return {f'{name} does not merge its directions (merge_mode = "{lstm.merge_mode}")': lstm.merged}


def standard_activations(lstm: LSTM) -> bool:
    """Whether gates are sigmoids, candidate and cell state tanh."""
    return (lstm.recurrent_activation, lstm.activation, lstm.cell_activation) == ("sigmoid", "tanh", "tanh")


def no_compiler(name: str) -> dict[str, bool]:
    """What is missing where what compiles by itself finds no compiler."""
    missing = not any(map(shutil.which, ("g++", "clang++", "c++")))
    return {f"{name} needs a C++ compiler, and neither g++ nor clang++ is on the PATH": missing}

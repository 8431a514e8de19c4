"""The file of an answer, which a program writes: read as what a port returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.cases.array_file import load_safetensors
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.tensors import lanes, name_of
from lockstep.harness.errors import TraceError
from lockstep.harness.ports.outputs import WEIGHTS, ByLane, Returned, read_returned


def read_answer(path: Path, case: Case) -> Returned:
    """Read the answer to a problem of a case.

    Raises:
        UserCodeError: If it is no safetensors file, or does not hold what the case asks for.
    """
    try:
        arrays: dict[str, Any] = dict(load_safetensors(path)[0])
    except TraceError as error:
        text = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise UserCodeError(f"its answer {text.replace('not a', 'is not a', 1)}") from error
    if not case.lstm.single:
        for name in WEIGHTS:
            if name in arrays:
                names = ", ".join(name_of(name, lane, case.lstm) for lane in lanes(case.lstm))
                raise UserCodeError(f"its answer holds {name}, which in this network is one of {names}")
            of_lanes = ((lane, arrays.pop(name_of(name, lane, case.lstm), None)) for lane in lanes(case.lstm))
            by_lane = ByLane({lane: array for lane, array in of_lanes if array is not None})
            arrays |= {name: by_lane} if by_lane else {}
    return read_returned(arrays, case)

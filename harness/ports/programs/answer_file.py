"""The file of an answer, which a program writes: read as what a port returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.cases.array_file import load_safetensors
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.tensors import lanes, name_of
from lockstep.harness.errors import TraceError
from lockstep.harness.ports.arguments import network_weights_in
from lockstep.harness.ports.outputs import WEIGHTS, ByLane, Returned, read_returned
from lockstep.harness.ports.programs.weight_names import flat_names, in_form, weight_names
from lockstep.harness.weights.dialects import CANONICAL


def read_answer(path: Path, problem: AnyProblem, layout: str) -> Returned:
    """Read the answer to a problem whose weights were written in a layout.

    Raises:
        UserCodeError: If it is no safetensors file, or does not hold what the case asks for.
    """
    try:
        arrays: dict[str, Any] = dict(load_safetensors(path)[0])
    except TraceError as error:
        text = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise UserCodeError(f"its answer {text.replace('not a', 'is not a', 1)}") from error
    case = problem.case
    if layout == CANONICAL.name:
        arrays = _with_lanes(arrays, case)
    elif isinstance(problem, Problem):
        names = weight_names(network_weights_in(problem, layout), case.lstm)
        given = {name: arrays.pop(name) for name in list(arrays) if name in flat_names(names)}
        arrays |= {"weights": in_form(given, names)} if given else {}
    return read_returned(arrays, case, layout)


def _with_lanes(arrays: dict[str, Any], case: Case) -> dict[str, Any]:
    """The arrays of an answer, gradients of weights put together of which each lane has its own."""
    if case.lstm.single:
        return arrays
    by_name = dict(arrays)
    for name in WEIGHTS:
        names = {lane: name_of(name, lane, case.lstm) for lane in lanes(case.lstm)}
        if name in by_name:
            raise UserCodeError(f"its answer holds {name}, which in this network is one of {', '.join(names.values())}")
        by_lane = ByLane({lane: by_name.pop(full) for lane, full in names.items() if full in by_name})
        by_name |= {name: by_lane} if by_lane else {}
    return by_name

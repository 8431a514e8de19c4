"""Problems and answers in another dtype than their case's: for what computes in one of its own, whatever it is given.

Most implementations compute in float32. Given a float64 case they are right to float32's rounding, which is judged as
if the case were a float32 one: its numbers rounded, its noise float32's.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from msgspec.structs import replace as with_fields

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import VALUE_KEYS, Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.problem import NamedArrays, dtype_of


def in_dtype(problem: AnyProblem, dtype: str) -> AnyProblem:
    """The problem with its numbers rounded to a dtype; golden values, which are of its own dtype, are left out."""
    old = dtype_of(problem.case.run.dtype)

    def cast(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.astype(dtype_of(dtype)) if value.dtype == old else value
        if isinstance(value, NamedArrays):
            return type(value)(**{name: cast(array) for name, array in value.arrays().items()})
        return tuple(map(cast, value)) if isinstance(value, tuple) else value

    case = problem.case
    case = with_fields(case, run=with_fields(case.run, dtype=dtype), expect=None)
    values = {field.name: cast(getattr(problem, field.name)) for field in fields(problem) if field.name != "case"}
    return type(problem)(case, **values)


def allows_float32(case: Case) -> bool:
    """Whether a case in float64 can be judged in float32: its numbers are drawn, and nothing but rounding limits it."""
    drawn = all(case.run.values(key).file is None for key in VALUE_KEYS)
    return case.run.dtype == "float64" and case.tolerance is None and drawn


def computed_in_float32(trace: Trace) -> bool:
    """Whether every number is one of float32; those of float64 mostly are not, wherever it was narrowed on the way."""
    with np.errstate(all="ignore"):
        return all(np.array_equal(array, array.astype(np.float32), equal_nan=True) for array in trace.arrays.values())


def as_float32(outcome: Outcome) -> Outcome:
    """An outcome with its numbers in float32, and nothing to note of that."""
    if outcome.trace is None:
        return outcome
    arrays = {name: array.astype(np.float32) for name, array in outcome.trace.arrays.items()}
    notes = tuple(note for note in outcome.notes if note not in outcome.conversions)
    return replace(outcome, value=outcome.trace.replaced(**arrays), notes=notes, conversions=())

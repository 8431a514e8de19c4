"""Two dumps of the same runs: which is right, each by the reference, and where they part from each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.comparison.compare import limit_for
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.errors import DumpError, LockstepError
from lockstep.harness.jobs.dumps.dumped_run import Interpretation
from lockstep.harness.jobs.dumps.explain_dump import DumpRequest, Explained, explain_dump
from lockstep.harness.jobs.judge_run import difference
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.weights.differences import difference_lines, misfit, weight_differences


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """How far apart two dumps of a run are; ``difference`` is judged as if the second's numbers were expected."""

    case: str
    difference: RunResult | None  # None where they are of other inputs or weights, which ``other`` tells
    other: list[str] = []


@dataclass(frozen=True)
class Both:
    """Two dumps, each judged, and how they part."""

    ours: Explained
    theirs: Explained
    partings: list[Parting]

    def facts(self) -> list[Any]:
        """How they part, for JSON."""
        return msgspec.to_builtins(self.partings)

    @property
    def verdict(self) -> str:
        """Which of the two is right, in a sentence."""
        names = [self.ours.file.path.name, self.theirs.file.path.name]
        right = [all(run.status == "agree" for run in side.runs) for side in (self.ours, self.theirs)]
        if all(right):
            return f"Both are right: {names[0]} and {names[1]} agree with the reference."
        if not any(right):
            return f"Neither is right: {names[0]} and {names[1]} both leave the reference."
        good, bad = names if right[0] else names[::-1]
        return f"{good} is right, and {bad} is not: it leaves the reference."


def explain_against(ours: Path, theirs: Path, asked: DumpRequest) -> Both:
    """Judge two dumps; what the second lacks of weights and inputs is the first's.

    Raises:
        DumpError: If one cannot be read, or they hold other runs.
    """
    first = explain_dump(ours, asked)
    second = explain_dump(theirs, asked, lent=first)
    if len(first.chosen) != len(second.chosen):
        raise DumpError(f"{ours} holds {len(first.chosen)} runs, and {theirs} {len(second.chosen)}.")
    # Both in the same dtype and by the same names, or no table has them side by side.
    names = [way.problem.case.name for way in first.chosen]
    runs = [replace(run, case=name) for run, name in zip(second.runs, names, strict=True)]
    second = Explained(second.file, second.chosen, runs, second.lines)
    partings = [_parting(a, b, asked) for a, b in zip(first.chosen, second.chosen, strict=True)]
    return Both(first, second, partings)


def _parting(ours: Interpretation, theirs: Interpretation, asked: DumpRequest) -> Parting:
    case = ours.problem.case
    others = _other_numbers(ours, theirs)
    if others:
        return Parting(case=case.name, difference=None, other=others)
    dtype = ours.problem.x.dtype
    arrays = {name: array.astype(dtype) for name, array in theirs.trace.arrays.items()}
    problems = Problems()
    problems.put(ours.problem)
    limit = limit_for(case, asked.limit)
    try:
        apart = difference(case, ours.trace, Trace().replaced(**arrays), problems.expected(case), limit)
    except LockstepError as error:
        return Parting(case=case.name, difference=None, other=[str(error)])
    return Parting(case=case.name, difference=replace(apart, backend=theirs.run.path.name))


def _other_numbers(ours: Interpretation, theirs: Interpretation) -> list[str]:
    """In which weights and inputs two dumps differ, in words."""
    first, second = ours.run.path.name, theirs.run.path.name
    sizes = misfit(theirs.network.model, ours.network.model)
    if sizes is not None:
        return [f"their networks differ: {sizes}"]
    lines = []
    if theirs.network is not ours.network:
        by_tensor = weight_differences(theirs.network.model, ours.network.model)
        if by_tensor:
            lines = difference_lines(by_tensor, [], len(ours.network.model.arrays()), second, first)
            lines[0] = f"the weights of {second} are others: {lines[0]}"
    inputs = [
        name for name, array in ours.problem.arrays().items()
        if name in ours.problem.INPUTS and not _alike(array, theirs.problem.arrays().get(name))
    ]  # fmt: skip
    return [*lines, *([f"the inputs of {second} are others: {', '.join(inputs)}"] if inputs else [])]


def _alike(first: np.ndarray, second: np.ndarray | None) -> bool:
    """Whether two arrays hold the same numbers, to the precision of the narrower."""
    if second is None or first.shape != second.shape:
        return False
    narrow = min(first.dtype, second.dtype, key=lambda dtype: dtype.itemsize)
    return np.array_equal(first.astype(narrow), second.astype(narrow))

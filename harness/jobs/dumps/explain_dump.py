"""Judge and explain the runs of a dump: what was recorded, by the reference, as a port's answer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace as with_fields
from threadpoolctl import threadpool_limits

from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.trace import Trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.tensors import PER_TIMESTEP, kind_of
from lockstep.harness.comparison.results import Limit, RunResult
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.errors import DumpError
from lockstep.harness.jobs.dumps.contents import dumped_runs
from lockstep.harness.jobs.dumps.dump_file import DumpFile, read_dump
from lockstep.harness.jobs.dumps.dumped_run import DumpedRun, Interpretation
from lockstep.harness.jobs.dumps.told import lines_of
from lockstep.harness.jobs.judge_run import MOST_KEPT, Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.text import grouped
from lockstep.harness.weights.dialects import DIALECTS

MOST_EXPLAINED = 3  # ways to read a run of which each is looked into, where none agrees
SAMPLE_SEQUENCES, SAMPLE_TIMESTEPS = 2, 10  # by which large runs are looked into first


@dataclass(frozen=True)
class DumpRequest:
    """How a file is to be read, and judged."""

    layout: str | None = None
    names: str | None = None
    limit: float | Limit | None = None
    details: bool = False


@dataclass(frozen=True)
class Explained:
    """A file's runs, judged; what they were taken for."""

    file: DumpFile
    chosen: list[Interpretation]
    runs: list[RunResult]
    lines: list[str]

    @property
    def cases(self) -> list[Case]:
        """The cases of its runs."""
        return [chosen.problem.case for chosen in self.chosen]

    def facts(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"file": str(self.file.path), "taken": self.lines}


def explain_dump(path: Path, asked: DumpRequest, lent: Explained | None = None) -> Explained:
    """Judge a dump's outputs by the reference, and explain those that diverge.

    ``lent``: another dump of the same runs, whose weights and inputs stand in for those that this one lacks.

    Raises:
        DumpError: If it cannot be read as inputs, weights and outputs of an LSTM.
    """
    file = read_dump(path)
    with threadpool_limits(THREADS):  # the reference's matrices are small: threads cost more than they give
        try:
            runs = dumped_runs(file, asked.layout, asked.names, () if lent is None else lent.chosen)
            chosen = _choices(runs, asked.limit)
        except DumpError as error:
            raise DumpError(f"{path}: {error}") from error
        ways = [choice.way for choice in chosen]
        judged = _judged(ways, asked)
    return Explained(file, ways, judged, lines_of(file, ways, [choice.why for choice in chosen]))


# -- which way to read it -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Choice:
    """The way in which a run is read, and why that one where there are several."""

    way: Interpretation
    why: str = ""


def _choices(runs: Sequence[DumpedRun], limit: float | Limit | None) -> list[_Choice]:
    """The way to read each run: the first that agrees; of those where none does that of the runs that agree."""
    ways = [_ways(run) for run in runs]
    agreeing = [_agreeing(of_run, limit) for of_run in ways]
    known = next((choice.way for choice in agreeing if choice is not None), None)
    return [choice or _explained(_alike(of_run, known), limit) for choice, of_run in zip(agreeing, ways, strict=True)]


def _agreeing(ways: Sequence[Interpretation], limit: float | Limit | None) -> _Choice | None:
    """The first way in which a run agrees; None where there is none, or nothing to choose."""
    if len(ways) == 1:
        return _Choice(ways[0])
    way = next((way for way in ways if _agrees(way, limit)), None)
    return None if way is None else _Choice(way, f"{_open_questions(ways)} told by the outputs, which fit so")


def _alike(ways: Sequence[Interpretation], known: Interpretation | None) -> Sequence[Interpretation]:
    """Those ways to read a run in which another one is read; all where there are none."""
    if known is None:
        return ways
    alike = [way for way in ways if way.network.layers == known.network.layers and way.axes.order == known.axes.order]
    return alike or ways


def _explained(ways: Sequence[Interpretation], limit: float | Limit | None) -> _Choice:
    """The first way in which a known mistake explains a run; else the likeliest."""
    likeliest = [of_axes[0] for of_axes in grouped(ways, lambda way: way.axes).values()][:MOST_EXPLAINED]
    if len(ways) == 1:
        return _Choice(ways[0])
    questions = _open_questions(ways)
    # One mistake is likelier than two of which one undoes what was read wrongly.
    for pairs in (False, True) if len(likeliest) > 1 else ():
        for way in likeliest:
            diagnosis = _judged([_sample(way) or way], DumpRequest(limit=limit), pairs=pairs)[0].diagnosis
            if diagnosis and diagnosis[0].fault != UNEXPLAINED:
                why = f"{questions} told by nothing but the outputs, which a known mistake explains so"
                return _Choice(way, why)
    return _Choice(ways[0], f"{questions} told by nothing: the likeliest is taken")


def _ways(run: DumpedRun) -> list[Interpretation]:
    """All ways to read a run, the likeliest first; a DumpError if there is none."""
    ways, errors = [], []
    for network in run.networks:
        try:
            ways += run.interpretations(network)
        except DumpError as error:
            errors.append(error)
    if not ways:
        raise errors[0]
    return ways


def _open_questions(ways: Sequence[Interpretation]) -> str:
    """What differs between ways to read a run, in words."""
    questions = {
        "which axis is time": len({(way.axes.order, way.axes.outputs_turned) for way in ways}) > 1,
        "the order of the gates": len({way.network.layers.dialect.gates for way in ways}) > 1,
        "whether x or h comes first": len({way.network.layers.state_first for way in ways}) > 1,
        "whether kernels are transposed": len({way.network.layers.dialect.transposed for way in ways}) > 1,
        "a forget bias": len({way.network.layers.dialect.forget_bias for way in ways}) > 1,
    }
    asked = [question for question, is_open in questions.items() if is_open]
    text = f"{', '.join(asked[:-1])} and {asked[-1]} are" if len(asked) > 1 else f"{asked[0]} is"
    return f"{text[0].upper()}{text[1:]}"


def _agrees(way: Interpretation, limit: float | Limit | None) -> bool:
    """Whether the outputs are what is expected when they are read so; by a few sequences first."""
    sample = _sample(way)
    return all(_judge(part, limit).status == "agree" for part in ([sample, way] if sample else [way]))


def _sample(way: Interpretation) -> Interpretation | None:
    """The first timesteps of the first sequences of a run alone, by which causes are found; None of a small run.

    Gradients are sums over all, and the reverse direction begins at the end.
    """
    problem, run = way.problem, way.problem.case.run
    small = sum(array.size for array in way.trace.arrays.values()) <= MOST_KEPT
    if small or run.gradients or any(problem.case.lstm.directions):
        return None
    T, count = min(run.timesteps, SAMPLE_TIMESTEPS), min(run.batch, SAMPLE_SEQUENCES)
    lengths = problem.lengths if problem.lengths is None else np.minimum(problem.lengths[:count], T)
    ends = None if lengths is None else tuple(int(n) for n in lengths)
    case = with_fields(problem.case, run=with_fields(run, timesteps=T, batch=count, lengths=ends))
    # The batch is the last axis but one of every array.
    few = {name: np.ascontiguousarray(array[..., :count, :]) for name, array in way.trace.arrays.items()}
    timed = {name: array[:T] for name, array in few.items() if kind_of(name) in PER_TIMESTEP}
    states = {} if run.timesteps > T else {name: array for name, array in few.items() if name not in timed}
    if not timed and not states:
        return None
    part = replace(
        problem, case=case, x=problem.x[:T, :count], h0=problem.h0[..., :count, :], c0=problem.c0[..., :count, :],
        lengths=lengths,
    )  # fmt: skip
    return replace(way, problem=part, trace=Trace().replaced(**timed, **states))


def _judge(way: Interpretation, limit: float | Limit | None) -> RunResult:
    problems = Problems()
    problems.put(way.problem)
    return Judge(problems, limit).judge_trace(way.problem.case, way.run.path.name, way.trace)


def _judged(ways: Sequence[Interpretation], asked: DumpRequest, *, pairs: bool = True) -> list[RunResult]:
    """The results of runs, with the causes of those that diverge."""
    problems = Problems()
    judge = Judge(problems, asked.limit, details=asked.details)
    runs = []
    for way in ways:
        problems.put(way.problem)
        result = judge.judge_trace(way.problem.case, way.run.path.name, way.trace)
        judge.keep(way.problem.case, way.trace, result)
        sample = _sample(way) if result.status == "diverge" else None
        if sample is not None:  # what explains it is found in less time, and must reproduce the whole
            problems.put(sample.problem)
            judge.keep(sample.problem.case, sample.trace, result)
        runs.append(with_fields(result, notes=[*result.notes, *way.notes]))
    return judge.explain(runs, pairs=pairs, layout=_layout_of(ways[0]))


def _layout_of(way: Interpretation) -> str:
    """In whose terms mistakes are told: those of a framework, where names are a framework's."""
    name = way.network.layers.dialect.name
    return name if name in DIALECTS else "canonical"

"""Two recordings of the same cases and backends, held against each other: two versions of a framework, say.

The distance between two traces is told in the same sigma as anywhere else, that of the reference's noise: two
healthy implementations lie some one or two of them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace
from threadpoolctl import threadpool_limits

from lockstep.harness.adapters.backend_process import THREADS
from lockstep.harness.adapters.trace import Recorded, check_same_problem, load_trace
from lockstep.harness.comparison.compare import limit_for
from lockstep.harness.comparison.results import Limit, RunResult
from lockstep.harness.errors import LockstepError, TraceError
from lockstep.harness.jobs.judge_run import as_known, difference
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.jobs.record import judge_files

# Two recordings that are wrong are wrong alike if they are this much closer to each other than to what is right.
ALIKE = 1e-3

Versions = dict[str, str]


class Pair(Struct, frozen=True, kw_only=True):
    """One case of one backend, recorded twice.

    ``difference`` is judged as if the second recording's numbers were what is expected. "wrong alike": beyond the
    limit, but both leave the reference, at one place and next to each other; the noise is that of other numbers then.
    """

    case: str
    backend: str
    verdict: Literal["agree", "diverge", "wrong alike"]
    same_bits: bool
    versions: tuple[Versions, Versions]
    difference: RunResult
    reference: tuple[RunResult, RunResult] | None = None  # both against the reference, where they diverge

    @property
    def sigma(self) -> float:
        """The largest difference in sigma of the reference's noise."""
        return largest(self.difference, "sigma")

    @property
    def ulp(self) -> float:
        """The largest difference in floats."""
        return largest(self.difference, "ulp")


def largest(run: RunResult, measure: Literal["sigma", "ulp", "abs"]) -> float:
    """The largest difference of a run by a measure, of all its tensors."""
    return max((getattr(tensor.worst, measure) for tensor in run.tensors.values()), default=0.0)


class Pairs(Struct, frozen=True, kw_only=True):
    """What two recordings come to; ``alone`` are the cases and backends that only one of them has."""

    format: Literal[1] = 1
    pairs: list[Pair]
    alone: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))  # "CASE.BACKEND"

    @property
    def agree(self) -> bool:
        """Whether no pair diverges."""
        return all(pair.verdict != "diverge" for pair in self.pairs)


def hold_against(
    new: Path, old: Path, backends: Iterable[str] | None = None, limit: float | Limit | None = None
) -> tuple[Pairs, list[LockstepError]]:
    """Hold one recording, a trace or a folder of them, against another: what was compared, and what kept other files.

    Traces belong together by case and backend, which their names say. ``backends``: which to compare; None is all.
    ``limit``: sigma beyond which two numbers diverge; None leaves it to each case.

    Raises:
        TraceError: If a path has no traces, or the two have nothing in common.
    """
    wanted = None if backends is None else set(backends)
    news, olds = _traces(new, wanted), _traces(old, wanted)
    both = [name for name in news if name in olds]
    if not both:
        raise TraceError(f"{new} and {old} have no case and backend in common.")
    pairs, errors, problems = [], [], Problems()
    with threadpool_limits(THREADS):  # the reference's matrices are small: threads cost more than they give
        for name in both:
            try:
                pairs.append(_pair(news[name], olds[name], problems, limit))
            except LockstepError as error:
                errors.append(error)
        pairs = _explained(pairs, news, olds)
    alone = [name for name in news if name not in olds], [name for name in olds if name not in news]
    return Pairs(pairs=pairs, alone=alone), errors


def _pair(new: Path, old: Path, problems: Problems, limit: float | Limit | None) -> Pair:
    (trace, recorded), (other_trace, other_recorded) = load_trace(new), load_trace(old)
    case = recorded.case
    problems.keep_only(case)  # one after the other: all at once would fill the memory
    problem = problems.problem(case)
    for recording, path in ((recorded, new), (other_recorded, old)):
        check_same_problem(recording, problem, path)
    bound = limit_for(case, limit)
    distance = difference(case, trace, other_trace, problems.expected(case, trace.quantised), bound)
    if distance.status == "diverge" and bound.sigma is not None:
        # As against the reference: is it rounding that the network itself amplifies?
        distance = difference(case, trace, other_trace, problems.widened(case, trace.quantised), bound)
    a, b = trace.tensors(case), other_trace.tensors(case)
    return Pair(
        case=case.name,
        backend=recorded.backend,
        verdict="agree" if distance.status == "agree" else "diverge",
        # Bytes, not values: NaN equals itself then, and 0.0 is not -0.0.
        same_bits=all(a[name].tobytes() == b[name].tobytes() for name in a.keys() & b.keys()),
        versions=(_versions(recorded), _versions(other_recorded)),
        difference=replace(distance, backend=recorded.backend),
    )


def _explained(pairs: list[Pair], news: dict[str, Path], olds: dict[str, Path]) -> list[Pair]:
    """Hold what diverges against the reference, both sides, with the explanation of the one that leaves it."""
    # Of a backend that diverges somewhere all traces are judged: an explanation must fit those that agree as well.
    diverging = {pair.backend for pair in pairs if pair.verdict == "diverge"}
    names = [_name(pair) for pair in pairs if pair.backend in diverging]
    new, old = (_judged([files[name] for name in names]) for files in (news, olds))
    return [
        _with_reference(pair, new[_name(pair)], old[_name(pair)]) if pair.verdict == "diverge" else pair
        for pair in pairs
    ]


def _name(run: Pair | RunResult) -> str:
    return f"{run.case}.{run.backend}"


def _judged(files: list[Path]) -> dict[str, RunResult]:
    """Traces judged by the reference, by CASE.BACKEND; known findings are marked."""
    cases = {recorded.case.name: recorded.case for _, recorded in map(load_trace, files)}
    return {_name(run): as_known(run, cases[run.case]) for run in judge_files(files, None, None).runs}


def _with_reference(pair: Pair, first: RunResult, second: RunResult) -> Pair:
    same_place = first.first_divergence is not None and first.first_divergence == second.first_divergence
    alike = same_place and largest(pair.difference, "abs") <= ALIKE * largest(first, "abs")
    return replace(pair, verdict="wrong alike" if alike else "diverge", reference=(first, second))


def _traces(path: Path, backends: set[str] | None) -> dict[str, Path]:
    """The traces of a path by CASE.BACKEND, as their files are called."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    by_pair = {file.stem: file for file in files if backends is None or file.stem.rpartition(".")[2] in backends}
    if not by_pair:
        raise TraceError(f"{path}: no trace (*.safetensors) in this folder.")
    return by_pair


def _versions(recorded: Recorded) -> Versions:
    return {**recorded.versions, "numpy": str(recorded.environment.get("numpy", "unknown"))}

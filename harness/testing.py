"""Check a port from Python: one call that returns the results, or raises what the terminal would say.

``assert_agrees`` is for scripts and any test runner. In pytest the fixture ``lockstep`` calls it:
``def test_my_port(lockstep): lockstep.check(port)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lockstep.harness.cases.case import Case
from lockstep.harness.comparison.results import Results, RunResult
from lockstep.harness.errors import LockstepError, check_positive
from lockstep.harness.jobs.check import cases_of, check, float32_will_do
from lockstep.harness.jobs.run import results_of
from lockstep.harness.jobs.settings import Settings, find_settings
from lockstep.harness.output.messages import alike_texts, check_texts
from lockstep.harness.ports.port import is_decoder_port, port_of
from lockstep.harness.text import printable

Names = str | PathLike[str] | Iterable[str | PathLike[str]]


def assert_agrees(
    port: Callable[..., Any],
    *,
    case: Names | None = None,
    layout: str | None = None,
    arrays: str | None = None,
    limit: float | None = None,
    timeout: float | None = None,
    seed: int = 0,
    strict_dtype: bool = False,
    settings: Settings | None = None,
    rerun: str | None = None,
    on_cases: Callable[[list[Case]], None] = lambda cases: None,
    on_results: Callable[[Results], None] = lambda results: None,
    details: bool = False,
) -> Results:
    """Check that a port agrees with the reference; if not, say where it diverges, why, and what to change.

    A function that its module exports is called in a process of its own, which imports that module afresh: it may
    crash or hang, and does not see what a test has set up. A lambda, a closure, a method, a callable object, or a
    function of the script that is running is called in this process, without a time-out.

    Args:
        port: ``port(x, weights, h0, c0, lengths=None) -> (h_seq, c_seq)``, or another form of ``lockstep check``.
        case: The name of a shipped case, a case file or a folder of them, or several; None is the whole suite.
        layout: How the weights are handed over: canonical, torch, keras, tf1, onnx or another of ``lockstep check``;
            None is what ``LOCKSTEP`` in the port's module says, else canonical.
        arrays: What the arguments are: numpy, torch, jax or tensorflow arrays; None likewise, else numpy.
        limit: Sigma beyond which a number diverges; None leaves it to each case, then to the settings.
        timeout: Seconds for one call, where it has a process of its own; None leaves it to the settings, or is 120.
        seed: Added to the seed of every case: the same check with different numbers.
        strict_dtype: Whether to compute in float32 is wrong where a case in float64 is not named itself, too.
        settings: What the project sets; None is ``[tool.lockstep]`` of the nearest ``pyproject.toml``, from the current
            directory upward.
        rerun: The command that runs this check again, which is told where the port does not agree.
        on_cases: Called with the cases before the port is.
        on_results: Called with the results before they are judged, so also with those of a port that does not agree.
        details: Whether results tell some places number by number, for a report.

    Returns:
        The results of all cases. What the port does not support is among them, but not all of it.

    Raises:
        AssertionError: If the port diverges, fails, crashes or hangs in a case, or nothing could be compared.
        LockstepError: If the request is wrong: an unknown case, layout or kind of arrays, a limit that is no number.
    """
    __tracebackhide__ = True
    try:
        if not callable(port):
            raise LockstepError(f"{port!r} is not a port: pass the function itself, for example check(port).")  # noqa: TRY301
        if seed < 0:
            raise LockstepError(f"seed={seed}: must be 0 or above.")  # noqa: TRY301
        check_positive("{}=", limit=limit, timeout=timeout)
        names = list_names(case, "case")
        cases = cases_of(names, decoder=is_decoder_port(port), seed=seed)
        any_precision = float32_will_do(cases, names, strict=strict_dtype)
        settings = find_settings(Path.cwd()) if settings is None else settings
        with port_of(port, layout=layout, arrays=arrays, timeout=settings.timeout_or(timeout)) as opened:
            on_cases(cases)
            runs = check(
                opened, cases, limit=settings.limit_or(limit), suite=not names, details=details,
                float32_will_do=any_precision,
            )  # fmt: skip
    except LockstepError as error:
        raise error.with_traceback(None) from None  # our own frames tell a caller nothing
    runs = [replace(run, rerun=rerun) for run in runs]
    ran = {run.case for run in runs}
    results = results_of([case for case in cases if case.name in ran], runs)
    on_results(results)
    text = complaint(runs)
    if text is not None:
        raise AssertionError(text)
    return results


def list_names(names: Names | None, argument: str) -> list[str]:
    """The names that an argument gives; none where it is left out."""
    if names is None:
        return []
    listed = [fspath(names)] if isinstance(names, (str, PathLike)) else [fspath(name) for name in names]
    if not listed:  # as of a filter that found nothing: whoever passes it does not expect everything
        raise LockstepError(f"{argument}=[] names no {argument}. To use all, leave it out.")
    return listed


def complaint(runs: Sequence[RunResult]) -> str | None:
    """What is wrong with a port, the first of each kind in full; None if it agrees wherever it was compared."""
    plain = [replace(run, rerun=None) for run in runs]  # it is the same for all, and comes last
    parts = check_texts(plain)
    if all(run.status == "unsupported" for run in plain):
        parts += ["Nothing could be compared.", *alike_texts(plain)]
    if not parts:
        return None
    rerun = next((f"  Rerun: {run.rerun}" for run in runs if run.rerun), None)
    return printable("\n".join(filter(None, [*parts, rerun])))

"""What runs inside a worker process: it imports the backends of one framework once, and serves runs.

Everything a backend prints goes to the worker's log, whose tail is kept with a run that fails.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.harness.adapters.backend import Backend
from lockstep.harness.adapters.outcome import Later, Outcome, run_in_pieces
from lockstep.harness.adapters.processes.parcel import Exchange, Parcel
from lockstep.harness.adapters.trace import Trace, check_trace
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.cases.streaming import piece_cases

# The same number everywhere, so that times can be compared and sums are ordered alike.
THREADS = 1
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC",
)  # fmt: skip
MOST_QUICK = 1.0  # seconds: what takes longer is not called three times
_XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def start(environment: tuple[tuple[str, str], ...], log: str) -> None:
    """Prepare a fresh worker: its environment, its threads, and where its output goes."""
    os.environ.update(environment)
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(THREADS)))
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_XLA_ONE_THREAD}".strip()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    # Descriptors, not sys.stdout: what frameworks print from C++ goes to the log too.
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # A segmentation fault leaves the stack of its thread in the log.
    faulthandler.enable(all_threads=False)
    # Ctrl-C reaches every process of the terminal; the parent decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    # NumPy came with the worker, before the variables above were set.
    import threadpoolctl

    threadpoolctl.threadpool_limits(THREADS)
    # Where memory runs out, this process goes first, not the one that keeps the results.
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("800")


def _end_with_parent() -> None:
    """End this process with its parent, also where that was killed while this one is at something long."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    if sys.platform == "linux":
        import fcntl

        # A compiler that holds the interpreter's lock lets no thread run: the system itself ends the process when the
        # pipe closes of which the parent holds the other end.
        pipe = parent._sentinel  # type: ignore[attr-defined]  # noqa: SLF001
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def load(module: str) -> Outcome:
    """Import a backend."""
    started, before = time.perf_counter(), resident_megabytes()
    already = module in sys.modules
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return Outcome("unsupported", message=f"{error.name} not installed")
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a backend raises costs only its own result)
        return _failed("importing it raised", error)
    if already:
        return Outcome("ran")
    seconds, after = time.perf_counter() - started, resident_megabytes()
    added = None if before is None or after is None else after - before
    return Outcome("ran", seconds={"import": seconds}, megabytes=added)


def resident_megabytes() -> float | None:
    """The memory that this process has, in millions of bytes; None where the system does not tell."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if pages.exists() else None


def ask(module: str, requires: tuple[str, ...], cases: list[Case]) -> tuple[dict[str, str], list[str | None]]:
    """The versions of what a backend requires, and its reasons against each of several cases."""
    backend = _backend(module)
    return versions_of(requires), [_refusal(backend, case) for case in cases]


def _refusal(backend: Backend, case: Case) -> str | None:
    """Why a backend cannot run a case, or one of the pieces that it is run in."""
    if case.run.resets is not None and not getattr(backend, "RESETS", False):
        return "it runs a sequence as a whole, and cannot start anew within it"
    return next((reason for piece in piece_cases(case) if (reason := backend.unsupported(piece)) is not None), None)


_problem: AnyProblem | None = None  # of the run before
_exchange: Exchange | None = None  # with the parent


def run(module: str, requires: tuple[str, ...], sent: Parcel | str) -> Parcel:
    """Run a problem through a backend; of that of the run before only the file to answer in is sent."""
    global _problem, _exchange  # noqa: PLW0603 (a process has one parent)
    reply = sent if isinstance(sent, str) else sent.reply
    _exchange = _exchange or Exchange(str(Path(reply).with_name("problem")))
    if not isinstance(sent, str):
        _problem = _exchange.unpack(sent)
    assert _problem is not None
    return _exchange.pack(_outcome(module, requires, _problem), reply)


def _outcome(module: str, requires: tuple[str, ...], problem: AnyProblem) -> Outcome:
    """Run a problem through a backend, at once or piece by piece."""
    return run_in_pieces(problem, lambda piece: _outcome_at_once(module, requires, piece))


def _outcome_at_once(module: str, requires: tuple[str, ...], problem: AnyProblem) -> Outcome:
    """Run a problem through a backend; where its graph is new, again as well, after another problem if it is quick.

    Seconds are those of the first call, and of a steady one.
    """
    backend, new = _backend(module), False
    quantised = getattr(backend, "QUANTISED", None)
    try:
        if _last_case.get(module) is not problem.case:
            reason = _refusal(backend, problem.case)
            if reason is not None:
                return Outcome("unsupported", message=reason, versions=versions_of(requires))
            new = _is_new(module, problem.case)
            _last_case[module] = problem.case
        # Once for each graph: a backend that writes into its inputs does so every time.
        before = problem.digest if new else None
        trace = _checked(backend.run(problem), problem)
        seconds, repeatable, later = dict(trace.seconds), None, None
        seconds["first"] = seconds.pop("run", 0.0)
        if new:
            if before != problem.fresh_digest():
                return Outcome("failed", message="it changed its inputs")
            again, later = _called_again(backend, problem, seconds["first"])
            seconds["steady"] = again.seconds.get("run", 0.0)
            repeatable = _same_bits(trace, again)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a backend raises costs only its own result)
        return _failed("it raised", error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return Outcome(
        "ran", trace.replaced(seconds={}, quantised=quantised), versions=versions_of(requires), seconds=seconds,
        repeatable=repeatable, later=None if repeatable or later is None else later,
    )  # fmt: skip


def _called_again(backend: Backend, problem: AnyProblem, first: float) -> tuple[Trace, Later | None]:
    """What a backend gives for a problem once more: after another one, unless each call takes long."""
    if first > MOST_QUICK:  # it may have been compiled in that time
        again = _checked(backend.run(problem), problem)
        if again.seconds.get("run", 0.0) > MOST_QUICK:
            return again, None
    stranger = _with_other_inputs(problem)
    of_stranger = _checked(backend.run(stranger), stranger)
    again = _checked(backend.run(problem), problem)
    return again, Later(stranger, of_stranger, again)


def _with_other_inputs(problem: AnyProblem) -> AnyProblem:
    """A problem of the same weights and shapes."""
    rng = np.random.Generator(np.random.Philox(1))
    arrays = {name: getattr(problem, name) for name in problem.INPUTS if name in {"x", "enc", "y0", "h0", "c0"}}
    drawn = {
        name: rng.standard_normal(array.shape).astype(array.dtype)
        for name, array in arrays.items()
        if array is not None  # a decoder without an encoder has no x, one with an encoder no enc
    }
    return replace(problem, **drawn)


def versions_of(requires: tuple[str, ...]) -> dict[str, str]:
    """The versions of modules that are imported, or of the distributions that bring them."""
    return {
        name: str(getattr(sys.modules.get(name), "__version__", None) or _distributed(name)) for name in requires
    }  # fmt: skip


@cache
def _distributed(name: str) -> str:
    for distribution in packages_distributions().get(name, [name]):
        with contextlib.suppress(PackageNotFoundError):
            return version(distribution)
    return "unknown"


_seen: set[Any] = set()
_last_case: dict[str, Case] = {}  # of each backend's module: asked for again it is neither refused nor new


def _is_new(module: str, case: Case) -> bool:
    """Whether this worker sees such a graph for the first time: from then on a run is a steady one."""
    run = case.run
    key = (
        module,
        case.shape,
        case.lstm,
        case.attention_decoder,
        run.dtype,
        run.lengths is None,
        run.resets is None,
        run.gradients,
    )
    new = key not in _seen
    _seen.add(key)
    return new


def _backend(module: str) -> Backend:
    return importlib.import_module(module)  # type: ignore[return-value]


def _checked(trace: Any, problem: AnyProblem) -> Trace:
    if not isinstance(trace, Trace):
        raise TypeError(f"run returned a {type(trace).__name__}, expected a Trace")
    check_trace(trace, problem.case)
    return trace


def _same_bits(first: Trace, second: Trace) -> bool:
    a, b = first.tensors(), second.tensors()
    # Bytes, not ==: NaN equals no NaN, and 0.0 equals -0.0.
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def _failed(what: str, error: BaseException) -> Outcome:
    return Outcome("failed", message=f"{what} {type(error).__name__}: {error}", stderr=traceback.format_exc())

"""What runs inside a port's process: it imports the user's file once, and calls its function again and again.

Whatever the function does is the answer of one call. What ends the process ends it between two answers:
those before it are in a file by then.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from faulthandler import cancel_dump_traceback_later, dump_traceback_later
from itertools import islice
from pathlib import Path
from time import perf_counter
from types import ModuleType, TracebackType
from typing import Any

from msgspec import Struct

from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.errors import unknown
from lockstep.harness.foreign import text_of
from lockstep.harness.given import Form, Given
from lockstep.harness.parcel import Parcel
from lockstep.harness.port_form import Parameters, PortError, arguments_of, check_fit
from lockstep.harness.returned import read_returned
from lockstep.harness.serve import TAIL
from lockstep.harness.trace import Trace

_HARNESS = str(Path(__file__).parent)


class Target(Struct, frozen=True):
    """Which function of which file."""

    file: Path
    function: str


@dataclass(frozen=True)
class Reply:
    """What one call of a port came to: a trace, or why there is none."""

    status: str  # "ran", "failed", "unsupported"; the parent adds "crashed" and "timeout"
    trace: Trace | None
    message: str | None
    stderr: str | None  # the end of what was printed, and of the traceback
    notes: tuple[str, ...]
    seconds: float


class Calls:
    """Calls a user's function, each time with arguments of its own."""

    def __init__(
        self,
        function: Callable[..., Any],
        form: Form,
        file: Path | None = None,
        caught: tuple[type[BaseException], ...] = (Exception, SystemExit),
    ) -> None:
        """Look at what parameters the function has; ``file`` is where it stands, if that is known."""
        self._function, self._form, self._file, self._caught = function, form, file, caught
        self._parameters = parameters_of(function)

    def __call__(self, problem: AnyProblem) -> Reply:
        """Call the function for one problem; every way to fail is a reply, none an exception."""
        started = perf_counter()
        notes: tuple[str, ...] = ()
        try:
            check_fit(self._parameters, problem.case)
            given = Given(problem, self._form)
            positional, by_name = arguments_of(self._parameters, given.values, problem.case)
            started = perf_counter()
            value = self._value(positional, by_name, problem)
            notes = tuple(f"it changed its argument {name} in place" for name in given.changed())
            trace, more = self._read(value, problem)
        except PortError as error:
            seconds = perf_counter() - started
            return Reply(error.status, None, str(error), error.stderr, notes, seconds)
        return Reply("ran", trace, None, None, (*notes, *more), perf_counter() - started)

    def _value(self, positional: list[Any], by_name: dict[str, Any], problem: AnyProblem) -> Any:
        try:
            return self._function(*positional, **by_name)
        except self._caught as error:
            raise raised("it", error, self._file, _hint(error, problem)) from error

    def _read(self, value: Any, problem: AnyProblem) -> tuple[Trace, list[str]]:
        try:
            return read_returned(value, problem.case)
        except PortError:
            raise
        except self._caught as error:  # results are objects of the user's own: looking at them may raise
            raise raised("reading what it returned", error, self._file) from error


def serve(target: Target, form: Form, problems: Parcel, timeout: float, replies: Path, log: Path) -> None:
    """Answer each of a list of problems, one after the other.

    Args:
        target: The function.
        form: How it gets its arguments.
        problems: The list.
        timeout: Seconds one call may take; then its stack is written down, and the parent ends this.
        replies: Gets, pickled one after the other: this process' id, "imported" once the file is,
            and each reply as soon as it is there.
        log: Where everything that is printed goes.
    """
    stdout = noticed_stdout()
    reopen_closed(log)
    # The stack of a hang has a file of its own: in the log, what a loop prints would bury it.
    with stack_of(log).open("wb") as stack, replies.open("ab", buffering=0) as file:
        file.write(pickle.dumps(os.getpid()))
        calls = _loaded(target, form)
        file.write(pickle.dumps("imported"))
        for problem in problems.unpack():
            before = log.stat().st_size
            dump_traceback_later(timeout, file=stack)
            try:
                _match_jax(problem.case.run.dtype)
                reply = calls(problem) if isinstance(calls, Calls) else calls
            finally:
                tidy()
            file.write(pickle.dumps(_with_printed(reply, stdout, log, before), protocol=5))


def stack_of(log: Path) -> Path:
    """Give the file that gets the stack of a call that hangs."""
    return log.with_name("stack")


def read_header(path: Path) -> tuple[int | None, bool]:
    """Read how far ``serve`` came before the first call: its process' id, and whether the file was imported."""
    process, imported, *_ = *islice(_pickled(path), 2), None, None
    return process, bool(imported)


def read_replies(path: Path) -> list[Reply]:
    """Read the replies that ``serve`` wrote, as far as it came."""
    return list(islice(_pickled(path), 2, None))


def _pickled(path: Path) -> Iterator[Any]:
    # Where the process ended while it wrote, the last one is cut off.
    with contextlib.suppress(EOFError, pickle.UnpicklingError, FileNotFoundError), path.open("rb") as file:
        while True:
            yield pickle.load(file)  # noqa: S301 (from this run's own process)


_calls: dict[tuple[Target, Form], Calls | Reply] = {}
_jax_x64_of_its_own = False


def _loaded(target: Target, form: Form) -> Calls | Reply:
    """Give the calls of a target, or the reply that all of its calls get if it cannot be imported."""
    global _jax_x64_of_its_own  # noqa: PLW0603 (one process serves one target)
    if (target, form) not in _calls:
        try:
            function = _function(target)
            _calls[target, form] = Calls(function, form, target.file, (BaseException,))
        except PortError as error:
            _calls[target, form] = Reply("failed", None, str(error), error.stderr, (), 0.0)
        config = getattr(sys.modules.get("jax"), "config", None)
        environment = os.environ.get("JAX_ENABLE_X64", "").lower() in {"1", "true", "yes", "on", "y", "t"}
        _jax_x64_of_its_own = bool(getattr(config, "jax_enable_x64", environment))
    return _calls[target, form]


def _function(target: Target) -> Callable[..., Any]:
    module = import_file(target.file)
    if not hasattr(module, target.function):
        functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
        raise PortError(f"{target.file.name}: {unknown('function', target.function, functions)}")
    function = getattr(module, target.function)
    if not callable(function):
        raise PortError(f"{target.function} in {target.file.name} is a {type(function).__name__}, not a function")
    return function


def import_file(file: Path) -> ModuleType:
    """Import a user's file as if it were run as a script, though not as ``__main__``."""
    name, root = _module_name(file)
    sys.path[:0] = dict.fromkeys([str(file.parent), str(root)])
    try:
        if "." in name:
            importlib.import_module(name.rpartition(".")[0])
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None  # as for every .py
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickle look a module up by its name
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        raise _import_error(error, file) from error
    return module


def _module_name(file: Path) -> tuple[str, Path]:
    """Give the name under which a file is imported, and the folder that name begins at.

    A file in a package keeps its full name, so that its relative imports work.
    """
    root, parts = file.parent, [file.stem]
    while (root / "__init__.py").exists() and root.name.isidentifier():
        parts.insert(0, root.name)
        root = root.parent
    name = ".".join(parts)
    return (f"port_{name}" if name in sys.modules and len(parts) == 1 else name), root


def _import_error(error: BaseException, file: Path) -> PortError:
    place = _place(error, file)
    if isinstance(error, SyntaxError) and error.filename == str(file):
        text = f": {error.text.strip()}" if error.text else ""
        return PortError(f"{file.name}, line {error.lineno}: {type(error).__name__}: {error.msg}{text}")
    if isinstance(error, ModuleNotFoundError) and error.name:
        return PortError(
            f"importing it needs {error.name}{place}, which is neither beside it nor installed for {sys.executable}",
            stderr=_traceback(error),
        )
    return raised("importing it", error, file)


def raised(what: str, error: BaseException, file: Path | None, hint: str = "") -> PortError:
    """Say what was raised, where in the user's file, and what may help."""
    place, text = _place(error, file), text_of(error)
    if isinstance(error, SystemExit):
        hint = 'guard what runs as a script by `if __name__ == "__main__":`' if "import" in what else "return instead"
        return PortError(f"{what} called sys.exit({text}){place}: {hint}", stderr=_traceback(error))
    if isinstance(error, EOFError):
        hint = " (a port has no standard input)"
    elif "relative import" in text and isinstance(error, ImportError):
        hint = " (its folder has no __init__.py: import what lies beside it by its plain name)"
    return PortError(f"{what} raised {type(error).__name__}{place}: {text}{hint}", stderr=_traceback(error))


def _hint(error: BaseException, problem: AnyProblem) -> str:
    """Say what weights are, where a port seems to have taken them for those of a case of another form."""
    text = text_of(error) if isinstance(error, (TypeError, AttributeError)) else ""
    if "list" in text and not problem.case.lstm.single:
        return " (here weights is a list over layers of a list over directions of dicts)"
    return " (here weights is a dict)" if "string ind" in text and problem.case.lstm.single else ""


def _place(error: BaseException, file: Path | None) -> str:
    """Say which line of the user's file an exception passed last."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if file and frame.filename == str(file)]
    return f" in {frames[-1].filename.rpartition(os.sep)[2]}, line {frames[-1].lineno}" if frames else ""


def _traceback(error: BaseException) -> str:
    """Give an exception's traceback from where our own frames end."""
    own: TracebackType | None = error.__traceback__
    while own is not None and _is_ours(own.tb_frame.f_code.co_filename):
        own = own.tb_next
    return "".join(traceback.format_exception(type(error), error, own))[-TAIL:]


def _is_ours(filename: str) -> bool:
    return filename.startswith((_HARNESS, "<frozen importlib"))


def parameters_of(function: Callable[..., Any]) -> Parameters | None:
    """Give a function's parameters; None where they are not known."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # of a function compiled from another language
        return None


def _match_jax(dtype: str) -> None:
    """Let JAX have 64 bits where the case has them, and elsewhere what the user's file set.

    With 64 bits everywhere, jnp.zeros and its like are float64, and a healthy float32 port is no more.
    """
    wide = _jax_x64_of_its_own or dtype == "float64"
    config = getattr(sys.modules.get("jax"), "config", None)
    if config is None:
        os.environ["JAX_ENABLE_X64"] = str(int(wide))
    elif config.jax_enable_x64 != wide:
        config.update("jax_enable_x64", wide)


def reopen_closed(log: Path) -> None:
    """Point stdout and stderr at the log where an earlier call closed them: no other file may get their place."""
    for descriptor in (1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(log, os.O_WRONLY | os.O_APPEND)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)


class _Stdout(io.TextIOWrapper):
    """A stdout that knows whether anything was printed."""

    used = False

    def write(self, text: str, /) -> int:
        self.used = True
        return super().write(text)


def noticed_stdout() -> _Stdout:
    """Give a stdout that knows whether anything was printed since."""
    if not isinstance(sys.stdout, _Stdout) or sys.stdout.closed:
        raw = io.BufferedWriter(io.FileIO(1, "wb", closefd=False))
        sys.stdout = _Stdout(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stdout.used = False
    return sys.stdout


def _with_printed(reply: Reply, stdout: _Stdout, log: Path, before: int) -> Reply:
    """Add to a reply what was printed during its call, where it failed or printed to stdout."""
    printed, stdout.used = stdout.used, False
    if reply.status == "ran" and not printed:
        return reply
    with log.open("rb") as file:
        file.seek(max(before, file.seek(0, os.SEEK_END) - TAIL))
        text = file.read().decode("utf-8", "replace")
    notes = (*reply.notes, "it prints to stdout") if printed else reply.notes
    return replace(reply, stderr=f"{text}{reply.stderr or ''}"[-TAIL:] or None, notes=notes)


_own_process = os.getpid()


def tidy() -> None:
    """Take back what a call may have left behind that strikes later."""
    if os.getpid() != _own_process:
        os._exit(0)  # a fork of the port's that came back here: it would answer in this one's place
    cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_REAL, 0)  # its alarm would end the process between two calls
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed by the port, or replaced
            stream.flush()

"""A user's own implementation, a port: a function in a file, called in a process of its own.

Whatever it does costs only the call at which it does it.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pebble import ProcessExpired

from lockstep.harness.cases.decoder_problem import AnyProblem
from lockstep.harness.errors import LockstepError, unknown
from lockstep.harness.foreign import ARRAYS
from lockstep.harness.given import Form
from lockstep.harness.parcel import Parcel
from lockstep.harness.port_form import is_decoder
from lockstep.harness.serve import TAIL, Answer
from lockstep.harness.serve_port import Calls, Reply, Target, parameters_of, read_header, read_replies, serve, stack_of
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.worker import GRACE, IMPORT_TIMEOUT, START_TIMEOUT, Process

__all__ = ["ARRAYS", "LocalPort", "Port", "Reply", "Target", "parse_target", "port_of"]

MOST_DEATHS = 3  # in one list of problems: a port that dies of everything is not to be asked 500 times
MOST_PRINTED = 2**26  # bytes of output that are kept of one list


def parse_target(text: str) -> Target:
    """Read ``FILE.py:FUNCTION``; the function may be left out where the file defines ``port``.

    Raises:
        LockstepError: If it is none, there is no such file, or the file defines no such function.
    """
    path, _, function = (text, "", "port") if text.endswith(".py") else text.rpartition(":")
    file = Path(path)
    if file.suffix != ".py" or not function.isidentifier():
        hint = " Save the notebook's function in a .py file." if ".ipynb" in text else ""
        raise LockstepError(f'"{text}" is no target: write FILE.py:FUNCTION, such as lstm.py:port.{hint}')
    if not file.is_file():
        raise LockstepError(f"{file}: no such file.{_similar_file(file)}")
    defined = list(dict.fromkeys(_defined(_parsed(file))))
    functions = list(dict.fromkeys(name for name, is_function in defined if is_function))
    # A star import may define anything.
    if not {function, "*"} & {name for name, _ in defined}:
        hint = f" Name one of them: {file}:{functions[0]}." if text.endswith(".py") and functions else ""
        raise LockstepError(f"{file}: {unknown('function', function, functions)}{hint}")
    return Target(file.absolute(), function)


def is_decoder_port(port: Target | Callable[..., Any]) -> bool:
    """Tell a port that is written for attention decoders, by the names of its parameters."""
    return is_decoder(_parameters_in(port) if isinstance(port, Target) else parameters_of(port))


class Port:
    """A function in a file, in a process of its own, which is started at the first call."""

    def __init__(
        self, target: Target, *, layout: str = "canonical", arrays: str = "numpy", timeout: float = 120.0
    ) -> None:
        """Take a target, how it gets its arguments, and how many seconds one call may take.

        Raises:
            LockstepError: If there is no such layout, or no such kind of arrays.
        """
        self.name = target.function
        self._target, self._form, self._timeout = target, _form(layout, arrays), timeout
        self._process = Process(_environment(arrays))
        self._replies = self._process.folder / "replies"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._process.close()

    def call(self, problems: Sequence[AnyProblem]) -> list[Reply]:
        """Call the function for each of several problems, in order.

        A call that ends the process, or takes too long, is answered as such, and a fresh process goes on
        with the next; after the third such call the rest are answered alike.
        """
        replies: list[Reply] = []
        deaths = 0
        while len(replies) < len(problems):
            rest = problems[len(replies) :]
            answered, lost = self._answers(rest)
            replies += answered[: len(rest)]
            if lost is None or len(replies) == len(problems):
                break
            deaths += 1
            given_up = deaths == MOST_DEATHS or lost.status == "failed"
            replies += [lost] * (len(problems) - len(replies) if given_up else 1)
        return replies

    def _answers(self, problems: Sequence[AnyProblem]) -> tuple[list[Reply], Reply | None]:
        """Have problems answered by one process: the answers, and what became of the next call if it was lost."""
        answer, replies = self._served(problems)
        process, imported = read_header(self._replies)
        if answer is not None and answer.status == "crashed" and process is None:
            # The last call had left something behind that ended the process before this one.
            answer, replies = self._served(problems)
            process, imported = read_header(self._replies)
        return replies, None if answer is None else self._lost(answer, imported=imported)

    def _served(self, problems: Sequence[AnyProblem]) -> tuple[Answer | None, list[Reply]]:
        try:
            self._replies.write_bytes(b"")
            parcel = Parcel.pack(list(problems), self._process.folder / "problems")
        except OSError as error:
            return Answer("failed", message=f"the problems could not be sent: {error}"), []
        watch = Watch(self._replies, self._process.log, self._timeout)
        arguments = (self._target, self._form, parcel, self._timeout, self._replies, self._process.log)
        answer = self._process.call(serve, arguments, self._timeout, watch=watch)
        return answer, read_replies(self._replies)

    def _lost(self, answer: Answer, *, imported: bool) -> Reply:
        """Say what became of the call at which the process was lost."""
        stack = stack_of(self._process.log)
        hung = stack.read_text(errors="replace") if answer.status == "timeout" and stack.exists() else ""
        stderr, place = own_stack(f"{answer.stderr or ''}{hung}", self._target.file)
        message, seconds = answer.message or "", 0.0
        if answer.status == "timeout":
            seconds = self._timeout if imported else IMPORT_TIMEOUT
            message = f"not done after {seconds:g} s"
        if answer.status == "crashed" and "exit status" in message:
            message += " (does it call os._exit?)"
        when = "" if imported or answer.status == "failed" else "while importing it: "
        return Reply(answer.status, None, f"{when}{message}{place}", stderr[-TAIL:] or None, (), seconds)


class LocalPort:
    """A function that is called here, in this process: one that no other can import, such as a closure."""

    def __init__(self, function: Callable[..., Any], *, layout: str = "canonical", arrays: str = "numpy") -> None:
        """Take a function, and how it gets its arguments.

        Raises:
            LockstepError: If there is no such layout, or no such kind of arrays.
        """
        self.name = getattr(function, "__name__", type(function).__name__)
        code = getattr(inspect.unwrap(function), "__code__", None)
        self._calls = Calls(function, _form(layout, arrays), Path(code.co_filename) if code else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End nothing: there is no process."""

    def call(self, problems: Sequence[AnyProblem]) -> list[Reply]:
        """Call the function for each of several problems, in order."""
        return [self._calls(problem) for problem in problems]


def port_of(function: Callable[..., Any], **options: Any) -> Port | LocalPort:
    """Give a function that another process can import a process of its own; any other is called here.

    Args:
        function: Called as a port is.
        options: As of ``Port``; there is no time-out for what runs here.

    Raises:
        LockstepError: If there is no such layout, or no such kind of arrays.
    """
    target = _target_of(function)
    if target is not None:
        return Port(target, **options)
    return LocalPort(function, **{name: value for name, value in options.items() if name != "timeout"})


class Watch:
    """Asks whether a process still gets on: whether the next reply comes in the time that one call may take."""

    def __init__(self, replies: Path, log: Path, timeout: float) -> None:
        self._replies, self._log, self._timeout = replies, log, timeout
        self._size, self._since = -1, time.monotonic()
        self._process: int | None = None
        self._imported = False
        self._gone_since: float | None = None

    def __call__(self) -> None:
        """Look once.

        Raises:
            TimeoutError: If a call has gone on for too long.
            ProcessExpired: If the process is gone and nobody has said so: pebble takes exit status 0 for an end.
        """
        now = time.monotonic()
        size = self._replies.stat().st_size
        if size != self._size:
            self._size, self._since = size, now
            if not self._imported:
                self._process, self._imported = read_header(self._replies)
        allowed = self._timeout + GRACE if self._imported else IMPORT_TIMEOUT
        if now - self._since > allowed + (0 if self._process else START_TIMEOUT):
            raise TimeoutError
        self._check_alive(now)
        if self._log.exists() and self._log.stat().st_size > MOST_PRINTED:
            os.truncate(self._log, 0)

    def _check_alive(self, now: float) -> None:
        if self._process is None:
            return
        try:
            os.kill(self._process, 0)
        except ProcessLookupError as error:
            self._gone_since = self._gone_since or now
            if now - self._gone_since > GRACE:
                raise ProcessExpired("gone", code=0) from error


def _form(layout: str, arrays: str) -> Form:
    if layout not in DIALECTS:
        raise LockstepError(unknown("layout", layout, DIALECTS))
    if arrays not in ARRAYS:
        raise LockstepError(unknown("kind of arrays", arrays, ARRAYS))
    return Form(layout, arrays)


def _environment(arrays: str) -> tuple[tuple[str, str], ...]:
    """Give what a port's process has in its environment, where the user's own does not say otherwise."""
    wanted = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if arrays == "tensorflow":
        wanted["TF_USE_LEGACY_KERAS"] = "1"
    return tuple((name, value) for name, value in wanted.items() if name not in os.environ)


def own_stack(printed: str, file: Path) -> tuple[str, str]:
    """Cut our own frames from the stack that a dying process printed; say where in the user's file it was."""
    found = re.search(rf'File "{re.escape(str(file))}", line (\d+) in (\S+)', printed)
    place = f", in {file.name}, line {found[1]}, in {found[2]}" if found else ""
    ours = printed.find(f'  File "{inspect.getsourcefile(Calls)}"', found.start()) if found else -1
    return (printed[:ours] if ours >= 0 else printed), place


def _target_of(function: Callable[..., Any]) -> Target | None:
    """Give where another process finds a function; None if it does not."""
    name, home = getattr(function, "__name__", ""), getattr(function, "__module__", None)
    module = sys.modules.get(home or "")
    file = getattr(module, "__file__", None)
    # Importing the script that is running would run it again.
    if file is None or home == "__main__" or getattr(module, name, None) is not function:
        return None
    path = Path(file).absolute()
    return Target(path, name) if path.suffix == ".py" and path.is_file() else None


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except SyntaxError as error:
        where = f"{file}, line {error.lineno}" if error.lineno else str(file)
        raise LockstepError(f"{where}: not valid Python: {error.msg}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise LockstepError(f"{file}: cannot be read: {error}.") from error


def _defined(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Give the names that a file's top level binds, and whether each is a function defined there."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, not isinstance(node, ast.ClassDef)
            return
        case ast.Import() | ast.ImportFrom():
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], False
        case ast.Name(ctx=ast.Store()):
            yield node.id, False
    for child in ast.iter_child_nodes(node):
        yield from _defined(child)


def _parameters_in(target: Target) -> dict[str, Any]:
    """Give the parameters of a function as its file writes them; none where it is made otherwise, or not to be read."""
    try:
        tree = _parsed(target.file)
    except LockstepError:
        return {}
    found = [
        node for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == target.function
    ]  # fmt: skip
    if not found:
        return {}
    own = found[-1].args
    return dict.fromkeys(argument.arg for argument in (*own.posonlyargs, *own.args, *own.kwonlyargs))


def _similar_file(file: Path) -> str:
    try:
        names = sorted(path.name for path in file.parent.glob("*.py"))
    except OSError:
        return ""
    close = difflib.get_close_matches(file.name, names, n=1)
    return f" Did you mean {file.parent / close[0]}?" if close else ""

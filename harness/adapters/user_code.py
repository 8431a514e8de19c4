"""A user's own file: which function of it is meant, how it is imported, and what is told where it fails."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Literal

from msgspec import Struct

from lockstep.harness.adapters.outcome import TAIL, Outcome
from lockstep.harness.errors import LockstepError, meant, unknown
from lockstep.harness.text import parsed_source


class UserCodeError(Exception):
    """Why a user's code gave no value."""

    def __init__(
        self, message: str, status: str = "failed", stderr: str | None = None, *, raised: bool = False
    ) -> None:
        """Take what its outcome is made of."""
        super().__init__(message)
        self.outcome = Outcome(status, None, message, stderr, raised=raised)


MOST_TEXT = 500  # characters of an exception


def text_of(error: BaseException, most: int = MOST_TEXT) -> str:
    """The text of an exception of the user's own, at most its beginning: TensorFlow's fill pages."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (making it is the user's code too)
        return "(its text cannot be made)"
    return text if len(text) <= most else f"{text[:most]}..."


def first_line(error: BaseException) -> str:
    """The first line of an exception's text: frameworks' fill pages."""
    return text_of(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


Mistake = Literal["relative import", "list", "string", "eager variable", "no value yet"]
# All that is read in texts of exceptions that others wrote, each with its types: nothing else tells these mistakes
# from others of one type. Where a framework words one anew, a hint is lost, never a result.
_SIGNS: dict[Mistake, tuple[tuple[type[BaseException], ...], tuple[str, ...]]] = {
    "relative import": ((ImportError,), ("relative import",)),
    "eager variable": ((BaseException,), ("capture an EagerTensor",)),
    "no value yet": ((BaseException,), ("SymbolicTensor", "OperatorNotAllowedInGraphError")),
    "list": ((TypeError, AttributeError), ("list",)),  # a list was used as something else
    "string": ((TypeError, AttributeError), ("string ind",)),  # "string indices must be integers"
}


def mistake_of(error: BaseException) -> Mistake | None:
    """Which mistake that a hint helps with is behind an exception of Python's or of a framework's, if one is."""
    text = f"{type(error).__name__}: {text_of(error)}"
    for mistake, (types, signs) in _SIGNS.items():
        if isinstance(error, types) and any(sign in text for sign in signs):
            return mistake
    return None


_HARNESS = str(Path(__file__).parents[1])  # where our own frames of a traceback lie


class Target(Struct, frozen=True):
    """Which function of which file."""

    file: Path
    function: str


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
    """The name under which a file is imported, and the folder that name begins at.

    A file in a package keeps its full name, so that its relative imports work.
    """
    root, parts = file.parent, [file.stem]
    while (root / "__init__.py").exists() and root.name.isidentifier():
        parts.insert(0, root.name)
        root = root.parent
    name = ".".join(parts)
    return (f"port_{name}" if name in sys.modules and len(parts) == 1 else name), root


def _import_error(error: BaseException, file: Path) -> UserCodeError:
    place = _place(error, file)
    if isinstance(error, SyntaxError) and error.filename == str(file):
        text = f": {error.text.strip()}" if error.text else ""
        return UserCodeError(f"{file.name}, line {error.lineno}: {type(error).__name__}: {error.msg}{text}")
    if isinstance(error, ModuleNotFoundError) and error.name:
        return UserCodeError(
            f"importing it needs {error.name}{place}, which is neither beside it nor installed for {sys.executable}",
            stderr=_traceback(error),
        )
    return raised("importing it", error, file, importing=True)


def raised(
    what: str, error: BaseException, file: Path | None, hint: str = "", *, importing: bool = False
) -> UserCodeError:
    """What was raised, where in the user's file, and what may help."""
    place, text = _place(error, file), text_of(error)
    if isinstance(error, SystemExit):
        hint = 'guard what runs as a script by `if __name__ == "__main__":`' if importing else "return instead"
        return UserCodeError(f"{what} called sys.exit({text}){place}: {hint}", stderr=_traceback(error))
    if isinstance(error, EOFError):
        hint = " (a port has no standard input)"
    elif mistake_of(error) == "relative import":
        hint = " (its folder has no __init__.py: import what lies beside it by its plain name)"
    message = f"{what} raised {type(error).__name__}{place}: {text}{hint}"
    return UserCodeError(message, stderr=_traceback(error), raised=True)


def _place(error: BaseException, file: Path | None) -> str:
    """Which line of the user's file an exception passed last."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if file and frame.filename == str(file)]
    return f" in {frames[-1].filename.rpartition(os.sep)[2]}, line {frames[-1].lineno}" if frames else ""


def _traceback(error: BaseException) -> str:
    """An exception's traceback from where our own frames end."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith((_HARNESS, "<frozen importlib")):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))[-TAIL:]


def parse_target(text: str) -> Target:
    """Read ``FILE.py:FUNCTION``; the function may be left out where the file defines ``port``.

    Raises:
        LockstepError: If it is none, there is no such file, or the file defines no such function.
    """
    path, _, function = (text, "", "port") if text.endswith(".py") else text.rpartition(":")
    file = Path(path)
    if file.suffix != ".py" or not function.isidentifier():
        hint = " Save the notebook's function in a .py file." if ".ipynb" in text else ""
        raise LockstepError(f'"{text}" is not a target: write FILE.py:FUNCTION, for example lstm.py:port.{hint}')
    if not file.is_file():
        raise LockstepError(f"{file}: no such file.{similar_file(file, '*.py')}")
    defined = list(defined_in(parsed_file(file)))
    functions = list(dict.fromkeys(name for name, node in defined if isinstance(node, FUNCTIONS)))
    # A star import may define anything.
    if not {function, "*"} & {name for name, _ in defined}:
        hint = f" Name one of them: {file}:{functions[0]}." if text.endswith(".py") and functions else ""
        raise LockstepError(f"{file}: {unknown('function', function, functions)}{hint}")
    return Target(file.absolute(), function)


def cut_stack(printed: str, file: Path) -> tuple[str, str]:
    """Cut our own frames from the stack that a dying process printed; say where in the user's file it was."""
    user_line = re.search(rf'File "{re.escape(str(file))}", line (\d+) in (\S+)', printed)
    place = f", in {file.name}, line {user_line[1]}, in {user_line[2]}" if user_line else ""
    ours = printed.find(f'  File "{_HARNESS}{os.sep}', user_line.start()) if user_line else -1
    return (printed[:ours] if ours >= 0 else printed), place


def parsed_file(file: Path) -> ast.Module:
    """A user's file as a tree; a LockstepError if it cannot be read, or is no Python."""
    try:
        return parsed_source(file.read_bytes())
    except SyntaxError as error:
        where = f"{file}, line {error.lineno}" if error.lineno else str(file)
        raise LockstepError(f"{where}: not valid Python: {error.msg}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise LockstepError(f"{file}: cannot be read: {error}.") from error


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def defined_in(node: ast.AST) -> Iterator[tuple[str, ast.stmt | ast.expr]]:
    """The names that a file's top level binds, those in its ``if`` and ``try`` too, and what binds each."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node
            return
        case ast.Import() | ast.ImportFrom():
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], node
        case ast.Name(ctx=ast.Store()):
            yield node.id, node
    for child in ast.iter_child_nodes(node):
        yield from defined_in(child)


def similar_file(file: Path, pattern: str = "*") -> str:
    """What file was perhaps meant, of those beside it."""
    with contextlib.suppress(OSError):  # of a folder that may not be read, or is not there
        names = sorted(
            path.name.removesuffix(".index") for path in file.parent.glob(pattern)
        )  # of a checkpoint, its prefix
        return meant(file.name, names, str(file.parent / "{}"))
    return ""

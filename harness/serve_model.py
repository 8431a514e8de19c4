"""What runs inside the process that reads a user's model file: the file's reader, and the user's own function.

A function is called after ``seed``, here and where the model is run: weights that it draws are the same each time.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from faulthandler import dump_traceback_later
from pathlib import Path
from typing import Any

import numpy as np

from harness.backend import unknown
from harness.foreign import text_of
from harness.model_file import Model, ModelError, ModelFile
from harness.port_form import PortError
from harness.serve import TAIL
from harness.serve_port import import_file, noticed_stdout, raised, reopen_closed, stack_of, tidy

SEED = 0


@dataclass(frozen=True)
class Found:
    """What a file came to: a model, or why there is none."""

    status: str  # "ran"; "wrong" if the file is none that is taken; "failed" if reading it fails
    model: Model | None = None
    message: str = ""
    stderr: str | None = None


def serve(file: ModelFile, module: str, timeout: float, replies: Path, log: Path) -> None:
    """Read a file.

    Args:
        file: Which.
        module: Of its reader.
        timeout: Seconds that reading may take; then the stack is written down, and the parent ends this.
        replies: Gets, pickled one after the other: this process' id, "imported" once the reader is, and what was Found.
        log: Where everything that is printed goes.
    """
    noticed_stdout()
    reopen_closed(log)
    with stack_of(log).open("wb") as stack, replies.open("ab", buffering=0) as answers:
        answers.write(pickle.dumps(os.getpid()))
        reader = _reader(module)
        answers.write(pickle.dumps("imported"))
        dump_traceback_later(timeout, file=stack)
        try:
            found = reader if isinstance(reader, Found) else find(reader, file)
        finally:
            tidy()
        answers.write(pickle.dumps(_with_printed(found, log), protocol=5))


def _reader(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except BaseException as error:  # noqa: BLE001 (a framework may fail in any way while it is imported)
        failed = raised("importing its reader", error, None)
        return Found("failed", None, str(failed), failed.stderr)


def find(reader: Any, file: ModelFile) -> Found:
    """Have a file read; every way to fail is an answer."""
    try:
        model = reader.read(file, value_of(file))
    except ModelError as error:
        return Found("wrong", None, str(error))
    except PortError as error:
        return Found("failed", None, str(error), error.stderr)
    except BaseException as error:  # noqa: BLE001 (a damaged file, or the user's own code)
        failed = raised("reading it", error, Path(file.path) if file.function else None)
        return Found("failed", None, str(failed), failed.stderr)
    return Found("ran", replace(model, more=None))


def value_of(file: ModelFile) -> Any:
    """Give what the function of a Python file returns, or what its name stands for; None of any other file.

    Raises:
        ModelError: If there is no such name, or it cannot be called without arguments.
        PortError: If importing the file or calling the function fails.
    """
    if not file.function:
        return None
    path = Path(file.path)
    seed()
    module = import_file(path)
    if not hasattr(module, file.function):
        names = [name for name in vars(module) if name[0] != "_"]
        raise ModelError(f"{unknown('function', file.function, names)}")
    value = getattr(module, file.function)
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return value
    _check_arguments(value, file.function)
    seed()
    try:
        return value()
    except BaseException as error:
        raise raised("it", error, path) from error


def seed() -> None:
    """Begin the random numbers of Python, NumPy and the frameworks that are imported anew."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 (the user's code may draw from it)
    for name, own in (("torch", "manual_seed"), ("keras", "utils.set_random_seed")):
        found: Any = sys.modules.get(name)
        for part in own.split("."):
            found = getattr(found, part, None)
        if found is not None:
            found(SEED)


def _check_arguments(function: Callable[..., Any], name: str) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a function compiled from another language
        return
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    needed = [one.name for one in parameters if one.default is one.empty and one.kind not in variadic]
    if needed:
        raise ModelError(
            f"{name} needs arguments ({', '.join(needed)}), and is called without any: give them defaults, or name a "
            f"function that calls it, such as `def model(): return {name}(...)`."
        )


def _with_printed(found: Found, log: Path) -> Found:
    """Add the end of what was printed, where it may tell why nothing was found."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if found.status == "ran":
        return found
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        text = file.read().decode("utf-8", "replace")
    return replace(found, stderr=f"{text}{found.stderr or ''}"[-TAIL:] or None)


def first_line(error: BaseException) -> str:
    """Give the first line of an exception's text: frameworks' fill pages."""
    return text_of(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__

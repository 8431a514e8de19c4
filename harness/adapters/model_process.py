"""What runs inside the process that reads a user's model file: the file's reader, and the user's own function.

A function is called after ``seed``, here and where the model is run: weights that it draws are the same each time.
"""

from __future__ import annotations

import importlib
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.user_code import import_file, raised
from lockstep.harness.adapters.user_process import check_no_arguments, named_value, outcome_of, serve_once
from lockstep.harness.weights.model_file import ModelError, ModelFile

SEED = 0


def serve(file: ModelFile, module: str, timeout: float, replies: Path, log: Path) -> None:
    """Read a file by the reader in a module; the rest as of ``user_process.serve_questions``."""
    serve_once(lambda: _reader(module), lambda reader: find(reader, file), timeout, replies, log)


def _reader(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except BaseException as error:
        raise raised("importing its reader", error, None, importing=True) from error


def find(reader: Any, file: ModelFile) -> Outcome:
    """Have a file read; every way to fail is an answer."""
    path = Path(file.path) if file.function else None
    return outcome_of(lambda: replace(reader.read(file, value_of(file)), more=None), ModelError, path)


def value_of(file: ModelFile) -> Any:
    """What the function of a Python file returns, or what its name stands for; None of any other file.

    Raises:
        ModelError: If there is no such name, or it cannot be called without arguments.
        UserCodeError: If importing the file or calling the function fails.
    """
    if not file.function:
        return None
    path = Path(file.path)
    seed()
    module = import_file(path)
    value, is_function = named_value(module, file.function, ModelError)
    if not is_function:
        return value
    check_no_arguments(value, file.function, ModelError, "model")
    # Once more: the file has perhaps imported its framework only now, or drawn numbers of its own.
    seed()
    try:
        return value()
    except BaseException as error:
        raise raised("it", error, path) from error


def seed() -> None:
    """Begin the random numbers of Python, NumPy and the frameworks that are imported anew."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 (the user's code may draw from it)
    for name, path in (("torch", "manual_seed"), ("keras", "utils.set_random_seed")):
        seeder: Any = sys.modules.get(name)
        for part in path.split("."):
            seeder = getattr(seeder, part, None)
        if seeder is not None:
            seeder(SEED)

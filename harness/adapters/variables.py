"""``lockstep variables``: the variables of what a user's file builds, found in a process of its own."""

from __future__ import annotations

import importlib.util
import os

from msgspec.structs import replace

from lockstep.harness.adapters.inventory import Inventory, Made, Material, inventory_of
from lockstep.harness.adapters.inventory_process import serve
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.user_calls import ask_once
from lockstep.harness.adapters.user_code import Target, parse_target
from lockstep.harness.adapters.worker import Process, quiet_environment


def variables_of(text: str, timeout: float) -> Inventory:
    """List the variables of ``FILE.py:BUILD``, ``build`` if only a file is named, and judge who shares which.

    Raises:
        LockstepError: If there is no such name, or it is nothing that is taken.
        UserFileError: If the code there fails, or takes more than ``timeout`` seconds.
    """
    target = parse_target(f"{text}:build" if text.endswith(".py") else text)
    with Process(build_environment()) as process:
        outcome = read_material(process, target, timeout)
    name = f"{target.file.name}:{target.function}"
    return inventory_of(_near(outcome.value_read_of(name), target), name)


def read_material(process: Process, target: Target, timeout: float) -> Outcome:
    """The ``Material`` of what a target builds, in a process that other targets may have used before."""
    return ask_once(process, serve, (target,), timeout, target.file)


def build_environment() -> tuple[tuple[str, str], ...]:
    """The environment of the process; TF 2.16 and later offer the rnn cells through tf-keras only."""
    return quiet_environment(legacy_keras=importlib.util.find_spec("tf_keras") is not None)


def _near(material: Material, target: Target) -> Material:
    """Name places by their files as seen from the target's folder: shorter, and the same wherever that is."""
    folder = f"{target.file.parent}{os.sep}"

    def near(variable: Made) -> Made:
        return replace(variable, place=variable.place and variable.place.removeprefix(folder))

    return replace(material, made=tuple(map(near, material.made)))

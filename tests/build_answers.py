"""One process that imports planted builds, one after the other, and says what their variables are."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from lockstep.harness.adapters.inventory import inventory_of
from lockstep.harness.adapters.user_code import Target
from lockstep.harness.adapters.variables import _near, build_environment, read_material
from lockstep.harness.adapters.worker import Process

PLANTED = Path(__file__).parent / "planted_builds"
PORTS = Path(__file__).parents[1] / "cases" / "ports"


class Builds:
    """Asks one process for one target after the other; what is imported once stays."""

    def __init__(self, start=Process, timeout=60):
        """``start``: where the process comes from, one of its own or one that others have used."""
        self.process, self.timeout = start(build_environment()), timeout

    def found(self, file, name):
        """Give what the process answers."""
        return read_material(self.process, Target(file, name), self.timeout)

    def __call__(self, file, name):
        """Give the inventory of what must be one."""
        found = self.found(file, name)
        assert found.status == "ran", found.message
        return inventory_of(_near(found.value, Target(file, name)), f"{file.name}:{name}")


def called(file, function, arguments, options):
    """Call a function of a file in this process: the one in which a test's other calls are."""
    sys.path[:0] = [] if str(file.parent) in sys.path else [str(file.parent)]
    return getattr(importlib.import_module(file.stem), function)(*arguments, **options)


def summary(found):
    """Give names and verdicts only: what is shared, and which variables are not one."""
    return {
        "names": [v.name for v in found.variables],
        "shared": [group.role for group in found.of("shared")],
        "not shared": [list(group.variables) for group in found.of("not shared")],
        "separate": [list(group.variables) for group in found.of("separate")],
    }


def line_of(file, text):
    """Give "file:line" of the line that holds a text."""
    lines = file.read_text().splitlines()
    return f"{file.name}:{next(k for k, line in enumerate(lines, 1) if text in line)}"

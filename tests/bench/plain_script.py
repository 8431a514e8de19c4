"""What a plain script would do in place of ``lockstep run ones``: import framework after framework, run each twice.

Twice, since a worker does so too: a first run, and a steady one to tell its time and whether it repeats. A backend that
is named runs alone, once.
"""

from __future__ import annotations

import importlib
import sys

from frameworks import FRAMEWORKS

from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.problem import Problem

if __name__ == "__main__":
    (found,) = find_cases(["ones"])
    problem = Problem.from_case(found.case)
    alone = sys.argv[1:]
    for name in alone or FRAMEWORKS:
        backend = importlib.import_module(f"lockstep.backends.{name}")
        for _ in range(1 if alone else 2):
            backend.run(problem)

"""What a plain script would do in place of ``lockstep run ones``: import framework after framework, run each twice.

Twice, since a worker does so too: a first run, and a steady one to tell its time and whether it repeats.
"""

from __future__ import annotations

import importlib

from frameworks import FRAMEWORKS

from lockstep.harness.cases.find import find_cases
from lockstep.harness.cases.problem import Problem

if __name__ == "__main__":
    (found,) = find_cases(["ones"])
    problem = Problem.from_case(found.case)
    for name in FRAMEWORKS:
        backend = importlib.import_module(f"lockstep.backends.{name}")
        backend.run(problem)
        backend.run(problem)

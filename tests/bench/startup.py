"""Whether help, lists and ``import lockstep`` are there at once.

Commands are measured against an interpreter that imports NumPy and nothing else, the import against ``import json``.
"""

from __future__ import annotations

import subprocess
import sys

from figures import Figure, against, figure_of
from timing import LOCKSTEP, in_turn, process

REPETITIONS = 7
BOUND = 3.0
IMPORT_REPETITIONS = 21  # milliseconds each, so noise is larger
IMPORT_BOUND = 2.0


def startup() -> list[Figure]:
    """Measure ``import lockstep``, ``lockstep --help`` and ``lockstep cases``."""
    numpy = process([sys.executable, "-c", "import numpy"])
    imports = [(import_seconds("lockstep"), import_seconds("json")) for _ in range(IMPORT_REPETITIONS + 1)]
    return [
        # The first pair finds cold caches.
        figure_of("import lockstep / import json", imports[1:], IMPORT_BOUND, against),
        *(
            figure_of(
                f"lockstep {argument} / python importing NumPy",
                in_turn(process([LOCKSTEP, argument]), numpy, REPETITIONS),
                BOUND,
                against,
            )
            for argument in ("--help", "cases")
        ),
    ]


def import_seconds(module: str) -> float:
    """Time an import in a fresh interpreter, without that interpreter's own start."""
    code = f"from time import perf_counter as now; start = now(); import {module}; print(now() - start)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

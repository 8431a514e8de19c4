"""Whether help, lists, small answers and ``import lockstep`` are there at once.

Commands are measured, by the processor's time, against an interpreter that imports NumPy and nothing else, the import
against ``import json``.
"""

from __future__ import annotations

import subprocess
import sys

from figures import Figure, against, figure_of
from timing import HERE, LOCKSTEP, in_turn, process, processor_seconds

REPETITIONS = 7
PORT = f"{HERE.parents[1] / 'cases' / 'templates' / 'port_numpy_plain.py'}:port"
BOUNDS = {
    "--help": 1.2,
    "cases": 3.0,
    "run ones --backend numpy_loop": 5.0,
    f"check {PORT} --case ones --quiet": 3.0,
}
IMPORT_REPETITIONS = 21  # milliseconds each, so noise is larger
IMPORT_BOUND = 2.0


def startup() -> list[Figure]:
    """Measure ``import lockstep``, and commands that are small."""
    numpy = process([sys.executable, "-c", "import numpy"])
    imports = [(import_seconds("lockstep"), import_seconds("json")) for _ in range(IMPORT_REPETITIONS + 1)]
    return [
        # The first pair finds cold caches.
        figure_of("import lockstep / import json", imports[1:], IMPORT_BOUND, against),
        *(
            figure_of(
                f"lockstep {words.replace(PORT, 'PORT')} / python importing NumPy",
                in_turn(process([LOCKSTEP, *words.split()]), numpy, REPETITIONS, processor_seconds),
                bound,
                against,
            )
            for words, bound in BOUNDS.items()
        ),
    ]


def import_seconds(module: str) -> float:
    """Time an import in a fresh interpreter, without that interpreter's own start."""
    code = f"from time import perf_counter as now; start = now(); import {module}; print(now() - start)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

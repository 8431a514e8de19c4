"""Whether help and lists answer at once: against an interpreter that imports NumPy and nothing else."""

from __future__ import annotations

import sys

from figures import Figure, against, figure_of
from timing import LOCKSTEP, in_turn, process

REPETITIONS = 7
BOUND = 3.0


def startup() -> list[Figure]:
    """Measure ``lockstep --help`` and ``lockstep cases``."""
    numpy = process([sys.executable, "-c", "import numpy"])
    return [
        figure_of(
            f"lockstep {argument} / python importing NumPy",
            in_turn(process([LOCKSTEP, argument]), numpy, REPETITIONS),
            BOUND,
            against,
        )
        for argument in ("--help", "cases")
    ]

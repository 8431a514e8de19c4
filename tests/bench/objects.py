"""What it costs to find out what the arrays of an object are, and how it is called, beside importing its framework."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from figures import Figure

MOST_CALLS = 60
MOST_SECONDS = 3.0
REPETITIONS = 5
NAMES = ("FusedLSTM", "MyCell", "Columns", "PlainLists")  # batched, step by step, a sequence a call, without arrays


def objects() -> list[Figure]:
    """Measure the calls of an object of one layer, and the seconds."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "planted_objects"))
    import healthy_objects

    from lockstep.harness.ports.objects.build import Maker
    from lockstep.harness.ports.objects.object_port import ObjectPort

    figures = []
    for name in NAMES:
        maker = Maker(getattr(healthy_objects, name), name, None, {})
        found = [ObjectPort(maker).taken for _ in range(REPETITIONS)]
        seconds = [taken.seconds for taken in found]
        figures += [
            Figure(f"calls that find the mapping of {name}", max(taken.calls for taken in found), MOST_CALLS),
            Figure(
                f"seconds that find the mapping of {name}", median(seconds), MOST_SECONDS, min(seconds), max(seconds)
            ),
        ]
    return figures

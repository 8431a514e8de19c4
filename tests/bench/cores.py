"""How many processors a machine gives: a virtual one that has two may get less than the time of one."""

from __future__ import annotations

import subprocess
import sys

from figures import Figure, Pair, against, figure_of
from timing import seconds

# Between one core, where two busy processes take turns, and two.
WHOLE = 1.6
BUSY = [sys.executable, "-c", "for _ in range(4_000_000): pass"]


def cores_given() -> float:
    """Count the processors that two busy processes get at this moment: some 2, or 1 where they take turns."""
    return 2 * seconds(lambda: _busy(1)) / seconds(lambda: _busy(2))


def figure_on_two_cores(name: str, pairs: list[Pair], cores: list[float], bound: float) -> Figure:
    """Make a figure of the pairs measured while there were two cores; of all, not judged, if there never were."""
    whole = [pair for pair, given in zip(pairs, cores, strict=True) if given >= WHOLE]
    told = f"{len(whole)} of {len(pairs)} repetitions had two cores"
    if not whole:
        return figure_of(name, pairs, note=lambda *both: f"{against(*both)}; {told}: not judged")
    return figure_of(name, whole, bound, lambda *both: f"{against(*both)}; {told}")


def cores_figure(cores: list[float]) -> Figure:
    """Tell what the machine gave."""
    ordered = sorted(cores)
    return Figure("cores given to two busy processes", ordered[len(cores) // 2], low=ordered[0], high=ordered[-1])


def _busy(count: int) -> None:
    for process in [subprocess.Popen(BUSY) for _ in range(count)]:
        process.wait()

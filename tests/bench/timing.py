"""Time of calls and of whole processes; two things compared are always measured in turn.

Wall time; of processes also the processor's, which other programs of a machine change less.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from figures import Pair

Call = Callable[[], object]

HERE = Path(__file__).parent
# The command as it stands beside the interpreter that runs this.
LOCKSTEP = str(Path(sys.executable).with_name("lockstep"))


def seconds(call: Call) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def processor_seconds(call: Call) -> float:
    """Processor time of the processes that a call starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def typical_seconds(calls: Iterable[Call]) -> float:
    """Time calls that do alike, and give the median; the first one, which finds caches cold, is not counted."""
    _, *taken = [seconds(call) for call in calls]
    return median(taken)


def in_turn(one: Call, other: Call, repetitions: int, clock: Callable[[Call], float] = seconds) -> list[Pair]:
    """Time two calls alternately, after one unmeasured call of each."""
    one(), other()
    return [(clock(one), clock(other)) for _ in range(repetitions)]


def process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Call:
    """Give a call that runs a command to its end, silently.

    The call raises CalledProcessError if the command fails.
    """
    return lambda: subprocess.run(
        command,
        check=True,
        # As users have it: what Python compiled once it reads from then on.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

"""A cold start over all frameworks: ``lockstep run ones`` against plain scripts, whole processes.

One script does what the run does, framework after framework; the other only what takes longest: it imports TensorFlow,
and runs one static graph.
"""

from __future__ import annotations

import sys

from cores import cores_figure, cores_given, figure_on_two_cores
from figures import Figure
from frameworks import FRAMEWORKS, framework_backends
from timing import HERE, LOCKSTEP, process, seconds

REPETITIONS = 5
SLOWEST = "tf_static_rnn"
BOUND, SLOWEST_BOUND = 0.85, 1.1  # on two cores


def cold() -> list[Figure]:
    """Measure a run of one small case over the five framework backends."""
    environment = dict(pair for backend in framework_backends() for pair in backend.environment)
    chosen = [word for name in FRAMEWORKS for word in ("--backend", name)]
    lockstep = process([LOCKSTEP, "run", "ones", *chosen])
    plain = process([sys.executable, str(HERE / "plain_script.py")], environment)
    alone = process([sys.executable, str(HERE / "plain_script.py"), SLOWEST], environment)
    lockstep(), plain(), alone()
    cores, pairs, beside = [], [], []
    for _ in range(REPETITIONS):
        before = cores_given()
        taken = seconds(lockstep)
        pairs.append((taken, seconds(plain)))
        beside.append((taken, seconds(alone)))
        cores.append(min(before, cores_given()))
    return [
        figure_on_two_cores("lockstep run ones / plain script", pairs, cores, BOUND),
        figure_on_two_cores(f"lockstep run ones / {SLOWEST} alone", beside, cores, SLOWEST_BOUND),
        cores_figure(cores),
    ]

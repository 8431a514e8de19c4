"""A cold start over all frameworks: ``lockstep run ones`` against a plain script, whole processes."""

from __future__ import annotations

import sys

from cores import cores_figure, cores_given, figure_on_two_cores
from figures import Figure
from frameworks import FRAMEWORKS, framework_backends
from timing import HERE, LOCKSTEP, process, seconds

REPETITIONS = 5
BOUND = 0.85  # on two cores


def cold() -> list[Figure]:
    """Measure a run of one small case over the five framework backends."""
    environment = dict(pair for backend in framework_backends() for pair in backend.environment)
    chosen = [word for name in FRAMEWORKS for word in ("--backend", name)]
    lockstep = process([LOCKSTEP, "run", "ones", *chosen])
    plain = process([sys.executable, str(HERE / "plain_script.py")], environment)
    lockstep(), plain()
    cores, pairs = [], []
    for _ in range(REPETITIONS):
        before = cores_given()
        pairs.append((seconds(lockstep), seconds(plain)))
        cores.append(min(before, cores_given()))
    return [figure_on_two_cores("lockstep run ones / plain script", pairs, cores, BOUND), cores_figure(cores)]

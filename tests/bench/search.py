"""What a campaign costs beside a naive search: configurations a minute, whose time it is, whether memory stays.

A configuration is one problem through all four backends, judged. The campaign runs as its workers do, two units at a
time, with as many problems a network as campaigns have; the naive loop builds graph and compiles for each
configuration, in one process for each backend that has imported its framework before. Whether memory stays is told for
a worker that goes through the same networks again and again, more than it keeps; over an hour, by the journal of a
campaign, in its table ``memory``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from figures import Figure
from threadpoolctl import threadpool_limits

from lockstep.harness.adapters.backend_process import resident_megabytes
from lockstep.harness.jobs.campaign.hands import NETWORKS_KEPT, Hands
from lockstep.harness.jobs.campaign.run_unit import run_unit
from lockstep.harness.jobs.campaign.unit import PROBLEMS, Campaign, UnitResult
from lockstep.harness.jobs.campaign.work import unit_of

BACKENDS = ("numpy_loop", "torch_lstm", "jax_scan", "tf_dynamic_rnn")
# What all four support.
FEATURES = ("float32", "layers", "lengths", "gradients", "initial state", "no bias", "bidirectional")
NETWORKS, NAIVE_NETWORKS = 6, 6
SHARE, TIMES = 0.4, 30  # of processor time that is the harness', at most; times as fast as the naive loop, at least
GROWTH = 1.1  # of a worker that has done the same three times
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def search() -> list[Figure]:
    """Measure; on Linux, where the processor time of other processes can be read."""
    naive = sum(_naive(backend) for backend in BACKENDS)
    costs, kept = _campaign(), _again_and_again()
    both = costs.ours + costs.theirs
    return [
        Figure("naive: processor seconds of a configuration", naive),
        Figure("configurations a minute", 60 / costs.wall, note=f"{PROBLEMS} problems a network"),
        # On two cores: each has half of the work.
        Figure("cost as a share of the naive loop's, on two cores", both / 2 / naive, 1 / TIMES,
               note=f"{naive / (both / 2):.0f} times as fast, at least {TIMES} are asked"),
        Figure("the harness' share of time", costs.ours / both, SHARE),
        Figure("memory of all after / before", costs.last / costs.first,
               note=f"{costs.first:.0f} MB, {costs.last - costs.first:+.0f} MB in {costs.span:.0f} s"),
        Figure("memory of a worker after / before", kept.last / kept.first, GROWTH,
               note=f"{kept.first:.0f} MB, {kept.last - kept.first:+.1f} MB in {kept.span:.0f} s, {kept.runs} runs"),
    ]  # fmt: skip


class Costs(NamedTuple):
    """What a campaign cost."""

    wall: float  # seconds of a configuration
    ours: float  # processor seconds of it here
    theirs: float  # and in the frameworks
    span: float  # seconds in all
    first: float  # megabytes before
    last: float  # and after


class Growth(NamedTuple):
    """What a worker has in memory."""

    first: float  # megabytes, once it keeps as many networks as it ever does
    last: float  # later
    span: float  # seconds between
    runs: int


def _again_and_again() -> Growth:
    campaign = Campaign(seed=1, backends=BACKENDS[:1], models=("lstm",), problems=8)
    networks = range(NETWORKS_KEPT + 1)  # each is gone when it comes again
    with Hands(campaign) as hands, threadpool_limits(1):
        _through(hands, networks)
        first, start = resident_megabytes() or 0.0, time.perf_counter()
        runs = sum(len(result.runs) for _ in range(3) for result in _through(hands, networks))
        return Growth(first, resident_megabytes() or 0.0, time.perf_counter() - start, runs)


def _campaign() -> Costs:
    campaign = Campaign(seed=1, backends=BACKENDS, models=("lstm",), features=FEATURES)
    with Hands(campaign) as hands, threadpool_limits(1):
        _through(hands, range(2))  # imports, and what is compiled at the first call
        first, theirs, ours, start = _megabytes(), _processor_seconds(), time.process_time(), time.perf_counter()
        results = _through(hands, range(2, 2 + NETWORKS))
        wall, ours, theirs = time.perf_counter() - start, time.process_time() - ours, _processor_seconds() - theirs
        last = _megabytes()
    configurations = sum(len(result.runs) for result in results) / len(BACKENDS)
    assert {result.verdict for result in results} <= {"agree", "known"}, [r.verdict for r in results]
    return Costs(wall / configurations, ours / configurations, theirs / configurations, wall, first, last)


def _through(hands: Hands, ks: range) -> list[UnitResult]:
    units: SimpleQueue = SimpleQueue()
    for k in ks:
        for backend in hands.campaign.backends:
            units.put(unit_of(hands.campaign, k, backend))
    results: list[UnitResult] = []

    def work() -> None:
        while True:
            try:
                unit = units.get_nowait()
            except Empty:
                return
            results.append(run_unit(unit, hands))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _naive(backend: str) -> float:
    """Processor seconds of a configuration where each builds and compiles anew."""
    told = subprocess.run([sys.executable, __file__, backend], capture_output=True, text=True, check=True)
    return float(told.stdout.split()[-1])


def _naive_loop(backend: str) -> float:
    from importlib import import_module

    import numpy as np

    from lockstep.harness.adapters.backend import find_backends
    from lockstep.harness.cases.decoder_problem import problem_of

    (info,) = find_backends([backend])
    os.environ.update(dict(info.environment))
    module = import_module(info.module)
    plain = import_module("lockstep.backends.numpy_loop")
    campaign = Campaign(seed=1, backends=BACKENDS, models=("lstm",), features=FEATURES, problems=1)
    problems = [problem_of(unit_of(campaign, k, backend).case) for k in range(2 + NAIVE_NETWORKS)]
    for problem in problems[:2]:
        module.run(problem)
    start = time.process_time()
    for problem in problems[2:]:
        given, wanted = module.run(problem), plain.run(problem)
        for name in given.arrays.keys() & wanted.arrays.keys():
            np.testing.assert_allclose(given.arrays[name], wanted.arrays[name], rtol=1e-2, atol=1e-2)
    return (time.process_time() - start) / NAIVE_NETWORKS


def _children() -> Iterator[int]:
    """The processes below this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    below = {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= new
    yield from below - {os.getpid()}


def _processor_seconds() -> float:
    """Of all processes below this one: what frameworks took."""
    seconds = 0.0
    for pid in _children():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        seconds += (int(fields[11]) + int(fields[12])) / TICKS
    return seconds


def _megabytes() -> float:
    """Of this process and all below it."""
    total = 0
    for pid in (os.getpid(), *_children()):
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        except OSError:
            continue
    return total / 1e6


if __name__ == "__main__":
    sys.stdout.write(f"{_naive_loop(sys.argv[1])}\n")

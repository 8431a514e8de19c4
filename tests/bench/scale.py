"""What a campaign of a million units would meet: ``python tests/bench/scale.py [--units N] [--batches N]``.

Measured here: the journal's rows and bytes, the scheduler's tasks a second with empty units, and a simulation: 100
workers, threads of two processes, whose batches take drawn times and do nothing, with the journal that a campaign has.
``docs/scale.md`` draws the conclusions. Needs the extra cluster.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, as_completed

from lockstep.harness.jobs.campaign.journal import FILE, Journal
from lockstep.harness.jobs.campaign.unit import PROBLEMS, Campaign, Ran, UnitResult
from lockstep.harness.jobs.campaign.work import unit_of

BACKENDS = ("numpy_loop", "torch_lstm", "jax_scan", "tf_dynamic_rnn")
CAMPAIGN = Campaign(seed=1, backends=BACKENDS, models=("lstm",))
WORKERS, BATCH, EMPTY = 100, 8, 4000  # units of a batch; empty tasks
LENGTHS = (0.3, 0.8)  # of the logarithm of a unit's seconds: mean exp(0.3), and how far they are spread


def results(units: int) -> list[UnitResult]:
    """Results as they come, of units that agree."""
    drawn = [unit_of(CAMPAIGN, k, BACKENDS[0]) for k in range(min(units, 100))]
    runs = tuple(
        Ran(n=n, verdict="agree", sigma=1.5, framework_seconds=0.1, harness_seconds=0.01) for n in range(PROBLEMS)
    )
    versions = {"lockstep": "0.1.0", "numpy": "2.4.6"}
    return [
        UnitResult(k=k, backend=BACKENDS[k % 4], features=drawn[k % len(drawn)].features, runs=runs,
                   versions=versions, machine="north", megabytes=300.0)
        for k in range(units)
    ]  # fmt: skip


def measure_journal(units: int) -> None:
    """How fast answers are kept, and how much room they take."""
    made = results(units)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
        journal.begin(CAMPAIGN)
        start, working = time.perf_counter(), time.process_time()
        for first in range(0, units, BATCH):
            journal.write(made[first : first + BATCH], float(first))
        seconds, working = time.perf_counter() - start, time.process_time() - working
        start = time.perf_counter()
        journal.counts()
        counting = time.perf_counter() - start
        journal.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        size = (Path(folder) / FILE).stat().st_size
    rows = (1 + PROBLEMS) * units
    print(f"journal: {units / seconds:.0f} units a second ({rows / seconds:.0f} rows) in transactions of {BATCH}, "
          f"{units / working:.0f} a second of processor time")  # fmt: skip
    print(f"journal: {size / units:.0f} bytes a unit; counting all {units} takes {counting * 1e3:.1f} ms")


def sleep(seconds: float, answers: list[UnitResult]) -> tuple[float, list[UnitResult]]:
    """A batch that takes its time and does nothing: how long it took, and what comes of it."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start, answers


def measure_scheduler(client: Client, pid: int) -> None:
    """How many tasks a second the scheduler sends and takes back."""
    for count in (EMPTY // 10, EMPTY):
        start, working = time.perf_counter(), processor_seconds(pid)
        client.gather(client.map(sleep, [0.0] * count, [[]] * count, pure=False))
        seconds, working = time.perf_counter() - start, processor_seconds(pid) - working
    print(
        f"scheduler: {count / seconds:.0f} empty tasks a second, {count / working:.0f} a second of its processor time"
    )


def simulate(client: Client, pid: int, batches: int) -> None:
    """100 workers, batches of drawn lengths, twice as many in hand as there are workers, kept in a journal."""
    rng = np.random.default_rng(1)
    lengths = rng.lognormal(*LENGTHS, size=(batches, BATCH)).sum(axis=1)
    made = results(batches * BATCH)

    def send(n: int) -> Any:
        return client.submit(sleep, float(lengths[n]), made[n * BATCH : (n + 1) * BATCH], pure=False)

    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
        journal.begin(CAMPAIGN)
        waiting, kept, asleep = list(range(batches)), 0.0, 0.0
        start, working, ours = time.perf_counter(), processor_seconds(pid), time.process_time()
        in_hand = as_completed([send(waiting.pop()) for _ in range(min(2 * WORKERS, batches))], with_results=True)
        for _, (seconds, answers) in in_hand:
            if waiting:
                in_hand.add(send(waiting.pop()))
            before = time.process_time()
            journal.write(answers, 0.0)
            kept, asleep = kept + time.process_time() - before, asleep + seconds
        seconds, working, ours = (
            time.perf_counter() - start, processor_seconds(pid) - working, time.process_time() - ours
        )  # fmt: skip
    print(f"simulation: {batches} batches of {BATCH} units, {lengths.mean():.1f} s each, over {WORKERS} workers in "
          f"{seconds:.0f} s: {100 * asleep / seconds / WORKERS:.0f} % of their time")  # fmt: skip
    of_journal = f"{1e3 * kept / batches:.1f} ms of it for the journal"
    of_both = f"{1e3 * working / batches:.1f} ms of the scheduler and {1e3 * ours / batches:.1f} ms of the client"
    print(f"simulation: a batch takes {of_both}, {of_journal}")


@contextmanager
def scheduler_apart() -> Iterator[tuple[Client, int]]:
    """A client of a scheduler that is a process of its own, with its number, and workers of 50 threads each."""
    command: list[str] = [sys.executable, "-m"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "scheduler.json"
        common = ["--scheduler-file", str(told), "--no-dashboard"]
        scheduler = subprocess.Popen([*command, "distributed.cli.dask_scheduler", *common, "--port", "0"], **quiet)
        threads = ["--nthreads", "50", "--no-nanny", "--local-directory", folder]
        workers = [
            subprocess.Popen([*command, "distributed.cli.dask_worker", *common, *threads], **quiet) for _ in range(2)
        ]
        try:
            while not told.exists():
                time.sleep(0.1)
            with Client(scheduler_file=str(told), timeout=120) as client:
                client.wait_for_workers(2, timeout=300)
                yield client, scheduler.pid
        finally:
            for process in (*workers, scheduler):
                process.kill()
                process.wait()


def processor_seconds(pid: int) -> float:
    """What a process computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--units", type=int, default=20_000, help="that are written into a journal")
    parser.add_argument("--batches", type=int, default=800, help="of the simulation")
    options = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.ERROR)
    measure_journal(options.units)
    with scheduler_apart() as (client, pid):
        measure_scheduler(client, pid)
        simulate(client, pid, options.batches)
    return 0


if __name__ == "__main__":
    sys.exit(main())

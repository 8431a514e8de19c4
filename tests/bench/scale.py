"""What a campaign of a million configurations would meet: ``python tests/bench/scale.py [--units N]``.

Measured here: the journal's rows and bytes, the scheduler's tasks a second with empty units, and a simulation: 100
workers whose batches take drawn times and do nothing, sent and kept by the code that a campaign has. ``docs/scale.md``
draws the conclusions. Needs the extra cluster.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from distributed import Client, LocalCluster, as_completed

from lockstep.harness.jobs.campaign.journal import FILE, Journal
from lockstep.harness.jobs.campaign.unit import Campaign, Ran, UnitResult
from lockstep.harness.jobs.campaign.work import unit_of

BACKENDS = ("numpy_loop", "torch_lstm", "jax_scan", "tf_dynamic_rnn")
CAMPAIGN = Campaign(seed=1, backends=BACKENDS, models=("lstm",))
WORKERS, BATCH, EMPTY = 100, 8, 1000  # units of a batch; empty tasks
LENGTHS = (0.3, 0.8)  # of the logarithm of a unit's seconds: mean exp(0.3), and how far they are spread


def results(units: int) -> list[UnitResult]:
    """Results as they come, of units that agree."""
    drawn = [unit_of(CAMPAIGN, k, BACKENDS[0]) for k in range(min(units, 100))]
    runs = tuple(Ran(n=n, verdict="agree", sigma=1.5, framework_seconds=0.1, harness_seconds=0.01) for n in range(5))
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
    print(f"journal: {units / seconds:.0f} units a second ({6 * units / seconds:.0f} rows) in transactions of {BATCH}, "
          f"{units / working:.0f} a second of processor time")  # fmt: skip
    print(f"journal: {size / units:.0f} bytes a unit; counting all {units} takes {counting * 1e3:.1f} ms")


def sleep(seconds: float, answers: list[UnitResult]) -> list[UnitResult]:
    """A batch that takes its time and does nothing."""
    time.sleep(seconds)
    return answers


def measure_scheduler(client: Client) -> None:
    """How many tasks a second the scheduler sends and takes back."""
    for count in (EMPTY // 10, EMPTY):
        start, working = time.perf_counter(), time.process_time()
        client.gather(client.map(sleep, [0.0] * count, [[]] * count, pure=False))
        seconds, working = time.perf_counter() - start, time.process_time() - working
    # Scheduler, workers and client are one process here: the scheduler alone does more.
    print(f"scheduler: {count / seconds:.0f} empty tasks a second, {count / working:.0f} a second of processor time")


def simulate(client: Client, batches: int) -> None:
    """100 workers, batches of drawn lengths, twice as many in hand as there are workers, kept in a journal."""
    rng = np.random.default_rng(1)
    lengths = rng.lognormal(*LENGTHS, size=(batches, BATCH)).sum(axis=1)
    made = results(batches * BATCH)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
        journal.begin(CAMPAIGN)
        start, waiting, kept = time.perf_counter(), list(range(batches)), 0.0
        working = time.process_time()

        def send(n: int):
            return client.submit(sleep, float(lengths[n]), made[n * BATCH : (n + 1) * BATCH], pure=False)

        in_hand = as_completed([send(waiting.pop()) for _ in range(min(2 * WORKERS, batches))], with_results=True)
        for _, answers in in_hand:
            if waiting:
                in_hand.add(send(waiting.pop()))
            before = time.perf_counter()
            journal.write(answers, 0.0)
            kept += time.perf_counter() - before
        seconds, working = time.perf_counter() - start, time.process_time() - working
    ideal = lengths.sum() / WORKERS
    print(f"{WORKERS} workers: {batches} batches of {BATCH} units, {lengths.mean():.1f} s each, in {seconds:.1f} s; "
          f"at best {ideal:.1f} s: {100 * ideal / seconds:.0f} % of the workers' time is units'")  # fmt: skip
    print(f"all of it took {working:.1f} s of processor time, {1e3 * working / batches:.1f} ms a batch")
    print(f"the client wrote for {100 * kept / seconds:.0f} % of it: {batches * BATCH / seconds:.0f} units a second")


def main() -> int:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--units", type=int, default=20_000, help="that are written into a journal")
    parser.add_argument("--batches", type=int, default=800, help="of the simulation")
    options = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.ERROR)
    measure_journal(options.units)
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        measure_scheduler(client)
        simulate(client, options.batches)
    return 0


if __name__ == "__main__":
    sys.exit(main())

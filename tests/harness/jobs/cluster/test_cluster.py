"""Campaigns and runs on a Dask cluster: one within this process, and one of processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import numpy as np
import pytest
from dask_processes import Processes, free_port

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.cases.find import find_cases
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.tasks import Batch, Choosing
from lockstep.harness.jobs.campaign.unit import Campaign
from lockstep.harness.jobs.campaign.work import unit_of
from lockstep.harness.jobs.cluster.client import ClusterExecutor
from lockstep.harness.jobs.cluster.outcomes import on_cluster
from lockstep.harness.jobs.run import run_cases

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

CAMPAIGN = Campaign(seed=1, backends=("numpy_loop",), models=("lstm",), problems=5)
PATIENCE = 120.0  # seconds: another program may have the processors meanwhile


@pytest.fixture(scope="module")
def local_cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def processes(tmp_path):
    there = Processes(tmp_path)
    yield there
    there.close()


def answers_of(executor, numbers):
    """The answers to tasks, until all are done or something is fatal."""
    end, left, answers = time.monotonic() + PATIENCE, set(numbers), []
    while left and time.monotonic() < end:
        for answer in executor.answers(1.0):
            answers.append(answer)
            left -= {answer.number} if answer.done else set()
            if answer.fatal:
                return answers
    assert not left
    return answers


def children_of(process):
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()[1:]]
    return [pid for pid, parent in pairs if parent == process.pid]


def test_a_local_cluster_chooses_and_runs_units_as_processes_here_do(local_cluster):
    with ClusterExecutor(CAMPAIGN, local_cluster) as executor:
        assert executor.capacity == 4
        executor.submit(Choosing(1, "numpy_loop", 0))
        (chosen,) = answers_of(executor, [1])
        executor.submit(Batch(2, "numpy_loop", chosen.chosen[:3]))
        units = [unit for answer in answers_of(executor, [2]) for unit in answer.units]
    assert [unit.k for unit in units] == list(chosen.chosen[:3])
    assert {unit.verdict for unit in units} == {"agree"}
    assert [unit.features for unit in units] == [unit_of(CAMPAIGN, unit.k, "numpy_loop").features for unit in units]


def test_cases_run_on_a_cluster_as_here(local_cluster):
    cases = [found.case for found in find_cases(["tiny", "lengths"])]
    backends = find_backends(["numpy_loop"])
    here = run_cases(cases, backends)
    there = run_cases(cases, backends, source=on_cluster(local_cluster))
    assert [run.status for run in there] == ["agree", "agree"]
    for first, second in zip(here, there, strict=True):
        assert first.case == second.case
        assert {name: t.worst.sigma for name, t in first.tensors.items()} == {
            name: t.worst.sigma for name, t in second.tensors.items()
        }


def test_a_killed_worker_costs_its_units_in_flight_which_run_elsewhere(processes):
    ks = tuple(range(12))
    rng = np.random.default_rng(time.time_ns())
    with ClusterExecutor(CAMPAIGN, processes.address) as executor:
        for number, k in enumerate(ks):
            executor.submit(Batch(number, "numpy_loop", (k,)))
        time.sleep(float(rng.uniform(0, 4)))
        victim = processes.workers[0]
        frameworks = children_of(victim)
        victim.send_signal(signal.SIGKILL)
        units = [unit for answer in answers_of(executor, range(len(ks))) for unit in answer.units]
    assert sorted(unit.k for unit in units) == list(ks)
    end = time.monotonic() + PATIENCE
    while any(map(is_alive, frameworks)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not any(map(is_alive, frameworks))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_lost_scheduler_is_told_and_nothing_hangs(processes):
    with ClusterExecutor(CAMPAIGN, processes.address) as executor:
        executor.submit(Batch(1, "numpy_loop", tuple(range(200))))
        processes.scheduler.kill()
        answers = answers_of(executor, [1])
    assert answers[-1].fatal == f"the Dask scheduler at {processes.address} is gone."


def test_an_address_where_nothing_answers_is_told():
    with pytest.raises(LockstepError, match=r"no Dask scheduler answers at tcp://127.0.0.1:\d+: .*`dask scheduler`"):
        ClusterExecutor(CAMPAIGN, f"tcp://127.0.0.1:{free_port()}")

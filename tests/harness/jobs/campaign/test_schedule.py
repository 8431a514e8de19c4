"""The order of units: every backend gets its time, and what takes its workers with it is given up."""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush

from lockstep.harness.jobs.campaign.schedule import BATCH_SECONDS, MOST_LOSSES, SECONDS_BEFORE_ASKING, Schedule
from lockstep.harness.jobs.campaign.tasks import Batch, Choosing
from lockstep.harness.jobs.campaign.unit import Campaign, Ran, UnitResult

CAMPAIGN = Campaign(seed=3, backends=("numpy_loop", "torch_lstm", "torch_cell"), models=("lstm",))
SECONDS = {"numpy_loop": 0.1, "torch_lstm": 1.0, "torch_cell": 9.0}


def through(backend, k):
    run = Ran(n=0, verdict="agree", framework_seconds=SECONDS[backend])
    return UnitResult(k=k, backend=backend, features=(), runs=(run,), versions={})


def chosen(ks):
    return {(name, 0): ks for name in CAMPAIGN.backends}


def carry_out(schedule, task):
    for k in task.ks:
        schedule.through(through(task.backend, k))
    assert schedule.ended(task.number, None) == []


def test_backends_get_the_same_time():
    schedule, seconds = Schedule(CAMPAIGN, chosen=chosen(range(10_000))), Counter()
    while sum(seconds.values()) < 600:
        task = schedule.next()
        carry_out(schedule, task)
        seconds[task.backend] += len(task.ks) * SECONDS[task.backend]
    assert max(seconds.values()) - min(seconds.values()) < 20


def test_slow_compilers_do_not_hold_up_the_first_round_of_the_others():
    quick = ("numpy_loop", "torch_lstm", "jax_scan", "flax_linen")
    slow = ("tf_dynamic_rnn", "openvino_lstm", "tvm_relax", "iree_lstm")
    campaign = Campaign(seed=3, backends=(*slow, *quick), models=("lstm",))
    schedule = Schedule(campaign, chosen={(name, 0): range(10_000) for name in campaign.backends})
    now, running, units, seconds = 0.0, [], Counter(), Counter()
    while min(units[name] for name in quick) < 60:
        while len(running) < 2:
            task = schedule.next()
            each = 100.0 if task.backend in slow else 0.5
            seconds[task.backend] += each * len(task.ks)
            heappush(running, (now + each * len(task.ks), task.number, task, each))
        now, _, task, each = heappop(running)
        for k in task.ks:
            run = Ran(n=0, verdict="agree", framework_seconds=each)
            schedule.through(UnitResult(k=k, backend=task.backend, features=(), runs=(run,), versions={}))
            units[task.backend] += 1
        schedule.ended(task.number, None)
    # The others need 120 s; of the slow ones none gets a second unit before these had as much.
    assert now < 120 + 2 * 100 + 10
    assert {units[name] for name in slow} == {1}


def test_frameworks_run_beside_each_other_before_one_runs_twice():
    schedule = Schedule(CAMPAIGN, chosen=chosen(range(100)))
    assert {task.backend.partition("_")[0] for task in (schedule.next(), schedule.next())} == {"numpy", "torch"}


def test_a_backend_is_asked_after_those_before_it_had_a_turn():
    schedule, asked, units = Schedule(CAMPAIGN), [], Counter()
    while len(asked) < len(CAMPAIGN.backends):
        task = schedule.next()
        if isinstance(task, Choosing):
            asked.append((task.backend, dict(units)))
            assert schedule.chosen(task.number, range(1000)) == (task.backend, 0)
            schedule.ended(task.number, None)
        else:
            carry_out(schedule, task)
            units[task.backend] += len(task.ks)
    (first, none), (_, some), _ = asked
    assert none == {}
    assert some[first] * SECONDS[first] >= SECONDS_BEFORE_ASKING - BATCH_SECONDS


def test_nothing_is_left_where_no_backend_runs_anything():
    schedule = Schedule(CAMPAIGN, chosen=chosen(()))
    assert schedule.exhausted
    assert schedule.next() is None


def test_what_was_lost_comes_again_and_is_given_up_in_the_end():
    schedule = Schedule(CAMPAIGN, chosen={("numpy_loop", 0): (7, 8), ("torch_lstm", 0): (), ("torch_cell", 0): ()})
    given_up = []
    for _ in range(MOST_LOSSES):
        assert given_up == []
        task = schedule.next(1)
        assert isinstance(task, Batch)
        assert task.ks == (7,)
        given_up = schedule.ended(task.number, "its worker was killed")
    assert given_up == [("numpy_loop", 7)]
    schedule.through(through("numpy_loop", 7))
    assert schedule.next().ks == (8,)


def test_what_is_through_never_comes_again():
    done = {("numpy_loop", 2)}
    schedule = Schedule(CAMPAIGN, done, chosen((1, 2, 3)), {"torch_lstm": 50.0, "torch_cell": 60.0})
    assert schedule.next().ks == (1,)
    assert schedule.next(5).backend == "torch_lstm"

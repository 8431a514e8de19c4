"""Workers: whatever a backend does costs only its own result."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lstm_cases import make_case

from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.worker import Process, Worker
from lockstep.harness.cases.problem import Problem
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems


def planted(name, requires=()):
    return BackendInfo(name, f"planted.{name}", requires=requires)


@pytest.fixture(scope="module")
def worker():
    with Worker((), timeout=20) as worker:
        yield worker


@pytest.fixture(scope="module")
def problem():
    return Problem.from_case(make_case())


@pytest.mark.parametrize(
    ("name", "status", "message", "stderr"),
    [
        ("raises", "failed", "RuntimeError: out of luck", "on the way"),
        ("raises", "failed", "RuntimeError: out of luck", "in run"),
        ("exits", "failed", "SystemExit", ""),
        ("dies", "crashed", "SIGSEGV", "last words"),
        ("killed", "crashed", "SIGKILL (often: out of memory)", ""),
        ("exhausts_memory", "failed", "Error", ""),
        ("no_trace", "failed", "returned a ndarray, expected a Trace", ""),
        ("batch_major", "failed", "batch-major? expected time first", ""),
        ("widens", "failed", "h is float64, expected float32", ""),
        ("empty_trace", "failed", "contains no tensor", ""),
        ("writes_inputs", "failed", "read-only", ""),
        ("changes_inputs", "failed", "changed its inputs", ""),
        ("import_fails", "failed", "libcudart", ""),
        ("import_missing", "unsupported", "no_such_framework not installed", ""),
        ("absent", "unsupported", "not installed", ""),
        ("refuses", "unsupported", "no float32 here", ""),
    ],
)
def test_what_a_backend_does_is_its_own_result_and_the_next_run_is_well(worker, problem, name, status, message, stderr):
    answer = worker.run(planted(name), problem)
    assert answer.trace is None
    assert answer.status == status
    assert message in answer.message
    assert stderr in (answer.stderr or "")
    assert worker.run(planted("healthy"), problem).status == "ran"


def test_a_backend_that_hangs_is_ended_and_says_where_it_hung(problem):
    with Worker((), timeout=3) as worker:
        started = time.monotonic()
        answer = worker.run(planted("hangs"), problem)
        assert time.monotonic() - started < 60
        assert answer.status == "timeout"
        assert "3 s" in answer.message
        assert "time.sleep" in answer.stderr or "hangs.py" in answer.stderr
        assert worker.run(planted("healthy"), problem).status == "ran"


def test_a_run_once_more_is_of_the_same_problem_and_shows_what_it_gives_now(worker, problem):
    """What did not change is not sent again, also while an answer is kept, and after something else was asked."""
    other = Problem.from_case(make_case(seed=7))
    first = [worker.run(planted("healthy"), problem).trace.h for _ in range(3)]
    assert all((h == first[0]).all() for h in first)
    assert worker.megabytes() is not None
    assert (worker.run(planted("healthy"), problem).trace.h == first[0]).all()
    of_other = worker.run(planted("healthy"), other).trace.h
    assert (of_other != first[0]).any()
    assert worker.run(planted("refuses"), other).status == "unsupported"
    assert (worker.run(planted("healthy"), other).trace.h == of_other).all()


def test_messages_are_of_any_length_and_the_first_answer_may_be_there_before_it_is_waited_for():
    with Process(()) as process:
        process.begin(len, ("early",))
        time.sleep(1)
        assert process.finish(20) == 5
        for size in (0, 7, 2**16 - 8, 2**16, 5_000_000):
            assert process.call(bytes.upper, (b"x" * size,), 20) == b"X" * size


def test_what_a_backend_prints_stays_out_of_the_way(worker, problem, capfd):
    answer = worker.run(planted("prints"), problem)
    assert answer.status == "ran"
    assert capfd.readouterr().out == ""


def test_a_second_call_is_compared_bit_by_bit(worker, problem):
    assert worker.run(planted("healthy"), Problem.from_case(make_case(batch=3))).repeatable is True
    assert worker.run(planted("not_repeatable"), problem).repeatable is False


def test_a_third_call_after_another_problem_shows_what_is_remembered(worker, problem):
    """The one that was told its state by the call before is told so in words; what rounds otherwise agrees."""
    case = problem.case
    judge = Judge(Problems())
    assert worker.run(planted("healthy"), Problem.from_case(make_case(batch=4))).later is None
    result = judge.judge(case, "remembers", worker.run(planted("remembers"), problem))
    assert result.status == "diverge"
    assert result.repeatable is False
    cause = result.diagnosis[0]
    assert cause.fault == "state-kept-between-calls"
    assert "gives another answer when called again after another problem" in cause.message
    assert judge.judge(case, "rounds", worker.run(planted("not_repeatable"), problem)).status == "agree"


def test_a_shape_is_run_twice_only_when_it_is_new(worker):
    first = worker.run(planted("healthy"), Problem.from_case(make_case(timesteps=8)))
    second = worker.run(planted("healthy"), Problem.from_case(make_case(timesteps=8, seed=5)))
    assert "steady" in first.seconds
    assert "steady" not in second.seconds


def test_a_framework_that_is_not_installed_is_said_to_be_with_what_installs_it(worker, problem):
    info = BackendInfo("x", "planted.healthy", requires=("no_such_framework",), install="lockstep-rnn[x]")
    answer = worker.run(info, problem)
    assert answer.status == "unsupported"
    assert answer.message == "no_such_framework not installed: pip install 'lockstep-rnn[x]'"


def test_the_environment_of_a_worker_is_its_own(problem):
    before = dict(os.environ)
    with Worker((("LOCKSTEP_TEST", "1"),), timeout=20) as worker:
        answer = worker.run(planted("tells_environment"), problem)
    assert "LOCKSTEP_TEST=1" in answer.message
    assert "OMP_NUM_THREADS=1" in answer.message
    assert dict(os.environ) == before


def test_versions_are_those_of_the_modules(worker, problem):
    import numpy as np

    answer = worker.run(planted("healthy", requires=("numpy",)), problem)
    assert answer.versions == {"numpy": np.__version__}


def test_closing_leaves_no_process_and_may_be_done_twice(problem):
    before = set(multiprocessing.active_children())
    worker = Worker((), timeout=20)
    assert worker.run(planted("healthy"), problem).status == "ran"
    assert set(multiprocessing.active_children()) - before
    worker.close()
    worker.close()
    assert not set(multiprocessing.active_children()) - before


def test_closing_ends_a_run_that_is_under_way(problem):
    worker = Worker((), timeout=60)
    worker.run(planted("healthy"), problem)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(worker.run, planted("hangs_politely"), problem)
        time.sleep(1)
        worker.close()
        assert answer.result(timeout=20).status == "failed"

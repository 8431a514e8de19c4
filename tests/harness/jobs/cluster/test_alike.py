"""Whether workers are alike, and what is told where they are not."""

from __future__ import annotations

import pytest

from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.cluster.alike import check_alike, differences, facts_of

HERE = {"lockstep": "0.1.0 (abc)", "python": "3.11.7", "torch": "2.9.0"}


def workers(count, **changes):
    return {f"tcp://10.0.0.{n}:40000": {**HERE, **(changes if n == 0 else {})} for n in range(count)}


def test_workers_that_are_alike_are_taken():
    check_alike(workers(3), HERE, allow_mixed=False)


def test_what_differs_is_listed_by_worker_with_what_most_have():
    with pytest.raises(
        LockstepError, match=r"not alike; 2 of 3 .*\n  tcp://10.0.0.0:40000: torch 2.8.0 \(most: 2.9.0\)"
    ):
        check_alike(workers(3, torch="2.8.0"), HERE, allow_mixed=False)


def test_versions_may_differ_where_that_is_allowed():
    check_alike(workers(3, torch="not installed"), HERE, allow_mixed=True)


def test_our_own_sources_may_never_differ():
    with pytest.raises(
        LockstepError, match=r"lockstep 0.1.0 \(abc\) is here, and 1 worker of 2 another:\n.*0.1.0 \(def\)"
    ):
        check_alike(workers(2, lockstep="0.1.0 (def)"), HERE, allow_mixed=True)


def test_a_worker_without_lockstep_is_told():
    silent = {**workers(1), "tcp://other:1": ModuleNotFoundError("No module named 'lockstep'")}
    with pytest.raises(
        LockstepError, match=r"1 worker of 2 cannot import lockstep.*\n  tcp://other:1: No module named"
    ):
        check_alike(silent, HERE, allow_mixed=True)


def test_no_worker_at_all_is_told():
    with pytest.raises(LockstepError, match="no workers: start some with `dask worker"):
        check_alike({}, HERE, allow_mixed=False)


def test_long_lists_are_cut():
    known = {f"w{n}": {f"package{k}": str(k * (n == 0)) for k in range(20)} for n in range(3)}
    (told,) = differences(known).values()
    assert told.endswith("and 11 more")


def test_facts_are_of_what_backends_require_and_none_is_imported():
    facts = facts_of(("numpy_loop", "torch_lstm"))
    assert facts.keys() == {"lockstep", "python", "numpy", "torch"}
    assert facts["lockstep"].count("(") == 1

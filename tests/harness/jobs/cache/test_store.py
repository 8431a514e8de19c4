"""Kept traces: what lasts is found again as it was, what is damaged is not, and what may change is never kept."""

from __future__ import annotations

import msgspec
import pytest
from lstm_cases import make_case

from lockstep.backends import numpy_loop
from lockstep.harness.adapters.backend import BackendInfo
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.adapters.trace import Parameter
from lockstep.harness.cases.problem import Problem
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs import run as running
from lockstep.harness.jobs.cache.store import TraceCache, folder_of_traces
from lockstep.harness.jobs.run import run_cases

BACKEND = BackendInfo("healthy", "planted.healthy", requires=("numpy",))
PROBLEM = Problem.from_case(make_case())
TRACE = numpy_loop.run(PROBLEM).replaced(parameters=(Parameter("w", (3, 4)),))
RAN = Outcome("ran", TRACE, versions={"numpy": "1"}, seconds={"first": 0.125, "import": 2.5}, repeatable=True)


@pytest.fixture
def cache(tmp_path):
    return TraceCache(tmp_path / "traces")


def file_of(cache):
    (path,) = (path for path in cache.folder.rglob("*") if path.is_file())
    return path


def test_a_trace_comes_back_as_it_was(cache):
    assert cache.get(BACKEND, PROBLEM) is None
    cache.keep(BACKEND, PROBLEM, RAN)
    again = cache.get(BACKEND, PROBLEM)
    assert again.cached
    assert (again.status, again.versions, again.seconds, again.repeatable) == (
        "ran", RAN.versions, RAN.seconds, True,
    )  # fmt: skip
    assert again.trace.parameters == TRACE.parameters
    assert {name: array.tobytes() for name, array in again.trace.tensors().items()} == {
        name: array.tobytes() for name, array in TRACE.tensors().items()
    }
    assert cache.get(BACKEND, Problem.from_case(make_case(seed=1))) is None


def test_a_refusal_comes_back_too(cache):
    cache.keep(BACKEND, PROBLEM, Outcome("unsupported", message="no bias", versions={"numpy": "1"}))
    again = cache.get(BACKEND, PROBLEM)
    assert (again.status, again.message, again.cached) == ("unsupported", "no bias", True)
    file_of(cache).write_bytes(b'{"unsupp')
    assert cache.get(BACKEND, PROBLEM) is None


def flipped(content):
    place = content.rindex(TRACE.h.tobytes()) + 5
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[:-9], flipped, lambda content: content.replace(b"0.125", b"0.625")],
    ids=["empty", "cut", "a number", "a fact"],
)
def test_a_damaged_entry_is_made_anew(damage, cache):
    cache.keep(BACKEND, PROBLEM, RAN)
    whole = file_of(cache).read_bytes()
    file_of(cache).write_bytes(damage(whole))
    assert file_of(cache).read_bytes() != whole
    assert cache.get(BACKEND, PROBLEM) is None
    cache.keep(BACKEND, PROBLEM, RAN)
    assert cache.get(BACKEND, PROBLEM) is not None


@pytest.mark.parametrize(
    "outcome",
    [
        *(Outcome(status, message="once") for status in ("failed", "crashed", "timeout")),
        Outcome("unsupported", message="torch not installed"),
        Outcome("ran", TRACE, repeatable=False),
        Outcome("ran", numpy_loop.run(PROBLEM).replaced(device="cuda:0"), repeatable=True),
    ],
    ids=["failed", "crashed", "timeout", "not installed", "not repeatable", "elsewhere"],
)
def test_what_may_come_out_otherwise_is_not_kept(outcome, cache):
    cache.keep(BACKEND, PROBLEM, outcome)
    assert cache.size() == (0, 0)


def test_size_and_clear(cache):
    cache.keep(BACKEND, PROBLEM, RAN)
    assert cache.size() == (1, file_of(cache).stat().st_size)
    cache.clear()
    cache.clear()
    assert cache.size() == (0, 0)


def test_a_run_that_is_all_kept_starts_no_process_and_tells_the_same(cache, monkeypatch):
    cases = [make_case("a"), make_case("b", seed=1)]
    backends = [
        BackendInfo(name, f"planted.{name}", requires=("numpy",)) for name in ("healthy", "resets_state", "refuses")
    ]
    first = run_cases(cases, backends, cache=cache)
    monkeypatch.setattr(running.Worker, "run", lambda *_: pytest.fail("a worker was asked"))
    second = run_cases(cases, backends, cache=cache)
    assert [run.status for run in first] == ["agree", "diverge", "unsupported"] * 2
    assert not any(run.cached for run in first)
    assert all(run.cached and "from the cache" in run.notes[0] for run in second)
    assert [msgspec.structs.replace(run, cached=False, notes=run.notes[1:]) for run in second] == first
    assert second[1].diagnosis[0].fault == first[1].diagnosis[0].fault


def test_a_failure_is_tried_again(cache):
    backend = BackendInfo("raises", "planted.raises", requires=("numpy",))
    for _ in range(2):
        (run,) = run_cases([make_case()], [backend], cache=cache)
        assert (run.status, run.cached) == ("failed", False)


def test_where_traces_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder_of_traces() == tmp_path / "lockstep" / "traces"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert (tmp_path / "home") in folder_of_traces().parents
    (tmp_path / "file").touch()
    with pytest.raises(LockstepError, match=r"no trace can be kept there: .* leave out --cached"):
        TraceCache(tmp_path / "file" / "traces").check()


def test_a_full_disk_costs_no_result(cache):
    cache.folder.write_bytes(b"")  # a file where the folder should be
    cache.keep(BACKEND, PROBLEM, RAN)
    assert cache.get(BACKEND, PROBLEM) is None

"""Case files as tests of pytest: one for each case and backend, ``cases/ones.toml::torch_lstm``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.cases.case import Case
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.info import case_info, features_used
from lockstep.harness.comparison.results import Results, RunResult
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.findings import Finding, expected_of
from lockstep.harness.jobs.judge_run import Judge, measurable
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.output.location import within
from lockstep.harness.output.messages import headline, text_of
from lockstep.harness.pytest_plugin.marks import marks_of
from lockstep.harness.pytest_plugin.results import are_written, at_work, rerun_of, settings_of, take
from lockstep.harness.reference.noise import LIMIT_SIGMA
from lockstep.harness.text import printable

# The files collected so far, by the names of their cases: results of two cases of one name could not be told apart.
_FILES: pytest.StashKey[dict[str, Path]] = pytest.StashKey()


class CaseFile(pytest.File):
    """A case file: one test for each backend of its model."""

    def collect(self) -> Iterator[CaseItem]:
        """Load the case and find the backends."""
        try:
            case = load_case(self.path)
            named = self.config.getoption("lockstep_backend")
            backends = [backend for backend in find_backends(named) if named or backend.missing() is None]
        except LockstepError as error:
            raise self.CollectError(str(error)) from error
        first = self.session.stash.setdefault(_FILES, {}).setdefault(case.name, self.path)
        if first != self.path:
            raise self.CollectError(f'two cases are called "{case.name}": {first} and {self.path}. Rename one of them.')
        features = features_used(case)
        for backend in backends:
            if backend.model != case.model:
                continue
            item = CaseItem.from_parent(self, name=backend.name, case=case, backend=backend)
            for mark in marks_of(backend.name, case.model, features):
                item.add_marker(mark)
            yield item


class CaseItem(pytest.Item):
    """One case through one backend."""

    def __init__(self, *, case: Case, backend: BackendInfo, **kwargs: Any) -> None:
        """Hold a case and a backend until the test runs."""
        super().__init__(**kwargs)
        self.case, self.backend = case, backend

    def runtest(self) -> None:
        """Run, judge, explain, and fail where the backend does not agree."""
        rerun = rerun_of(self)
        file = within(self.path, self.config.rootpath)
        lost = crashed([self.case], self.backend.name, rerun)
        lost = replace(lost, files={} if file is None else {self.case.name: file})
        with at_work(self, lost):
            result = _runner(self.config).result(self.case, self.backend)
        result = replace(result, rerun=rerun)
        take(self, replace(lost, runs=[result]))
        _settle(result, self.case)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what the terminal of ``lockstep run`` shows, in the summary its first line."""
        error = excinfo.value
        if not isinstance(error, (NotInLockstepError, LockstepError)):
            return super().repr_failure(excinfo, style)
        if isinstance(error, LockstepError):  # of a case that cannot be run; a result has its rerun line already
            error.args = (f"{error}\n  Rerun: {rerun_of(self)}",)
        shown = excinfo.getrepr(style="value", chain=False)
        if shown.reprcrash is not None:  # tools that point at a failing line are to point at the case
            shown.reprcrash.message = str(error).partition("\n")[0]
            shown.reprcrash.path, shown.reprcrash.lineno = str(self.path), 1
        return shown

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name the test in headlines."""
        return self.path, None, f"{self.case.name} x {self.backend.name}"


def crashed(cases: Sequence[Case], backend: str, rerun: str) -> Results:
    """The results of a test whose process died."""
    return Results(
        environment={}, cases={case.name: case_info(case) for case in cases},
        runs=[
            RunResult(case=case.name, backend=backend, status="crashed", timesteps=case.run.timesteps, rerun=rerun)
            for case in cases
        ],
    )  # fmt: skip


class NotInLockstepError(AssertionError):
    """A backend does not agree with the reference; the text says where, by how much, and why."""


def _settle(result: RunResult, case: Case) -> None:
    """End a test as its result asks for: pass, skip, expected failure, or failure."""
    if result.status == "unsupported":
        pytest.skip(printable(result.message or "unsupported"))
    if result.known is not None:
        pytest.xfail(f"known finding {result.known}: lockstep findings {result.known}")
    if result.status != "agree":
        raise NotInLockstepError(printable(text_of(result)))
    # A limit wider than the usual one may hide a finding that is still there.
    exact = result.worst is None or result.worst[1].sigma <= LIMIT_SIGMA
    finding = expected_of(result.backend, case) if exact else None
    if finding is not None:
        raise NotInLockstepError(printable(mended_text(result, finding)))


def mended_text(result: RunResult, finding: Finding) -> str:
    """The message of a test whose known finding did not show."""
    here = ", ".join(f"{name} {version}" for name, version in result.versions.items()) or "unknown versions"
    return "\n".join(
        [
            f"[XPASS(strict)] the known finding {finding.name} did not show: {headline(result)}",
            f"  It is: {finding.title} ({finding.kind}; it comes out as {finding.status}).",
            f"  Seen in {finding.framework} {', '.join(finding.seen)}; here are {here}.",
            f"  More: lockstep findings {finding.name}. If a newer version fixed it, narrow the finding.",
            f"  Rerun: {result.rerun}",
        ]
    )


class _Runner:
    """Runs cases in a pytest process: workers start when they are first needed, and end with the session."""

    def __init__(self, config: pytest.Config) -> None:
        settings = settings_of(config)
        self._limit = settings.limit_or(config.getoption("lockstep_limit"))
        self._timeout = settings.timeout_or(config.getoption("lockstep_timeout"))
        self._details = are_written(config)
        self._problems = Problems()
        self._workers: dict[Any, Worker] = {}
        self._unexplained: set[str] = set()

    def result(self, case: Case, backend: BackendInfo) -> RunResult:
        """Run a case through a backend, judge what it gives, and explain it."""
        problems = self._problems
        problems.keep_only(case)
        problems.check(case)
        outcome = self._worker(backend).run(backend, problems.problem(case))
        # By this case alone: what a test says is not to depend on which tests ran before it in its process. Only the
        # long search, for several faults at once, is not made again for a backend in which it found nothing.
        judge = Judge(problems, self._limit, details=self._details)
        result = judge.judge(case, backend.name, outcome)
        result = judge.explain([result], pairs=backend.name not in self._unexplained)[0]
        if result.diagnosis and result.diagnosis[0].fault == UNEXPLAINED:
            self._unexplained.add(backend.name)
        return measurable(result)

    def _worker(self, backend: BackendInfo) -> Worker:
        if backend.worker not in self._workers:
            self._workers[backend.worker] = Worker(backend.environment, self._timeout)
        return self._workers[backend.worker]

    def pytest_sessionfinish(self) -> None:
        """End the workers: xdist ends its own processes before they come to the cleanup of their configuration."""
        for worker in self._workers.values():
            worker.close()


def _runner(config: pytest.Config) -> _Runner:
    name = "lockstep-runner"
    if not config.pluginmanager.has_plugin(name):
        config.pluginmanager.register(_Runner(config), name)
    runner = config.pluginmanager.get_plugin(name)
    assert isinstance(runner, _Runner)
    return runner

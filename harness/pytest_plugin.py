"""Lockstep in pytest: the fixture ``lockstep``, which checks a port, and case files as tests.

``pytest cases -n auto`` runs one test per (case, backend). Ids read ``cases/ones.toml::torch_lstm``. A file is
a case if it is named on the command line, or lies in a collected folder and has a table ``[lstm]``. A backend gets the
cases of its model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# pytest loads this module in every session, whatever it tests: heavy imports wait until there is a case.
if TYPE_CHECKING:
    from harness.backend import BackendInfo
    from harness.case import Case
    from harness.results import Results, RunResult
    from harness.run import Problems
    from harness.worker import Worker

# What a test found, until its report takes it along.
_FOUND = pytest.StashKey["list[RunResult]"]()

_LSTM_TABLE = re.compile(rb"^\s*\[\s*lstm\s*\]", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add Lockstep's options."""
    group = parser.getgroup("lockstep", "LSTM cases across frameworks")
    group.addoption("--lockstep-backend", action="append", metavar="NAME", help="a backend to run; else all")
    group.addoption("--lockstep-timeout", type=float, metavar="S", help="seconds for one run")
    group.addoption("--lockstep-limit", type=float, metavar="SIGMA", help="sigma beyond which a number diverges")
    group.addoption("--lockstep-json", type=Path, metavar="FILE", help="write the results of all workers as JSON")
    group.addoption("--lockstep-html", type=Path, metavar="DIR", help="write an HTML report of all workers' results")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CaseFile | None:
    """Collect case files."""
    if file_path.suffix != ".toml":
        return None
    if parent.session.isinitpath(file_path) or is_case_file(file_path):
        return CaseFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse two cases of one name: their results could not be told apart."""
    files: dict[str, Path] = {}
    for item in items:
        if isinstance(item, CaseItem) and files.setdefault(item.case.name, item.path) != item.path:
            name = item.case.name
            raise pytest.UsageError(
                f'two cases are called "{name}": {files[name]} and {item.path}. Rename one of them.'
            )


def is_case_file(path: Path) -> bool:
    """Tell a case from other TOML files, also where it is not valid."""
    try:
        return _LSTM_TABLE.search(path.read_bytes()) is not None
    except OSError:
        return False


class CaseFile(pytest.File):
    """A case file: one test for each backend."""

    def collect(self) -> Iterator[CaseItem]:
        """Load the case and find the backends."""
        from harness.backend import find_backends
        from harness.case import load_case
        from harness.errors import LockstepError

        try:
            case = load_case(self.path)
            named = self.config.getoption("lockstep_backend")
            backends = [one for one in find_backends(named) if named or one.missing() is None]
        except LockstepError as error:
            raise self.CollectError(str(error)) from error
        for backend in (one for one in backends if one.model == case.model):
            item = CaseItem.from_parent(self, name=backend.name, case=case, backend=backend)
            if self.config.pluginmanager.hasplugin("xdist"):
                item.add_marker(pytest.mark.xdist_group(_group(backend)))
            yield item


class CaseItem(pytest.Item):
    """One case through one backend."""

    def __init__(self, *, case: Case, backend: BackendInfo, **kwargs: Any) -> None:
        """Hold a case and a backend until the test runs."""
        super().__init__(**kwargs)
        self.case, self.backend = case, backend

    def runtest(self) -> None:
        """Run, judge, and fail where the backend does not agree."""
        from msgspec.structs import replace

        from harness.compare import limit_for
        from harness.run import as_known, judge_answer

        workers = _workers(self.config)
        workers.problems.keep_only(self.case)
        workers.problems.check(self.case)
        answer = workers.of(self.backend).run(self.backend, workers.problems.problem(self.case))
        limit = limit_for(self.case, self.config.getoption("lockstep_limit"))
        result = judge_answer(self.case, self.backend.name, answer, workers.problems, limit)
        result = replace(as_known(result, self.case), rerun=f"pytest '{self.nodeid}'")
        self.stash[_FOUND] = [result]
        if result.status == "unsupported":
            pytest.skip(result.message or "unsupported")
        if result.known is not None:
            pytest.xfail(f"known finding {result.known}: lockstep findings {result.known}")
        if result.status != "agree":
            raise NotInLockstepError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what the terminal of ``lockstep run`` shows."""
        from harness.errors import LockstepError

        if isinstance(excinfo.value, (NotInLockstepError, LockstepError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name the test in headlines."""
        return self.path, None, f"{self.case.name} x {self.backend.name}"


class NotInLockstepError(AssertionError):
    """A backend does not agree with the reference; the text says where, and by how much."""

    def __init__(self, result: RunResult) -> None:
        """Take the result that failed."""
        from harness.messages import text_of

        super().__init__(text_of(result))


class Lockstep:
    """What the fixture ``lockstep`` gives."""

    def __init__(self, item: pytest.Item) -> None:
        """Keep for the report of a test what its checks find."""
        self._item, self._checks = item, 0

    def check(self, port: Callable[..., Any], **options: Any) -> Results:
        """Check that a port agrees with the reference.

        Args:
            port: A function ``port(x, weights, h0, c0, lengths=None) -> (h_seq, c_seq)``.
            options: As of ``harness.fixture.assert_agrees``; the limit and the time-out are those of the
                command line where they are left out.

        Returns:
            The results of all cases.

        Raises:
            AssertionError: If it does not; the text says where, why, and what to change.
            LockstepError: If the request is wrong.
        """
        __tracebackhide__ = True
        from harness.fixture import assert_agrees

        for name in ("limit", "timeout"):
            value = self._item.config.getoption(f"lockstep_{name}")
            if value is not None:
                options.setdefault(name, value)
        return assert_agrees(port, on_results=self._keep, **options)

    def _keep(self, results: Results) -> None:
        from msgspec.structs import replace

        self._checks += 1
        # Ports of many tests are called alike: beside each other they go by their test, and by which check of it.
        place = self._item.nodeid + (f" {self._checks}" if self._checks > 1 else "")
        self._item.stash.setdefault(_FOUND, []).extend(
            replace(run, backend=f"{run.backend} ({place})", rerun=f"pytest '{self._item.nodeid}'")
            for run in results.runs
        )


@pytest.fixture
def lockstep(request: pytest.FixtureRequest) -> Lockstep:
    """Check your own LSTM: ``lockstep.check(port)`` fails where it diverges, and says why and how to fix it.

    ``port(x, weights, h0, c0, lengths=None) -> (h_seq, c_seq)`` is run over the shipped cases, or over those of
    ``case="ones"`` or ``case=["ones", "my.toml"]``. Further options: ``layout`` (how weights are handed over:
    canonical, torch, keras, tf1, onnx), ``arrays`` (numpy, torch, jax, tensorflow), ``limit`` (sigma), ``timeout``
    (seconds for one call), ``seed``. It returns the results. A function that its module exports is called in a process
    of its own, and may crash or hang; any other, such as a closure, is called in the test's process.
    """
    return Lockstep(request.node)


class _Workers:
    """The worker processes of this pytest process, started when first needed, ended with the session."""

    def __init__(self, config: pytest.Config) -> None:
        from harness.defaults import TIMEOUT
        from harness.run import Problems

        self.problems: Problems = Problems()
        self._timeout: float = config.getoption("lockstep_timeout") or TIMEOUT
        self._workers: dict[Any, Worker] = {}
        config.add_cleanup(self.close)

    def of(self, backend: BackendInfo) -> Worker:
        from harness.worker import Worker

        if backend.worker not in self._workers:
            self._workers[backend.worker] = Worker(backend.environment, self._timeout)
        return self._workers[backend.worker]

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()


_WORKERS = pytest.StashKey[_Workers]()


def _workers(config: pytest.Config) -> _Workers:
    if _WORKERS not in config.stash:
        config.stash[_WORKERS] = _Workers(config)
    return config.stash[_WORKERS]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Hand what a test found over with its report, which travels from xdist's workers to their controller."""
    report: Any = yield
    found = item.stash.get(_FOUND, None)
    if found:
        from harness.results import encode_run

        report.lockstep_results = [encode_run(run) for run in found]
        del item.stash[_FOUND]  # each phase of a test has a report, and a fixture may check as well
    return report


def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to reports in the process that writes: the only one, or xdist's controller."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Listener(session.config), "lockstep-listener")


class _Listener:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._runs: list[RunResult] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        encoded = getattr(report, "lockstep_results", None)
        if encoded:
            from harness.results import decode_run

            self._runs += map(decode_run, encoded)

    def pytest_sessionfinish(self) -> None:
        json, html = self._config.getoption("lockstep_json"), self._config.getoption("lockstep_html")
        if json is None and html is None:
            return
        from harness.output import write_outputs
        from harness.results import Results
        from harness.run import environment

        runs = sorted(self._runs, key=lambda run: (run.case, run.backend))
        write_outputs(Results(environment=environment(), runs=runs), json, html)


@cache
def _groups() -> dict[str, str]:
    from harness.backend import find_backends

    return {backend.name: _group(backend) for backend in find_backends()}


def _group(backend: BackendInfo) -> str:
    return "+".join(str(part) for part in backend.worker)


def _asks_for_cases(arguments: Iterable[str]) -> bool:
    for argument in arguments:
        path = Path(argument.partition("::")[0])
        if path.suffix == ".toml" or (path.is_dir() and any(is_case_file(file) for file in path.glob("*.toml"))):
            return True
    return False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Send all cases of one framework to one xdist worker, so that each worker imports few frameworks."""
    if config.getoption("dist") != "load" or not _asks_for_cases(config.args):
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFramework(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path, _, name = nodeid.rpartition("::")
            return _groups().get(name, nodeid) if path.endswith(".toml") else nodeid

    return ByFramework(config, log)

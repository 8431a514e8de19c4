"""Lockstep in pytest: case files as tests, and the fixture ``lockstep``, which checks a port. See docs/pytest.md.

``pytest cases -n auto`` runs one test per (case, backend). Ids read ``cases/ones.toml::torch_lstm``. A file is
a case if it is named on the command line, or lies in a collected folder and has a table ``[lstm]``. A backend gets the
cases of its model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lockstep.harness.errors import LockstepError, check_positive
from lockstep.harness.jobs.settings import find_settings
from lockstep.harness.pytest_plugin import results
from lockstep.harness.pytest_plugin.marks import described

# pytest loads this module in every session, whatever it tests: heavy imports wait until there is a case.
if TYPE_CHECKING:
    from lockstep.harness.cases.case import Case
    from lockstep.harness.comparison.results import Results, Source
    from lockstep.harness.pytest_plugin.cases import CaseFile

_LSTM_TABLE = re.compile(rb"^\s*\[\s*lstm\s*\]", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add Lockstep's options."""
    group = parser.getgroup("lockstep", "LSTM cases across frameworks")
    group.addoption("--lockstep-backend", action="append", metavar="NAME", help="a backend to run; else all")
    group.addoption("--lockstep-timeout", type=float, metavar="S", help="seconds for one run")
    group.addoption("--lockstep-limit", type=float, metavar="SIGMA", help="sigma beyond which a number diverges")
    group.addoption("--lockstep-json", type=Path, metavar="FILE", help="write the results of all workers as JSON")
    group.addoption("--lockstep-html", type=Path, metavar="DIR", help="write an HTML report of all workers' results")


def pytest_configure(config: pytest.Config) -> None:
    """Check options and settings, name the marks, and gather results in the process that writes."""
    try:
        check_positive("--lockstep-{} ", **results.bounds_of(config))
        config.stash[results.PROJECT_SETTINGS] = find_settings(config.rootpath)
    except LockstepError as error:
        raise pytest.UsageError(str(error)) from error
    for line in described():
        config.addinivalue_line("markers", line)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(results.Gatherer(config), "lockstep-gatherer")


def pytest_report_header(config: pytest.Config) -> str | None:
    """The line of pytest's header that names what the project sets."""
    text = results.settings_of(config).text()
    return None if text is None else f"lockstep: {text}"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CaseFile | None:
    """Collect case files."""
    if file_path.suffix != ".toml" or not (parent.session.isinitpath(file_path) or is_case_file(file_path)):
        return None
    from lockstep.harness.pytest_plugin.cases import CaseFile

    return CaseFile.from_parent(parent, path=file_path)


def is_case_file(path: Path) -> bool:
    """Whether a TOML file is meant as a case, also where it is not valid."""
    try:
        return _LSTM_TABLE.search(path.read_bytes()) is not None
    except OSError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Hand what a test found over with its report."""
    report: Any = yield
    results.hand_over(item, report)
    return report


class Lockstep:
    """What the fixture ``lockstep`` gives."""

    def __init__(self, item: pytest.Item) -> None:
        """Keep for the report of a test what its checks find."""
        self._item, self._checks = item, 0

    def check(self, port: Callable[..., Any], **options: Any) -> Results:
        """Check that a port agrees with the reference, and return the results of all cases.

        ``options``: ``case``, ``layout``, ``arrays``, ``limit``, ``timeout`` and ``seed``, as of
        ``harness.testing.assert_agrees``; see the fixture.

        Raises:
            AssertionError: If it does not; the text says where, why, what to change, and how to run the test again.
            LockstepError: If the request is wrong.
        """
        __tracebackhide__ = True
        from contextlib import ExitStack

        from lockstep.harness.pytest_plugin.cases import crashed
        from lockstep.harness.testing import assert_agrees

        config, rerun = self._item.config, results.rerun_of(self._item)
        self._checks += 1
        # Ports of many tests are called alike: beside each other they go by their test, and by which check of it.
        place = results.nodeid_of(self._item) + (f" {self._checks}" if self._checks > 1 else "")
        name = getattr(port, "__name__", type(port).__name__)
        source = self._source(port)
        with ExitStack() as stack:

            def start(cases: list[Case]) -> None:
                lost = crashed(cases, name, rerun)
                stack.enter_context(results.at_work(self._item, _placed(lost, place, source)))

            try:
                return assert_agrees(
                    port, settings=results.settings_of(config), rerun=rerun, on_cases=start,
                    on_results=lambda checked: results.take(self._item, _placed(checked, place, source)),
                    details=results.are_written(config), **{**results.bounds_of(config), **options},
                )  # fmt: skip
            except LockstepError as error:
                error.add_note(f"  Rerun: {rerun}")
                raise

    def _source(self, port: Callable[..., Any]) -> Source | None:
        """The lines of a port, or those of its test where it is somebody else's: a library's, or made by the test."""
        from lockstep.harness.output.location import source_of

        root, test = self._item.config.rootpath, getattr(self._item, "function", port)
        return source_of(port, root) or source_of(test, root)


def _placed(checked: Results, place: str, source: Source | None) -> Results:
    """Results under the name of their test, with where the port stands."""
    from msgspec.structs import replace

    runs = [replace(run, backend=f"{run.backend} ({place})") for run in checked.runs]
    sources = {} if source is None else dict.fromkeys((run.backend for run in runs), source)
    return replace(checked, runs=runs, sources=sources, environment={})


@pytest.fixture
def lockstep(request: pytest.FixtureRequest) -> Lockstep:
    """Check your own LSTM: ``lockstep.check(port)`` fails where it diverges, and says why and how to fix it.

    ``port(x, weights, h0, c0, lengths=None) -> (h_seq, c_seq)`` is run over the shipped cases, or over those of
    ``case="ones"`` or ``case=["ones", "my.toml"]``. Further options: ``layout`` (how weights are handed over:
    canonical, torch, keras, tf1, onnx), ``arrays`` (numpy, torch, jax, tensorflow), ``limit`` (sigma), ``timeout``
    (seconds for one call), ``seed``. Limit and time-out are else those of ``--lockstep-limit`` and
    ``--lockstep-timeout``, or of ``[tool.lockstep]`` in pyproject.toml. It returns the results, which also join
    ``--lockstep-json`` and ``--lockstep-html``. A function that its module exports is called in a process of its own,
    and may crash or hang; any other, such as a closure, is called in the test's process.
    """
    return Lockstep(request.node)


# With xdist


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Send all cases of one framework to one xdist worker, so that each worker imports few frameworks.

    Under ``--dist loadgroup`` other tests go by their groups as ever; ``load`` is changed only where there are cases.
    """
    dist = config.getoption("dist")
    if dist != "loadgroup" and (dist != "load" or not _asks_for_cases(config, config.args)):
        return None
    from xdist.scheduler import LoadGroupScheduling, LoadScopeScheduling

    base: Any = LoadGroupScheduling if dist == "loadgroup" else LoadScopeScheduling

    class ByFramework(base):
        def _split_scope(self, nodeid: str) -> str:
            path, _, name = nodeid.rpartition("::")
            if path.endswith(".toml"):
                return _groups().get(name, nodeid)
            return super()._split_scope(nodeid) if dist == "loadgroup" else nodeid

    return ByFramework(config, log)


@cache
def _groups() -> dict[str, str]:
    """The worker of each backend in words: backends of one framework have the same."""
    from lockstep.harness.adapters.backend import find_backends

    return {backend.name: "+".join(str(part) for part in backend.worker) for backend in find_backends()}


def _asks_for_cases(config: pytest.Config, arguments: Iterable[str]) -> bool:
    """Whether any of these files and folders is, or holds, a case; folders that pytest passes by are passed by."""
    skipped: list[str] = config.getini("norecursedirs")
    for argument in arguments:
        path = config.invocation_params.dir / argument.partition("::")[0]
        if path.suffix == ".toml" or any(is_case_file(file) for file in _toml_files(path, skipped)):
            return True
    return False


def _toml_files(folder: Path, skipped: list[str]) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [  # in place: os.walk goes on with what is left
            name
            for name in folders
            if not any(Path(name).match(pattern) for pattern in skipped)
            and not Path(place, name, "pyvenv.cfg").exists()  # a virtual environment, which pytest passes by
        ]
        yield from (Path(place, name) for name in files if name.endswith(".toml"))

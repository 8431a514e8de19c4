"""Results in pytest: kept by the tests that find them, told in their reports, gathered and written at the end.

With xdist a test's report takes its results along from the worker to the controller, which writes. What a worker is at
it also notes in a file, so that the controller knows of a test whose process died.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from lockstep.harness.errors import LockstepError
from lockstep.harness.output.write_results import check_writable, write_html, write_json

# pytest loads this module in every session, whatever it tests: heavy imports wait until there is a result.
if TYPE_CHECKING:
    from lockstep.harness.comparison.results import Results, RunResult
    from lockstep.harness.jobs.settings import Settings

PREFIX = "lockstep_"  # of properties

PROJECT_SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()

# What a test found: since its last report, and in all.
_UNREPORTED: pytest.StashKey[Results] = pytest.StashKey()
_ALL: pytest.StashKey[dict[tuple[str, str], RunResult]] = pytest.StashKey()
_NOTES = "lockstep_notes"  # of xdist's input to its workers: the folder in which they note what they are at

# Of several results of a test, the one whose properties are told: the first of the status that comes first here.
_GRAVEST = ("crashed", "timeout", "failed", "diverge", "agree", "unsupported")


def settings_of(config: pytest.Config) -> Settings:
    """What the project sets, as it was when pytest started."""
    return config.stash[PROJECT_SETTINGS]


def bounds_of(config: pytest.Config) -> dict[str, float]:
    """The limit and the time-out of the command line, those that are given."""
    named = {name: config.getoption(f"lockstep_{name}") for name in ("limit", "timeout")}
    return {name: value for name, value in named.items() if value is not None}


def are_written(config: pytest.Config) -> bool:
    """Whether results go to a file: only there are single numbers shown."""
    return any(config.getoption(f"lockstep_{name}") is not None for name in ("json", "html"))


def rerun_of(item: pytest.Item) -> str:
    """The command that runs exactly this test again: its id as seen from here, and the options that matter."""
    config = item.config
    words = ["pytest"]
    for name, value in bounds_of(config).items():
        words += [f"--lockstep-{name}", f"{value:g}"]
    # What pytest.ini or pyproject.toml says holds again by itself.
    arguments = [str(argument) for argument in config.invocation_params.args]
    for flag, option in (("-m", "markexpr"), ("-c", "inifilename"), ("--rootdir", "rootdir")):
        value = config.getoption(option, None)
        if value and any(argument.startswith(flag) for argument in arguments):
            words += [flag, str(value)]
    path, mark, name = nodeid_of(item).partition("::")
    return shlex.join([*words, os.path.relpath(config.rootpath / path, config.invocation_params.dir) + mark + name])


def nodeid_of(item: pytest.Item) -> str:
    """A test's id without the group that xdist appends to it under ``--dist loadgroup``."""
    marks = item.iter_markers("xdist_group")
    groups = {str(mark.args[0] if mark.args else mark.kwargs.get("name", "default")) for mark in marks}
    return item.nodeid.removesuffix(f"@{'_'.join(sorted(groups))}") if groups else item.nodeid


def take(item: pytest.Item, results: Results) -> None:
    """Keep what a test found for its report, and tell it in the properties of all its reports from here on."""
    all_runs = item.stash.setdefault(_ALL, {})  # a test may check several ports
    all_runs.update({(run.case, run.backend): run for run in results.runs})
    properties_of_others = [(name, value) for name, value in item.user_properties if not name.startswith(PREFIX)]
    item.user_properties[:] = [*properties_of_others, *properties(list(all_runs.values()))]
    before = item.stash.get(_UNREPORTED, None)
    item.stash[_UNREPORTED] = results if before is None else _joined(before, results)


def _joined(first: Results, second: Results) -> Results:
    """Results of both; where both have one of a case and a backend, the second's, which came later."""
    from lockstep.harness.comparison.results import Results

    runs = {(run.case, run.backend): run for run in (*first.runs, *second.runs)}
    return Results(
        environment={}, runs=list(runs.values()), cases=first.cases | second.cases,
        sources=first.sources | second.sources, files=first.files | second.files,
    )  # fmt: skip


def hand_over(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put what a test found into its report, which travels from xdist's workers to their controller."""
    results = item.stash.get(_UNREPORTED, None)
    if results is None:
        return
    from lockstep.harness.comparison.results import encode_results

    report.lockstep_results = encode_results(results).decode()  # type: ignore[attr-defined]
    del item.stash[_UNREPORTED]  # each phase of a test has a report, and a fixture may check as well


def properties(runs: Sequence[RunResult]) -> list[tuple[str, str]]:
    """What JUnit's XML and other readers of reports learn of a test: name and value, as plain text."""
    from lockstep.harness.text import number, printable

    run = min(runs, key=lambda run: (_GRAVEST.index(run.status), run.known is not None))
    first = run.first_divergence
    statuses = [run.status for run in runs]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in _GRAVEST if status in statuses)
    facts = {
        "status": run.status,
        "case": run.case,
        "backend": run.backend,
        "sigma": run.worst and number(run.worst[1].sigma),
        "limit": run.limit and str(run.limit),
        "first_divergence": first and f"{first.tensor}, timestep {first.timestep}",
        "diagnosis": run.diagnosis[0].fault if run.diagnosis else None,
        "fix": run.diagnosis[0].fix if run.diagnosis else None,
        "known": run.known,
        "message": run.message,
        "versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        "rerun": run.rerun,
        "runs": f"{len(runs)}: {counts}" if len(runs) > 1 else None,
    }
    return [(PREFIX + name, printable(value)) for name, value in facts.items() if value]


@contextlib.contextmanager
def at_work(item: pytest.Item, lost: Results) -> Iterator[None]:
    """Note, in an xdist worker, what its process is at: whoever finds the note knows what it died of.

    ``lost``: the results that are to be told then.
    """
    worker: dict[str, Any] = getattr(item.config, "workerinput", {})
    if _NOTES not in worker:
        yield
        return
    from lockstep.harness.comparison.results import encode_results

    note = Path(worker[_NOTES], worker["workerid"])
    with contextlib.suppress(OSError):  # a worker on another machine has no such folder
        note.write_bytes(encode_results(lost))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()


class Gatherer:
    """Gathers all results in the process that writes: the only one, or xdist's controller."""

    def __init__(self, config: pytest.Config) -> None:
        """Make sure that results can be written where they are asked for."""
        self._config = config
        self._results: Results | None = None
        paths = [config.getoption(f"lockstep_{name}") for name in ("json", "html")]
        # Absolute, before any test changes the current directory.
        self._json, self._html = (None if path is None else path.absolute() for path in paths)
        self._notes: TemporaryDirectory[str] | None = None
        self._summary: tuple[str, bool] | None = None  # the last line, and whether it is good news
        if self._wanted:
            try:
                check_writable(self._json, self._html)
            except LockstepError as error:
                raise pytest.UsageError(str(error)) from error

    @property
    def _wanted(self) -> bool:
        return (self._json or self._html) is not None and not self._config.option.collectonly

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand an xdist worker the folder in which it notes what it is at."""
        if self._notes is None:
            self._notes = TemporaryDirectory(prefix="lockstep-notes-")
            self._config.add_cleanup(self._notes.cleanup)
        node.workerinput[_NOTES] = self._notes.name

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, report: Any) -> None:
        """Add to the report of a test whose xdist worker died what it was at; xdist itself then hands it on."""
        if self._notes is None:
            return
        from lockstep.harness.comparison.results import decode_results, encode_results
        from lockstep.harness.output.messages import alike_texts

        note = Path(self._notes.name, report.node.gateway.id)
        try:
            crashed = decode_results(note.read_bytes(), str(note))
            note.unlink()
        except (OSError, LockstepError):  # it was at no test of ours
            return
        from msgspec.structs import replace

        worker = report.node.gateway.id
        message = f"the pytest process that ran it, xdist worker {worker}, died; its output is in the terminal"
        runs = [replace(run, message=message) for run in crashed.runs]
        report.longrepr = "\n".join([str(report.longrepr), *alike_texts(runs)])
        report.user_properties.extend(properties(runs))
        report.lockstep_results = encode_results(replace(crashed, runs=runs)).decode()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the results of a test; of a test that is run again the last ones count."""
        encoded = getattr(report, "lockstep_results", None)
        if encoded and self._wanted:
            from lockstep.harness.comparison.results import decode_results

            results = decode_results(encoded.encode(), report.nodeid)
            self._results = results if self._results is None else _joined(self._results, results)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write what there is, also of a session that was broken off."""
        if not self._wanted:
            return
        from lockstep.harness.comparison.results import Results
        from lockstep.harness.jobs.run import environment
        from lockstep.harness.text import counted

        found = self._results or Results(environment={}, runs=[])
        # Workers report in any order.
        runs = sorted(found.runs, key=lambda run: (run.case, run.backend))
        cases = {name: found.cases[name] for name in sorted(found.cases)}
        try:
            results = Results(
                environment=environment(), runs=runs, cases=cases, sources=found.sources, files=found.files
            )
            write_json(results, self._json)
            page = None if self._html is None else write_html(results, self._html)
        except (LockstepError, OSError) as error:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            self._summary = f"lockstep: results could not be written: {error}", False
            return
        written = [str(path) for path in (self._json, page) if path is not None]
        self._summary = f"lockstep: {counted(len(runs), 'result')} in {' and '.join(written)}", True

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print where results are."""
        if self._summary is not None:
            text, good = self._summary
            terminalreporter.write_line(text, green=good, red=not good)

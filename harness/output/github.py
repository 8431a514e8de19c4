"""What GitHub shows of a step of a workflow: a summary in Markdown, and annotations at files and lines.

Sources: GitHub's documentation of workflow commands (``::error file=...::message``, their escapes, ``stop-commands``,
``GITHUB_STEP_SUMMARY`` and its limit of 1 MiB a step) and of annotations (10 of each level are shown of a step).
"""

from __future__ import annotations

import html
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console

from lockstep.harness.comparison.results import Results, RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.output import overview
from lockstep.harness.output.location import Place, Places
from lockstep.harness.output.messages import text_of
from lockstep.harness.text import counted, grouped, printable

VARIABLE = "GITHUB_STEP_SUMMARY"
MOST_SUMMARY_BYTES = 2**20  # of a step's summary; a larger one is refused as a whole
MOST_ANNOTATIONS = 10  # of one level that are shown of a step
MOST_ROWS = 100  # of the summary's table: what is longer nobody reads
MOST_NAME, MOST_TEXT, MOST_MESSAGE = 120, 20_000, 4_000  # characters


def summary_file() -> Path:
    """The file that GitHub shows as the step's summary.

    Raises:
        LockstepError: If there is none, or it cannot be written to.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        raise LockstepError(
            f"--github: {VARIABLE} is not set. GitHub sets it in a step of a workflow. "
            f"To see the summary without GitHub, name a file: {VARIABLE}=summary.md"
        )
    try:
        with Path(named).open("ab"):
            return Path(named)
    except OSError as error:
        raise LockstepError(f"--github: {named} ({VARIABLE}) cannot be written to: {error.strerror}.") from error


def write_summary(results: Results, file: Path) -> None:
    """Append the summary of results to a file, which other steps of the job may have written to as well."""
    left = MOST_SUMMARY_BYTES - file.stat().st_size
    with file.open("ab") as stream:
        stream.write(summary_markdown(results, left).encode())


def summary_markdown(results: Results, most: int = MOST_SUMMARY_BYTES) -> str:
    """The outcome of a command in Markdown; what does not fit into so many bytes is left out, and counted."""
    note = "\n**{} left out: GitHub shows at most 1 MiB for each step.**\n"
    # The note grows by the digits of its number.
    left = most - len(note.encode()) - 20
    kept: list[str] = []
    blocks = list(_blocks(results))
    for block in blocks:
        left -= len(block.encode())
        if left < 0:
            break
        kept.append(block)
    missing = len(blocks) - len(kept)
    if missing and most > len(note) + 20:
        kept.append(note.format(counted(missing, "part")))
    return "".join(kept)


def _blocks(results: Results) -> Iterator[str]:
    """The parts of a summary, the most important first."""
    runs = results.runs
    yield f"## Lockstep: {_inline(overview.summary(runs))}\n\n"
    yield f"{overview.TABLE_TITLE}:\n\n"
    for names in overview.of_same_cases(runs):
        yield _table([run for run in runs if run.backend in names], names)
    for same in overview.alike(runs):
        yield _folded(f"{same[0].backend}: {same[0].status} in {_names(same)}", text_of(same[0]))
    yield from (f"{_inline(text)}\n\n" for text in overview.cached_texts(runs))
    known, refused = overview.known_texts(runs), overview.refusals(runs)
    if known:
        yield _folded(f"{counted(len(known), 'known finding')}, as expected", "\n".join(known))
    if refused:
        yield _folded("Unsupported, and why", "\n".join(refused))
    environment = {name: value for name, value in results.environment.items() if isinstance(value, (str, int, float))}
    versions = {name: value for run in runs for name, value in run.versions.items()}
    yield _folded("Environment", "\n".join(f"{name}: {value}" for name, value in (environment | versions).items()))


def _table(runs: Sequence[RunResult], backends: Sequence[str]) -> str:
    """A table case x backend; if it is long, cases in which something is wrong come first."""
    by_case = {case: {run.backend: run for run in same} for case, same in grouped(runs, lambda run: run.case).items()}
    cases = list(by_case)
    if len(cases) > MOST_ROWS:
        cases.sort(key=lambda case: all(overview.is_right(run) for run in by_case[case].values()))
    short = len(backends) >= overview.WIDE_TABLE
    lines = [
        f"| case | {' | '.join(map(_inline, backends))} |",
        f"| --- |{' ---: |' * len(backends)}",
        *(
            f"| {_inline(case)} | {' | '.join(_cell(by_case[case].get(name), short=short) for name in backends)} |"
            for case in cases[:MOST_ROWS]
        ),
    ]
    more = f"Not shown: {counted(len(cases) - MOST_ROWS, 'more case')}.\n\n" if len(cases) > MOST_ROWS else ""
    return "\n".join(lines) + "\n\n" + more


def _cell(run: RunResult | None, *, short: bool) -> str:
    if run is None:
        return ""
    text = _inline(overview.cell_text(run, short=short))
    return f"{text} (known)" if run.known else text if overview.is_right(run) else f"**{text}**"


def annotation_commands(results: Results) -> list[str]:
    """The workflow commands that annotate wrong runs, and known findings, at the places of the cases or of the port.

    A file outside the checkout is not named.
    """
    runs, places = results.runs, Places(results)
    errors = [
        _command("error", _headline(same), text_of(same[0])[:MOST_MESSAGE] + _likewise(same), places(same[0]))
        for same in overview.alike(runs, places)
    ]
    if runs and all(run.status == "unsupported" for run in runs):
        errors.append(_command("error", "Lockstep: nothing could be compared", "\n".join(overview.refusals(runs))))
    warnings = [_command("warning", "Lockstep: a known finding", text) for text in overview.known_texts(runs)]
    return [*_most(errors, "error"), *_most(warnings, "warning")]


def annotate(results: Results, console: Console, show: Callable[[Console], None] | None) -> None:
    """Show results with GitHub's commands stopped, then annotate what is wrong and add to the step's summary."""
    if show is not None:
        with commands_stopped(console.file):
            show(console)
    # Not through rich, which would wrap a command.
    for command in annotation_commands(results):
        print(command, file=console.file)
    write_summary(results, summary_file())


@contextmanager
def commands_stopped(stream: IO[str]) -> Iterator[None]:
    """Print text as text: what a backend printed may look like a workflow command."""
    token = secrets.token_hex(16)  # that no backend can guess, and so none can print to be heard again
    print(f"::stop-commands::{token}", file=stream, flush=True)
    try:
        yield
    finally:
        print(f"::{token}::", file=stream, flush=True)


def _command(level: str, title: str, message: str, place: Place | None = None) -> str:
    """A workflow command on one line."""
    path = None if place is None else place.within()
    at = {} if place is None or path is None else {"file": path, "line": str(place.line)}
    listed = ",".join(f"{name}={_property(value)}" for name, value in {**at, "title": title}.items())
    return f"::{level} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _most(commands: list[str], level: str) -> list[str]:
    """As many as GitHub shows; the last one counts the rest."""
    if len(commands) <= MOST_ANNOTATIONS:
        return commands
    kept = commands[: MOST_ANNOTATIONS - 1]
    more = len(commands) - len(kept)
    return [*kept, _command(level, f"Lockstep: {more} more", "See the summary of this step, or its log.")]


def _headline(same: Sequence[RunResult]) -> str:
    verb = {"diverge": "diverges", "timeout": "timed out"}.get(same[0].status, same[0].status)
    return f"Lockstep: {_short(same[0].backend)} {verb} in {_names(same)}"


def _names(same: Sequence[RunResult]) -> str:
    return _short(same[0].case) + (f" and {len(same) - 1} more" if len(same) > 1 else "")


def _likewise(same: Sequence[RunResult]) -> str:
    return f"\nThe same in: {', '.join(overview.names_in(same)[1:])}."[:MOST_MESSAGE] if len(same) > 1 else ""


def _short(text: str) -> str:
    return text if len(text) <= MOST_NAME else text[:MOST_NAME] + "..."


def _inline(text: str) -> str:
    """Text as Markdown shows it unchanged, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|~&$])", r"\\\1", " ".join(printable(_short(text)).split()))


def _folded(title: str, text: str) -> str:
    """Text that is shown when its title is clicked."""
    shown = printable(text)
    shown = shown if len(shown) <= MOST_TEXT else shown[:MOST_TEXT] + "\n..."
    # Longer than any row of backticks within, which would end it.
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", shown))])
    title = html.escape(" ".join(printable(title).split()), quote=False)
    return f"<details><summary>{title}</summary>\n\n{fence}text\n{shown}\n{fence}\n\n</details>\n\n"

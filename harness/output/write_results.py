"""What becomes of a command's results: files, the terminal, what GitHub shows of a step, and the exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rich.console import Console

from lockstep.harness.comparison.results import Results, encode, encode_results
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import console_beside, error_console
from lockstep.harness.output.location import Places


@dataclass(frozen=True)
class Wanted:
    """Where results go beside the terminal, and how much of them the terminal shows."""

    json: Path | None = None
    html: Path | None = None
    sarif: Path | None = None
    github: bool = False
    quiet: bool = False
    details: bool = False  # whether the report has a page of each case beside it

    def check(self) -> None:
        """Make sure, before anything runs, that results can go there.

        Raises:
            LockstepError: If they cannot.
        """
        if str(self.json) == "-" and str(self.sarif) == "-":
            raise LockstepError("--json - and --sarif -: only one of them can go to stdout. Give the other a file.")
        if self.details and self.html is None:
            raise LockstepError("--details writes pages beside an HTML report, and none is asked for: add --html DIR.")
        check_outputs(self.json, self.html)
        check_outputs(self.sarif, None)
        if self.github:
            from lockstep.harness.output.github import summary_file

            summary_file()

    @property
    def numbers(self) -> bool:
        """Whether results are to tell some places number by number: only what is written shows them."""
        return self.json is not None or self.html is not None

    @property
    def console(self) -> Console:
        """The console for what people read."""
        return console_beside(self.json, self.sarif)


def hand_over(results: Results, wanted: Wanted, places: Places, show: Callable[[Console], None] | None) -> int:
    """Write results where they were asked for, show them, and give their exit status.

    Args:
        results: What a command found.
        wanted: Where it goes.
        places: Where the cases stand, or the port that they were run on.
        show: Prints the results on a console; None where nobody asked to see them.
    """
    page = write_outputs(results, wanted.json, wanted.html, details=wanted.details)
    if wanted.sarif is not None:
        from lockstep.harness.output.sarif import results_as_sarif

        write_json(results_as_sarif(results, places), wanted.sarif)
    console = wanted.console
    if show is not None:
        with _as_text(wanted, console):
            show(console)
    if page is not None and not wanted.quiet:
        error_console().print(f"Report: {page}", markup=False, highlight=False, soft_wrap=True)
    if wanted.github:
        _tell_github(results, places, console)
    return results.exit_status


def hand_over_as_table(results: Results, wanted: Wanted, places: Places) -> int:
    """Hand results over, shown as the table case x backend with the text of what is not right."""
    from lockstep.harness.output.terminal import show_results

    return hand_over(results, wanted, places, lambda console: show_results(console, results.runs, quiet=wanted.quiet))


def _as_text(wanted: Wanted, console: Console) -> AbstractContextManager[None]:
    if not wanted.github:
        return nullcontext()
    from lockstep.harness.output.github import commands_stopped

    return commands_stopped(console.file)


def _tell_github(results: Results, places: Places, console: Console) -> None:
    from lockstep.harness.output.github import annotation_commands, summary_file, write_summary

    # Not through rich, which would wrap a command.
    for command in annotation_commands(results.runs, places):
        print(command, file=console.file)
    write_summary(results, summary_file())


GROUP = "lockstep.reports"


def check_outputs(json: Path | None, html: Path | None) -> None:
    """Make sure, before anything runs, that results can be written.

    Raises:
        LockstepError: If they cannot.
    """
    try:
        if json is not None and str(json) != "-":
            json.parent.mkdir(parents=True, exist_ok=True)
            with json.open("ab"):
                pass
        if html is not None:
            html.mkdir(parents=True, exist_ok=True)
            if not os.access(html, os.W_OK):
                raise PermissionError(13, "not writable", str(html))
    except OSError as error:
        raise LockstepError(f"{error.filename}: cannot be written to: {error.strerror or error}.") from error


def write_outputs(results: Results, json: Path | None, html: Path | None, *, details: bool = False) -> Path | None:
    """Write results as JSON, to a file or with "-" to stdout, and as an HTML report whose page is given back.

    ``details``: whether the report has a page of each case beside it.
    """
    if json is not None and str(json) == "-":
        sys.stdout.buffer.write(encode_results(results) + b"\n")
        sys.stdout.flush()
    elif json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_bytes(encode_results(results))
    return write_html(results, html, details=details) if html is not None else None


def write_json(found: Any, json: Path) -> None:
    """Write any plain value as JSON, to a file or with "-" to stdout."""
    encoded = encode(found)
    if str(json) == "-":
        sys.stdout.buffer.write(encoded + b"\n")
        sys.stdout.flush()
    else:
        json.write_bytes(encoded)


def write_html(results: Results, folder: Path, *, details: bool = False) -> Path:
    """Write the HTML report into a folder, through the renderer that is installed, and give its page.

    ``details``: whether each case gets a page of its own beside it.

    Raises:
        LockstepError: If none is, or the folder cannot be written to.
    """
    renderers = list(entry_points(group=GROUP, name="html"))
    if not renderers:
        raise LockstepError(f"no HTML renderer is installed: the entry point {GROUP}, html is missing.")
    check_outputs(None, folder)
    return renderers[0].load()(results, folder, details=details)

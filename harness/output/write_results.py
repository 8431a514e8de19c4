"""Where results go: JSON, HTML and SARIF files, the terminal, a GitHub step; and the exit status that they ask for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rich.console import Console

from lockstep.harness.comparison.results import Results, encode
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import console_beside, error_console, say
from lockstep.harness.output.location import Places

RENDERERS = "lockstep.reports"  # the group of entry points under which HTML renderers are found


@dataclass(frozen=True)
class Outputs:
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
            raise LockstepError("--details adds pages to an HTML report, so it needs one: add --html FOLDER.")
        check_writable(self.json, self.html)
        check_writable(self.sarif, None)
        if self.github:
            from lockstep.harness.output.github import summary_file

            summary_file()

    @property
    def numbers(self) -> bool:
        """Whether results must contain single numbers: only files show them."""
        return self.json is not None or self.html is not None

    @property
    def console(self) -> Console:
        """The console for what people read."""
        return console_beside(self.json, self.sarif)


def deliver(results: Results, outputs: Outputs, places: Places, show: Callable[[Console], None] | None) -> int:
    """Write results to all outputs, show them, and return their exit status.

    Args:
        results: The results of a command.
        outputs: Where they go.
        places: The file and line of each case, or of the port that ran it.
        show: Prints the results on a console; None if nothing is to be printed.
    """
    page = write_outputs(results, outputs.json, outputs.html, details=outputs.details)
    if outputs.sarif is not None:
        from lockstep.harness.output.sarif import results_as_sarif

        write_json(results_as_sarif(results, places), outputs.sarif)
    if outputs.github:
        from lockstep.harness.output.github import annotate

        annotate(results, places, outputs.console, show)
    elif show is not None:
        show(outputs.console)
    if page is not None and not outputs.quiet:
        say(error_console(), f"Report: {page}")
    return results.exit_status


def deliver_as_table(results: Results, outputs: Outputs, places: Places) -> int:
    """Deliver results, shown as the table case x backend with the text of each run that is not right."""
    from lockstep.harness.output.terminal import show_results

    return deliver(results, outputs, places, lambda console: show_results(console, results.runs, quiet=outputs.quiet))


def check_writable(json: Path | None, html: Path | None) -> None:
    """Make sure, before anything runs, that results can be written.

    Raises:
        LockstepError: If they cannot.
    """
    try:
        if json is not None and str(json) != "-":
            json.parent.mkdir(parents=True, exist_ok=True)
            # Nothing is appended: what the file holds stays until there are new results.
            with json.open("ab"):
                pass
        if html is not None:
            html.mkdir(parents=True, exist_ok=True)
            if not os.access(html, os.W_OK):
                raise PermissionError(13, "not writable", str(html))
    except OSError as error:
        raise LockstepError(f"{error.filename}: cannot be written to: {error.strerror or error}.") from error


def write_outputs(results: Results, json: Path | None, html: Path | None, *, details: bool = False) -> Path | None:
    """Write results as JSON, to a file or with "-" to stdout, and as an HTML report, whose page is returned.

    ``details``: whether the report has a page of each case beside it.
    """
    write_json(results, json)
    return write_html(results, html, details=details) if html is not None else None


def write_json(value: Any, json: Path | None) -> None:
    """Write any plain value as JSON, to a file or with "-" to stdout; nowhere if no file is asked for."""
    if json is None:
        return
    encoded = encode(value)
    if str(json) == "-":
        sys.stdout.buffer.write(encoded + b"\n")
        sys.stdout.flush()
    else:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_bytes(encoded)


def write_html(results: Results, folder: Path, *, details: bool = False) -> Path:
    """Write the HTML report into a folder, through the installed renderer; the path of its page.

    ``details``: whether each case gets a page of its own beside it.

    Raises:
        LockstepError: If no renderer is installed, or the folder cannot be written to.
    """
    renderers = list(entry_points(group=RENDERERS, name="html"))
    if not renderers:
        raise LockstepError(f"no HTML renderer is installed: the entry point {RENDERERS}, html is missing.")
    check_writable(None, folder)
    return renderers[0].load()(results, folder, details=details)

"""Where the results of a command go: the options that say so, and the delivery to all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import console_beside, error_console, say
from lockstep.harness.output.write_results import check_writable, write_html, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from lockstep.harness.comparison.results import Results

JsonOption = Annotated[
    Path | None, Argument(allow_leading_hyphen=True, help="Write results as JSON to this file, or - for stdout.")
]
HtmlOption = Annotated[Path | None, Argument(help="Write an HTML report into this folder.")]
SarifOption = Annotated[
    Path | None,
    Argument(
        allow_leading_hyphen=True,
        help="Write what is wrong as SARIF 2.1.0, for code scanning, to this file, or - for stdout.",
    ),
]
GitHubOption = Annotated[
    bool,
    Argument(help="In a step of a GitHub workflow: add a summary to $GITHUB_STEP_SUMMARY, and annotate what is wrong."),
]
QuietOption = Annotated[
    bool, Argument(name=("--quiet", "-q"), help="Print only what is wrong; nothing if all is right.")
]
DetailsOption = Annotated[
    bool,
    Argument(
        help="Also write one page for each case, with all its numbers. Useful for large reports, which leave some "
        "numbers out."
    ),
]


@dataclass(frozen=True)
class Outputs:
    """Where results go beside the terminal, and how much of them it shows: each field is an option of its command."""

    json: JsonOption = None
    html: HtmlOption = None
    sarif: SarifOption = None
    github: GitHubOption = False
    quiet: QuietOption = False
    details = False  # no field: not every command has this option

    def check(self) -> None:
        """Make sure, before anything runs, that results can go there."""
        if str(self.json) == "-" and str(self.sarif) == "-":
            raise LockstepError("--json - and --sarif -: only one of them can go to stdout. Give the other a file.")
        if self.details and self.html is None:
            raise LockstepError("--details adds pages to an HTML report, so it needs one: add --html FOLDER.")
        check_writable(self.json, self.html)
        check_writable(self.sarif)
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

    def deliver(self, results: Results, show: Callable[[Console], None] | None) -> int:
        """Write results everywhere, show them, and return their exit status.

        ``show`` prints the results; None where nothing is to be printed.
        """
        write_json(results, self.json)  # first: it is there even if a report cannot be made
        page = None if self.html is None else write_html(results, self.html, details=self.details)
        if self.sarif is not None:
            from lockstep.harness.output.sarif import results_as_sarif

            write_json(results_as_sarif(results), self.sarif)
        if self.github:
            from lockstep.harness.output.github import annotate

            annotate(results, self.console, show)
        elif show is not None and not (self.quiet and results.exit_status == 0):  # then it would print nothing
            show(self.console)
        if page is not None and not self.quiet:
            say(error_console(), f"Report: {page}")
        return results.exit_status

    def deliver_as_table(self, results: Results) -> int:
        """Deliver results, shown as the table case x backend with the text of each run that is not right."""

        def show(console: Console) -> None:
            from lockstep.harness.output.terminal import show_results

            show_results(console, results.runs, quiet=self.quiet)

        return self.deliver(results, show)


@dataclass(frozen=True)
class DetailedOutputs(Outputs):
    """The same, with pages of single cases beside the report."""

    details: DetailsOption = False


NO_OUTPUTS = DetailedOutputs()

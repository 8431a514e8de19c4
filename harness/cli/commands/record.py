"""``lockstep record``: traces, to be compared elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lockstep.harness.cli import options
from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.outputs import QuietOption
from lockstep.harness.jobs.settings import JOBS
from lockstep.harness.output.console import console_beside, error_console, say
from lockstep.harness.output.write_results import check_writable, write_json


def record(
    *cases: options.CaseArguments,
    case: options.CaseOption = None,
    backend: options.BackendOption = None,
    everything: options.AllOption = False,
    out: Annotated[Path, Argument(help="Folder for the traces, CASE.BACKEND.safetensors.")] = Path("traces"),
    json: Annotated[
        Path | None,
        Argument(allow_leading_hyphen=True, help="Write the runs that gave no trace as results into this file."),
    ] = None,
    timeout: options.TimeoutOption = None,
    quiet: QuietOption = False,
) -> int:
    """Run cases and save their traces, to compare them later or in another environment."""
    from lockstep.harness.comparison.results import Results, exit_status
    from lockstep.harness.jobs.record import record_cases
    from lockstep.harness.jobs.run import environment
    from lockstep.harness.jobs.selection import select
    from lockstep.harness.output.messages import text_of
    from lockstep.harness.output.progress import advance, progress
    from lockstep.harness.text import counted

    _, seconds = options.bounds(None, timeout, quiet=quiet)
    selection = select(options.case_names(cases, case), options.backend_names(backend, everything=everything))
    if not quiet:
        options.announce(selection, JOBS)
    check_writable(json, out)
    console = console_beside(json)
    with progress(error_console, selection.count, quiet=quiet) as bar:
        recorded, runs = record_cases(
            [found_case.case for found_case in selection.cases],
            selection.backends,
            out,
            timeout=seconds,
            on_result=lambda run: advance(bar, run),
        )
    for result in runs:
        if not (quiet and result.status == "unsupported"):
            say(console, text_of(result))
    write_json(Results(environment=environment(), runs=runs), json)
    if not quiet:
        text = f"{counted(len(recorded), 'trace')} in {out}. Compare them with: lockstep compare {out}"
        say(console, text)
    return max((exit_status(result.status) for result in runs), default=0)

"""``lockstep record``: traces, to be compared elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lockstep.harness.cli.options import (
    BackendOption,
    CaseArguments,
    QuietOption,
    TimeoutOption,
    bounds,
    tell_left_out,
)
from lockstep.harness.output.console import console_beside, error_console


def record(
    *case: CaseArguments,
    backend: BackendOption = None,
    out: Annotated[Path, Parameter(help="Folder for the traces, CASE.BACKEND.safetensors.")] = Path("traces"),
    json: Annotated[
        Path | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Write the runs that gave no trace as results into this file.",
        ),
    ] = None,
    timeout: TimeoutOption = None,
    quiet: QuietOption = False,
) -> int:
    """Run cases and save their traces, to compare them later or in another environment."""
    from lockstep.harness.comparison.results import Results, exit_status
    from lockstep.harness.jobs.record import record_cases
    from lockstep.harness.jobs.run import environment
    from lockstep.harness.jobs.selection import select
    from lockstep.harness.output.console import plain
    from lockstep.harness.output.messages import text_of
    from lockstep.harness.output.terminal import advance, progress
    from lockstep.harness.output.write_results import check_writable, write_json
    from lockstep.harness.text import counted

    _, seconds = bounds(None, timeout, quiet=quiet)
    selection = select(case, backend)
    if not quiet:
        tell_left_out(selection)
    check_writable(json, out)
    console = console_beside(json)
    with progress(error_console(), selection.count, quiet=quiet) as bar:
        recorded, runs = record_cases(
            [found_case.case for found_case in selection.cases],
            selection.backends,
            out,
            timeout=seconds,
            on_result=lambda run: advance(bar, run),
        )
    for result in runs:
        if not (quiet and result.status == "unsupported"):
            console.print(plain(text_of(result)), soft_wrap=True)
    write_json(Results(environment=environment(), runs=runs), json)
    if not quiet:
        text = f"{counted(len(recorded), 'trace')} in {out}. Compare them with: lockstep compare {out}"
        console.print(plain(text), soft_wrap=True)
    return max((exit_status(result.status) for result in runs), default=0)

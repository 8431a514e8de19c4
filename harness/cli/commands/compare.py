"""``lockstep compare``: recorded traces and saved results, judged; two recordings, held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.options import LimitOption, bounds
from lockstep.harness.cli.outputs import NO_OUTPUTS, Outputs
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import complain

if TYPE_CHECKING:
    from lockstep.harness.cases.case import Case


def compare(
    *file: Annotated[Path, Argument(help="Recorded traces, folders of them, or saved results (JSON).")],
    case: Annotated[
        str | None, Argument(help="The case that the traces must come from. Default: the one that each trace names.")
    ] = None,
    against: Annotated[
        Path | None,
        Argument(help="Another recording to compare with, version against version, instead of the reference."),
    ] = None,
    limit: LimitOption = None,
    outputs: Outputs = NO_OUTPUTS,
) -> int:
    """Compare recorded traces with the reference, or judge saved results again under another limit. Nothing is run.

    With --against the traces are held against another recording of the same cases, as of another version of a
    framework; its JSON is {"format": 1, "pairs": [{"case", "backend", "verdict", "same_bits", "versions": [ours, the
    other's], "difference": a result whose expected values are the other's, "reference": both results against the
    reference where they diverge, else null}], "alone": [what only this one has, what only the other has]}.
    """
    if against is not None:
        return _compare_recordings(file, against, outputs, case=case, limit=limit)
    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.comparison.results import Results
    from lockstep.harness.jobs.record import judge_files
    from lockstep.harness.jobs.run import environment

    if not file:
        raise LockstepError("nothing to compare: name traces (lockstep record writes them) or results (--json).")
    outputs.check()
    expected_case: Case | None = None
    if case is not None:
        expected_case = find_cases([case])[0].case
    runs, errors, infos = judge_files(
        file, expected_case, bounds(limit, quiet=outputs.quiet)[0], details=outputs.numbers
    )
    results = Results(environment=environment(), runs=runs, cases=infos)
    status = outputs.deliver_as_table(results) if runs else 0
    for error in errors:
        complain(str(error))
    return max(status, LockstepError.exit_status) if errors else status


def _compare_recordings(
    files: Sequence[Path], against: Path, outputs: Outputs, *, case: str | None, limit: float | None
) -> int:
    """Hold one recording against another, and show how far apart they are."""
    from lockstep.harness.jobs.versions import hold_against
    from lockstep.harness.output.tables.versions_table import show_pairs
    from lockstep.harness.output.write_results import write_json

    if len(files) != 1 or case is not None or outputs.html is not None or outputs.sarif is not None or outputs.github:
        raise LockstepError(
            "--against: needs exactly one trace or folder of traces, without --case, --html, --sarif and --github."
        )
    outputs.check()
    comparison, errors = hold_against(files[0], against, limit=bounds(limit, quiet=outputs.quiet)[0])
    show_pairs(outputs.console, comparison, quiet=outputs.quiet)
    write_json(comparison, outputs.json)
    for error in errors:
        complain(str(error))
    return LockstepError.exit_status if errors else 0 if comparison.agree else 1

"""``lockstep adequacy``: which faults a case can see."""

from __future__ import annotations

from typing import Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.options import case_names, complete_case
from lockstep.harness.cli.outputs import JsonOption
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import console_beside
from lockstep.harness.output.write_results import check_writable, write_json


def adequacy(
    *case: Annotated[
        str,
        Argument(
            completer=complete_case,
            help="Names of shipped cases, case files, or folders. Default: all shipped cases of a plain layer.",
        ),
    ],
    json: JsonOption = None,
    full: Annotated[bool, Argument(help="Show every fault, not only those that a case does not detect.")] = False,
) -> int:
    """Compute which known mistakes a case can detect. No framework is needed."""
    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.diagnosis.adequacy import adequacy as adequacy_of
    from lockstep.harness.output.terminal import show_adequacy
    from lockstep.harness.text import grouped

    check_writable(json)
    cases = [found_case.case for found_case in find_cases(case_names(case, None)) if case or found_case.case.plain]
    kinds = list(grouped(cases, lambda case: (case.model, case.plain)).values())
    if len(kinds) > 1 and json is not None:
        (first, *_), (second, *_), *_ = kinds
        raise LockstepError(
            f"--json: {first.name} and {second.name} are of two kinds (plain layers, networks, attention decoders), "
            "and each kind has its own faults: ask for one kind at a time."
        )
    for alike in kinds:
        measured = adequacy_of(alike)
        show_adequacy(console_beside(json), measured, full=full)
        write_json(measured, json)
    return 0

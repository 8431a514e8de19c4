"""``lockstep adequacy``: which faults a case can see."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lockstep.harness.cli.options import JsonFile, complete_case
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import console_beside


def adequacy(
    *case: Annotated[
        str,
        Parameter(completer=complete_case, help="As of run; all shipped ones of a plain layer if none is given."),
    ],
    json: JsonFile = None,
    full: Annotated[
        bool, Parameter(negative="", help="Show every fault, not only those that some case misses.")
    ] = False,
) -> int:
    """Compute which faults of the catalogue a case can see, without any framework."""
    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.diagnosis.adequacy import adequacy, network_adequacy
    from lockstep.harness.output.terminal import show_adequacy
    from lockstep.harness.output.write_results import check_outputs, write_json

    check_outputs(json, None)
    cases = [one.case for one in find_cases(case) if case or one.case.plain]
    kinds = (
        (adequacy, [one for one in cases if one.plain]),
        (network_adequacy, [one for one in cases if not one.plain and one.model == "lstm"]),
        (network_adequacy, [one for one in cases if one.model == "attention_decoder"]),
    )
    first, *others = [own[0].name for _, own in kinds if own]
    if others and json is not None:
        raise LockstepError(
            f"--json: {first} and {others[0]} are of two kinds (plain layers, networks, attention decoders), and each "
            "has faults of its own: ask for them one after the other."
        )
    for of, own in kinds:
        if own:
            found = of(own)
            show_adequacy(console_beside(json), found, full=full)
            if json is not None:
                write_json(found, json)
    return 0

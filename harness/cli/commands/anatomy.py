"""``lockstep anatomy``: the dialect of a black box."""

from __future__ import annotations

from typing import Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.options import ArraysOption, LayoutOption, complete_backend, complete_case
from lockstep.harness.cli.outputs import JsonOption
from lockstep.harness.errors import check_positive
from lockstep.harness.jobs.settings import TIMEOUT
from lockstep.harness.output.console import console_beside
from lockstep.harness.output.write_results import check_writable, write_json


def anatomy(
    target: Annotated[
        str, Argument(completer=complete_backend, help="A port, FILE.py:FUNCTION, or the name of a backend.")
    ],
    *,
    layout: LayoutOption = None,
    arrays: ArraysOption = None,
    case: Annotated[
        str | None,
        Argument(
            completer=complete_case,
            help="Measure a port of a network lane by lane, as it is asked by this case. Default: one plain layer, or "
            "the first form that it answers.",
        ),
    ] = None,
    json: JsonOption = None,
    timeout: Annotated[float, Argument(help="Seconds allowed for one call.")] = TIMEOUT,
) -> int:
    """Measure the conventions of an implementation, and show them beside the intended ones."""
    from lockstep.harness.jobs.measure import anatomy_of
    from lockstep.harness.output.terminal import show_anatomy

    check_positive("--{} ", timeout=timeout)
    check_writable(json)
    measured = anatomy_of(target, layout=layout, arrays=arrays, timeout=timeout, case=case)
    show_anatomy(console_beside(json), measured)
    write_json(measured, json)
    return 0 if measured.proved and measured.explanation is None else 1

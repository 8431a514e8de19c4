"""``lockstep explain``: inputs, weights and outputs that were dumped into a file, judged and explained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.options import LAYOUT_NAMES, LimitOption, bounds, command_line
from lockstep.harness.cli.outputs import NO_OUTPUTS, DetailedOutputs


def explain(
    dump: Annotated[Path, Argument(help="A .npz, .safetensors or .json file of named arrays.")],
    *,
    against: Annotated[
        Path | None,
        Argument(
            help="Another dump of the same runs: which of the two is right, and where they part. It may hold outputs "
            "alone."
        ),
    ] = None,
    layout: Annotated[
        str | None,
        Argument(
            completer=lambda context: dict.fromkeys(LAYOUT_NAMES, ""),
            help=f"The layout in which the weights are: {', '.join(LAYOUT_NAMES)}. Default: found out.",
        ),
    ] = None,
    names: Annotated[
        str | None,
        Argument(
            help="What arrays are that are called otherwise: x=inputs,h_seq=result. Roles: x, h0, c0, lengths, h_seq, "
            "c_seq, h_n, c_n, dh, dc, dx, dh0, dc0, the names of weights in a layout, and weights=PREFIX."
        ),
    ] = None,
    limit: LimitOption = None,
    outputs: DetailedOutputs = NO_OUTPUTS,
) -> int:
    """Explain numbers that were dumped: do the outputs follow from the inputs and weights, and if not, why?

    Names of known frameworks are recognised, the rest by shapes, batch-first too; what was taken for what is told.
    A file may hold several runs: run0/x, run1/x; x_0, x_1; or one more axis in front.

    With --against two dumps are each held against the reference, and against each other.
    """
    from msgspec.structs import replace

    from lockstep.harness.jobs.dumps.against import explain_against
    from lockstep.harness.jobs.dumps.explain_dump import DumpRequest, explain_dump
    from lockstep.harness.jobs.run import results_of
    from lockstep.harness.output.terminal import show_dumps

    asked_limit, _ = bounds(limit, quiet=outputs.quiet)
    outputs.check()
    asked = DumpRequest(layout=layout, names=names, limit=asked_limit, details=outputs.numbers)
    both = None if against is None else explain_against(dump, against, asked)
    sides = [explain_dump(dump, asked)] if both is None else [both.ours, both.theirs]
    line = command_line("explain", str(dump), against=against, layout=layout, names=names, limit=limit)
    runs = [replace(run, rerun=line) for side in sides for run in side.runs]
    facts = {"dumps": [side.facts() for side in sides]} | ({} if both is None else {"partings": both.facts()})
    return outputs.deliver(
        results_of(sides[0].cases, runs, **facts),
        lambda console: show_dumps(console, sides, runs, both, quiet=outputs.quiet),
    )

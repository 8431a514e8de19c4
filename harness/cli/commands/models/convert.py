"""``lockstep convert``: weights, from one framework's form to another's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.options import LAYOUT_NAMES
from lockstep.harness.output.console import console_beside, say


def convert(
    weights: Annotated[Path, Argument(name="IN", help="Weights of an LSTM: .safetensors or .npz.")],
    out: Annotated[Path, Argument(name="OUT", help="Where to write them: .safetensors or .npz.")],
    /,
    *,
    source: Annotated[str, Argument(name="--from", help=f"How the input is stored: {', '.join(LAYOUT_NAMES)}.")],
    target: Annotated[str, Argument(name="--to", help="How to store them.")],
    prefix: Annotated[str, Argument(help='What the names of the LSTM\'s arrays begin with, such as "lstm.".')] = "",
    layer: Annotated[
        int | None, Argument(help="Convert this layer alone, from 0 on. Default: all layers and directions.")
    ] = None,
    reverse: Annotated[bool, Argument(negative=(), help="Convert the reverse direction alone, of --layer.")] = False,
) -> int:
    """Convert weights from the form of one framework to that of another."""
    from lockstep.harness.weights.convert import conversion_text, convert_file, find_dialect

    from_dialect, to_dialect = find_dialect(source), find_dialect(target)
    arrays, notes = convert_file(weights, from_dialect, to_dialect, out, prefix, layer=layer, reverse=reverse)
    say(console_beside(), conversion_text(out, to_dialect, arrays, notes))
    return 0

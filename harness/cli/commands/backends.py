"""``lockstep backends``: what there is to run, and what each supports."""

from __future__ import annotations

from typing import Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.options import complete_backend
from lockstep.harness.cli.outputs import JsonOption
from lockstep.harness.output.console import console_beside
from lockstep.harness.output.write_results import check_writable, write_json


def backends(
    *,
    backend: Annotated[
        list[str] | None,
        Argument(completer=complete_backend, help="A backend to show; may be repeated. Default: all."),
    ] = None,
    matrix: Annotated[
        bool, Argument(help="Show a table of features and backends instead; one for each framework if there are many.")
    ] = False,
    json: JsonOption = None,
    markdown: Annotated[bool, Argument(help="Print the page of the documentation, in Markdown.")] = False,
) -> int:
    """Show backends by framework: versions, what importing them costs here, what each supports, and why not the rest.

    JSON is a list of {"name", "framework", "module", "summary", "model", "main": whether it is run where none is named,
    "dialect", "requires", "install", "versions", "import": {"seconds", "megabytes"}, "supports": [feature],
    "unsupported": {feature: reason}, "problem": why it could not be asked, or null}.
    """
    from lockstep.harness.jobs.support import support
    from lockstep.harness.output.backends_table import as_json, as_markdown, show_backends, show_matrix

    check_writable(json)
    # One after the other, else none would tell what importing it costs.
    supported = support(backend) if matrix or markdown else support(backend, jobs=1)
    console = console_beside(json)
    if markdown:
        print(as_markdown(supported), end="")
    else:
        (show_matrix if matrix else show_backends)(console, supported)
    write_json(as_json(supported), json)
    return 0

"""``lockstep backends``: what there is to run, and what each supports."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lockstep.harness.cli.options import complete_backend
from lockstep.harness.cli.outputs import JsonOption
from lockstep.harness.output.console import console_beside
from lockstep.harness.output.write_results import check_writable, write_json


def backends(
    *,
    backend: Annotated[
        list[str] | None,
        Parameter(completer=complete_backend, help="A backend to show; may be repeated. Default: all."),
    ] = None,
    matrix: Annotated[
        bool, Parameter(help="Show a table of features and backends instead; one for each framework if there are many.")
    ] = False,
    json: JsonOption = None,
    markdown: Annotated[bool, Parameter(help="Print the page of the documentation, in Markdown.")] = False,
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

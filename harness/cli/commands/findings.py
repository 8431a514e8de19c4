"""``lockstep findings``: what is known of implementations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.options import complete_finding
from lockstep.harness.cli.outputs import JsonOption, Outputs
from lockstep.harness.output.write_results import write_json


def findings(
    *name: Annotated[
        str, Argument(completer=complete_finding, help="Names of findings to show in full. Default: a table of all.")
    ],
    json: JsonOption = None,
    markdown: Annotated[bool, Argument(help="Print the page of the documentation, in Markdown.")] = False,
    sarif: Annotated[
        Path | None, Argument(allow_leading_hyphen=True, help="Write them as SARIF 2.1.0, or - for stdout.")
    ] = None,
) -> int:
    """List known findings: implementations that differ from their specification, fail or crash."""
    from lockstep.harness.jobs.findings import as_markdown, chosen
    from lockstep.harness.output.terminal import show_findings

    outputs = Outputs(json=json, sarif=sarif)
    outputs.check()
    listed = chosen(name)
    if markdown:
        print(as_markdown(listed), end="")
    else:
        show_findings(outputs.console, listed, full=bool(name))
    write_json(listed, json)
    if sarif is not None:
        from lockstep.harness.output.sarif import findings_as_sarif

        write_json(findings_as_sarif(listed), sarif)
    return 0

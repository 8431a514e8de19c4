"""``lockstep report``: what people and other tools read of saved results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.outputs import DetailedOutputs, DetailsOption, GitHubOption, SarifOption


def report(
    results: Annotated[Path, Argument(help="Results that --json wrote.")],
    *,
    html: Annotated[
        Path | None, Argument(help="Folder for the report. Default: lockstep-report, if no other output is asked for.")
    ] = None,
    sarif: SarifOption = None,
    github: GitHubOption = False,
    details: DetailsOption = False,
) -> int:
    """Make an HTML report, SARIF or a GitHub summary from saved results, of lockstep or of pytest."""
    from lockstep.harness.comparison.results import load_results

    if html is None and sarif is None and not github:
        html = Path("lockstep-report")
    outputs = DetailedOutputs(html=html, sarif=sarif, github=github, details=details)
    outputs.check()
    outputs.deliver(load_results(results), show=None)
    return 0

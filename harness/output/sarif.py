"""Results and findings as SARIF 2.1.0, for what collects the reports of analysers: code scanning, editors, dashboards.

Plain values throughout. Source: Static Analysis Results Interchange Format 2.1.0, OASIS, errata 01; and what GitHub's
code scanning reads of it, which needs a physical location and a stable fingerprint for each result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lockstep.harness.comparison.results import Diagnosis, Results, RunResult
from lockstep.harness.jobs.findings import FINDING_KINDS, Finding, findings
from lockstep.harness.jobs.run import lockstep_version
from lockstep.harness.output import overview
from lockstep.harness.output.location import Place, Places
from lockstep.harness.output.messages import text_of
from lockstep.harness.text import grouped, printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"  # what a viewer resolves paths against: the checkout

Json = dict[str, Any]

# Rules for results that no fault of the catalogue and no known finding explains.
STATUSES = {
    "diverge": ("Diverges", "The numbers differ from the reference by more than rounding can explain."),
    "failed": ("Failed", "The implementation raised an exception, or returned something that cannot be compared."),
    "crashed": ("Crashed", "The implementation ended its process."),
    "timeout": ("Timed out", "The implementation did not finish in the time allowed."),
}


def results_as_sarif(results: Results) -> Json:
    """Wrong runs and known findings as a SARIF log; runs that agree are left out.

    What is wrong with a port for one cause is one result, in however many cases. A known finding is a suppressed note.
    A case without a known file has a logical location only.
    """
    wrong, places = [run for run in results.runs if run.status in STATUSES], Places(results)
    known = {finding.name: finding for finding in findings()} if any(run.known for run in wrong) else {}
    rules = {_rule_id(run): _rule(run, known) for run in wrong}
    return _log(
        rules,
        [_result(same, list(rules), places(same[0])) for same in _alike(wrong, places)],
        # To diverge is what the tool found, not a failure of the tool.
        invocation={"executionSuccessful": results.exit_status in {0, 1}, "exitCode": results.exit_status},
        properties={"environment": results.environment, "runs": len(results.runs)},
    )


def findings_as_sarif(known: Sequence[Finding]) -> Json:
    """Known findings as a SARIF log, each at the script that shows it."""
    return _log(
        {finding.name: _finding_rule(finding) for finding in known},
        [
            {
                "ruleId": finding.name,
                "ruleIndex": k,
                "level": "warning" if finding.kind == "bug" else "note",
                "message": {"text": printable(f"{finding.title}. {finding.what}")},
                "locations": [_location(Place(Path(finding.script)), finding.name)],
                "partialFingerprints": _fingerprints("finding", finding.name),
                "properties": {
                    "kind": finding.kind, "status": finding.status, "backends": list(finding.backends),
                    "framework": finding.framework, "versions": list(finding.seen),
                },
            }
            for k, finding in enumerate(known)
        ],
    )  # fmt: skip


def _log(
    rules: Mapping[str, Json], results: list[Json], invocation: Json | None = None, properties: Json | None = None
) -> Json:
    driver = {"name": "Lockstep", "version": lockstep_version(), "rules": list(rules.values())}
    run: Json = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    if invocation is not None:
        run["invocations"] = [invocation]
    if properties is not None:
        run["properties"] = properties
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _alike(wrong: Sequence[RunResult], places: Places) -> Iterable[list[RunResult]]:
    """Group what is wrong with a port by its causes; every other run is a result of its own."""

    def why(run: RunResult) -> tuple[object, ...]:
        place = places(run)
        at_port = place is not None and place.of_port and run.known is None
        return (place, *overview.cause_of(run)) if at_port else (run.backend, run.case)

    return grouped(wrong, why).values()


def _result(same: Sequence[RunResult], rules: list[str], place: Place | None) -> Json:
    run, rule = same[0], _rule_id(same[0])
    likewise = f"\n  The same in: {', '.join(overview.names_in(same)[1:])}." if len(same) > 1 else ""
    result: Json = {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": "note" if run.known else "error",
        "message": {"text": printable(text_of(run) + likewise)},
        "locations": [_location(place, f"{run.backend}.{run.case}")],
        "partialFingerprints": _fingerprints((place and place.within()) or "", *_identity(run, place), rule),
        "properties": _properties(run) | {"cases": list(dict.fromkeys(run.case for run in same))},
    }
    if run.known:
        reason = f"A known finding, as expected. Details: lockstep findings {run.known}"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return result


def _identity(run: RunResult, place: Place | None) -> tuple[str, ...]:
    """What a result is about: of a port that a fault explains the function, whichever test and case show it first."""
    if place is None or not place.of_port:
        return run.backend, run.case
    function = run.backend.partition(" (")[0]  # without the test of pytest
    return (function,) if _explanation(run) else (function, run.case)


def _properties(run: RunResult) -> Json:
    """The numbers of a result; those that are not finite as ``comparison.results.encode`` writes them."""
    properties: Json = {
        "case": run.case,
        "backend": run.backend,
        "status": run.status,
        "limit": run.limit and str(run.limit),
    }
    if run.worst is not None:
        name, worst = run.worst
        properties |= {"sigma": worst.sigma, "ulp": worst.ulp, "worstTensor": name}
    if run.first_divergence is not None:
        properties |= {"timestep": run.first_divergence.timestep, "tensor": run.first_divergence.tensor}
    if run.diagnosis:
        properties["explanations"] = [explanation.fault for explanation in run.diagnosis]
    if run.rerun:
        properties["rerun"] = run.rerun
    return {name: value for name, value in properties.items() if value is not None}


def _rule_id(run: RunResult) -> str:
    """The name of the known finding, else of the fault that explains the result, else its status."""
    if run.known:
        return run.known
    explanation = _explanation(run)
    return explanation.fault if explanation is not None else run.status


def _explanation(run: RunResult) -> Diagnosis | None:
    return next((explanation for explanation in run.diagnosis if explanation.fix), None)  # "unexplained" has no fix


def _rule(run: RunResult, known: Mapping[str, Finding]) -> Json:
    if run.known is not None and run.known in known:
        return _finding_rule(known[run.known])
    why = _explanation(run)
    if run.known is None and why is not None:
        help_text = "\n".join(filter(None, (why.fix, why.met and f"Seen before in: {why.met}")))
        return _rule_of(why.fault, why.family or why.fault, why.message, help_text)
    title, text = STATUSES[run.status]
    return _rule_of(run.known or run.status, title, text, "See the message of the result.")


def _finding_rule(finding: Finding) -> Json:
    upstream = f" Upstream: {finding.upstream}" if finding.upstream else ""
    text = f"{finding.specification} That is {FINDING_KINDS[finding.kind]}.{upstream}"
    return _rule_of(finding.name, finding.title, text, f"Details: lockstep findings {finding.name}")


def _rule_of(name: str, title: str, text: str, help_text: str) -> Json:
    return {
        "id": name,
        "shortDescription": {"text": printable(title)},
        "fullDescription": {"text": printable(text)},
        "help": {"text": printable(help_text)},
    }


def _location(place: Place | None, name: str) -> Json:
    """A place as a SARIF location: relative to the checkout if it lies in it."""
    location: Json = {"logicalLocations": [{"fullyQualifiedName": printable(name), "kind": "function"}]}
    if place is not None:
        within = place.within()
        artifact = (
            {"uri": place.path.resolve().as_uri()} if within is None else {"uri": quote(within), "uriBaseId": ROOT}
        )
        location["physicalLocation"] = {"artifactLocation": artifact, "region": {"startLine": place.line}}
    return location


def _fingerprints(*parts: Iterable[str]) -> dict[str, str]:
    """The identity of a result across runs: what diverges, where and why, not its numbers.

    GitHub tells results of one rule and line apart by the fingerprint of the line alone, so that one is given too.
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode(errors="backslashreplace")).hexdigest()[:32]
    return {"lockstep/v1": digest, "primaryLocationLineHash": f"{digest}:1"}

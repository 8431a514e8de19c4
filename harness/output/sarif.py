"""Results and findings as SARIF 2.1.0, for what collects the reports of analysers: code scanning, editors, dashboards.

Plain values throughout. Source: Static Analysis Results Interchange Format 2.1.0, OASIS, errata 01; and what GitHub's
code scanning reads of it, which needs a physical location and a stable fingerprint for each result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lockstep.harness.comparison.results import Diagnosis, Results, RunResult
from lockstep.harness.jobs.findings import KINDS, Finding, findings
from lockstep.harness.output.location import Place, Places
from lockstep.harness.output.messages import text_of
from lockstep.harness.text import printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"  # what a viewer resolves paths against: the checkout

Json = dict[str, Any]

# What a result is called that no fault of the catalogue and no known finding explains.
STATUSES = {
    "diverge": ("Diverges", "The numbers leave the reference by more than rounding explains."),
    "failed": ("Failed", "The implementation raised an exception, or returned what cannot be compared."),
    "crashed": ("Crashed", "The implementation ended its process."),
    "timeout": ("Timed out", "The implementation was not done in the time it was given."),
}


def results_as_sarif(results: Results, places: Places) -> Json:
    """Give what is not right, and what was expected not to be, as a SARIF log; what agrees is no result.

    A known finding is a suppressed note. What no place is known for has a logical location only.
    """
    wrong = [run for run in results.runs if run.status in STATUSES]
    known = {one.name: one for one in findings()} if any(run.known for run in wrong) else {}
    rules = {_rule_id(run): _rule(run, known) for run in wrong}
    return _log(
        rules,
        [_result(run, list(rules), places.get(run.case)) for run in wrong],
        invocation={"executionSuccessful": results.exit_status in {0, 1}, "exitCode": results.exit_status},
        properties={"environment": results.environment, "runs": len(results.runs)},
    )


def findings_as_sarif(found: Sequence[Finding]) -> Json:
    """Give known findings as a SARIF log, each at the script that shows it."""
    return _log(
        {one.name: _finding_rule(one) for one in found},
        [
            {
                "ruleId": one.name,
                "ruleIndex": k,
                "level": "warning" if one.kind == "bug" else "note",
                "message": {"text": printable(f"{one.title}. {one.what}")},
                "locations": [_location(Place(Path(one.script)), one.name)],
                "partialFingerprints": _fingerprints("finding", one.name),
                "properties": {
                    "kind": one.kind, "status": one.status, "backends": list(one.backends),
                    "framework": one.framework, "versions": list(one.seen),
                },
            }
            for k, one in enumerate(found)
        ],
    )  # fmt: skip


def _log(
    rules: Mapping[str, Json],
    found: list[Json],
    invocation: Json | None = None,
    properties: Json | None = None,
) -> Json:
    driver = {"name": "Lockstep", "version": _version(), "rules": list(rules.values())}
    run: Json = {"tool": {"driver": driver}, "results": found, "columnKind": "unicodeCodePoints"}
    if invocation is not None:
        run["invocations"] = [invocation]
    if properties is not None:
        run["properties"] = properties
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(run: RunResult, rules: list[str], place: Place | None) -> Json:
    rule = _rule_id(run)
    found: Json = {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": "note" if run.known else "error",
        "message": {"text": printable(text_of(run))},
        "locations": [_location(place, f"{run.backend}.{run.case}")],
        "partialFingerprints": _fingerprints((place and place.within()) or "", run.backend, run.case, rule),
        "properties": _properties(run),
    }
    if run.known:
        told = f"A known finding, which was expected: lockstep findings {run.known}"
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": told}]
    return found


def _properties(run: RunResult) -> Json:
    """The numbers of a result; those that are not finite as ``comparison.results.encode`` writes them."""
    told: Json = {"case": run.case, "backend": run.backend, "status": run.status, "limit": run.limit and str(run.limit)}
    if run.tensors:
        name, worst = max(run.tensors.items(), key=lambda item: item[1].worst.sigma)
        told |= {"sigma": worst.worst.sigma, "ulp": worst.worst.ulp, "worstTensor": name}
    if run.first_divergence is not None:
        told |= {"timestep": run.first_divergence.timestep, "tensor": run.first_divergence.tensor}
    if run.diagnosis:
        told["explanations"] = [one.fault for one in run.diagnosis]
    if run.rerun:
        told["rerun"] = run.rerun
    return {name: value for name, value in told.items() if value is not None}


def _rule_id(run: RunResult) -> str:
    """Name the finding that a result is, else the fault that explains it, else its status."""
    if run.known:
        return run.known
    explained = _explanation(run)
    return explained.fault if explained is not None else run.status


def _explanation(run: RunResult) -> Diagnosis | None:
    return next((one for one in run.diagnosis if one.fix), None)  # "unexplained" has no fix


def _rule(run: RunResult, known: Mapping[str, Finding]) -> Json:
    if run.known is not None and run.known in known:
        return _finding_rule(known[run.known])
    explained = _explanation(run)
    if run.known is None and explained is not None:
        help_text = "\n".join(filter(None, (explained.fix, explained.met and f"Met: {explained.met}")))
        return _rule_of(explained.fault, explained.family or explained.fault, explained.message, help_text)
    title, text = STATUSES[run.status]
    return _rule_of(run.known or run.status, title, text, "See the message of the result.")


def _finding_rule(one: Finding) -> Json:
    upstream = f" Upstream: {one.upstream}" if one.upstream else ""
    text = f"{one.specification} That is {KINDS[one.kind]}.{upstream}"
    return _rule_of(one.name, one.title, text, f"lockstep findings {one.name} tells it in full.")


def _rule_of(name: str, title: str, text: str, help_text: str) -> Json:
    return {
        "id": name,
        "shortDescription": {"text": printable(title)},
        "fullDescription": {"text": printable(text)},
        "help": {"text": printable(help_text)},
    }


def _location(place: Place | None, name: str) -> Json:
    """Give a place as a location: relative to the checkout where it lies in it."""
    location: Json = {"logicalLocations": [{"fullyQualifiedName": printable(name), "kind": "function"}]}
    if place is not None:
        within = place.within()
        artifact = (
            {"uri": place.path.resolve().as_uri()} if within is None else {"uri": quote(within), "uriBaseId": ROOT}
        )
        location["physicalLocation"] = {"artifactLocation": artifact, "region": {"startLine": place.line}}
    return location


def _fingerprints(*parts: Iterable[str]) -> dict[str, str]:
    """Name a result across runs: by what diverges, where and why, not by its numbers.

    GitHub tells results of one rule and line apart by the fingerprint of the line alone, so that one is given too.
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode(errors="backslashreplace")).hexdigest()[:32]
    return {"lockstep/v1": digest, "primaryLocationLineHash": f"{digest}:1"}


def _version() -> str:
    try:
        return version("lockstep-rnn")
    except PackageNotFoundError:
        return "not installed"

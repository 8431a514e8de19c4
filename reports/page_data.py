"""What the page shows, as one plain object, made of results alone.

    {"environment": {..}, "counts": {status: n}, "known": n, "reduced": null or what was left out,
     "backends": [{"name", "versions", "test": {"port", "test"} of a port that a test checked}],
     "causes": [..] (``reports.page_causes``), "sources": [{"file", "line", "text"}],
     "tables": [..] (``reports.page_tables``),
     "cases": [{"name", "description", "features", "timesteps", "facts": {"B", "I", "H", "dtype", "model"}, "page",
                "pairs": {"backends", "sigma", "of"} or null, "shared": [base64 ..], "runs": [run ..]}]}

A run names its backend (``"b"``), and the cause of what is wrong with it (``"cause"``), by index. Numbers that are not
finite are the strings "NaN", "Infinity", "-Infinity".
Arrays of details are those of ``harness.comparison.results.Detail``, but that of ``"expected"`` and ``"noise"`` each
place has one of its own, which is named by its index in the case's ``"shared"``: runs have them in common. What a run
or a tensor has not (null, false, or empty) is left out; ``templates/data.js`` fills it in for runs.

What does not fit into the page's budget is reduced (``reports.page_room``): timesteps are joined, the largest sigma of
each bucket and its place kept; then details go, of agreeing runs first. Of a tensor ``"at"`` and ``"ulp"`` may then be
missing, and its ``"worst"`` and ``"first"`` have "sigma", "at" and "t" only; of a run ``"text"``, and of one that
agrees ``"seconds"``, ``"versions"`` (those of the backend), ``"parameters"`` and ``"local"``, may be missing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from msgspec.structs import replace

from lockstep.harness.cases.info import CaseInfo
from lockstep.harness.comparison.results import Results, RunResult
from lockstep.harness.output.messages import text_of
from lockstep.harness.text import printable
from lockstep.reports.markdown import as_markdown
from lockstep.reports.page_causes import Causes, cause_of, causes_of, numbered
from lockstep.reports.page_details import Shared, details_of_run, pairs_of
from lockstep.reports.page_room import FULL, Room, room_for
from lockstep.reports.page_tables import checked_by, tables_of
from lockstep.reports.page_tensors import local_of_run, number_of, tensors_of_run, there, worst_tensor

Json = dict[str, Any]
PAGES = "details"  # the folder of pages of one case, beside the page


def page_data(results: Results, *, pages: bool = False) -> Json:
    """The data of the page of all results.

    ``pages``: whether each case has a page of its own beside it (``page_of``), which the data then name.
    """
    return _data(results, room_for(results), pages=pages)


def case_page_data(results: Results, case: str) -> Json:
    """The data of a page of one case, with all there is to it.

    Raises:
        KeyError: If results have no such case.
    """
    runs = [run for run in results.runs if run.case == case]
    if not runs:
        raise KeyError(case)
    return _data(replace(results, runs=runs), FULL, pages=False)


def page_of(index: int) -> str:
    """The place of the page of a case, counted from 0, beside the page of all."""
    return f"{PAGES}/case-{index + 1:04}.html"


def _data(results: Results, room: Room, *, pages: bool) -> Json:
    by_case: dict[str, list[RunResult]] = {}
    for run in results.runs:
        by_case.setdefault(run.case, []).append(run)
    versions: dict[str, dict[str, str]] = {}
    for run in results.runs:
        versions[run.backend] = versions.get(run.backend) or run.versions
    backends, cases = numbered(versions), numbered(by_case)
    causes = causes_of(results, cases, backends)
    return {
        "environment": plain(results.environment),
        "counts": dict(Counter(run.status for run in results.runs)),
        "known": sum(run.known is not None for run in results.runs),
        "reduced": room.says,
        "backends": [
            there({"name": printable(name), "versions": plain(of_backend), "test": checked_by(name)})
            for name, of_backend in versions.items()
        ],
        "causes": causes.entries,
        "sources": causes.sources,
        "tables": tables_of(results, cases, backends),
        "cases": [
            _case(name, runs, results, room, backends, causes, page_of(k) if pages else None)
            for k, (name, runs) in enumerate(by_case.items())
        ],
    }


def _case(
    name: str,
    runs: list[RunResult],
    results: Results,
    room: Room,
    backends: dict[str, int],
    causes: Causes,
    page: str | None,
) -> Json:
    info, shared = results.cases.get(name), Shared()
    described = [
        _run(run, info, results.environment, room, shared)
        | there({"b": backends[run.backend], "cause": causes.numbers.get(cause_of(run))})
        for run in runs
    ]
    return {
        "name": printable(name),
        "description": "" if info is None else printable(info.description),
        "features": [] if info is None else plain(info.features),
        "timesteps": max(run.timesteps for run in runs) if info is None else info.timesteps,
        "facts": {} if info is None else _facts(info),
        "page": page,
        "pairs": pairs_of(runs, [backends[run.backend] for run in runs]) if room.pairs else None,
        "shared": shared.texts,
        "runs": described,
    }


def _facts(info: CaseInfo) -> Json:
    return {"B": info.batch, "I": info.input_size, "H": info.hidden_size, "dtype": info.dtype, "model": info.model}


def _run(run: RunResult, info: CaseInfo | None, environment: Json, room: Room, shared: Shared) -> Json:
    agrees = run.status == "agree"
    full = room.measures or not agrees
    buckets = room.agreeing_buckets if agrees else room.buckets
    worst = worst_tensor(run)
    first = run.first_divergence
    facts = {
        "status": run.status,
        "known": _text(run.known),
        "sigma": None if worst is None else number_of(run.tensors[worst].worst.sigma),
        "worst": None if worst is None else {"tensor": printable(worst), "t": run.tensors[worst].worst.timestep},
        "limit": None
        if run.limit is None
        else {"text": str(run.limit), "origin": run.limit.origin, "sigma": run.limit.sigma},
        "first": None
        if first is None
        else {"tensor": printable(first.tensor), "t": first.timestep, "backward": first.backward},
        "message": _text(run.message),
        "stderr": _text(run.stderr),
        "text": printable(text_of(run)) if room.measures else "",
        "diagnosis": [_diagnosis(run, k) for k in range(len(run.diagnosis))],
        "notes": plain(run.notes),
        "rerun": _text(run.rerun),
        "markdown": as_markdown(run, info, environment, table=room.measures),
        "seconds": {name: number_of(value) for name, value in run.seconds.items()} if full else {},
        "versions": plain(run.versions) if full else {},
        "device": _text(run.device),
        "parameters": plain(msgspec.to_builtins(run.parameters)) if full else [],
        "local": local_of_run(run, buckets) if room.all_tensors or not agrees else None,
        "localFirst": None if run.local is None else run.local.first_divergence,
        "tensors": tensors_of_run(run, room),
        "details": details_of_run(run, room, shared),
    }
    # False is told here: a second call gave other numbers.
    return there(facts) | ({} if run.repeatable is None else {"repeatable": run.repeatable})


def _diagnosis(run: RunResult, k: int) -> Json:
    facts = msgspec.to_builtins(run.diagnosis[k])
    del facts["proof"]
    return plain({**facts, "sigma": number_of(facts["sigma"])})


def _text(text: str | None) -> str | None:
    return None if text is None else printable(text)


def plain(value: Any) -> Any:
    """A JSON value whose strings hold no control characters, and whose numbers are finite or strings."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(name)): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return number_of(value) if isinstance(value, float) else value

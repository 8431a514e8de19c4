"""A divergence or a failure as Markdown, to be pasted into an issue."""

from __future__ import annotations

import re

from lockstep.harness.cases.info import CaseInfo
from lockstep.harness.cases.tensors import kind_of
from lockstep.harness.comparison.results import RunResult
from lockstep.harness.output.messages import text_of
from lockstep.harness.text import printable

TITLES = {
    "diverge": "diverges from the reference in",
    "failed": "failed in",
    "crashed": "crashed in",
    "timeout": "ran out of time in",
}
MOST_TEXT = 20_000  # characters: an issue of GitHub holds 65,536


def as_markdown(
    run: RunResult, info: CaseInfo | None, environment: dict[str, object], *, table: bool = True
) -> str | None:
    """Write a run up as an issue would have it; None if there is nothing to complain about.

    Args:
        run: What diverged, failed, crashed or ran out of time.
        info: Its case, where results say what that is.
        environment: Where it ran.
        table: Whether to list every tensor that is beyond the limit.
    """
    if run.status not in TITLES:
        return None
    parts = [f"### {code(run.backend)} {TITLES[run.status]} {code(run.case)}", _facts(run, info, environment)]
    parts.append(fenced(_cut(text_of(run)), "text"))
    if run.rerun:
        parts.append("Run it again with:\n\n" + fenced(run.rerun, "sh"))
    if table and run.status == "diverge":
        parts.append(_table(run))
    return printable("\n\n".join(part for part in parts if part)) + "\n"


def code(text: str) -> str:
    """Write text as a code span, whatever backticks it holds."""
    text = " ".join(text.split()) or " "
    ticks = "`" * (_longest_run_of_ticks(text) + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{text}{room}{ticks}"


def fenced(text: str, language: str) -> str:
    """Write text as a block of code, whatever fences it holds."""
    ticks = "`" * max(3, _longest_run_of_ticks(text) + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def _facts(run: RunResult, info: CaseInfo | None, environment: dict[str, object]) -> str:
    versions = [f"{name} {version}" for name, version in run.versions.items()]
    versions += [f"{name} {environment[name]}" for name in ("lockstep", "python", "platform") if name in environment]
    facts = {"versions": ", ".join(versions)}
    if info is not None:
        sizes = f"T {info.timesteps}, B {info.batch}, I {info.input_size}, H {info.hidden_size}"
        facts |= {"case": info.description, "sizes": sizes, "features": ", ".join(info.features)}
    if run.device:
        facts["device"] = run.device
    return "\n".join(f"- {name}: {code(value)}" for name, value in facts.items() if value)


def _table(run: RunResult) -> str:
    """List the worst of each tensor that is beyond the limit."""
    rows = [
        f"| {code(name)} | {tensor.worst.sigma:.3g} | {tensor.worst.timestep} | {tensor.worst.observed:.9g} "
        f"| {tensor.worst.expected:.9g} | {'backward' if kind_of(name).startswith('d') else 'forward'} |"
        for name, tensor in run.tensors.items()
        if tensor.verdict == "diverge"
    ]
    if not rows:
        return ""
    head = "| tensor | sigma | timestep | observed | expected | pass |\n| --- | ---: | ---: | ---: | ---: | --- |"
    return "\n".join([head, *rows])


def _cut(text: str) -> str:
    if len(text) <= MOST_TEXT:
        return text
    return f"{text[:MOST_TEXT]}\n[{len(text) - MOST_TEXT} more characters]"


def _longest_run_of_ticks(text: str) -> int:
    return max((len(ticks) for ticks in re.findall("`+", text)), default=0)

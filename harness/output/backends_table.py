"""What ``lockstep backends`` shows: by framework which backends there are, what each can do, and why not the rest."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockstep.harness.adapters.backend import MODELS
from lockstep.harness.jobs.support import Support
from lockstep.harness.text import printable

MOST_COLUMNS = 6  # backends of a matrix that fit beside each other


def by_framework(supports: Iterable[Support]) -> dict[str, list[Support]]:
    """Part backends by their frameworks."""
    groups: dict[str, list[Support]] = {}
    for one in supports:
        groups.setdefault(one.backend.framework, []).append(one)
    return dict(sorted(groups.items()))


def show_backends(console: Console, supports: list[Support]) -> None:
    """Print by framework what each backend is, what importing it costs, what it supports and what not, and why."""
    for framework, own in by_framework(supports).items():
        console.print(Text(printable(framework_line(framework, own)), "bold"), soft_wrap=True)
        for one in own:
            for line in support_lines(one, console.width):
                console.print(Text(printable(line)), soft_wrap=True)


def framework_line(framework: str, supports: Sequence[Support]) -> str:
    """Say which version of a framework there is."""
    version = next((one.versions[framework] for one in supports if framework in one.versions), None)
    if not any(one.backend.requires for one in supports):
        return framework  # a package of somebody's, whose backends require nothing
    return f"{framework} {version or 'not available'}"


def support_lines(support: Support, width: int) -> list[str]:
    """Say of one backend what it is and what it costs, what it supports and what not, and why."""
    backend = support.backend
    lines = _wrapped(f"{backend.name}: {backend.summary}", width, 2)
    if support.problem:
        return [*lines, *_wrapped(f"not available: {support.problem}", width, 4)]
    on = ", ".join(f"{name} {version}" for name, version in support.versions.items())
    known = (f"stores weights as {backend.dialect}", f"on {on}" if on else "", cost_text(support))
    lines += _wrapped("; ".join(filter(None, known)), width, 4)
    refused = refusals(support)
    # Some features have commas in their names.
    supported = [feature for feature, reason in support.reasons.items() if reason is None]
    all_of_them = f"supports all {len(supported)} features of {MODELS[backend.model]}s"
    lines += _wrapped(f"supports {'; '.join(supported)}" if refused else all_of_them, width, 4)
    for reason, features in refused.items():
        lines += _wrapped(f"not {'; '.join(features)}: {reason}", width, 4)
    return lines


def cost_text(support: Support) -> str:
    """Say what importing took, as far as it was measured."""
    time = f"imported in {support.seconds:.2g} s" if support.seconds is not None else ""
    memory = f"{max(support.megabytes, 0):.0f} MB" if support.megabytes is not None else ""
    return ", ".join(filter(None, (time, memory)))


def refusals(support: Support) -> dict[str, list[str]]:
    """Give by reason what a backend does not support."""
    found: dict[str, list[str]] = {}
    for feature, reason in support.reasons.items():
        if reason is not None:
            found.setdefault(reason, []).append(feature)
    return found


def as_json(supports: Sequence[Support]) -> list[dict[str, Any]]:
    """Give what is known of each backend as plain values."""
    return [
        {
            "name": one.backend.name,
            "framework": one.backend.framework,
            "module": one.backend.module,
            "summary": one.backend.summary,
            "model": one.backend.model,
            "dialect": one.backend.dialect,
            "requires": list(one.backend.requires),
            "install": one.backend.install,
            "versions": one.versions,
            "import": {"seconds": one.seconds, "megabytes": one.megabytes},
            "supports": [feature for feature, reason in one.reasons.items() if reason is None],
            "unsupported": {feature: reason for feature, reason in one.reasons.items() if reason is not None},
            "problem": one.problem,
        }
        for one in supports
    ]


def matrices(supports: Sequence[Support]) -> list[tuple[str, list[Support]]]:
    """Part backends into tables with a title each: one for a model if all fit, else one for each framework."""
    found = []
    for model, name in MODELS.items():
        own = [one for one in supports if one.backend.model == model]
        available = [one for one in own if one.problem is None]
        if len(available) <= MOST_COLUMNS:
            found.append((f"{name}s", own))
            continue
        for framework, ones in by_framework(own).items():
            title = f"{name}s, {framework_line(framework, ones)}"
            found += [(title, part) for part in _parts(ones)]
    return [(title, own) for title, own in found if own]


def _parts(supports: list[Support]) -> list[list[Support]]:
    """Cut a framework's backends into tables of about one width."""
    count = max(-(-len(supports) // MOST_COLUMNS), 1)
    size = max(-(-len(supports) // count), 1)
    return [supports[k : k + size] for k in range(0, len(supports), size)]


def show_matrix(console: Console, supports: list[Support]) -> None:
    """Print features x backends, with the reasons against what a backend does not support below each table."""
    for title, own in matrices(supports):
        console.print(Text(printable(f"{title}:")))
        available = [one for one in own if one.problem is None]
        numbers = numbered(available)
        if available:
            console.print(_matrix(available, numbers))
        for note in footnotes(own, numbers):
            for line in _wrapped(note, console.width, 0):
                console.print(Text(printable(line)), soft_wrap=True)


def numbered(supports: Sequence[Support]) -> dict[str, int]:
    """Number the reasons of some backends."""
    reasons = dict.fromkeys(reason for one in supports for reason in one.reasons.values() if reason is not None)
    return {reason: k + 1 for k, reason in enumerate(reasons)}


def footnotes(supports: Sequence[Support], numbers: dict[str, int]) -> list[str]:
    """Give the reasons by number with who gives them, and what is not available."""
    lines = []
    for reason, number in numbers.items():
        who = [one.backend.name for one in supports if reason in one.reasons.values()]
        lines.append(f"[{number}] {reason} ({', '.join(who)})")
    return lines + [
        f"{one.backend.name} is not available: {one.problem}" for one in supports if one.problem is not None
    ]


def _matrix(available: Sequence[Support], numbers: dict[str, int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("feature", no_wrap=True)
    for one in available:
        name = Text(printable(one.backend.name.replace("_", "_\n")))
        table.add_column(name, overflow="fold", justify="right", min_width=6)
    for feature in available[0].reasons:
        cells = [one.reasons[feature] for one in available]
        table.add_row(
            feature, *("yes" if reason is None else Text(f"no [{numbers[reason]}]", "dim") for reason in cells)
        )
    return table


def as_markdown(supports: Sequence[Support]) -> str:
    """Give the page of the docs: for each framework features x backends, and the reasons."""
    origin = "This page is written by `lockstep backends --markdown`, where all of them are installed."
    what = "What each backend can do, and why not the rest: a table for each framework."
    blocks = ["# Backends", f"{what}\n{origin}"]
    for model, name in MODELS.items():
        for framework, own in by_framework(one for one in supports if one.backend.model == model).items():
            blocks.append(f"## {framework_line(framework, own)}: {name}s")
            blocks.append("\n".join(f"- `{one.backend.name}`: {_marked(one.backend.summary)}" for one in own))
            available = [one for one in own if one.problem is None]
            blocks += [block for part in _parts(available) for block in _markdown_table(part)]
            blocks += [f"`{one.backend.name}` is not available: {one.problem}" for one in own if one.problem]
    return "\n\n".join(blocks) + "\n"


def _marked(text: str) -> str:
    """Turn a docstring's code into that of Markdown."""
    return text.replace("``", "`")


def _markdown_table(available: Sequence[Support]) -> list[str]:
    numbers = numbered(available)
    lines = ["| | " + " | ".join(one.backend.name for one in available) + " |", "| --- |" + " --- |" * len(available)]
    for feature in available[0].reasons:
        cells = [one.reasons[feature] for one in available]
        marks = ("yes" if reason is None else f"no [{numbers[reason]}]" for reason in cells)
        lines.append(f"| {feature} | {' | '.join(marks)} |")
    notes = "\n".join(f"- {note}" for note in footnotes(available, numbers))
    return ["\n".join(lines), *([notes] if notes else [])]


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    first = " " * indent
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=first + "  ", break_on_hyphens=False)

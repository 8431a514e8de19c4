"""What ``lockstep backends`` shows: by framework which backends there are, what each can do, and why not the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockstep.harness.adapters.backend import MODELS
from lockstep.harness.jobs.support import Support
from lockstep.harness.output.columns import bare_table
from lockstep.harness.output.console import plain, say, wrapped
from lockstep.harness.text import grouped

MOST_COLUMNS = 6  # backends of a matrix that fit beside each other


def by_framework(supports: Iterable[Support]) -> dict[str, list[Support]]:
    """Part backends by their frameworks."""
    return dict(sorted(grouped(supports, lambda support: support.backend.framework).items()))


def show_backends(console: Console, supports: list[Support]) -> None:
    """Print by framework what each backend is, what importing it costs, what it supports and what not, and why."""
    for framework, of_framework in by_framework(supports).items():
        say(console, framework_line(framework, of_framework), "bold")
        for support in of_framework:
            for line in support_lines(support, console.width):
                say(console, line)


def framework_line(framework: str, supports: Sequence[Support]) -> str:
    """Which version of a framework there is."""
    version = next((support.versions[framework] for support in supports if framework in support.versions), None)
    if not any(support.backend.requires for support in supports):
        return framework  # a package of somebody's, whose backends require nothing
    return f"{framework} {version or 'not available'}"


def support_lines(support: Support, width: int) -> list[str]:
    """What one backend is and costs, what it supports and what not, and why."""
    backend = support.backend
    lines = wrapped(f"{backend.name}: {backend.summary}", width, 2)
    if support.problem:
        return [*lines, *wrapped(f"not available: {support.problem}", width, 4)]
    on = ", ".join(f"{name} {version}" for name, version in support.versions.items())
    known = (f"stores weights as {backend.dialect}", f"on {on}" if on else "", cost_text(support))
    lines += wrapped("; ".join(filter(None, known)), width, 4)
    refused = refusals(support)
    # Some features have commas in their names.
    supported = [feature for feature, reason in support.reasons.items() if reason is None]
    all_of_them = f"supports all {len(supported)} features of {MODELS[backend.model]}s"
    lines += wrapped(f"supports {'; '.join(supported)}" if refused else all_of_them, width, 4)
    for reason, features in refused.items():
        lines += wrapped(f"not {'; '.join(features)}: {reason}", width, 4)
    return lines


def cost_text(support: Support) -> str:
    """What importing took, as far as it was measured."""
    time = f"imported in {support.seconds:.2g} s" if support.seconds is not None else ""
    memory = f"{max(support.megabytes, 0):.0f} MB" if support.megabytes is not None else ""
    return ", ".join(filter(None, (time, memory)))


def refusals(support: Support) -> dict[str, list[str]]:
    """By reason what a backend does not support."""
    refused = {feature: reason for feature, reason in support.reasons.items() if reason is not None}
    return grouped(refused, refused.__getitem__)


def as_json(supports: Sequence[Support]) -> list[dict[str, Any]]:
    """What is known of each backend as plain values."""
    return [
        {
            "name": support.backend.name,
            "framework": support.backend.framework,
            "module": support.backend.module,
            "summary": support.backend.summary,
            "model": support.backend.model,
            "dialect": support.backend.dialect,
            "requires": list(support.backend.requires),
            "install": support.backend.install,
            "versions": support.versions,
            "import": {"seconds": support.seconds, "megabytes": support.megabytes},
            "supports": [feature for feature, reason in support.reasons.items() if reason is None],
            "unsupported": {feature: reason for feature, reason in support.reasons.items() if reason is not None},
            "problem": support.problem,
        }
        for support in supports
    ]


def matrices(supports: Sequence[Support]) -> list[tuple[str, list[Support]]]:
    """Part backends into tables with a title each: one for a model if all fit, else one for each framework."""
    matrices_found = []
    for model, name in MODELS.items():
        of_model = [support for support in supports if support.backend.model == model]
        available = [support for support in of_model if support.problem is None]
        if len(available) <= MOST_COLUMNS:
            matrices_found.append((f"{name}s", of_model))
            continue
        for framework, ones in by_framework(of_model).items():
            title = f"{name}s, {framework_line(framework, ones)}"
            matrices_found += [(title, part) for part in _parts(ones)]
    return [(title, of_model) for title, of_model in matrices_found if of_model]


def _parts(supports: list[Support]) -> list[list[Support]]:
    """Cut a framework's backends into tables of about one width."""
    count = max(-(-len(supports) // MOST_COLUMNS), 1)
    size = max(-(-len(supports) // count), 1)
    return [supports[k : k + size] for k in range(0, len(supports), size)]


def show_matrix(console: Console, supports: list[Support]) -> None:
    """Print features x backends, with the reasons against what a backend does not support below each table."""
    for title, of_model in matrices(supports):
        console.print(plain(f"{title}:"))
        available = [support for support in of_model if support.problem is None]
        numbers = numbered(available)
        if available:
            console.print(_matrix(available, numbers))
        for note in footnotes(of_model, numbers):
            for line in wrapped(note, console.width):
                say(console, line)


def numbered(supports: Sequence[Support]) -> dict[str, int]:
    """Number the reasons of some backends."""
    reasons = dict.fromkeys(reason for support in supports for reason in support.reasons.values() if reason is not None)
    return {reason: k + 1 for k, reason in enumerate(reasons)}


def footnotes(supports: Sequence[Support], numbers: dict[str, int]) -> list[str]:
    """The reasons by number with who gives them, and what is not available."""
    lines = []
    for reason, number in numbers.items():
        who = [support.backend.name for support in supports if reason in support.reasons.values()]
        lines.append(f"[{number}] {reason} ({', '.join(who)})")
    return lines + [
        f"{support.backend.name} is not available: {support.problem}"
        for support in supports
        if support.problem is not None
    ]


def _matrix(available: Sequence[Support], numbers: dict[str, int]) -> Table:
    table = bare_table()
    table.add_column("feature", no_wrap=True)
    for support in available:
        # Broken after each underscore: whole names would make the table wider than a terminal.
        name = plain(support.backend.name.replace("_", "_\n"))
        table.add_column(name, overflow="fold", justify="right", min_width=6)
    for feature in available[0].reasons:
        cells = [support.reasons[feature] for support in available]
        table.add_row(
            feature, *("yes" if reason is None else Text(f"no [{numbers[reason]}]", "dim") for reason in cells)
        )
    return table


def as_markdown(supports: Sequence[Support]) -> str:
    """The page of the docs: for each framework features x backends, and the reasons."""
    origin = "This page is written by `lockstep backends --markdown`, where all of them are installed."
    what = "What each backend can do, and why not the rest: a table for each framework."
    blocks = ["# Backends", f"{what}\n{origin}"]
    for model, name in MODELS.items():
        for framework, of_framework in by_framework(
            support for support in supports if support.backend.model == model
        ).items():
            blocks.append(f"## {framework_line(framework, of_framework)}: {name}s")
            blocks.append(
                "\n".join(
                    f"- `{support.backend.name}`: {support.backend.summary.replace('``', '`')}"
                    for support in of_framework
                )
            )
            available = [support for support in of_framework if support.problem is None]
            blocks += [block for part in _parts(available) for block in _markdown_table(part)]
            blocks += [
                f"`{support.backend.name}` is not available: {support.problem}"
                for support in of_framework
                if support.problem
            ]
    return "\n\n".join(blocks) + "\n"


def _markdown_table(available: Sequence[Support]) -> list[str]:
    numbers = numbered(available)
    lines = [
        "| | " + " | ".join(support.backend.name for support in available) + " |",
        "| --- |" + " --- |" * len(available),
    ]
    for feature in available[0].reasons:
        cells = [support.reasons[feature] for support in available]
        marks = ("yes" if reason is None else f"no [{numbers[reason]}]" for reason in cells)
        lines.append(f"| {feature} | {' | '.join(marks)} |")
    notes = "\n".join(f"- {note}" for note in footnotes(available, numbers))
    return ["\n".join(lines), *([notes] if notes else [])]

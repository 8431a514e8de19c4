"""What ``lockstep backends`` shows: by framework which backends there are, what each can do, and why not the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from lockstep.harness.adapters.backend import MODELS
from lockstep.harness.jobs.support import Support
from lockstep.harness.output.columns import Column, fitting, parted, table_of
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
    asked = "" if backend.main else "run if it is named, or with --all"
    known = (asked, f"stores weights as {backend.dialect}", f"on {on}" if on else "", cost_text(support))
    lines += wrapped("; ".join(filter(None, known)), width, 4)
    count, model = len(support.supported), MODELS[backend.model]
    # Some features have commas in their names.
    supported = "; ".join(support.supported) if support.refused else f"all {count} features of {model}s"
    lines += wrapped(f"supports {supported}", width, 4)
    for reason, features in grouped(support.refused, support.refused.__getitem__).items():
        lines += wrapped(f"not {'; '.join(features)}: {reason}", width, 4)
    return lines


def cost_text(support: Support) -> str:
    """What importing took, as far as it was measured."""
    time = f"imported in {support.seconds:.2g} s" if support.seconds is not None else ""
    memory = f"{max(support.megabytes, 0):.0f} MB" if support.megabytes is not None else ""
    return ", ".join(filter(None, (time, memory)))


_FIELDS = ("name", "framework", "module", "summary", "model", "main", "dialect", "requires", "install")


def as_json(supports: Sequence[Support]) -> list[dict[str, Any]]:
    """What is known of each backend as plain values."""
    return [
        {
            **{field: getattr(support.backend, field) for field in _FIELDS},
            "versions": support.versions,
            "import": {"seconds": support.seconds, "megabytes": support.megabytes},
            "supports": support.supported,
            "unsupported": support.refused,
            "problem": support.problem,
        }
        for support in supports
    ]


def matrices(supports: Sequence[Support]) -> list[tuple[str, list[Support]]]:
    """Part backends into tables with a title each: one for a model if all fit, else one for each framework."""
    tables = []
    for model, name in MODELS.items():
        of_model = [support for support in supports if support.backend.model == model]
        if sum(support.problem is None for support in of_model) <= MOST_COLUMNS:
            tables.append((f"{name}s", of_model))
            continue
        for framework, of_framework in by_framework(of_model).items():
            title = f"{name}s, {framework_line(framework, of_framework)}"
            tables += [(title, part) for part in _parts(of_framework)]
    return [(title, part) for title, part in tables if part]


def _parts(supports: list[Support]) -> list[list[Support]]:
    """Cut a framework's backends into tables of about one width."""
    return parted(supports, -(-len(supports) // MOST_COLUMNS))


def show_matrix(console: Console, supports: list[Support]) -> None:
    """Print features x backends, with the reasons against what a backend does not support below each table."""
    for title, of_table in matrices(supports):
        console.print(plain(f"{title}:"))
        names, rows, notes = _marked(of_table)
        columns = [
            Column(name, tuple(Text(marks[k], "" if marks[k] == "yes" else "dim") for marks in rows.values()))
            for k, name in enumerate(names)
        ]
        room = console.width - max(map(len, ("feature", *rows)))
        for part in fitting(columns, room) if columns else ():
            console.print(table_of("feature", rows, [columns[k] for k in part], console.width), crop=False)
        for note in [*notes, *_absent(of_table)]:
            for line in wrapped(note, console.width):
                say(console, line)


def _marked(supports: Sequence[Support]) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """The backends that there are, by feature what each says to it, and the reasons against by their numbers."""
    available = [support for support in supports if support.problem is None]
    reasons = list(dict.fromkeys(reason for support in available for reason in support.refused.values()))
    rows = {
        feature: [
            f"no [{reasons.index(support.refused[feature]) + 1}]" if feature in support.refused else "yes"
            for support in available
        ]
        for feature in (available[0].reasons if available else ())
    }
    notes = []
    for k, reason in enumerate(reasons):
        who = [support.backend.name for support in available if reason in support.reasons.values()]
        notes.append(f"[{k + 1}] {reason} ({', '.join(who)})")
    return [support.backend.name for support in available], rows, notes


def _absent(supports: Iterable[Support], form: str = "{}") -> list[str]:
    absent = [support for support in supports if support.problem is not None]
    return [f"{form.format(support.backend.name)} is not available: {support.problem}" for support in absent]


def as_markdown(supports: Sequence[Support]) -> str:
    """The page of the docs: for each framework features x backends, and the reasons."""
    origin = "This page is written by `lockstep backends --markdown`, where all of them are installed."
    what = "What each backend can do, and why not the rest: a table for each framework."
    blocks = ["# Backends", f"{what}\n{origin}"]
    for model, name in MODELS.items():
        of_model = [support for support in supports if support.backend.model == model]
        for framework, of_framework in by_framework(of_model).items():
            blocks.append(f"## {framework_line(framework, of_framework)}: {name}s")
            summaries = [(support.backend.name, support.backend.summary) for support in of_framework]
            blocks.append("\n".join(f"- `{backend}`: {text.replace('``', '`')}" for backend, text in summaries))
            available = [support for support in of_framework if support.problem is None]
            blocks += [block for part in _parts(available) for block in _markdown_table(part)]
            blocks += _absent(of_framework, "`{}`")
    return "\n\n".join(blocks) + "\n"


def _markdown_table(available: Sequence[Support]) -> list[str]:
    names, rows, notes = _marked(available)
    lines = [f"| | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    lines += [f"| {feature} | {' | '.join(marks)} |" for feature, marks in rows.items()]
    return ["\n".join(lines), *(["\n".join(f"- {note}" for note in notes)] if notes else [])]

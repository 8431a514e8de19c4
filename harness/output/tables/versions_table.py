"""Two recordings compared, framework by framework: a line, a table, and the text of each divergence."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from lockstep.harness.jobs.versions import Pair, Pairs, largest
from lockstep.harness.output.columns import bare_table
from lockstep.harness.output.console import plain, say
from lockstep.harness.output.messages import headline, place_text, text_of, worst_text
from lockstep.harness.text import counted, grouped, names_text, number

MOST_RUN_NAMES = 6  # of what only one recording has


def show_pairs(console: Console, compared: Pairs, *, quiet: bool = False) -> None:
    """Print for each framework how two versions compare, a table of its backends, and each divergence in full.

    ``quiet``: print only what diverges.
    """
    for pairs in grouped(compared.pairs, framework_of).values():
        if not quiet:
            say(console, versions_line(pairs))
            console.print(_table(pairs))
        for pair in pairs:
            if pair.verdict == "diverge":
                say(console, divergence_text(pair))
            elif pair.verdict == "wrong alike" and not quiet:
                say(console, alike_text(pair))
    if quiet:
        return
    for which, names in zip(("first", "second"), compared.alone, strict=True):
        if names:
            say(console, f"Only the {which} recording has {names_text(names, MOST_RUN_NAMES)}.")


def framework_of(pair: Pair) -> str:
    """The framework's name: what a backend requires first."""
    return next(iter(pair.versions[0]))


def versions_line(pairs: Sequence[Pair]) -> str:
    """How far two versions are apart, in one line: "onnxruntime 1.31.1 against 1.17.3: agree to 1.1 sigma ..."."""
    framework = framework_of(pairs[0])
    news, olds = (dict(item for pair in pairs for item in pair.versions[side].items()) for side in (0, 1))
    others = [
        _against(name, news[name], olds[name])
        for name in news
        if name != framework and name in olds and news[name] != olds[name]
    ]
    line = _against(framework, news[framework], olds.get(framework, "unknown"))
    beside = f" ({', '.join(others)})" if others else ""
    by = grouped(pairs, lambda pair: pair.verdict)
    parts = []
    if "diverge" in by:
        parts.append(f"{len(by['diverge'])} of {counted(len(pairs), 'run')} differ by more than rounding")
    if "agree" in by:
        parts.append(f"{'the others ' if parts else ''}{_agreement(by['agree'])}")
    if "wrong alike" in by:
        parts.append(f"in {len(by['wrong alike'])} of {counted(len(pairs), 'run')} both are wrong in the same way")
    return f"{line}: {'; '.join(parts)}{beside}."


def alike_text(pair: Pair) -> str:
    """Where both versions diverge from the reference in the same way, in one line."""
    assert pair.reference is not None
    judged, _ = pair.reference  # both are wrong in the same way: one tells it
    first = judged.first_divergence
    assert first is not None
    finding = f" (known: {judged.known})" if judged.known else ""
    apart, off = largest(pair.difference, "abs"), largest(judged, "abs")
    return (
        f'{pair.backend}, case "{pair.case}": both diverge from the reference in '
        f"{first.tensor} at timestep {first.timestep}{finding}, by up to {off:.2g}; "
        f"they differ from each other by at most {apart:.2g}."
    )


def divergence_text(pair: Pair) -> str:
    """Where two versions begin to differ, which of them diverges from the reference, and why."""
    run, framework = pair.difference, framework_of(pair)
    new, old = (f"{framework} {versions.get(framework, 'unknown')}" for versions in pair.versions)
    if new == old:
        new, old = f"{new} (the first)", f"{old} (the second)"
    first = run.first_divergence
    assert first is not None
    tensor = run.tensors[first.tensor]
    back = ", in the backward pass" if first.backward else ""
    when = f"timestep {first.timestep} of {run.timesteps}{back}"
    lines = [f'{pair.backend}, case "{pair.case}": {new} and {old} differ from {when} on.']
    if tensor.first_divergence is not None:
        place = place_text(first.tensor, tensor.first_divergence, f"with {new}", f"with {old}")
        lines.append(f"  First: {place}, limit {run.limit}.")
    lines.append(f"  Worst: {worst_text(run, f'with {new}', f'with {old}')}.")
    for version, judged in zip((new, old), pair.reference or (), strict=False):
        text = headline(judged) if judged.status == "agree" or judged.known else text_of(judged)
        known = f" Known: lockstep findings {judged.known}" if judged.known else ""
        lines.append(f"  {version}: " + text.replace("\n", "\n  ") + known)
    return "\n".join(lines)


def _agreement(pairs: Sequence[Pair]) -> str:
    if all(pair.same_bits for pair in pairs):
        return "agree bit for bit"
    sigma, ulp = max(pair.sigma for pair in pairs), max(pair.ulp for pair in pairs)
    return f"agree to {number(sigma)} sigma, at most {number(ulp)} ulp"


def _against(name: str, new: str, old: str) -> str:
    return f"{name} {new} against {old}" if new != old else f"{name} {new} against itself"


def _table(pairs: Sequence[Pair]) -> Table:
    table = bare_table()
    table.add_column("backend", no_wrap=True)
    for column in ("cases", "same bits", "sigma", "ulp"):
        table.add_column(column, justify="right")
    table.add_column("largest in", overflow="fold")
    for backend, of_backend in grouped(pairs, lambda pair: pair.backend).items():
        # Numbers that are wrong on both sides are far from each other in the noise of the right ones.
        judged = [pair for pair in of_backend if pair.verdict != "wrong alike"] or of_backend
        worst = max(judged, key=lambda pair: pair.sigma)
        cells = (str(len(of_backend)), str(sum(pair.same_bits for pair in of_backend)), number(worst.sigma))
        largest = "" if worst.same_bits else worst.case
        style = "bold red" if any(pair.verdict == "diverge" for pair in of_backend) else ""
        table.add_row(plain(backend, style), *cells, number(max(pair.ulp for pair in judged)), plain(largest))
    return table

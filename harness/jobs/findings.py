"""Known findings: where an implementation differs from its own specification, fails or dies, and what is known of it.

Each is a TOML file beside a script of a few lines that shows it without Lockstep, in the folder ``findings`` of a
package of the entry point group ``lockstep.cases``. A run that comes out as a finding says is marked as known; it stays
what it is, a divergence or a failure, and is expected. A test runs each finding's smallest case and script, and notices
when a new version mends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case, Run, Values
from lockstep.harness.cases.find import installed
from lockstep.harness.cases.streaming import piece_cases
from lockstep.harness.errors import LockstepError, unknown

FINDING_KINDS = {
    "bug": "a bug: it contradicts its own specification",
    "documented": "a documented difference: its specification says so",
    "open": "left open: its specification does not say",
}
# Values that a condition on lengths may have.
LENGTH_CONDITIONS = {
    "some": lambda case: case.run.lengths is not None,
    "none": lambda case: case.run.lengths is None,
    "ragged": lambda case: case.run.lengths is not None and min(case.run.lengths) < case.run.timesteps,
    "with 0": lambda case: 0 in (case.run.lengths or ()),
}

Scalar = str | bool | int | float


class SmallestCase(Struct, frozen=True, forbid_unknown_fields=True):
    """The tables of a case file that shows the finding."""

    lstm: LSTM
    run: Run
    attention_decoder: AttentionDecoder | None = None


class Finding(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One finding."""

    title: str
    backends: Annotated[tuple[str, ...], Meta(min_length=1)]
    framework: str  # the distribution whose versions count
    seen: Annotated[tuple[str, ...], Meta(min_length=1)]  # versions in which it was seen
    status: Literal["diverge", "failed", "crashed", "timeout"]
    kind: Literal["bug", "documented", "open"]
    what: str  # what the implementation does, and how far it is off
    specification: str  # what its own specification says, with the place
    case: SmallestCase | None = None  # none where no case can ask for it, such as NaN in the inputs
    # Where tests of implementations' edges show it, by their names: NaN, infinities, no timestep, no sequence ...
    edges: tuple[str, ...] = ()
    # Settings of [lstm] and [run]: of one of these tables, where there are any, all must hold.
    where: tuple[dict[str, Scalar | tuple[Scalar, ...]], ...] = ()
    upstream: str = ""  # where it is reported, or asked
    name: str = ""
    script: str = ""  # the file that shows it

    def smallest(self) -> Case | None:
        """The smallest case, if a case can show it."""
        case = self.case
        if case is None:
            return None
        return Case(name=self.name, lstm=case.lstm, run=case.run, attention_decoder=case.attention_decoder)

    def applies(self, backend: str, case: Case) -> bool:
        """Whether a backend's run of a case is expected to show it."""
        if backend not in self.backends or self.case is None:  # what no case can ask for no run can show
            return False
        return not self.where or any(
            all(not _values(key, case).isdisjoint(_options(allowed)) for key, allowed in table.items())
            for table in self.where
        )

    def shows_at(self, backend: str, edge: str) -> bool:
        """Whether a backend is expected to show it at an edge."""
        return backend in self.backends and edge in self.edges


SATURATING = 3.0  # weights or inputs that are scaled so shut and open gates
OVERFLOWING = 1e20  # and these are beyond what an exponential's range reduction can hold in float32


def _scale(values: Values | str) -> float:
    return values.scale if isinstance(values, Values) else 1.0


def _largest_scale(case: Case) -> float:
    return max(map(_scale, (case.run.weights, case.run.inputs)))


# What is not a setting itself.
DERIVED = {
    "model": lambda case: case.model,
    "single": lambda case: case.lstm.single,
    "projection": lambda case: bool(case.lstm.proj_size),
    "clip": lambda case: case.lstm.cell_clip is not None,
    "saturating": lambda case: _largest_scale(case) >= SATURATING,
    "huge": lambda case: _largest_scale(case) >= OVERFLOWING,
}
SETTINGS = {*LSTM.__struct_fields__, *Run.__struct_fields__, *DERIVED}


def _options(allowed: Scalar | tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    return allowed if isinstance(allowed, tuple) else (allowed,)


def _values(key: str, case: Case) -> set[Any]:
    """What a case has under a key: one value of a setting, all that is true of lengths."""
    if key == "lengths":
        # In pieces, of each piece: a sequence that is over has a length of 0 in those that follow.
        return {name for piece in piece_cases(case) for name, holds in LENGTH_CONDITIONS.items() if holds(piece)}
    if key in DERIVED:
        return {DERIVED[key](case)}
    return {getattr(case.lstm if key in LSTM.__struct_fields__ else case.run, key)}


def expected_of(backend: str, case: Case, status: str | None = None) -> Finding | None:
    """The finding that a run is expected to show, or that it does show where it came out as ``status``."""
    if status in {"agree", "unsupported"}:  # no finding comes out so, and reading them all takes its time
        return None
    return next(
        (known for known in findings() if status in {None, known.status} and known.applies(backend, case)), None
    )


@cache
def findings() -> tuple[Finding, ...]:
    """All findings, by name."""
    return tuple(map(load_finding, installed("findings/*.toml").values()))


def load_finding(path: Path) -> Finding:
    """Read one finding.

    Raises:
        LockstepError: If the file is no finding, names a setting that there is not, or has no script beside it.
    """
    try:
        finding = msgspec.toml.decode(path.read_bytes(), type=Finding)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise LockstepError(f"{path}: not a finding: {error}.") from error
    for key, value in [item for table in finding.where for item in table.items()]:
        if key == "lengths":
            for option in _options(value):
                if option not in LENGTH_CONDITIONS:
                    raise LockstepError(
                        f"{path}, [where] lengths: {unknown('condition', str(option), LENGTH_CONDITIONS)}"
                    )
        elif key not in SETTINGS:
            raise LockstepError(f"{path}, [where]: {unknown('setting', key, sorted(SETTINGS))}")
    script = path.with_suffix(".py")
    if not script.is_file():
        raise LockstepError(f"{path}: no script {script.name} beside it that shows the finding without Lockstep.")
    named = msgspec.structs.replace(finding, name=path.stem, script=str(script))
    smallest = named.smallest()
    for backend in named.backends:
        if smallest is not None and not named.applies(backend, smallest):
            raise LockstepError(f"{path}: its own smallest case does not meet its conditions [where].")
    return named


def chosen(names: Sequence[str]) -> list[Finding]:
    """The findings of these names, or all."""
    there = {finding.name: finding for finding in findings()}
    for name in names:
        if name not in there:
            raise LockstepError(unknown("finding", name, there))
    return [there[name] for name in names] if names else list(there.values())


def finding_text(finding: Finding) -> str:
    """All that is known of a finding, as a text."""
    lines = [
        f"{finding.name}: {finding.title}",
        f"  Backends: {', '.join(finding.backends)}; seen in {_seen(finding)}.",
        f"  {finding.what}",
        f"  Specification: {finding.specification}",
        f"  That is {FINDING_KINDS[finding.kind]}.",
        f"  Comes out as: {finding.status}{_where_text(finding)}.",
        f"  Shown by: python {finding.script}",
    ]
    if finding.upstream:
        lines.append(f"  Upstream: {finding.upstream}")
    return "\n".join(lines)


def _where_text(finding: Finding) -> str:
    edges = f"{', and' if finding.case else ','} at these edges: {'; '.join(finding.edges)}" if finding.edges else ""
    if finding.case is None:
        return edges or ", with inputs that no case has"
    if not finding.where:
        return f", in every case{edges}"
    tables = [" and ".join(_condition(key, value) for key, value in table.items()) for table in finding.where]
    return f", where {'; or '.join(tables)}{edges}"


def _condition(key: str, value: Scalar | tuple[Scalar, ...]) -> str:
    values = " or ".join(str(o).lower() if isinstance(o, bool) else str(o) for o in _options(value))
    return f"lengths are {values}" if key == "lengths" else f"{key} = {values}"


def _seen(finding: Finding) -> str:
    return f"{finding.framework} {', '.join(finding.seen)}"


def _case_text(finding: Finding) -> str:
    """The smallest case as a case file of its own: the last tables of a finding's file."""
    _, _, tables = Path(finding.script).with_suffix(".toml").read_text(encoding="utf-8").partition("[case.")
    return f"[case.{tables}".replace("[case.", "[").strip()


_PAGE = """\
# Findings

Where an implementation differs from its own specification, fails or dies. Each is an expected failure of
`lockstep run`, or of the tests that run every implementation at its edges (`tests/edges.py`). It has a
script that shows it without Lockstep, and a test that notices when it is mended.
This page is written by `lockstep findings --markdown`.

| Finding | Backends | Seen in | Kind |
| --- | --- | --- | --- |
"""


def as_markdown(shown: Sequence[Finding]) -> str:
    """The page of all findings."""
    rows = [
        f"| [{finding.title}](#{finding.name}) | {', '.join(finding.backends)} | {_seen(finding)} | {finding.kind} |\n"
        for finding in shown
    ]
    return "".join([_PAGE, *rows, *map(_section, shown)])


def _section(finding: Finding) -> str:
    upstream = f"\n**Upstream.** {finding.upstream}\n" if finding.upstream else ""
    case = f"\nThe smallest case:\n\n```toml\n{_case_text(finding)}\n```\n" if finding.case else ""
    return f"""
<a id="{finding.name}"></a>

## {finding.title}

{finding.what}

**Specification.** {finding.specification} So this is {FINDING_KINDS[finding.kind]}.

**Where.** {", ".join(finding.backends)}; {_seen(finding)}; comes out as `{finding.status}`{_where_text(finding)}.
{upstream}{case}
Without Lockstep:

```python
{Path(finding.script).read_text(encoding="utf-8").strip()}
```
"""

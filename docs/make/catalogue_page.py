"""The page of the catalogue: every fault that Lockstep names, from the code that plants and recognises it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.fault import FAMILIES, Fault

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import shipped
from lockstep.harness.diagnosis.adequacy import adequacy, detected
from lockstep.harness.faults.deviation import Deviation
from lockstep.harness.faults.table import named
from lockstep.harness.faults.value_edits import DECODER_VALUES
from lockstep.harness.faults.words import message
from lockstep.harness.reference.curves import CURVES

INTRODUCTION = """# Catalogue of faults

Every deviation that Lockstep names. A diagnosis bears such a name, in brackets; several at once are joined by `+`. Each
is proved: the reference, run with that fault, reproduces the numbers that were observed. Names are stable.

Not all is in the catalogue: `lockstep anatomy` measures what a port does otherwise (a constant, a curve, an order), and
checks see what no equation describes (randomness, memory between calls, weights made anew at each step).

What goes wrong in networks, gradients and attention decoders is told as an *edit* at a *site* in a *scope*, and bears a
name made of them: `b:zero@1r` is "the bias is zero, in layer 1 of the reverse direction". The tables have each edit
once, with an example; it is looked for at every site of its table. Without a scope it holds in every lane and at every
timestep. Scopes are lanes (`@0`, `@1r`, `@layer-1`, `@forward`, `@reverse`, `@upper`, `@below-the-top`, `@encoder`) and
timesteps (`@first`, `@later`: all but the first, `@last`, `@earlier`: all but the last), or both: `@1@first`.

**Not seen by** names the shipped cases of that kind whose numbers a fault does not change beyond the limit; `lockstep
adequacy CASE` computes it for any case.
"""


def catalogue_page(*, seen: bool = True) -> str:
    """The page.

    Args:
        seen: Whether to compute which shipped cases do not see a fault.
    """
    cases = [load_case(path) for path in shipped().values()]
    parts = [INTRODUCTION, "\n## One plain layer\n"]
    faults = catalogue().values()
    blind = _blind([case for case in cases if case.plain]) if seen else {}
    for name, family in FAMILIES.items():
        of_family = [fault for fault in faults if fault.family == name]
        if of_family:
            parts.append(f"\n### {family.title}\n\n{_sentence(family.fix)} Met: {family.met}\n")
            parts.append(_table(of_family, blind, family.fix))
    for title, model in (("Networks and gradients", "lstm"), ("Attention decoders", "attention_decoder")):
        parts.append(f"\n## {title}\n")
        parts += _deviations([case for case in cases if case.name in TOLD and case.model == model])
    return "\n".join(parts)


# Shipped cases that together have every site and edit there is.
TOLD = {
    "bidirectional-layers-lengths", "cell-clip", "coupled", "layers", "layers-projection", "peepholes",
    "attention-encoder", "attention-window",
}  # fmt: skip


def _deviations(cases: Sequence[Case]) -> list[str]:
    """A section for all sites of the same edits: each edit with its first sentence."""
    by_site: dict[str, dict[str, Deviation]] = {}
    for case in cases:
        for deviation in named(problem_of(case)).values():
            by_site.setdefault(site_of(deviation), {}).setdefault(edit_of(deviation), deviation)
    sites: dict[tuple[str, ...], list[str]] = {}
    for site, edits in by_site.items():
        sites.setdefault(tuple(edits), []).append(site)
    sections = []
    for edits, alike in sites.items():
        sections.append(f"\n### {', '.join(f'`{site}`' for site in alike)}\n\n| Edit | For example |\n| --- | --- |")
        first = by_site[alike[0]]
        sections += [f"| `{edit}` | `{first[edit].name}`<br>{_cell(message(first[edit]))} |" for edit in edits]
    return sections


_KINDS: tuple[tuple[str, str], ...] = (
    (r"^(read|returned) as [ifgo]+$", r"\1 as ORDER"),
    (r"^block [ifgo] for [ifgo]$", "block GATE for GATE"),
    (rf"^((of )?)({'|'.join(map(re.escape, CURVES))})(?=$| of it$|, )", r"\1CURVE"),
    (r"^(times|clip) .*[\dBTHSE].*$", r"\1 NUMBER"),
    (
        rf"^((plus |minus |times |saved as )?(previous |next )?)({'|'.join(map(re.escape, DECODER_VALUES))})$",
        r"\1VALUE",
    ),
)


def site_of(deviation: Deviation) -> str:
    """A deviation's site, that between any two layers being one."""
    return re.sub(r"^between \d+", "between LAYERS", deviation.site)


def edit_of(deviation: Deviation) -> str:
    """A deviation's edit, with what it may be made of in capitals."""
    if deviation.edit in {"zero", "one"} and not deviation.site.startswith("curve"):
        return deviation.edit
    for pattern, kind in _KINDS:
        edit, found = re.subn(pattern, kind, deviation.edit)
        if found:
            return edit
    return deviation.edit


def _blind(cases: Sequence[Case]) -> dict[str, list[str]]:
    """The cases that do not see a fault, by its name."""
    measured = adequacy(cases, two_biases=True)
    return {
        name: [case for case, sigma in zip(measured.cases, row, strict=True) if not detected(sigma, measured.limit)]
        for name, row in measured.sigma.items()
    }


def _table(faults: Iterable[Fault], blind: dict[str, list[str]], family_fix: str) -> str:
    """A table of faults, each with its fix where that is not the family's."""
    columns: dict[str, list[str]] = {"Fault": [], "Fix": [], "Not seen by": []}
    for fault in faults:
        columns["Fault"].append(f"`{fault.name}`<br>{_cell(fault.message)}")
        columns["Fix"].append(_cell("" if fault.fix == family_fix else fault.fix))
        columns["Not seen by"].append(", ".join(blind.get(fault.name, [])))
    kept = {head: cells for head, cells in columns.items() if any(cells)}
    lines = ["| " + " | ".join(kept) + " |", "|" + " --- |" * len(kept)]
    lines += ["| " + " | ".join(row) + " |" for row in zip(*kept.values(), strict=True)]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _cell(text: str) -> str:
    """Text that stands for itself in a cell: parts between backticks are code already."""
    parts = text.strip().replace("|", "\\|").split("`")
    return "`".join(re.sub(r"([_*<])", r"\\\1", part) if k % 2 == 0 else part for k, part in enumerate(parts))

"""The page of the catalogue: every fault that Lockstep names, from the code that plants and recognises it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.find import shipped
from lockstep.harness.diagnosis.adequacy import Adequacy, adequacy, detected, network_adequacy
from lockstep.harness.faults.catalogue import catalogue
from lockstep.harness.faults.decoder_faults import decoder_faults
from lockstep.harness.faults.fault import FAMILIES
from lockstep.harness.faults.network_faults import variations

INTRODUCTION = """# Catalogue of faults

Every deviation that Lockstep names. A diagnosis bears such a name, in brackets; several at once are joined by `+`. Each
is proved: the reference, run with that fault, reproduces the numbers that were observed. Names are stable.

Not all is in the catalogue: `lockstep anatomy` measures what a port does otherwise (a constant, a curve, an order), and
checks see what no equation describes (randomness, memory between calls, weights made anew at each step).

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
    plain = _blind(adequacy, [case for case in cases if case.plain], seen=seen, two_biases=True)
    for name, family in FAMILIES.items():
        own = [one for one in faults if one.family == name]
        if own:
            parts.append(f"\n### {family.title}\n\n{_sentence(family.fix)} Met: {family.met}\n")
            parts.append(_table(own, plain, family.fix))
    networks = [case for case in cases if not case.plain and case.model == "lstm"]
    decoders = [case for case in cases if case.model == "attention_decoder"]
    for title, known, own in (
        ("Networks and gradients", variations(), networks),
        ("Attention decoders", decoder_faults(), decoders),
    ):
        parts += [f"\n## {title}\n", _table(list(known), _blind(network_adequacy, own, seen=seen), None)]
    return "\n".join(parts)


def _blind(of: Any, cases: Sequence[Case], *, seen: bool, **options: Any) -> dict[str, list[str]] | None:
    """The cases that do not see a fault, by its name."""
    if not seen:
        return None
    found: Adequacy = of(cases, **options)
    return {
        name: [case for case, sigma in zip(found.cases, row, strict=True) if not detected(sigma, found.limit)]
        for name, row in found.sigma.items()
    }


def _table(faults: Iterable[Any], blind: dict[str, list[str]] | None, fix: str | None) -> str:
    """A table of faults; one whose family has a fix tells its own only where it has one."""
    columns: dict[str, list[str]] = {"Fault": [], "Fix, and where it was met": [], "Not seen by": []}
    for one in faults:
        met = "" if fix is not None or not one.met else f" Met: {one.met}"
        columns["Fault"].append(f"`{one.name}`<br>{_cell(one.message)}")
        columns["Fix, and where it was met"].append(_cell(f"{'' if one.fix == fix else one.fix}{met}"))
        columns["Not seen by"].append(", ".join((blind or {}).get(one.name, [])))
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

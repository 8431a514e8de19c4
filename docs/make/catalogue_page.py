"""The page of the catalogue: every fault that Lockstep names, from the table that a search for causes goes through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import shipped
from lockstep.harness.faults.deviation import Deviation
from lockstep.harness.faults.table import named
from lockstep.harness.faults.value_edits import DECODER_VALUES
from lockstep.harness.faults.wording.families import FAMILIES, Family, family_of
from lockstep.harness.faults.wording.words import Words
from lockstep.harness.reference.curves import CURVES

INTRODUCTION = """# Catalogue of faults

Every deviation that Lockstep names, in one table for all forms: plain layers, networks, gradients, attention decoders.
A fault is an *edit* at a *site* in a *scope*, and its name is made of them: `b:zero@1r` is "the bias is 0, in layer 1
of the reverse direction". Results have the three parts as `site`, `edit` and `scope`, too. Spaces are hyphens in names.

- A **site** is a value, or one use of it: `tanh.c` is the c of which tanh is taken, `c.carry` the c that is carried.
- An **edit** is what is done there instead. In capitals is what it may be made of: `read as ORDER` for each order.
- A **scope** is where it holds; without one everywhere. Lanes: `@0` (layer 0), `@1r` (layer 1, reverse), `@layer-1`,
  `@forward`, `@reverse`, `@upper`, `@below-the-top`, `@encoder`. Timesteps: `@first`, `@later` (all but the first),
  `@last`, `@earlier` (all but the last), `@at-3`, `@from-3`, `@every-3`. Sequences: `@from-sequence-1`. Or several:
  `@1@first`.

Several faults at once are joined by `+`. A diagnosis is proved: the reference, run with that fault, reproduces every
number that was observed. `lockstep adequacy CASE` computes which faults the numbers of a case show.

Weights of one framework that are taken for another's are `layout:tf1-read-as-torch`, for any two layouts.

Not all is in the catalogue. A constant, gain or bound that is none of these (`b.f:plus-0.3`) is found from the numbers;
`lockstep anatomy` measures what a port does otherwise (a curve, an order); and checks see what no equation describes
(randomness, memory between calls, weights made anew at each step).

<form id="catalogue-filter" hidden>
<label>Words <input name="word" type="search" placeholder="forget bias, c.carry, zero ..."></label>
<label>Family <select name="family"><option value="">all</option></select></label>
<output name="shown"></output>
</form>
"""

FILTER = '\n<script src="assets/catalogue.js"></script>\n'  # last: it reads what stands above it

# Shipped cases that together have every site and edit there is, by the form that a reader knows them by.
FORMS = {
    "": ("probe", "lengths", "float64"),
    "networks": (
        "bidirectional-layers-lengths",
        "cell-clip",
        "coupled",
        "gradients",
        "layers-projection",
        "peepholes",
        "chunks-layers",
        "resets-gradients",
    ),
    "decoders": ("attention-encoder", "attention-window", "attention-additive-lengths"),
}
Edits = dict[str, Deviation]  # an example of each edit


@cache
def catalogue_page() -> str:
    """The page."""
    by_family: dict[str, dict[str, Edits]] = {name: {} for name in FAMILIES}
    forms: dict[str, str] = {}
    for form, deviation in _deviations():
        site = site_of(deviation)
        forms.setdefault(site, form)
        by_family[family_of(deviation)].setdefault(site, {}).setdefault(edit_of(deviation), deviation)
    sections = [_section(FAMILIES[name], sites, forms) for name, sites in by_family.items() if sites]
    return "\n".join([INTRODUCTION, *sections, FILTER])


def _deviations() -> Iterator[tuple[str, Deviation]]:
    """Those of all lanes, with their form; where an edit holds at every timestep too, that comes first."""
    paths = {case.name: case for case in map(load_case, shipped().values())}
    for form, cases in FORMS.items():
        for case in cases:
            for deviation in named(problem_of(paths[case])).values():
                if not deviation.scope.name:
                    yield form, deviation


def _section(family: Family, by_site: dict[str, Edits], forms: dict[str, str]) -> str:
    """A family: its fix, and a table for all sites that have the same edits."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for site, edits in by_site.items():
        alike.setdefault(tuple(edits), []).append(site)
    met = f" Seen in: {family.met}" if family.met else ""
    parts = [f"## {family.title}\n\n{family.fix}{met}"]
    for edits, sites in alike.items():
        examples = by_site[sites[0]]
        parts.append("\n".join(_site(site, by_site[site], forms[site]) for site in sites))
        rows = (f"| `{edit}` | `{examples[edit].name}`<br>{_cell(_WORDS.message(examples[edit]))} |" for edit in edits)
        parts.append("\n".join(["| Edit | For example |", "| --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


_WORDS = Words()


def _site(site: str, edits: Edits, form: str) -> str:
    """A site of a list: its name, in words, and the form that has it where not all have."""
    deviation = next(iter(edits.values()))
    phrase = _WORDS.phrase(deviation.site).rstrip(",")
    words = "" if phrase == deviation.site else f": {_cell(phrase)}"
    return f"- `{site}`{words}{f' ({form} only)' if form else ''}"


_VALUE = "|".join(map(re.escape, DECODER_VALUES))
_KINDS: tuple[tuple[str, str], ...] = (
    (r"^(read|returned|saved) as [ifgo]{3,4}$", r"\1 as ORDER"),
    (r"^block [ifgo] for [ifgo]$", "block GATE for GATE"),
    (r"^block [ifgo] for ([ifgo] and [ifgo]|all)$", "block GATE for GATES"),
    (rf"^((of )?)({'|'.join(map(re.escape, CURVES))})(?=$| of it$|, )", r"\1CURVE"),
    (r"^(times|clip) .*[\dBTHSE].*$", r"\1 NUMBER"),
    (r"^\d+ (late|early), ", r"NUMBER \1, "),
    (
        rf"^((plus |minus |times |saved as |taken at )?(previous |next )?)({_VALUE})$",
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
        edit, replaced = re.subn(pattern, kind, deviation.edit)
        if replaced:
            return edit
    return deviation.edit


def _cell(text: str) -> str:
    """Text that stands for itself in a cell: parts between backticks are code already."""
    parts = text.strip().replace("|", "\\|").split("`")
    return "`".join(re.sub(r"([_*<\[])", r"\\\1", part) if k % 2 == 0 else part for k, part in enumerate(parts))

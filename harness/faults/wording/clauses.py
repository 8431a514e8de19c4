"""Clauses: what becomes of a site, in words that need no layout."""

from __future__ import annotations

import re

from lockstep.harness.cases.gates import GATES
from lockstep.harness.faults.wording.families import is_number
from lockstep.harness.faults.wording.phrases import (
    BEFORE,
    DIVIDED,
    NEXT,
    OF_ALL_STATES,
    OF_LANES,
    OF_LENGTHS,
    OF_SEQUENCES,
    OF_SLOPES,
    OF_VALUES,
    OF_WEIGHTS,
    OPERANDS,
    PHRASES,
    SHIFTED,
)
from lockstep.harness.reference.curves import CURVES

NO_WORDS = "is changed: "  # what an edit is told by that has no words; no edit of the tables is
_OF_MANY = {
    "is": "are", "has": "have", "counts": "count", "reaches": "reach", "keeps": "keep", "goes": "go", "comes": "come",
}  # fmt: skip


def agreeing(clause: str, *, many: bool) -> str:
    """A clause with the verb and the pronouns of its subject."""
    if not many:
        return clause.replace("{its}", "its")
    verb, _, remainder = clause.partition(" ")
    remainder = remainder.replace("that of ", "those of ").replace("the initial one ", "the initial ones ")
    return f"{_OF_MANY[verb]} {remainder}".replace("{its}", "their")


def clause_of(site: str, edit: str) -> str:
    """What becomes of a site: the words of its kind, or of what any value may become."""
    for table in _tables_of(site):
        if edit in table:
            return table[edit]
    return _calculated(edit) or _other_value(site, edit) or f"{NO_WORDS}{edit}"


def _tables_of(site: str) -> tuple[dict[str, str], ...]:
    """The clauses of a kind of site, those of its own first."""
    if site.startswith("lengths"):
        return (OF_LENGTHS,)
    if site.endswith("weights of lanes"):
        return (OF_LANES,)
    if site.endswith(" between pieces") or site in {
        "all h0 and c0",
        "all h0",
        "all c0",
        "finals",
        "finals of h",
        "finals of c",
    }:
        return OF_ALL_STATES, OF_SEQUENCES, OF_VALUES
    if (
        site in {"enc", "output of the network"}
        or site.endswith(".seq")
        or site.startswith(("all ", "between ", "h.seq and", "order of"))
    ):
        return OF_SEQUENCES, OF_VALUES
    if site.startswith("curve of ") or site == "every curve":
        return ()
    group = site.partition(".")[0]
    of_weights = (
        set(group) <= set("WRb")
        or group in {"p", "P", "[W R]"}
        or (group.startswith(("W", "b_", "v_a")) and site == group)
    )
    return (OF_WEIGHTS, OF_VALUES) if of_weights else (OF_VALUES,)


def _calculated(edit: str) -> str:  # noqa: PLR0911 (one for each kind of edit)
    """What becomes of a value by a number, a format or a curve."""
    verb, _, operand = edit.partition(" ")
    if verb == "times" and is_number(operand):
        return DIVIDED.get(operand) or f"is multiplied by {operand}"
    if edit.startswith(("at most ", "at least ")):
        return f"is clipped on one side: it is {edit}"
    if verb == "clip":
        return f"is clipped to ±{operand.lstrip('-')}"
    if verb == "in":
        return f"is rounded to {operand}"
    if edit.startswith("added to "):
        return f"is added to the gates {edit[9:]}, where i, f, o is their order"
    if edit == "linear":
        return "is left out"
    if edit in CURVES:
        return f"is {CURVES[edit].words}"
    if edit.endswith(" of it"):
        return f"goes through one more activation, {CURVES[edit[:-6]].words}"
    if edit.endswith(" of the old kept"):
        return f"keeps {verb} of the old value at every step"
    return ""


def _other_value(site: str, edit: str) -> str:
    """Another value in a value's place, or combined with it; or its own of another place in time."""
    shift = re.fullmatch(r"(\d+) (late|early), (.*)", edit)
    if shift:
        by = int(shift[1])
        return f"is shifted: {by} step{'s' * (by > 1)} too {shift[2]}, {SHIFTED[shift[2], shift[3]]}"
    if edit.endswith(" of that place"):
        partner = PARTNERS.get(site, site)
        return f"is replaced by {operand_of(partner)}"
    verb, _, operand = edit.partition(" ")
    if verb == "1":
        return f"is replaced by 1 - {operand_of(operand.removeprefix('- '))}"
    if verb == "previous":
        return f"is replaced by {_before(operand)}"
    if verb == "times" and operand in PHRASES:
        return f"is multiplied by {operand_of(operand)}"
    return f"is replaced by {operand_of(edit)}" if edit in PHRASES else ""


PARTNERS = {f"{a}{suffix}": f"{b}{suffix}" for a, b in ("hc", "ch") for suffix in ("_in", ".carry", "0")}


def operand_of(name: str) -> str:
    """A value in words, as the object of a verb."""
    return OPERANDS.get(name) or PHRASES[name].rstrip(",")


def _before(name: str) -> str:
    return BEFORE.get(name, f"{operand_of(name)} of the step before")


# -- the way back ------------------------------------------------------------------------------------------------


def saved(edit: str) -> str:
    """What the way back takes in the place of a value that was used going forward."""
    value = edit.removeprefix("saved as ")
    special = {"saved for each other": "is taken for each other", "previous": "is taken from the step before",
               "next": "is taken from the step after", "1": "is taken as 1"}  # fmt: skip
    return special.get(value) or f"is taken as {_of_step(value)}"


def saved_gates(edit: str) -> str:
    """Gates that the way back takes for others, or from another step."""
    value = edit.removeprefix("saved as ")
    if value in {"previous", "next"}:
        return f"the gates and their slopes are those of the step {'before' if value == 'previous' else 'after'}"
    return f"the gates are read as {', '.join(GATES)}, but were saved as {', '.join(value)}"


def slope_of(edit: str) -> str:
    """What the slope of an activation is taken as, or of."""
    if edit.startswith("saved as "):
        return f"is computed from {_of_step(edit[9:])}, not from the activation's own value"
    if edit.startswith("taken at "):
        return f"is taken at {_of_step(edit[9:])}, not at the activation's own argument"
    return OF_SLOPES.get(edit) or f"{NO_WORDS}{edit}"


def _of_step(value: str) -> str:
    """A value of this step, the one before or the one after."""
    name, _, start = value.partition(", ")
    when, _, name = name.rpartition(" ")
    if when == "previous":
        words = _before(name)
    elif when == "next":
        words = NEXT.get(name, f"{operand_of(name)} of the step after")
    else:
        words = operand_of(name)
    at_first = {"": "", "0 at first": " (0 at the first step)"}.get(start, f" ({start})")
    return f"{words}{at_first}"

# ruff: noqa: E501 (templates of sentences)
"""Deviations in words: a phrase for each site, a template for each edit, a suffix for each scope; and the fix.

Names of arrays and orders of gates are those of the layout in which the weights were handed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lockstep.harness.causes.lane import GATES
from lockstep.harness.faults.deviation import BACK, ON_THE_WAY_BACK, Deviation, Scope
from lockstep.harness.faults.phrases import (
    FAMILIES,
    FIXES,
    GATE,
    OF_ATTENTION,
    OTHERS,
    PHRASES,
    PLAIN,
    PLURAL,
    SENTENCES,
    SLOPES_OF,
    TURNS,
    WHEN,
)
from lockstep.harness.reference.curves import CURVES
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.dialects import DIALECTS

AND = " And: "  # between the sentences of deviations that hold together


def family_of(deviation: Deviation) -> str:  # noqa: C901, PLR0911, PLR0912 (one for each family)
    """The kind of a deviation, a key of ``FAMILIES``."""
    site, edit = deviation.site, deviation.edit
    group = site.partition(".")[0]
    if deviation.way == BACK:
        return "gradient"
    if deviation.form:
        return "precision"
    if "forget bias" in edit:
        return "forget bias"
    if site in {"b_ih", "b_hh"} or group == "b":
        return "bias"
    if group in {"W", "R", "WR", "WRb", "Wb", "Rb", "layout", "[W R]"}:
        return "gate order" if edit.startswith(("read as", "block")) else "kernel"
    if site.endswith("weights of lanes") or site.startswith(
        ("layer", "all ", "between", "joined", "finals", "turn", "up.seq")
    ):
        return "network"
    if site in OF_ATTENTION or group.startswith("W_"):
        return "attention"
    if site.startswith(("curve", "every curve")):
        return "activation"
    if site.startswith(("past the end", "lengths")):
        return "padding"
    if (
        site.startswith("clip")
        or edit.startswith("clip")
        or "peephole" in site
        or "times c" in edit
        or group in {"peep", "term", "p"}
    ):
        return "clip"
    if site in {"h0", "c0", "h0 and c0"}:
        return "initial state"
    if site.startswith(("h_in", "c_in", "h.carry", "c.carry")):
        return "state"
    if ".seq" in site or site == "order of the run":
        return (
            "time"
            if "time" in edit or "revers" in edit or "late" in edit or "early" in edit or "so far" in edit
            else "batch"
        )
    if ".out" in site or site in {"returned", "h_n", "c_n"}:
        return "returned"
    return "scale" if edit.startswith("times ") and edit[6:] not in PHRASES else "cell"


class Words:
    """Sentences in the terms of one layout."""

    def __init__(self, layout: str = "canonical") -> None:
        """Take the layout in which weights were handed over."""
        self.dialect: Dialect = DIALECTS.get(layout, DIALECTS["canonical"])
        self.layout = "" if self.dialect.name == "canonical" else self.dialect.name

    def message(self, deviation: Deviation) -> str:
        """What is done otherwise, as a sentence."""
        site, edit = deviation.site, deviation.edit
        if deviation.way == BACK:
            text = self._backward(site, edit)
        else:
            text = SENTENCES.get((site, edit)) or self._sentence(site, edit)
        sentence = f"{_where(deviation.scope)}{text}".rstrip(",")
        # Names of arrays keep their letters.
        return f"{sentence if _NAME.match(sentence) else sentence[0].upper() + sentence[1:]}."

    def fix(self, deviation: Deviation) -> str:
        """What to do."""
        if deviation.way == BACK:
            site = deviation.site.removeprefix("d ").removesuffix(ON_THE_WAY_BACK)
            return _fix_back(deviation, self.phrase(site))
        return FIXES.get((deviation.site, deviation.edit)) or FAMILIES[family_of(deviation)].fix

    def phrase(self, site: str) -> str:
        """A site in words."""
        if site in PHRASES:
            return PHRASES[site]
        if site.startswith("between "):
            return f"what layer {int(site[8:]) + 1} takes in" if site[8:].isdigit() else "what upper layers take in"
        group = site.partition(" ")[0]
        if site.endswith("weights of lanes"):
            return "the lane's weights" if group == "all" else f"the lane's {self._arrays(group)}"
        if site.endswith(ON_THE_WAY_BACK):
            return f"{self.phrase(site.removesuffix(ON_THE_WAY_BACK)).rstrip(',')}, as the way back reads it"
        if site.startswith("d "):
            return f"{_ARRIVES}{self.phrase(site[2:])}"
        group, _, gate = site.partition(".")
        return f"{GATE[gate]}'s block of {self._arrays(group)}" if gate in GATE else self._arrays(group)

    def _arrays(self, group: str) -> str:
        """The arrays of a group, with their names in the layout."""
        if group[:1] == "d" and set(group[1:]) <= set("WRb"):
            return _listed(f"d{name}" for name in group[1:])
        if not set(group) <= set("WRb"):
            return group
        return _listed(self._array(name) for name in group)

    def _array(self, name: str) -> str:
        names = {"W": self.dialect.input_kernel, "R": self.dialect.recurrent_kernel, "b": self.dialect.bias}[name]
        if not self.layout or not names:
            return name
        return f"{name} ({_listed(f'`{n}`' for n in names) if len(names) < len(GATES) else f'`{names[0]}` ...'})"

    def _sentence(self, site: str, edit: str) -> str:
        if site == "layout":
            return _misread(edit)
        if site in {"turn", "turn in", "turn out"}:
            there, _, back = edit.partition(" and ")
            return f"the reverse direction's inputs are turned round {TURNS[there]}, its outputs {TURNS[back or there]}"
        if site.startswith("equation of "):
            state = site[-1]
            return f"the step computes {state} = {edit}, not {'f c + i g' if state == 'c' else 'o tanh(c)'}"
        order = re.fullmatch(r"read as ([ifgo]{4})(.*)", edit)
        if order and site != "p":
            return self._order(site, order[1]) + order[2]
        if site == "p" and edit.startswith("read as "):
            stored = self.dialect.peephole_gates
            read = ", ".join(edit[8:]["ifo".index(gate)] for gate in stored)
            return f"the peepholes are read as {read}, and stored as {', '.join(stored)}{f' ({self.layout})' if self.layout else ''}"
        verb = self._template(edit)
        if site in PLURAL or (set(site) <= set("WRb") and len(site) > 1):
            verb = re.sub(
                r"^(is|has|enters) ", lambda m: {"is": "are", "has": "have", "enters": "enter"}[m[1]] + " ", verb
            )
        return f"{self.phrase(site)} {verb}"

    def _order(self, site: str, order: str) -> str:
        """Blocks read in another order, as the layout stores them."""
        stored = self.dialect.gates
        read = ", ".join(order[GATES.index(gate)] for gate in stored)
        return f"the blocks of {self._arrays(site)} are read as {read}, and stored as {', '.join(stored)}{f' ({self.layout})' if self.layout else ''}"

    def _template(self, edit: str) -> str:  # noqa: PLR0911 (one for each kind of edit)
        if edit in PLAIN:
            return PLAIN[edit]
        if edit.startswith("read as "):
            return f"is read as stacked {', '.join(edit[8:])}"
        if edit.startswith("times ") and edit[6:] not in PHRASES:
            return f"is multiplied by {edit[6:]}"
        if edit.startswith("block "):
            _, other, _, gate = edit.split()
            return f"has {GATE[other]}'s block in the place of {GATE[gate]}'s"
        if edit.startswith("clip "):
            return f"is clipped to ±{edit[5:]}"
        if edit.startswith("in ") and edit[3:] in {"float16", "bfloat16", "tf32", "float32"}:
            return f"is rounded to {edit[3:]}"
        number = re.fullmatch(r"(plus|minus) ([-+]?[\d.e-]+)(.*)", edit)
        if number:
            return f"has {_signed(number[1], number[2])}{number[3]} added"
        if edit.startswith("zero but for "):
            return f"reaches {GATE[edit[-1]]} only"
        if edit.startswith(("those of", "directions ", "layers ")) and "read" not in edit:
            return f"is taken from another lane: {edit}"
        return self._of_values(edit)

    def _of_values(self, edit: str) -> str:  # noqa: PLR0911 (one for each kind of edit)
        """What becomes of a value: another in its place, or combined with it."""
        if edit in CURVES:
            return f"is {CURVES[edit].words}"
        if edit.endswith(" of it"):
            return f"goes through a further curve, {CURVES[edit[:-6]].words}"
        if edit.endswith(" of the old kept"):
            return f"keeps {edit.partition(' ')[0]} of the old one at every step"
        if edit.endswith(" of that place"):
            return f"{'has' if edit.startswith('plus') else 'is'} {edit.removeprefix('plus ').removesuffix(' of that place')}{' added' if edit.startswith('plus') else ' in its place'}"
        for head, words in (
            ("plus ", "has {} added"),
            ("minus ", "has {} subtracted"),
            ("times ", "is multiplied by {}"),
        ):
            if edit.startswith(head):
                return words.format(PHRASES.get(edit.removeprefix(head), edit.removeprefix(head)).rstrip(","))
        if edit.startswith("previous "):
            return f"is replaced by {PHRASES.get(edit[9:], edit[9:]).rstrip(',')} of the step before"
        if edit in PHRASES:
            return f"is replaced by {PHRASES[edit].rstrip(',')}"
        return self._of_moves(edit)

    def _of_moves(self, edit: str) -> str:
        """What stands elsewhere, or is used in part."""
        if (
            edit.endswith(" only")
            or edit.startswith("all but")
            or "of the columns" in edit
            or edit == "every second column"
        ):
            return f"is used in part: {edit}"
        shift = re.fullmatch(r"(\d+) (late|early), (.*)", edit)
        if shift:
            by, side = int(shift[1]), shift[2]
            filled = {
                "zero there": "with 0 where nothing is left",
                "the end twice": "with its end repeated",
                "rolled": "rolled round",
            }[shift[3]]
            return f"stands {by} step{'s' * (by > 1)} too {side}, {filled}"
        if edit.startswith("output of the "):
            return f"is the {edit}"
        if edit.startswith("1 - "):
            return f"is replaced by 1 - {PHRASES.get(edit[4:], edit[4:]).rstrip(',')}"
        if edit in OTHERS:
            return OTHERS[edit]
        return f"is {edit}" if edit.startswith("the ") else f"is taken otherwise: {edit}"

    # -- the way back ------------------------------------------------------------------------------------------------

    def _backward(self, site: str, edit: str) -> str:
        if edit.endswith((" step", " step only")):
            what = f"the {site} are those" if " " in site else f"the gradient of {site[1:]} is that"
        elif site.endswith(ON_THE_WAY_BACK):
            read = site.removesuffix(ON_THE_WAY_BACK)
            return f"on the way back {SENTENCES.get((read, edit)) or self._sentence(read, edit)}{_RIGHT}"
        elif site.startswith("slope"):
            return f"on the way back {_of_slope(site, edit)}{_RIGHT}"
        elif edit.startswith("saved ") and site != "gates":
            edit, what = _of_saved(edit), PHRASES[site]
            what += " are" if " and " in site else " is"
        elif site == "gates":
            return f"on the way back {_of_gates(edit)}{_RIGHT}"
        elif site.startswith(("d ", "all d")):
            what = PHRASES[site] if site.startswith("all d") else f"{_ARRIVES}{PHRASES.get(site[2:], site[2:])}"
            edit = self._blocks(edit)
        else:
            return self._returned(site, edit)
        return f"on the way back {what} {edit}{_RIGHT}"

    def _returned(self, site: str, edit: str) -> str:
        """What becomes of a gradient after it is computed."""
        what = self.phrase(site)
        verb = self._blocks(edit)
        if _PLURAL_GRADIENTS.search(what) and "'s block" not in what:
            verb = re.sub(r"^(is|has) ", lambda m: {"is": "are", "has": "have"}[m[1]] + " ", verb)
            verb = re.sub(r"\bits\b", "their", verb)
        return f"{what} {verb} when {'they are' if verb.startswith(('are', 'have')) else 'it is'} returned"

    def _blocks(self, edit: str) -> str:
        """As other templates; of blocks of gates."""
        if edit.startswith("returned as "):
            return f"has its blocks stacked {', '.join(edit[12:])}"
        several = re.fullmatch(r"block ([ifgo]) for (all|[ifgo] and [ifgo])", edit)
        if several:
            replaced = (
                "every other's" if several[2] == "all" else _listed(f"{GATE[k]}'s" for k in several[2].split(" and "))
            )
            return f"has {GATE[several[1]]}'s block in the place of {replaced}"
        return self._template(edit)


_ARRIVES = "the gradient that arrives at "
_RIGHT = "; going forward is right"
_OF_Z = "taken at what the curve gave, not at its argument"
_PLURAL_GRADIENTS = re.compile(r" and |^(all )?gradients")


def _of_slope(site: str, edit: str) -> str:
    if site.startswith("slope of "):
        own = re.sub(r"^of (\w[^ ,]+)", r"that of \1", edit).replace("of z for a", _OF_Z)
        return f"{PHRASES[site]} is {'left out' if edit == '1' else own}"
    what = f"the slope of {SLOPES_OF[site[6:]]}"
    if edit.startswith("taken at "):
        return f"{what} is taken where the curve's argument is {_value(edit[9:])}"
    return f"{what} is taken of {_value(edit[9:])}, not of its own value"


def _of_saved(edit: str) -> str:
    if edit == "saved for each other":
        return "taken for each other"
    value, _, rest = edit.removeprefix("saved as ").partition(", ")
    if value in {"previous", "next"}:
        return f"taken from the step {'before' if value == 'previous' else 'after'}"
    return f"taken as {_value(value)}{f', {rest}' if rest else ''}"


def _of_gates(edit: str) -> str:
    order = edit.removeprefix("saved as ")
    if order in {"previous", "next"}:
        return f"the gates and their slopes are those of the step {'before' if order == 'previous' else 'after'}"
    return f"the gates are read as {', '.join(GATES)}, and were saved as {', '.join(order)}"


def _value(edit: str) -> str:
    """A value of a step, the one before or the one after."""
    for head, words in (("previous ", " of the step before"), ("next ", " of the step after")):
        if edit.startswith(head):
            return f"{PHRASES.get(edit.removeprefix(head), edit.removeprefix(head))}{words}"
    return PHRASES.get(edit, edit).rstrip(",")


def _fix_back(deviation: Deviation, what: str) -> str:
    """What to do on the way back."""
    site, edit = deviation.site, deviation.edit
    if site.endswith(ON_THE_WAY_BACK):
        return f"On the way back use {what} as going forward."
    if site.startswith("slope."):
        return "Take the slope of what the curve itself gave at that step: a (1 - a) for a sigmoid, 1 - a² for tanh."
    if site == "gates":
        return "Read the gates in the order in which they were saved, at the step at which they were used."
    if edit.startswith("saved "):
        return f"On the way back take {what} as it was at that step going forward."
    return f"On the way back, leave {what} as the chain rule has it: undo `{edit}`."


def _misread(edit: str) -> str:
    stored, kind, read = re.split(r" (gates read|read) as ", edit)
    dialect = DIALECTS[stored]
    as_stored = f"{', '.join(dialect.gates)}{_run_time(dialect)}"
    if kind == "read":
        other = DIALECTS[read]
        return f"the weights are stored as {stored} stores them ({as_stored}) and read as {read} ({', '.join(other.gates)}{_run_time(other)})"
    order = ", ".join(read[GATES.index(gate)] for gate in dialect.gates)
    return f"the gates are read as {order}, and stored as {', '.join(dialect.gates)} ({stored}); the forget bias of {dialect.forget_bias:g} is added where f is read"


def _run_time(dialect: Dialect) -> str:
    return f"; forget bias {dialect.forget_bias:g} at run time" if dialect.forget_bias else ""


_NAME = re.compile(r"([bxhcyz]|h0|c0|d[a-zA-Z]\w*)\b[^a-z]")


def _listed(words: Iterable[str]) -> str:
    *heads, last = words
    return f"{', '.join(heads)} and {last}" if heads else last


def _signed(verb: str, number: str) -> str:
    value = float(number) * (-1 if verb == "minus" else 1)
    return f"{value:.7g}"


def _where(scope: Scope) -> str:
    parts = []
    if scope.name:
        parts.append(_lane(scope.name))
    if scope.steps:
        kind, _, step = scope.steps.partition(" ")
        parts.append(WHEN[kind].format(step))
    if scope.first_sequence:
        parts.append(f"from sequence {scope.first_sequence} on")
    return f"{', '.join(parts)}, " if parts else ""


def _lane(name: str) -> str:
    if name.rstrip("r").isdigit():
        direction = " of the reverse direction" if name.endswith("r") else ""
        return f"in layer {name.rstrip('r')}{direction} (counted from 0)"
    return {"upper": "in the upper layers", "reverse": "in the reverse direction", "forward": "in the forward direction",
            "encoder": "in the encoder", "below the top": "in every layer but the top one", "top": "in the top layer"}.get(name, f"in {name}")  # fmt: skip

# ruff: noqa: E501 (templates of sentences)
"""Deviations in words: the phrase of a site, the clause of an edit, and where it holds; and what to do about it.

Names of arrays and orders of gates are those of the layout in which the weights were handed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lockstep.harness.cases.gates import GATES
from lockstep.harness.faults.deviation import BACK, ON_THE_WAY_BACK, Deviation, Scope
from lockstep.harness.faults.wording.clauses import (
    PARTNERS,
    agreeing,
    clause_of,
    operand_of,
    saved,
    saved_gates,
    slope_of,
)
from lockstep.harness.faults.wording.families import FAMILIES, family_of, is_number
from lockstep.harness.faults.wording.phrases import (
    FIXES,
    FIXES_BACK,
    FIXES_OF_NUMBERS,
    FIXES_OF_SITES,
    GATE,
    MORE_ACTIVATIONS,
    OF_RETURNED_GRADIENTS,
    OF_SUMS,
    OF_WEIGHTS,
    ONE_CLIP,
    PHRASES,
    PLURAL,
    SENTENCES,
    WHEN,
    WHERE,
)
from lockstep.harness.weights.arranged import of_lane
from lockstep.harness.weights.dialect import Dialect
from lockstep.harness.weights.dialects import DIALECTS

_MERGE = "Merge the directions as the case's merge_mode has it: sum, mul, or ave, which is half of their sum."
AND = " And: "  # between the sentences of deviations that hold together
_SCALED = {"zero": ": do not detach or drop it", "times": ": do not scale it", "clip": ": do not clip it"}


class Words:
    """Sentences in the terms of one layout."""

    def __init__(
        self,
        layout: str = "canonical",
        *,
        bidirectional: bool = False,
        chunks: Sequence[int] = (),
        in_pieces: bool = False,
        single: bool = True,
    ) -> None:
        """Take what words depend on.

        Args:
            layout: In which weights were handed over.
            bidirectional: Whether layers have two directions.
            chunks: The timesteps of the pieces in which sequences arrive, where some do.
            in_pieces: Whether all do.
            single: Whether there is one lane, of which names of arrays are told as they are.
        """
        self.dialect: Dialect = DIALECTS.get(layout, DIALECTS["canonical"])
        self.layout = "" if self.dialect.name == "canonical" else self.dialect.name
        self.bidirectional, self._single = bidirectional, single
        self._suffix = ""  # of the names of arrays in the lane that is told of
        self.in_pieces = in_pieces
        self.second_piece = f"timestep {chunks[0]}" if chunks[1:] else "every piece but the first"

    def message(self, deviation: Deviation) -> str:
        """What is done otherwise, as a sentence."""
        self._look_at(deviation.scope)
        site, edit = deviation.site, deviation.edit
        if deviation.way == BACK:
            text = self._backward(site, edit)
        else:
            if site == "joined" and deviation.scope.lanes == ("decoder",):
                site = "joined of a decoder"
            text = SENTENCES.get((site, edit), "").replace("{piece}", self.second_piece) or self._sentence(site, edit)
        # Each piece of a sequence is called with an initial state.
        in_pieces = ", in every piece" if self.in_pieces and family_of(deviation) == "initial state" else ""
        sentence = f"{self._where(deviation.scope)}{text}".rstrip(",") + in_pieces
        return f"{sentence[0].upper()}{sentence[1:]}."

    def fix(self, deviation: Deviation) -> str:
        """What to do."""
        self._look_at(deviation.scope)
        if deviation.way == BACK:
            return self._fix_back(deviation.site, deviation.edit)
        site = (
            "joined of a decoder"
            if family_of(deviation) == "attention" and deviation.site == "joined"
            else deviation.site
        )
        special = FIXES.get((site, deviation.edit))
        return (
            special
            or self._fix_of_numbers(deviation)
            or _fix_of_values(deviation)
            or (_MERGE if site == "merge" else FAMILIES[family_of(deviation)].fix)
        )

    def phrase(self, site: str) -> str:
        """A site in words."""
        if site in PHRASES:
            return PHRASES[site]
        if site.startswith("between "):
            return f"the sequence that layer {int(site[8:]) + 1} takes in (counted from 0)"
        if site.endswith(ON_THE_WAY_BACK):
            return f"{self.phrase(site.removesuffix(ON_THE_WAY_BACK))}, as the way back reads it,"
        if site.startswith(("d", "gradients of ")):
            return f"the gradient that arrives at {self.phrase(site[2:])}" if site[1] == " " else _gradients(site)
        group, _, gate = site.removesuffix(" weights of lanes").partition(".")
        if group == "all":
            return "all weights"
        return f"{GATE[gate]}'s block of {self._arrays(group)}" if gate in GATE else self._arrays(group)

    def _look_at(self, scope: Scope) -> None:
        """Name arrays as they are called where something holds: in one lane by that, in several without it."""
        match = re.fullmatch(r"(\d+)(r?)", scope.name)
        self._suffix = f"_l{match[1]}{'_reverse' if match[2] and self.bidirectional else ''}" if match else ""

    # -- where it holds ----------------------------------------------------------------------------------------

    def _where(self, scope: Scope) -> str:
        parts = []
        if scope.name:
            parts.append(self._lane(scope.name))
        if scope.steps:
            kind, _, step = scope.steps.partition(" ")
            parts.append(WHEN[kind].format(step))
        if scope.first_sequence:
            parts.append(f"from sequence {scope.first_sequence} on (counted from 0)")
        return f"{', '.join(parts)}, " if parts else ""

    def _lane(self, name: str) -> str:
        if name in WHERE:
            return WHERE[name]
        reverse, both = (
            name.endswith("r"),
            name.startswith("layer "),
        )  # a whole layer is named where it has two directions
        directions = "both directions" if both else "reverse direction" if reverse else "forward direction"
        which = f", {directions}" if both or reverse or self.bidirectional else ""
        return f"in layer {name.removeprefix('layer ').rstrip('r')} (counted from 0){which}"

    # -- going forward -----------------------------------------------------------------------------------------

    def _sentence(self, site: str, edit: str) -> str:
        if site in {"layout", "merge"}:
            return _misread(edit) if site == "layout" else _mismerged(edit)
        if site == "equation of scores":
            return f"the scores are {edit}, not v_a . tanh(W_q h + W_k enc)"
        if site.startswith("equation of "):
            state = site[-1]
            return f"the step computes {state} = {edit}, not {'f c + i g' if state == 'c' else 'o tanh(c)'}"
        if edit.startswith("read as "):
            return f"{self._blocks(site)} are read as {self._orders(site, edit[8:])}"
        if site == "clip" and edit.startswith("at "):
            return f"the new c is clipped to ±{edit[3:].lstrip('-')}, which is not the case's bound"
        if self.dialect.transposed:
            # Whoever takes a kernel (inputs, 4 units) for its transpose by a reshape does this to (4 units, inputs).
            edit = edit.replace("column-major read as row-major", "reshaped, not transposed")
        return self._added(site, edit) or self._told(site, clause_of(site, edit))

    def _blocks(self, site: str) -> str:
        return "the peepholes" if site == "p" else f"the blocks of {self._arrays(site)}"

    def _orders(self, site: str, order: str, stored_as: str = ", and stored as ") -> str:
        """The order of blocks as they are taken, and as the layout stores them."""
        gates, stored = ("ifo", self.dialect.peephole_gates) if site == "p" else (GATES, self.dialect.gates)
        taken = ", ".join(order[gates.index(gate)] for gate in stored)
        return f"{taken}{stored_as}{', '.join(stored)}{f' ({self.layout})' if self.layout else ''}"

    def _told(self, site: str, clause: str) -> str:
        """A site and its clause, of which the verb agrees with it."""
        return f"{self.phrase(site)} {agreeing(clause, many=self._is_plural(site))}"

    def _added(self, site: str, edit: str) -> str:
        """Something that is added to a site, or subtracted; empty where the edit is another."""
        verb, _, operand = edit.partition(" ")
        if verb not in {"plus", "minus"}:
            return ""
        if operand in PHRASES:
            what, many, less = operand_of(operand), operand in PLURAL, verb == "minus"
        elif re.fullmatch(r"[-+]?[\d.e-]+( times (the old )?c)?", operand):
            number, _, state = operand.partition(" ")
            value = float(number) * (-1 if verb == "minus" else 1)
            what = (
                f"the term {abs(value):.7g} {state.removeprefix('times ')}"
                if state
                else f"the constant {abs(value):.7g}"
            )
            many, less = False, value < 0
        elif edit.endswith(" of that place"):
            what, many, less = operand_of(PARTNERS.get(site, site)), False, False
        else:
            return ""
        to = "subtracted from" if less else "added to"
        return f"{what} {'are' if many else 'is'} {to} {self.phrase(site)}"

    def _is_plural(self, site: str) -> bool:
        arrays = site.removesuffix(" weights of lanes")
        return site in PLURAL or arrays == "all" or " and b" in site or (len(arrays) > 1 and set(arrays) <= set("WRb"))

    def _arrays(self, group: str) -> str:
        """The arrays of a group, with their names in the layout."""
        if not set(group) <= set("WRb"):
            return {"P": "the projection P", "p": "the peepholes p"}.get(group, group)
        return _listed(self._array(name) for name in group)

    def _array(self, name: str) -> str:
        names = {"W": self.dialect.input_kernel, "R": self.dialect.recurrent_kernel, "b": self.dialect.bias}[name]
        if not self.layout or not names:
            return name
        if not self._single:
            names = tuple(of_lane(each, self._suffix) for each in names)
        return (
            f"{name} ({_listed(f'`{n}`' for n in names) if len(names) < len(GATES) else f'`{_short(names[0])}` ...'})"
        )

    # -- on the way back ---------------------------------------------------------------------------------------

    def _backward(self, site: str, edit: str) -> str:
        read = site.removesuffix(ON_THE_WAY_BACK)
        if read != site:
            made = {"W": "in dx ", "R": "in the gradient of the h before "}.get(read.partition(".")[0], "")
            sentence = made + (SENTENCES.get((read, edit)) or self._sentence(read, edit))
        elif site == "gates":
            sentence = saved_gates(edit)
        elif site.startswith("slope"):
            sentence = self._told(site, slope_of(edit))
        elif edit.startswith("saved "):
            sentence = self._told(site, saved(edit))
        elif site.startswith("d "):
            sentence = f"{self.phrase(site)} {self._passed_on(site[2:], edit)}"
        elif site.startswith("all d"):
            sentence = self._told(site, clause_of(site, edit))
        elif edit in OF_SUMS:
            sentence = self._returned(site, OF_SUMS[edit])
        elif edit.startswith("returned as "):
            return self._returned(
                site, f"is returned with the gate blocks in the order {self._orders(site[1:], edit[12:], ', not ')}"
            )
        else:
            sentence = self._returned(site, OF_RETURNED_GRADIENTS.get(edit) or clause_of("W", edit))
            return sentence if "returned" in sentence else re.sub(r"\bgradient", "returned gradient", sentence, count=1)
        return f"on the way back {sentence}; going forward is right"

    def _passed_on(self, site: str, edit: str) -> str:
        """What becomes of a gradient on its way."""
        if edit.startswith("returned as "):
            return f"has its gate blocks in the order {self._orders(site, edit[12:], ', not ')}"
        return agreeing(OF_WEIGHTS[edit] if edit.startswith("block ") else clause_of(site, edit), many=False)

    def _returned(self, site: str, clause: str) -> str:
        """A gradient as it is returned, and its clause."""
        subject = _gradients(site)
        return f"{subject} {agreeing(clause, many=subject.startswith(('the gradients', 'all gradients')))}"

    def _fix_back(self, site: str, edit: str) -> str:  # noqa: PLR0911 (one for each kind of site)
        """What to do about the way back, by what is done otherwise."""
        if edit in FIXES_BACK:
            return FIXES_BACK[edit]
        if site.endswith(ON_THE_WAY_BACK):
            return f"On the way back read {self.phrase(site.removesuffix(ON_THE_WAY_BACK))} as going forward."
        if site == "gates":
            return "Read the gates in the order in which they were saved, at the step at which they were used."
        if site.startswith("slope of softmax"):
            return "Go back through the softmax with all its terms: a (d - sum(a d)), a the attention weights."
        if site.startswith("slope"):
            return "Multiply once by the slope of the function that is used going forward, taken at the same step: a (1 - a) of the sigmoid, 1 - a² of tanh, a its value."
        if edit.startswith("saved "):
            return f"Save {self.phrase(site)} at each step going forward, and use that on the way back."
        if site.startswith("d "):
            what = self.phrase(site[2:]).rstrip(",")
            return f"Pass on the gradient that arrives at {what} unchanged{_SCALED.get(edit.partition(' ')[0], '')}."
        if site.startswith("all d"):
            return f"Start the way back from {self.phrase(site)} as it is given, at every timestep."
        if edit.startswith("block "):
            return f"Return each gate's own block of {_gradients(site)}."
        how = {"zero": "as computed", "times": "without that factor", "clip": "without a clip"}.get(
            edit.partition(" ")[0]
        )
        return f"Return {_gradients(site)} {how or 'in the order and the layout of the array it belongs to'}."

    # -- fixes of numbers ----------------------------------------------------------------------------------------

    def _fix_of_numbers(self, deviation: Deviation) -> str:
        """What to do where weights are scaled, shifted or left out: their shape and order are right."""
        verb, _, operand = deviation.edit.partition(" ")
        counted = verb in {"times", "plus", "minus"} and is_number(operand)
        site = deviation.site
        if family_of(deviation) not in {"kernel", "bias"} and not site.startswith(("W_", "b_tilde", "v_a")):
            return ""
        if not (counted or deviation.edit in _COUNTED):
            moved = site.startswith("b") and deviation.edit in OF_WEIGHTS
            return f"Use {self.phrase(site)} in the order in which it is stored." if moved else ""
        return f"Use {self.phrase(deviation.site)} as {'they are' if self._is_plural(deviation.site) else 'it is'} given{': left out nowhere' if deviation.edit in _LEFT_OUT else ''}."


_LEFT_OUT = frozenset({"zero", *(f"zero but for {gate}" for gate in GATES)})
_COUNTED = _LEFT_OUT | {"one", "absolute"}


def _fix_of_values(deviation: Deviation) -> str:
    """What to do by the kind of an edit or of its site, where that says more than the family."""
    site, edit = deviation.site, deviation.edit
    verb, _, operand = edit.partition(" ")
    if edit == "clip at the bound of c":
        return ONE_CLIP
    if edit.endswith(" of it"):
        return MORE_ACTIVATIONS
    if verb in FIXES_OF_NUMBERS and is_number(operand) and family_of(deviation) != "clip":
        return FIXES_OF_NUMBERS[verb]
    if verb == "clip" or edit.startswith(("at most ", "at least ")):
        return "Remove the clip, or set it as the case has it."
    head = site.partition(" that ")[0]
    return "" if deviation.form else FIXES_OF_SITES.get(head) or FIXES_OF_SITES.get(head.partition(".")[0], "")


def _gradients(site: str) -> str:
    """Gradients as they are returned, by name."""
    site, _, gate = site.partition(".")
    if gate:
        return f"{GATE[gate]}'s block of {_gradients(site)}"
    if site in PHRASES:
        return PHRASES[site]
    if site.startswith("gradients of "):
        return f"the {site}"
    names = [f"d{name}" for name in site[1:]] if set(site[1:]) <= set("WRb") else [site]
    return f"the gradient{'s' * (len(names) > 1)} {_listed(names)}"


def _mismerged(edit: str) -> str:
    made, wanted = edit.removesuffix(" between layers").removesuffix(" in what is returned").split(" where ")
    where = "between layers " * edit.endswith(" layers") + "in what is returned " * edit.endswith(" returned")
    return f"{where}the directions are {made} where they are {wanted}"


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


def _short(name: str) -> str:
    """A gate's array by the module that holds it, where its name has the gate before that: input_transform."""
    parts = name.split(".")
    return parts[1] if len(parts) > 2 else name  # noqa: PLR2004 (gate, module, array)


def _listed(words: Iterable[str]) -> str:
    *heads, last = words
    return f"{', '.join(heads)} and {last}" if heads else last

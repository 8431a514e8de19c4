# ruff: noqa: E501 (a table of phrases)
"""Deviations in words: a phrase for each site, a template for each edit, a suffix for each scope; and the fix."""

from __future__ import annotations

from lockstep.harness.causes.deviation import BACK, Deviation, Scope
from lockstep.harness.reference.curves import CURVES

_GATE = {"i": "the input gate", "f": "the forget gate", "g": "the candidate", "o": "the output gate"}
PHRASES: dict[str, str] = {
    "x": "x[t], as the cell takes it in,", "h_in": "the h that a step starts from", "c_in": "the c that a step starts from",
    "Wx": "W x", "Rh": "R h", "z": "z, the pre-activations,", "raw": "the new c before its clip", "c": "the new c",
    "u": "the activation of c", "m": "o tanh(c), before the projection,", "h": "the new h",
    "keep.f": "the forget gate, where it multiplies c[t-1],", "keep.c": "what the forget gate multiplies, c[t-1],",
    "add.i": "the input gate, where it multiplies the candidate,", "add.g": "the candidate, where the input gate multiplies it,",
    "tanh.c": "the c of which tanh is taken", "out.o": "the output gate, where it multiplies tanh(c),",
    "out.u": "tanh(c), where the output gate multiplies it,", "h.carry": "the h that is carried to the next step",
    "c.carry": "the c that is carried to the next step", "h.up": "the h that the layer above takes in",
    "h.out": "the h that is returned", "c.out": "the c that is returned", "h0": "the initial h", "c0": "the initial c",
    "y0": "the first input y0", "h_n": "the final h", "c_n": "the final c", "y_in": "the y that the cell takes in",
    "query": "the query of the attention, h[t],", "W_a.query": "W_a h", "scores": "the scores", "keys": "the keys (enc, in the scores)",
    "values": "the values (enc, in the context)", "softmax.scores": "the scores that the softmax takes in",
    "attention": "the attention weights", "context.attention": "the attention weights, in the context,", "context": "the context",
    "join.context": "the context that W_tilde multiplies", "join.h": "the h that W_tilde multiplies",
    "W_tilde.joined": "W_tilde [context; h]", "bare": "y before its tanh", "y": "y", "target.y": "what W_target multiplies, y,",
    "y.fed": "what is fed back, y,", "logit": "the logits", "turn": "the way the reverse direction is turned round and back",
    "turn in": "the way inputs of the reverse direction are turned round", "turn out": "the way outputs of the reverse direction are turned back",
    "joined": "the order in which parts stand side by side", "finals": "the order in which lanes' final states are returned",
    "all h0 and c0": "the initial states", "all h0": "the initial h", "all c0": "the initial c", "all x": "the input",
    "all dh": "the gradient that arrives at h", "all dc": "the gradient that arrives at the final c",
    "clip": "the clip of c", "coupling of f": "the coupling of the forget gate", "lengths": "lengths", "mask": "the mask of the softmax",
    "softmax": "the softmax", "curve of gates": "the activation of i, f and o", "curve of u": "the activation of c",
    "curve of y": "the activation of y", "curve of g and u": "the activation of the candidate and of c",
}  # fmt: skip
PHRASES |= {
    "h.carry and c.carry": "the state that is carried to the next step", "h0 and c0": "the initial state",
    "h.carry, c.carry and y.fed": "the state and what is fed back",
}  # fmt: skip
PHRASES |= {f"z.{k}": f"the pre-activation of {words}" for k, words in _GATE.items()}
PHRASES |= dict(_GATE)
PHRASES |= {f"curve of {k}": f"the activation of {words}" for k, words in _GATE.items()}
PHRASES |= {f"peep.{k}": f"the c that the peephole of {words} sees" for k, words in _GATE.items()}
PHRASES |= {f"term.{k}": f"the peephole term of {words}" for k, words in _GATE.items()}
STEPS = {"first": "at the first step", "later": "at every step but the first", "last": "at the last step",
         "earlier": "at every step but the last"}  # fmt: skip
_PLAIN = {
    "zero": "is 0", "one": "is 1", "previous": "is that of the step before", "first held": "is that of the first step at every step",
    "initial": "is the initial one at every step", "batch flipped": "is that of another sequence: the batch is reversed",
    "first sequence for all": "is that of the first sequence in all", "units flipped": "has its units in reverse order",
}  # fmt: skip


def message(deviation: Deviation) -> str:
    """What is done otherwise, as a sentence."""
    where = _where(deviation.scope)
    site, edit = deviation.site, deviation.edit
    text = _backward(site, edit) if deviation.way == BACK else f"{phrase(site)} {_template(edit)}"
    sentence = f"{where}{text}".rstrip(",")
    return f"{sentence[0].upper()}{sentence[1:]}."


def fix(deviation: Deviation) -> str:
    """What to do: the sentence turned round."""
    site = deviation.site.removeprefix("d ")
    what = phrase(site).rstrip(",")
    if deviation.way == BACK:
        return f"On the way back, leave {what} as the chain rule has it: undo `{deviation.edit}`."
    return f"Use {what} as the equations have it: undo `{deviation.edit}`."


def phrase(site: str) -> str:
    """A site in words."""
    if site in PHRASES:
        return PHRASES[site]
    if site.startswith("between "):
        return f"what layer {int(site[8:]) + 1} takes in" if site[8:].isdigit() else "what upper layers take in"
    if site.endswith("weights of lanes"):
        group = site.partition(" ")[0]
        return "the lane's weights" if group == "all" else f"the lane's {_arrays(group)}"
    if site.startswith("curve of "):
        return f"the activation of {site[9:]}"
    group, _, gate = site.partition(".")
    name = _arrays(group)
    return f"{_GATE[gate]}'s block of {name}" if gate in _GATE else name


def _arrays(group: str) -> str:
    return " and ".join(filter(None, [", ".join(group[:-1]), group[-1]])) if set(group) <= set("WRb") else group


def _template(edit: str) -> str:  # noqa: C901, PLR0911, PLR0912 (one for each kind of edit)
    if edit in _PLAIN:
        return _PLAIN[edit]
    if edit.startswith("read as "):
        return f"is read as stacked {', '.join(edit[8:])}"
    if edit.startswith("times ") and edit[6:] not in PHRASES:
        return f"is multiplied by {edit[6:]}"
    if edit.startswith("block "):
        _, other, _, gate = edit.split()
        return f"has {_GATE[other]}'s block in the place of {_GATE[gate]}'s"
    if edit.startswith("clip "):
        return f"is held in [-{edit[5:]}, {edit[5:]}]"
    if edit in {"plus +1", "plus 1", "plus -1", "minus 1"}:
        return f"has 1 {'subtracted' if '1' in edit and ('-' in edit or edit.startswith('minus')) else 'added'}"
    if edit.startswith(("those of", "directions ", "layers ")) and "read" not in edit:
        return f"is taken from another lane: {edit}"
    if edit in CURVES:
        return f"is {CURVES[edit].words}"
    if edit.endswith(" of it"):
        return f"goes through a further curve, {CURVES[edit[:-6]].words}"
    for head, words in (("plus ", "has {} added"), ("minus ", "has {} subtracted"), ("times ", "is multiplied by {}")):
        if edit.startswith(head):
            return words.format(PHRASES.get(edit.removeprefix(head), edit.removeprefix(head)).rstrip(","))
    if edit.startswith("previous "):
        return f"is replaced by {PHRASES.get(edit[9:], edit[9:]).rstrip(',')} of the step before"
    if edit in PHRASES:
        return f"is replaced by {PHRASES[edit].rstrip(',')}"
    return f"is otherwise: {edit}"


def _backward(site: str, edit: str) -> str:
    if site.startswith("slope of "):
        what = PHRASES.get(site[9:], site[9:])
        return f"on the way back the slope of {what} is {'left out' if edit == '1' else edit}; going forward is right"
    if edit.startswith("saved as "):
        return f"on the way back {PHRASES[site].rstrip(',')} is taken as {edit[9:]}; going forward is right"
    if site.startswith("d "):
        what = f"the gradient that arrives at {PHRASES.get(site[2:], site[2:]).rstrip(',')}"
        return f"on the way back {what} {_template(edit)}; going forward is right"
    if edit.endswith((" step", " step only")):
        what = f"the {site} are those" if " " in site else f"the gradient of {site[1:]} is that"
        return f"on the way back {what} {edit}; going forward is right"
    if edit.startswith("returned as "):
        return f"{site} is returned with its blocks stacked {', '.join(edit[12:])}"
    return f"{PHRASES.get(site, site)} {'are' if 'gradients' in site else 'is'} returned otherwise: {edit}"


def _where(scope: Scope) -> str:
    parts = []
    if scope.name:
        parts.append(_lane(scope.name))
    if scope.steps:
        parts.append(STEPS[scope.steps])
    return f"{', '.join(parts)}, " if parts else ""


def _lane(name: str) -> str:
    if name.rstrip("r").isdigit():
        direction = " of the reverse direction" if name.endswith("r") else ""
        return f"in layer {name.rstrip('r')}{direction} (counted from 0)"
    return {"upper": "in the upper layers", "reverse": "in the reverse direction", "forward": "in the forward direction",
            "encoder": "in the encoder", "below the top": "in every layer but the top one"}.get(name, f"in {name}")  # fmt: skip

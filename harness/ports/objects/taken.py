"""What was found of an object: which array is what, how it is called, and for which cases that is enough."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from lockstep.harness.cases.case import Case
from lockstep.harness.cases.gates import GATES
from lockstep.harness.ports.objects.calling import X_FORMS
from lockstep.harness.ports.objects.discover import ObjectFound, claimed_order
from lockstep.harness.text import counted
from lockstep.harness.weights.dialects import UNNAMED_TWO_BIASES

_RESULTS = {
    "h_seq": "h of all timesteps", "c_seq": "c of all timesteps", "h": "the final h", "c": "the final c",
}  # fmt: skip
_WORDED = {"torch", "keras", "tf1", "onnx"}  # layouts in whose words mistakes are told


class TakenArray(Struct, frozen=True):
    """One array of an object, and what it is taken for."""

    parameter: str
    shape: tuple[int, ...]
    taken_for: str  # W, of x, rows
    gates: str = ""  # in the order in which they lie in it
    known_by: str = ""  # names, names (torch), measured, assumed, --layout
    behaves_as: str = ""  # the gates as which its blocks act, where that is something else


class Taken(Struct, frozen=True, kw_only=True):
    """An object, as it was taken."""

    name: str
    arrays: list[TakenArray]
    called: str  # how, in words
    notes: list[str] = []
    input_size: int | None = None  # of an object that is already made
    hidden_size: int | None = None
    bias: bool = True
    layout: str = "canonical"  # whose mistakes it may have: as its arrays are named, or with two biases
    states: bool = True  # whether it takes h0 and c0
    lengths: bool = False
    layers: int = 1
    directions: int = 1
    calls: int = 0  # that finding this took
    seconds: float = 0.0

    def fitted(self, case: Case) -> Case:
        """A case with what the object has: its sizes, a bias, states to start from."""
        lstm, run = case.lstm, case.run
        if case.model != "lstm":
            return case
        if self.input_size is not None and self.hidden_size is not None:
            lstm = msgspec.structs.replace(lstm, input_size=self.input_size, hidden_size=self.hidden_size)
        if self.layers * self.directions > 1:
            direction = "bidirectional" if self.directions > 1 else "forward"
            lstm = msgspec.structs.replace(lstm, num_layers=self.layers, direction=direction)
        if not self.bias and lstm.bias:
            lstm = msgspec.structs.replace(lstm, bias=False, forget_bias=0.0)
        if not self.states and run.values("initial_state").kind != "zeros":
            run = msgspec.structs.replace(run, initial_state="zeros")
        if lstm == case.lstm and run == case.run:
            return case
        return msgspec.structs.replace(case, lstm=lstm, run=run, expect=None)


def taken_of(found: ObjectFound, name: str, seconds: float) -> Taken:
    """What was found of an object, to be told."""
    mapping = found.mapping
    arrays = []
    for slot in mapping.slots:
        acts = "".join((found.acts or {}).get(gate, gate) for gate in slot.gates) if slot.role != "b" else slot.gates
        behaves = "" if acts == slot.gates else acts
        arrays.append(TakenArray(slot.path, slot.shape, slot.text, slot.gates, found.known_by, behaves))
    layout = UNNAMED_TWO_BIASES if mapping.biases > 1 else "canonical"
    return Taken(
        name=name, arrays=arrays, called=_called(found), notes=_notes(found),
        input_size=mapping.sizes.input_size if found.fixed else None,
        hidden_size=mapping.sizes.hidden_size if found.fixed else None, bias=mapping.biases > 0,
        layout=mapping.layout if mapping.layout in _WORDED else layout, states=found.takes_states,
        lengths=found.entry.lengths is not None, layers=mapping.layers, directions=mapping.directions,
        calls=found.calls, seconds=seconds,
    )  # fmt: skip


def _called(found: ObjectFound) -> str:
    style = found.style
    given = X_FORMS[style.x].format(axes="(B, T, I)" if style.batch_first else "(T, B, I)")
    if style.states:
        pair = "h" if style.h_alone else "(c, h)" if style.swapped else "(h, c)"
        given += f" and {pair}{', each (1, B, H)' if style.lane_axis else ''}"
    return f"{given}; it returns {', '.join(_RESULTS[result.role] for result in found.results)}"


def _notes(found: ObjectFound) -> list[str]:
    mapping, notes = found.mapping, [*found.remarks]
    roles = {result.role for result in found.results}
    if found.acts:
        claim = f" as {mapping.layout} has them" if mapping.layout else ""
        notes.append(
            f"names claim gates {', '.join(GATES)}{claim}, and its forward uses those blocks as "
            f"{', '.join(found.acts[gate] for gate in GATES)}. It is judged by the names; if its weights do lie in the "
            f'order that it uses, say so in a file, --layout mapping.toml: gates = "{claimed_order(found)}"'
        )
    if mapping.others:
        notes.append(f"no part of the LSTM, and not covered: {', '.join(mapping.others)}")
    if not mapping.biases:
        notes.append("it has no bias: cases are made without one")
    if found.style.h_alone:
        notes.append(
            "it takes an h to start from and no c: cases start from zeros, and what it does with h is not seen"
        )
    elif not found.takes_states:
        notes.append("it takes no initial state: cases start from zeros")
    if found.fixed:
        I, H = mapping.sizes
        notes.append(f"its sizes are fixed, input {I} and hidden {H}: cases take them")
    if mapping.lanes > 1:
        form = f"{counted(mapping.layers, 'layer')}{' in both directions' if mapping.directions > 1 else ''}"
        notes.append(f"it has {form}: cases take them")
    elif "c_seq" not in roles:
        compared = "c is compared after the last timestep alone" if "c" in roles else "c is not compared"
        notes.append(f"{compared}: return c of each timestep too, and a mistake is found at the step where it is made")
    return notes

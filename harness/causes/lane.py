# ruff: noqa: PLR2004 (numbers of axes)
"""One lane on a tape: a step of its cell with an edge at every use of a value, and its way through time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.gates import GATES
from lockstep.harness.cases.tensors import turned
from lockstep.harness.causes.edits import Edits, NoPlaceError
from lockstep.harness.causes.noisy_curves import NoisyCurve, curve_of
from lockstep.harness.causes.stored import Leaf, Stored
from lockstep.harness.causes.tape import Node, NodeTape, both, variance_of


@dataclass
class LaneRun:
    """One direction of one layer, or a decoder's cell, or its encoder."""

    label: str  # "0", "0r", "1" ...: layer and direction; "decoder", "encoder"
    lstm: LSTM
    tape: NodeTape
    stored: Stored
    edits: Edits
    reverse: bool = False
    lengths: Array | None = None
    separate: bool = False  # whether products and bias are rounded one by one, as a decoder's are
    history: defaultdict[str, list[Node]] = field(
        default_factory=lambda: defaultdict(list)
    )  # what went over each edge, by timestep
    initial: dict[str, Node] = field(default_factory=dict)
    errors: dict[tuple[int, str], Node] = field(default_factory=dict)  # what came back to gates, where that is edited
    leaves: dict[tuple[str, tuple[int, ...], tuple[int, ...]], Leaf] = field(
        default_factory=dict
    )  # by name, and which of several readings going forward and back

    def __post_init__(self) -> None:
        # Most lanes are untouched in most runs: asked once, not at every edge of every step.
        self.edited = self.edits.touch(self.label)
        self.changes = {site: entries for (label, site), entries in self.edits.changes.items() if label == self.label}
        names = {"W", "R", "b", "P", "p"}
        self.names = [name for label, name in self.stored.shapes if label == self.label and name in names]
        terms = sum(self.stored.shapes[self.label, name][-1] for name in "WR") + self.lstm.peephole
        self.growth = None if self.separate else self.tape.noise.sum_growth(terms)
        lstm = self.lstm
        self.curves = {k: curve_of(self.rule(f"curve {k}", name)) for k, name in lstm.activations.items()}
        # As in the reference: o u is bounded where both are.
        self.cap = max(4 * self.curves["o"].cap, 1.0) * self.curves["u"].cap
        self.coupled, self.clip = self.rule("coupled", lstm.input_forget), self.rule("clip", lstm.cell_clip)
        # The gates to which the three rows of the peepholes are added.
        self.peeped = str(self.rule("peepholes of", "ifo")) if lstm.peephole else ""

    def rule(self, name: str, default: Any) -> Any:
        """A setting, as it is or as it is edited."""
        return self.edits.rule(self.label, name, default) if self.edited else default

    def at(self, name: str, node: Node) -> Node:
        """What arrives over an edge."""
        if not self.changes:
            return node
        # Edits may put an earlier value in the place of this one.
        self.history[name].append(node)
        for steps, change in self.changes.get(name, ()):
            if steps(self.tape.step):
                node = change(self, node, self.tape.step)
        return node

    def leaf(self, name: str) -> Leaf:
        """A weight, as this timestep reads it."""
        key, step, stored = (self.label, name), self.tape.step, self.stored
        which, reading = self.edits.reading(key, step, stored.size) if self.edited else ((), None)
        if not self.tape.records:
            # Without gradients, and without a reading of its own, one leaf serves every timestep.
            if not which:
                return stored.leaf(key)
            which_back, back = (), None
        else:
            which_back, back = self.edits.reading_back(key, step, stored.size) if self.edited else ((), None)
        if (name, which, which_back) not in self.leaves:
            value = stored.flat[stored.places(key)] if reading is None else reading.of(stored.flat)
            self.leaves[name, which, which_back] = Leaf(
                key, value, reading, None if back is None else back.of(stored.flat)
            )
        return self.leaves[name, which, which_back]

    # -- one step ------------------------------------------------------------------------------------------------

    def step(self, x: Node, h: Node, c: Node) -> dict[str, Node]:
        """Go one step: the gates, c and h by name."""
        at, tape = self.at, self.tape
        x, h, c = at("x", x), at("h_in", h), at("c_in", c)
        z = self._pre_activations(x, h, c)
        by_f = self.rule("coupled by f", False)  # noqa: FBT003 (a rule's default)
        i = None if by_f else at("i", self._gate("i", z[0]))
        f = at("f", self._gate("f", z[1]) if i is None or not self.coupled else tape.complement(i))
        if i is None:
            i = at("i", tape.complement(f))
        g = at("g", self._gate("g", z[2]))
        raw = tape.memory(at("keep.f", f), at("keep.c", c), at("add.i", i), at("add.g", g))
        new = at("raw", raw)
        if self.clip is not None:
            sides = str(self.rule("clip sides", "both"))
            new = tape.hold(new, self.clip, sides, passes=self.rule("slope clip", None) == "1")
        new = at("c", new)
        if "o" in self.peeped:
            term = tape.peephole(at("peep.o", new), self.leaf("p"), self.peeped.index("o"), self.growth)
            z[3] = tape.total([z[3], at("term.o", term)], None, 0)
        o = at("o", self._gate("o", at("z.o", z[3])))
        u = at("u", self._gate("u", at("tanh.c", new)))
        m = at("m", tape.multiply(at("out.o", o), at("out.u", u), self.cap))
        h = at("h", tape.dense(m, self.leaf("P")) if "P" in self.names else m)
        return {"i": i, "f": f, "g": g, "o": o, "c": new, "h": h}

    def _pre_activations(self, x: Node, h: Node, c: Node) -> list[Node]:
        at, tape, b = self.at, self.tape, self.leaf("b")
        terms = [
            at("Wx", tape.dense(x, self.leaf("W"), self.growth)),
            at("Rh", tape.dense(h, self.leaf("R"), self.growth)),
        ]
        if self.lstm.peephole:
            p, peeped = self.leaf("p"), self.peeped
            rows = [
                at(f"term.{gate}", tape.peephole(at(f"peep.{gate}", c), p, peeped.index(gate), self.growth))
                if gate in peeped
                else tape.zeros(c)
                for gate in "ifg"
            ]
            terms.append(tape.join([*rows, tape.zeros(c)]))  # the output gate's comes with the new c
        # A decoder's reference rounds each product and sum; that of a network takes all as one sum.
        z = tape.total([tape.total(terms, None, 0)], b, 0) if self.separate else tape.total(terms, b, self.growth)
        # The output gate's goes on past its edge when the new c, which its peephole sees, is there.
        parts = tape.split(at("z", z), 4)
        return [at(f"z.{gate}", part) for gate, part in zip("ifg", parts[:3], strict=True)] + parts[3:]

    def _gate(self, gate: str, z: Node) -> Node:
        return self.tape.curve(z, self.curve(gate), self.slope(gate), self.slope_edge(gate))

    def slope_edge(self, kind: str) -> Callable[[Node], Node] | None:
        """What a value goes through on its way to the slope of the curve that gave it, where that is edited."""
        site = f"slope.{kind}"
        return partial(self.at, site) if site in self.changes else None

    def curve(self, kind: str) -> NoisyCurve:
        """The activation of a gate, or of c ("u"), at this timestep."""
        curve: Any = self.curves[kind]
        for steps, name in self.edits.curves.get((self.label, f"curve {kind}"), ()) if self.edited else ():
            if steps(self.tape.step):
                curve = name(curve, self.tape.step) if callable(name) else curve_of(name)
        return curve

    def slope(self, gate: str) -> Any:
        """The curve whose slope is taken on the way back, where that is edited; None: the activation's own."""
        rule = self.rule(f"slope {gate}", None)
        return rule(self.curve(gate), self.tape.step) if callable(rule) else rule

    # -- over time -----------------------------------------------------------------------------------------------

    def walk(self, inputs: list[Node], h0: Node, c0: Node, wanted: Callable[[str], bool]) -> dict[str, Node]:
        """Go through all timesteps.

        Args:
            inputs: By timestep, in the order of time.
            h0: Where it starts.
            c0: Likewise.
            wanted: Whether a tensor's kind is asked for.

        Returns:
            In the order of time: those of i, f, g, o, c that are wanted (T, B, H), h (T, B, P), "up" (what the layer
            above takes in), c_n, h_n.
        """
        if self.rule("sequences", ""):
            return self._one_by_one(inputs, h0, c0, wanted)
        tape = self.tape
        self.initial = {"h": h0, "c": c0}
        if self.rule("left out", False):  # noqa: FBT003
            return self._left_out(inputs, h0, c0)
        tape.step = 0
        h, c = self.at("h0", h0), self.at("c0", c0)
        # What was shown of the state last, which stands past a sequence's end.
        last = {"h": self._shown_before("h", h), "c": self._shown_before("c", c)}
        kinds = [kind for kind in (*GATES, "c") if wanted(kind)]
        rows: dict[str, list[Node]] = {kind: [] for kind in [*kinds, "h", "up"]}
        turns = self.rule("turn in", "within") if self.reverse else "not"
        turned_round = self.turned(self._all_steps("x.seq", inputs), turns)
        for t, x in enumerate(self._all_steps("x.turned.seq", turned_round)):
            tape.step = t
            h, c = self._anew(t, "before", {"h": h, "c": c}).values()
            results = self._anew(t, "after, returned too", self.step(x, h, c))
            out = {name: self.at(f"{name}.out", results[name]) for name in "hc"}
            shown = {name: self._shown(t, name, out[name], last[name]) for name in "hc"}
            if self.changes:
                for name in "hc":
                    self.history[f"{name}.shown"].append(shown[name])
            # What the layer above takes in is an edge of its own, beside what is returned and what is carried.
            up = self.at("h.up", results["h"])
            rows["up"].append(shown["h"] if up is out["h"] else self._shown(t, "h", up, last["h"]))
            h, c = self._carried(t, self._anew(t, "after", results), h, c)
            last = self._last(t, out, last)
            for kind in kinds:
                rows[kind].append(shown["c"] if kind == "c" else self._cut(t, results[kind]))
            rows["h"].append(shown["h"])
            if self.watch is not None:
                self.watch(t, shown["h"].value)
        finals = {"c_n": self.at("c_n", c), "h_n": self.at("h_n", h)}
        back = self.rule("turn out", "within") if self.reverse else "not"
        whole = {
            kind: self.at_whole(f"{kind}.seq", tape.stack(self.turned(steps, back))) for kind, steps in rows.items()
        }
        return self._returned(whole) | finals

    def _returned(self, whole: dict[str, Node]) -> dict[str, Node]:
        """Whole sequences as they are returned: cut in the order of time, or exchanged, where that is edited."""
        if self.rule("cut in the end", False) and self.lengths is not None:  # noqa: FBT003
            valid = (np.arange(self.timesteps)[:, None] < self.lengths)[..., None]
            for kind in ("h", "up"):
                mask = valid if whole[kind].value.ndim == 3 else valid[:, None]  # candidates stand behind time
                whole[kind] = self.tape.where(mask, whole[kind], self.tape.zeros(whole[kind]))
        if self.rule("returned", "") == "exchanged":
            # A c that was not asked for, or is wider than a projected h, cannot be returned in its place.
            if "c" not in whole or whole["c"].value.shape != whole["h"].value.shape:
                raise NoPlaceError
            whole["h"], whole["c"] = whole["c"], whole["h"]
        return whole

    def _left_out(self, inputs: list[Node], h0: Node, c0: Node) -> dict[str, Node]:
        """What there is of a lane that is not run: its input as output, its initial state as final one."""
        # Its input passes for its output only where both are of one width.
        if inputs[0].value.shape[-1] != h0.value.shape[-1]:
            raise NoPlaceError
        through = self.tape.stack(inputs)
        return {"h": through, "up": through, "c": self.tape.stack([c0] * len(inputs)), "c_n": c0, "h_n": h0}

    def _one_by_one(
        self, inputs: list[Node], h0: Node, c0: Node, wanted: Callable[[str], bool]
    ) -> dict[str, Node]:  # fmt: skip
        """Run each sequence from the end of the one before it; not gone back through."""
        chained = self.rule("sequences", "")
        rules = {key: value for key, value in self.edits.rules.items() if key != (self.label, "sequences")}
        results: list[dict[str, Node]] = []
        for b in range(h0.value.shape[-2]):

            def row(node: Node, b: int = b) -> Node:
                return Node(*both(node, lambda a: a[..., b : b + 1, :]))

            starts = {"h": row(h0), "c": row(c0)}
            if results:
                starts |= {name: results[-1][f"{name}_n"] for name in chained}
            lengths = None if self.lengths is None else self.lengths[b : b + 1]
            alone = LaneRun(
                self.label, self.lstm, self.tape, self.stored, replace(self.edits, rules=rules), self.reverse, lengths,
                self.separate, problem=self.problem, timesteps=self.timesteps,
                resets=None if self.resets is None else self.resets[:, b : b + 1],
            )  # fmt: skip
            results.append(alone.walk([row(x) for x in inputs], starts["h"], starts["c"], wanted))
        return {
            name: Node(
                np.concatenate([part[name].value for part in results], -2),
                np.concatenate([variance_of(part[name]) for part in results], -2),
            )
            for name in results[0]
        }

    def _all_steps(self, site: str, steps: list[Node]) -> list[Node]:
        """Timesteps, as an edit of the whole sequence leaves them."""
        return self.tape.steps(self.at_whole(site, self.tape.stack(steps))) if site in self.changes else steps

    def at_whole(self, site: str, sequence: Node) -> Node:
        """What arrives over an edge that a whole sequence (T, B, n) goes over."""
        for _, change in self.changes.get(site, ()):
            sequence = change(self, sequence, 0)
        return sequence

    def _anew(self, t: int, when: str, states: dict[str, Node]) -> dict[str, Node]:
        """What a step starts from, or gives: zeros where a sequence starts anew, at the moment when that is done."""
        if self.resets is None or self.rule("resets when", "before") != when:
            return states
        change = self.rule("resets", None)
        anew = (self.resets if change is None else change(self.resets))[t][:, None]
        started = dict(states)
        for name in self.rule("resets of", "hc"):
            node = states[name]
            start = self.initial[name] if self.rule("resets to", "zeros") == "initial" else self.tape.zeros(node)
            started[name] = self.tape.where(anew, start, node)
            if self.rule("gradient across resets", "") == "kept":
                started[name] = self.tape.with_value(node, started[name].value)
        return started

    def _carried(self, t: int, results: dict[str, Node], h: Node, c: Node) -> tuple[Node, Node]:
        """What the next step starts from: past a sequence's end the state of its last valid step."""
        valid = self._valid(t, "hold")
        new = {"h": results["h"], "c": results["c"]}
        if self.observed is not None:
            new = {name: self.tape.exact(self.observed[name][t]) for name in "hc"}
        # What is carried is edited before lengths hold it: past its end a state is touched no more.
        new = {name: self.at(f"{name}.carry", node) for name, node in new.items()}
        if valid is not None:
            runs = self.rule("runs past the end", "")
            old = {"h": h, "c": c}
            new = {k: node if k in runs else self.tape.where(valid, node, old[k]) for k, node in new.items()}
        return new["h"], new["c"]

    def _last(self, t: int, results: dict[str, Node], last: dict[str, Node]) -> dict[str, Node]:
        valid = self._valid(t, "hold")
        if valid is None:
            return last
        return {name: self.tape.where(valid, results[name], last[name]) for name in "hc"}

    def _shown(self, t: int, name: str, node: Node, last: Node) -> Node:
        """What is returned of a state: past a sequence's end h is 0, and c stays as it was."""
        valid = self._valid(t, "cut" if name == "h" else "hold")
        if valid is None:
            return node
        rule = self.rule(f"past the end {name}", "zero" if name == "h" else "kept")
        if rule == "computed":
            return node
        others = {"zero": lambda: self.tape.zeros(node), "kept": lambda: last, "initial": lambda: self.initial[name]}
        other = others[rule]()
        if name == "h" and self.rule("gradient past the end", "") == "kept":
            # The value is what it should be; what comes back past the end goes to the state that is kept.
            passed = self.tape.where(valid, node, last)
            return self.tape.with_value(passed, np.where(valid, node.value, other.value))
        return self.tape.where(valid, node, other)

    def _shown_before(self, name: str, initial: Node) -> Node:
        """What an empty sequence shows of a state: the initial one, or that of what is returned in its place."""
        if self.lengths is None or f"{name}.out" not in self.changes or self.lengths.all():
            return initial
        node, self.tape.step = initial, -1
        for steps, change in self.changes[f"{name}.out"]:
            with suppress(NoPlaceError, LookupError):  # what only a step computes
                node = change(self, node, -1) if steps(-1) else node
        self.tape.step = 0
        return node

    def _cut(self, t: int, node: Node) -> Node:
        """A gate, 0 past a sequence's end."""
        valid = self._valid(t, "cut")
        return node if valid is None else self.tape.where(valid, node, self.tape.zeros(node))

    def _valid(self, t: int, rule: str) -> Array | None:
        """Which sequences run at a timestep, (B, 1), by how lengths hold states or cut outputs."""
        lengths = self._lengths(rule)
        if lengths is None:
            return None
        in_front = self.rule("lengths in front", False)  # noqa: FBT003 (a rule's default)
        return (t >= self.timesteps - lengths if in_front else t < lengths)[:, None]

    def _lengths(self, rule: str) -> Array | None:
        if self.lengths is None or not self.edited:
            return self.lengths
        change = self.edits.rule(self.label, f"lengths {rule}", None)
        return self.lengths if change is None else change(self.lengths, self.timesteps)  # type: ignore[operator]

    problem: Any = None  # whose sizes some edits follow
    ends: dict[str, dict[str, Node]] = field(default_factory=dict)  # what lanes that are through gave, by label
    timesteps: int = 0
    resets: Array | None = None  # (T, B): where sequences start anew
    is_piece: bool = False  # whether its sequences are pieces of longer ones, in one of which time may be too short
    observed: dict[str, Array] | None = None  # h and c (T, B, H): each step then starts from these
    watch: Callable[[int, Array], None] | None = None

    def turned(self, steps: list[Node], rule: object) -> list[Node]:
        """Turn timesteps round: whole, within lengths, or not."""
        if rule == "not":
            return steps
        if rule == "along the batch":
            return [self.tape.moved(step, _flipped, _flipped) for step in steps]
        lengths = self._lengths("turn") if rule == "within" else None
        if lengths is None:
            return steps[::-1]

        def turn(array: Array) -> Array:
            return (
                turned(np.moveaxis(array, -2, 1), lengths).swapaxes(1, -2) if array.ndim > 3 else turned(array, lengths)
            )

        return self.tape.steps(self.tape.moved(self.tape.stack(steps), turn, turn))


def _flipped(array: Array) -> Array:
    return np.flip(array, -2)

"""The slips that can be drawn, by form: places of ``touchable`` times what people do wrong there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import torch
from touchable import CURVES, Edit, Slip

Named = Iterator[tuple[str, str, dict[str, Edit]]]  # the name, the kind, what is done where

GATES = "ifgo"


def blocks(a: Any) -> dict[str, Any]:
    return dict(zip(GATES, a.chunk(4), strict=True))


def by_gate(change: Callable[[Any], Any], gates: str = GATES) -> Edit:
    return lambda a, around: torch.cat([change(part) if g in gates else part for g, part in blocks(a).items()])


def reordered(order: str) -> Edit:
    """What is stored i, f, g, o is read in another order."""

    def read(a: Any, _: Any) -> Any:
        parts = dict(zip(order, a.chunk(4), strict=True))
        return torch.cat([parts[g] for g in GATES])

    return read


def reading(gate: str, source: str) -> Edit:
    return lambda a, around: torch.cat([blocks(a)[source if g == gate else g] for g in GATES])


def always(edit: Callable[[Any], Any]) -> Edit:
    return lambda a, around: edit(a)


def other(name: str) -> Edit:
    """Another value of the same step."""
    return lambda a, around: around[name]


def previous(name: str, start: str | None = None) -> Edit:
    """The value of the step before; before the first, the initial state or zero."""

    def edit(a: Any, around: Any) -> Any:
        if around["last"] is not None:
            return around["last"][name]
        return around[start] if start else torch.zeros_like(a)

    return edit


SIMPLE: dict[str, Callable[[Any], Any]] = {
    "zero": torch.zeros_like, "negated": lambda a: -a, "halved": lambda a: a / 2, "doubled": lambda a: 2 * a,
}  # fmt: skip
FURTHER = {"tanh of it": torch.tanh, "relu of it": torch.relu, "sigmoid of it": torch.sigmoid}
GROUPS = {"W R b": "WRb", "W R": "WR", "W": "W", "R": "R", "b": "b"}


def weights() -> Named:
    """How weights are read."""
    for order in map("".join, permutations(GATES)):
        if order != GATES:
            for words, group in GROUPS.items():
                yield f"{words} read {order}", "gate order", dict.fromkeys(group, reordered(order))
    for gate in GATES:
        for source in GATES.replace(gate, ""):
            yield f"{gate} reads {source}", "gate order", dict.fromkeys("WRb", reading(gate, source))
    for group in ("W", "R", "b"):
        for words, change in SIMPLE.items():
            yield f"{group} {words}", "weights", {group: always(change)}
            for gate in GATES:
                yield f"{group} of {gate} {words}", "weights", {group: by_gate(change, gate)}
        yield f"{group} units flipped", "weights", {group: by_gate(lambda part: part.flip(0))}
        yield f"{group} units rolled", "weights", {group: by_gate(lambda part: part.roll(1, 0))}
        yield f"{group} unit by unit", "weights", {group: always(_unit_major)}
    for gate in GATES:
        yield f"b of {gate} plus one", "weights", {"b": by_gate(lambda part: part + 1, gate)}
        yield f"b of {gate} minus one", "weights", {"b": by_gate(lambda part: part - 1, gate)}
    yield "R transposed", "weights", {"R": by_gate(lambda part: part.T)}
    yield "R flipped in its columns", "weights", {"R": always(lambda a: a.flip(1))}
    yield "W flipped in its columns", "weights", {"W": always(lambda a: a.flip(1))}
    yield "W reshaped", "weights", {"W": by_gate(lambda part: part.T.reshape(part.shape))}


def _unit_major(a: Any) -> Any:
    return a.reshape(-1, 4, *a.shape[1:]).transpose(0, 1).reshape(a.shape)


def curves() -> Named:
    """Other curves."""
    for gate, right in zip("ifgou", ("sigmoid", "sigmoid", "tanh", "sigmoid", "tanh"), strict=True):
        for name in CURVES:
            if name not in {right, "softsign"}:
                yield f"{gate} is {name}", "curves", {f"curve {gate}": _const(name)}
    for name in ("hard_sigmoid_0.2", "hard_sigmoid_1/6", "tanh"):
        yield f"i f o are {name}", "curves", {f"curve {gate}": _const(name) for gate in "ifo"}
    for name in ("relu", "linear", "softsign"):
        yield f"g and u are {name}", "curves", {f"curve {gate}": _const(name) for gate in "gu"}


def _const(value: Any) -> Edit:
    return lambda a, around: value


def operands() -> Named:
    """One use of a value takes another."""
    uses = {
        "keep f": ("i",), "keep c": ("h in",), "add i": ("f",), "add g": ("c in",), "out u": ("c", "g"),
        "tanh of": ("c in",), "c new": (),
    }  # fmt: skip
    yield "keep c is c of two steps before", "operands", {"keep c": previous("c in", "c0")}
    for place, values in uses.items():
        for value in values:
            yield f"{place} is {value}", "operands", {place: other(value)}
        for words, change in SIMPLE.items():
            yield f"{place} {words}", "operands", {place: always(change)}
    yield "out o is i", "operands", {"out o": other("i")}
    yield "out o is f", "operands", {"out o": other("f")}
    yield "f is 1 - i", "operands", {"coupled": _const(value=True)}
    yield "keep f is 1 - f", "operands", {"keep f": always(lambda f: 1 - f)}
    yield "keep f is one", "operands", {"keep f": always(torch.ones_like)}
    yield "out o is one", "operands", {"out o": always(torch.ones_like)}
    yield "add i is one", "operands", {"add i": always(torch.ones_like)}
    yield "i g minus", "operands", {"add g": always(lambda g: -g)}
    for gate in GATES:
        for words, change in (("halved", lambda a: a / 2), ("doubled", lambda a: 2 * a)):
            yield f"z of {gate} {words}", "operands", {f"z {gate}": always(change)}
    for place in ("Wx", "Rh"):
        for words, change in SIMPLE.items():
            yield f"{place} {words}", "operands", {place: always(change)}


def states() -> Named:
    """What is carried from step to step, and what a step starts from."""
    for name in "hc":
        for words, change in (SIMPLE | FURTHER).items():
            yield f"{name} carried {words}", "states", {f"{name} carried": always(change)}
        yield f"{name} reset", "states", {f"{name} carried": lambda a, s, name=name: s[f"{name}0"]}
        yield f"{name} carried clipped", "states", {f"{name} carried": always(lambda a: a.clamp(-0.5, 0.5))}
    yield "h fed ungated", "states", {"h carried": other("u")}
    yield "h carried is c", "states", {"h carried": other("c")}
    yield "Rh not at first", "states", {"Rh": lambda a, s: a * (s["t"] > 0)}
    yield "R sees h of the step before", "states", {"h used": previous("h in", "h0")}
    yield "reset every second", "states", {
        "h carried": lambda a, s: a * (s["t"] % 2 == 0), "c carried": lambda a, s: a * (s["t"] % 2 == 0),
    }  # fmt: skip


def starts() -> Named:
    """What a lane starts from."""
    for name in "hc":
        for words, change in SIMPLE.items():
            yield f"start {name} {words}", "states", {f"start {name}": always(change)}


def _late(a: Any) -> Any:
    return torch.cat([torch.zeros_like(a[:1]), a[:-1]])


ORDERS: dict[str, Callable[[Any], Any]] = {
    "reversed": lambda a: a.flip(0), "late": _late, "first for all": lambda a: a[:1].expand_as(a),
    "early": lambda a: torch.cat([a[1:], torch.zeros_like(a[:1])]), "rolled": lambda a: a.roll(1, 0),
    "batch flipped": lambda a: a.flip(1), "batch rolled": lambda a: a.roll(1, 1),
    "first sequence for all": lambda a: a[:, :1].expand_as(a), "features flipped": lambda a: a.flip(2),
    "features rolled": lambda a: a.roll(1, 2), "halved": lambda a: a / 2, "negated": lambda a: -a,
}  # fmt: skip


def sequences(place: str, words: str) -> Named:
    """The order of timesteps, sequences and features."""
    for what, change in ORDERS.items():
        kind = "batch and features" if "batch" in what or "feature" in what or "sequence" in what else "time"
        yield f"{words} {what}", kind, {place: always(change)}
    yield f"{words} in batch-major order", "batch and features", {place: always(_batch_major)}


def _batch_major(a: Any) -> Any:
    return a.transpose(0, 1).reshape(a.shape)


def lengths() -> Named:
    """Lengths, and what is past them."""
    rules: dict[str, Edit] = {
        "ignored": lambda n, around: torch.full_like(n, around["T"]),
        "one less": lambda n, around: (n - 1).clamp(min=0) if around["given"] else n,
        "one more": lambda n, around: (n + 1).clamp(max=around["T"]),
        "those of the longest": lambda n, around: n.max().expand_as(n),
        "those of the shortest": lambda n, around: n.min().expand_as(n),
        "those of the first": lambda n, around: n[:1].expand_as(n),
        "in reversed order": lambda n, around: n.flip(0),
    }
    for words, rule in rules.items():
        yield f"lengths {words}", "lengths", {"lengths": rule}


def padding() -> Named:
    """What is past a sequence's end in networks and layers."""
    yield "h kept past the end", "lengths", {"h past the end": _const("kept")}
    yield "state runs on past the end", "lengths", {"state past the end": _const("runs")}


def both_states(change: Callable[[Any], Any]) -> dict[str, Edit]:
    return {"h0": always(change), "c0": always(change)}


def initial() -> Named:
    """Initial states as a port takes them."""
    yield "both starts zero", "initial and final", both_states(torch.zeros_like)
    yield "h0 and c0 exchanged", "initial and final", {
        "h0": lambda a, s: s["c0"].clone(), "c0": lambda a, s: s["h0"].clone()
    }  # fmt: skip
    yield "h0 for c0", "initial and final", {"c0": lambda a, s: s["h0"].clone()}
    yield "starts of the first sequence", "initial and final", both_states(lambda a: a[:, :1].expand_as(a))
    yield "starts flipped over the batch", "initial and final", both_states(lambda a: a.flip(1))


def lanes_of_states() -> Named:
    """Initial and final states of several lanes."""
    for words, change in {
        "reversed": lambda a: a.flip(0), "of the first lane": lambda a: a[:1].expand_as(a),
        "rolled": lambda a: a.roll(1, 0), "of the last lane": lambda a: a[-1:].expand_as(a),
    }.items():  # fmt: skip
        yield f"starts {words}", "initial and final", both_states(change)
        yield f"finals {words}", "initial and final", {"h_n": always(change), "c_n": always(change)}
    yield "h_n is c_n", "initial and final", {"h_n": other("c_n")}
    yield "h_n and c_n exchanged", "initial and final", {"h_n": other("c_n"), "c_n": other("h_n")}
    yield "h_n is the start", "initial and final", {"h_n": other("h0")}


def directions() -> Named:
    """The rules of two directions."""
    yield "not turned", "rules", {"turn in": _const("not"), "turn out": _const("not")}
    yield "not turned back", "rules", {"turn out": _const("not")}
    yield "turned whole", "rules", {
        "turn in": lambda rule, around: "whole" if around["reverse"] else rule,
        "turn out": lambda rule, around: "whole" if around["reverse"] else rule,
    }  # fmt: skip
    yield "reverse lane's outputs first", "rules", {"join": lambda outs, around: outs[::-1]}
    yield "reverse with the forward weights", "rules", {"weights of": lambda place, around: (place[0], 0)}
    yield "weights of both exchanged", "rules", {"weights of": lambda place, around: (place[0], 1 - place[1])}
    yield "sum of both directions", "rules", {"join": lambda outs, around: [sum(outs), outs[1]]}


def layers() -> Named:
    """The rules of several layers."""
    for words, change in (FURTHER | {"halved": lambda a: a / 2, "zero": torch.zeros_like}).items():
        yield f"between the layers {words}", "rules", {"up": always(change)}
    for words in ("reversed", "batch flipped", "features flipped", "late", "batch rolled", "features rolled"):
        yield f"between the layers {words}", "rules", {"up": always(ORDERS[words])}


def cell_extras(*, peephole: bool, clip: bool, projection: bool) -> Named:
    """Peepholes, clip, projection."""
    if peephole:
        for order in ([0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]):
            yield f"p read {order}", "cell", {"p": lambda p, around, order=order: p[order]}
        yield "peephole of o sees the old c", "cell", {"peephole o": other("c in")}
        for gate in "ifo":
            yield f"peephole of {gate} left out", "cell", {f"peephole {gate}": always(torch.zeros_like)}
            yield f"peephole of {gate} negated", "cell", {f"peephole {gate}": always(lambda a: -a)}
            yield f"peephole of {gate} sees tanh(c)", "cell", {f"peephole {gate}": always(torch.tanh)}
            if not projection:
                yield f"peephole of {gate} sees h", "cell", {f"peephole {gate}": other("h in")}
    if clip:
        yield "no clip", "cell", {"clip": _const(None)}
        yield "twice the bound", "cell", {"clip": always(lambda bound: 2 * bound)}
        yield "half the bound", "cell", {"clip": always(lambda bound: bound / 2)}
        yield "output of the unclipped", "cell", {"tanh of": other("raw")}
        if peephole:
            yield "peephole of o sees the unclipped", "cell", {"peephole o": other("raw")}
    if projection:
        yield "projection flipped", "cell", {"P": always(lambda P: P.flip(0))}
        yield "projection reshaped", "cell", {"P": always(lambda P: P.T.reshape(P.shape))}
        yield "projection doubled", "cell", {"P": always(lambda P: 2 * P)}
        for words, change in FURTHER.items():
            yield f"projected h {words}", "cell", {"h new": always(change)}
        yield "projection of tanh(m)", "cell", {"m": always(torch.tanh)}
        yield "projection of u", "cell", {"m": other("u")}


def way_back() -> Named:
    """What goes back."""
    for family in (cotangents, saved_operands, slopes, returned_gradients, turned_gradients):
        yield from family()


def cotangents() -> Named:
    """The gradients that arrive at values."""
    for name in ("h carried", "c carried", "h new", "c new"):
        for words, change in SIMPLE.items():
            yield f"gradient of {name} {words}", "cotangents", {f"back {name}": always(change)}
        yield f"gradient of {name} clipped", "cotangents", {f"back {name}": always(lambda a: a.clamp(-0.1, 0.1))}
    for gate in GATES:
        for words, change in SIMPLE.items():
            yield f"gradient of z {gate} {words}", "cotangents", {f"back z {gate}": always(change)}
    yield (
        "gradient of h and c cut",
        "cotangents",
        dict.fromkeys(("back h carried", "back c carried"), always(torch.zeros_like)),
    )
    yield (
        "truncated after one step",
        "cotangents",
        dict.fromkeys(("back h carried", "back c carried"), lambda a, s: a * (s["t"] != s["T"] - 2)),
    )
    yield "dc lost", "cotangents", {"dc": always(torch.zeros_like)}
    yield "dh of the last step alone", "cotangents", {"dh": always(_last_only)}


def saved_operands() -> Named:
    """What products keep for the way back."""
    saved = {
        "keep c": ("c", "h in"), "keep f": ("i", "o"), "add i": ("f", "o"), "add g": ("i",),
        "out u": ("c", "g"), "out o": ("i", "f"), "h used": ("h", "c in"),
    }  # fmt: skip
    for place, values in saved.items():
        for value in values:
            yield f"{place} saved as {value}", "saved", {f"saved {place}": other(value)}
        yield f"{place} saved as it was before", "saved", {
            f"saved {place}": previous({"keep c": "c in", "h used": "h in"}.get(place, place.split()[1]))
        }  # fmt: skip


def slopes() -> Named:
    """The slopes of curves."""
    for gate in "ifgou":
        yield f"slope of {gate} one", "slopes", {f"slope {gate}": always(torch.ones_like)}
        yield f"slope of {gate} at the value", "slopes", {
            f"slope {gate}": lambda slope, s, gate=gate: _slope_at_value(gate, s)
        }  # fmt: skip
        yield f"slope of {gate} of the other curve", "slopes", {
            f"slope {gate}": lambda slope, s, gate=gate: _of_other_curve(gate, s["a"])
        }  # fmt: skip


def returned_gradients() -> Named:
    """What is done to gradients before they are returned."""
    for name in ("W", "R", "b", "x", "h0", "c0"):
        for words, change in SIMPLE.items():
            yield f"d{name} {words}", "returned gradients", {f"grad {name}": always(change)}
        yield f"d{name} divided by B", "returned gradients", {f"grad {name}": lambda a, s: a / s["B"]}
        yield f"d{name} divided by T", "returned gradients", {f"grad {name}": lambda a, s: a / s["T"]}
    for key in "BT":
        yield (
            f"all of them divided by {key}",
            "returned gradients",
            dict.fromkeys(("grad W", "grad R", "grad b"), lambda a, s, key=key: a / s[key]),
        )


def turned_gradients() -> Named:
    """Gradients in another order, or of some steps."""
    for name in "WRb":
        for order in ("igfo", "figo", "iofg", "ifog"):
            yield f"d{name} in order {order}", "returned gradients", {f"grad {name}": reordered(order)}
    yield "dR transposed", "returned gradients", {"grad R": by_gate(lambda part: part.T)}
    yield "db of the last step alone", "returned gradients", {"back b": lambda a, s: a * (s["t"] == s["T"] - 1)}
    yield "db of the first step alone", "returned gradients", {"back b": lambda a, s: a * (s["t"] == 0)}
    yield "dx reversed", "returned gradients", {"grad x": always(lambda a: a.flip(0))}


def _last_only(a: Any) -> Any:
    return torch.cat([torch.zeros_like(a[:-1]), a[-1:]])


def _slope_at_value(gate: str, s: Any) -> Any:
    return 1 - s["z"] ** 2 if gate in "gu" else s["z"] * (1 - s["z"])


def _of_other_curve(gate: str, a: Any) -> Any:
    return a * (1 - a) if gate in "gu" else 1 - a * a


def attention() -> Named:
    """What is the decoder's own."""
    for words, value in {"c": other("c"), "the state before": other("h in"), "tanh(c)": other("u")}.items():
        yield f"attention asked with {words}", "attention", {"query": value}
        yield f"joined with {words}", "attention", {"joined h": value}
    for words, change in {
        "halved": lambda a: a / 2, "doubled": lambda a: 2 * a, "negated": lambda a: -a, "tanh of it": torch.tanh,
        "relu of it": torch.relu,
    }.items():  # fmt: skip
        yield f"scores {words}", "attention", {"scores": always(change)}
    yield "scores by the root of H", "attention", {"scores": lambda a, s: a / s["H"] ** 0.5}
    yield "scores by the root of E", "attention", {"scores": lambda a, s: a / s["E"] ** 0.5}
    yield "masked by zero", "attention", {"mask": _const(0.0)}
    yield "softmax over the batch", "attention", {"softmax over": _const(0)}
    yield "attention weights reversed", "attention", {"attention": always(lambda a: a.flip(1))}
    yield "attention weights uniform", "attention", {"attention": always(lambda a: torch.full_like(a, 1 / a.shape[1]))}
    yield "no softmax", "attention", {"attention": lambda a, s: torch.einsum("sbe,be->bs", s["enc"], s["h"])}
    for words, change in {"halved": lambda a: a / 2, "zero": torch.zeros_like, "tanh of it": torch.tanh}.items():
        yield f"context {words}", "attention", {"context": always(change)}
    yield "context by S", "attention", {"context": lambda a, s: a / s["S"]}
    yield "context of the step before", "attention", {"context": previous("context")}
    yield "context and state exchanged", "attention", {"joined": lambda parts, s: parts[::-1]}
    for name in ("linear", "sigmoid", "relu"):
        yield f"y is {name}", "attention", {"curve y": _const(name)}
    yield "target of the bare", "attention", {"target of": other("bare")}
    yield "fed back bare", "attention", {"fed back": other("bare")}
    yield "fed back y0", "attention", {"fed back": other("y0")}
    yield "fed back zeros", "attention", {"fed back": always(torch.zeros_like)}
    yield "fed back halved", "attention", {"fed back": always(lambda a: a / 2)}
    yield "y0 zero", "attention", {"y0": always(torch.zeros_like)}
    yield "enc flipped in time", "attention", {"enc": always(lambda a: a.flip(0))}
    yield "enc flipped over the batch", "attention", {"enc": always(lambda a: a.flip(1))}
    yield "enc late", "attention", {"enc": always(_late)}
    for name in ("W_tilde", "W_target"):
        yield f"{name} flipped in its columns", "weights", {name: always(lambda a: a.flip(1))}
        yield f"{name} halved", "weights", {name: always(lambda a: a / 2)}
        yield f"{name} flipped in its rows", "weights", {name: always(lambda a: a.flip(0))}
    for words, change in SIMPLE.items():
        yield f"b_tilde {words}", "weights", {"b_tilde": always(change)}


def general() -> Named:
    """The matrix of general scores."""
    yield "W_a doubled", "weights", {"W_a": always(lambda a: 2 * a)}
    yield "W_a reshaped", "weights", {"W_a": always(lambda a: a.T.reshape(a.shape))}
    yield "W_a flipped", "weights", {"W_a": always(lambda a: a.flip(0))}
    yield "W_a not used", "attention", {"W_a": always(lambda a: torch.eye(*a.shape, dtype=a.dtype))}


STEPS: dict[str, Callable[[int, int], bool]] = {
    "at the first step": lambda t, T: t == 0,
    "after the first step": lambda t, T: t > 0,
    "at the last step": lambda t, T: t == T - 1,
    "from the third step on": lambda t, T: t > 1,
}


def in_some_steps(*families: Named) -> Named:
    """Slips of steps, made in some of them."""
    for family in families:
        for name, _, edits in family:
            for words, when in STEPS.items():
                yield f"{name} {words}", "some steps", {place: _when(edit, when) for place, edit in edits.items()}


def _when(edit: Edit, when: Callable[[int, int], bool]) -> Edit:
    return lambda value, s: edit(value, s) if when(s["t"], s["T"]) else value


def slips_of(*families: Named, lanes: frozenset[int] | None = None) -> list[Slip]:
    """The slips of families, in some lanes or in all."""
    return [Slip(name, kind, edits, lanes) for family in families for name, kind, edits in family]

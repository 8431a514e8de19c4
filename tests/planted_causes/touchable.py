"""LSTMs in PyTorch in which every use of a value can be touched: networks of any form, their gradients, decoders.

Written apart from the product, whose interpreter this is to judge: other places, other names, gradients by autograd.
``touch(place, value, around)`` stands at each place; a slip is a place and what is done there. What goes back is
touched too: ``back NAME`` is the gradient that arrives at a value, ``saved NAME`` an operand that a product keeps for
the way back, ``slope NAME`` that of a curve, ``grad NAME`` a gradient that is returned. Computed in float64.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

Around = dict[str, Any]  # what there is beside a value: the step's other values, sizes, the lane
Edit = Callable[[Any, Around], Any]

CURVES: dict[str, Callable[[Any], Any]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "linear": lambda z: z,
    "hard_sigmoid_0.2": lambda z: (0.2 * z + 0.5).clamp(0, 1),
    "hard_sigmoid_1/6": lambda z: (z / 6 + 0.5).clamp(0, 1),
    "softsign": lambda z: z / (1 + z.abs()),
}


@dataclass(frozen=True)
class Slip:
    """What is done otherwise at a place, in some lanes (numbers in the order of states) or in all."""

    name: str
    kind: str
    edits: dict[str, Edit]
    lanes: frozenset[int] | None = None


@dataclass
class Touch:
    """All slips of a port."""

    slips: Iterable[Slip] = ()
    at: dict[str, list[tuple[Edit, frozenset[int] | None]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Sort the slips by place."""
        for slip in self.slips:
            for place, edit in slip.edits.items():
                self.at[place].append((edit, slip.lanes))

    def __call__(self, place: str, value: Any, around: Around) -> Any:
        """The value as it is used there."""
        for edit, lanes in self.at.get(place, ()):
            if lanes is None or around.get("lane") in lanes:
                value = edit(value, around)
        return value

    def back(self, place: str, value: Any, around: Around) -> Any:
        """The value, whose gradient is touched where it comes back."""
        edits = [e for e, lanes in self.at.get(f"back {place}", ()) if lanes is None or around.get("lane") in lanes]
        for edit in edits:
            value = _Back.apply(value, lambda gradient, edit=edit: edit(gradient, around))
        return value

    def product(self, places: tuple[str, str], a: Any, b: Any, around: Around) -> Any:
        """The product of two values, each as it is used here, and as it is kept for the way back."""
        a, b = self(places[0], a, around), self(places[1], b, around)
        if not any(f"saved {place}" in self.at for place in places):
            return a * b
        kept = [
            lambda value=value, place=place: self(f"saved {place}", value, around)
            for value, place in zip((a, b), places, strict=True)
        ]
        return _Product.apply(a, b, *kept)

    def curve(self, place: str, z: Any, name: str, around: Around) -> Any:
        """A curve of z, with its slope."""
        a = CURVES[self(f"curve {place}", name, around)](z)
        if f"slope {place}" not in self.at:
            return a
        fixed = a.detach()
        return _Curve.apply(z, fixed, lambda slope: self(f"slope {place}", slope, around | {"z": z, "a": fixed}))


class _Back(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Any, edit: Any) -> Any:
        ctx.edit = edit
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return ctx.edit(gradients[0]), None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any, kept_a: Any, kept_b: Any) -> Any:
        ctx.kept = kept_a, kept_b
        return a * b

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        a, b = (kept().detach() for kept in ctx.kept)
        return gradients[0] * b, gradients[0] * a, None, None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Any, M: Any, kept: Any) -> Any:
        ctx.M, ctx.kept = M, kept
        return v @ M.T

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] @ ctx.M, gradients[0].T @ ctx.kept().detach(), None


class _Curve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Any, a: Any, edit: Any) -> Any:
        with torch.enable_grad():
            free = z.detach().requires_grad_()
        ctx.save_for_backward(free, a)
        ctx.edit = edit
        return a

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        z, a = ctx.saved_tensors
        return gradients[0] * ctx.edit(_slope(z, a)), None, None


def _slope(z: Any, a: Any) -> Any:
    """The slope of the curve that gives a of z, told by its values: sigmoid or tanh."""
    return a * (1 - a) if torch.allclose(torch.sigmoid(z), a) else 1 - a * a


@dataclass(frozen=True)
class Cell:
    """Which cell: its curves, and whether its input and forget gate are coupled."""

    gates: str = "sigmoid"
    candidate: str = "tanh"
    output: str = "tanh"
    coupled: bool = False

    @classmethod
    def of(cls, lstm: Any) -> Cell:
        """That of a case."""
        return cls(lstm.recurrent_activation, lstm.activation, lstm.cell_activation, lstm.input_forget)


def turned(a: Any, rule: str, ends: Any) -> Any:
    """a (T, B, n) turned round in time: not, whole, or each sequence within its length."""
    if rule == "not":
        return a
    if rule == "whole":
        return a.flip(0)
    t = torch.arange(len(a))[:, None]
    index = torch.where(t < ends[None], ends[None] - 1 - t, t)
    return torch.gather(a, 0, index[..., None].expand_as(a))


def run_lane(touch: Touch, w: dict[str, Any], x: Any, start: tuple[Any, Any], ends: Any, cell: Cell, around: Around):
    """One direction of one layer: h and c of each step (T, B, n), turned back, and the final states."""
    w = {name: touch(name, array, around | {"weights": w}) for name, array in w.items()}
    rule = "within" if around["reverse"] else "not"
    x = touch("x", turned(x, touch("turn in", rule, around), ends), around | {"ends": ends})
    h, c = (touch(f"start {name}", a, around) for name, a in zip("hc", start, strict=True))
    around = around | {"h0": start[0], "c0": start[1]}
    hs, cs, last = [], [], None
    kept_h, stops = torch.zeros_like(h), touch("state past the end", "stops", around) == "stops"
    past = touch("h past the end", "zero", around)
    for t, x_t in enumerate(x):
        s = around | {"t": t, "T": len(x), "last": last, "x": x_t, "h in": h, "c in": c}
        m, new = _step(touch, w, x_t, h, c, cell, s)
        valid = (t < ends)[:, None]
        kept_h = torch.where(valid, m, kept_h)
        hs.append(torch.where(valid, m, {"zero": torch.zeros_like(m), "kept": kept_h, "runs": m}[past]))
        cs.append(torch.where(valid | (not stops), new, c))
        h_next = touch.back("h carried", touch("h carried", m, s), s)
        c_next = touch.back("c carried", touch("c carried", new, s), s)
        h = torch.where(valid | (not stops), h_next, h)
        c = torch.where(valid | (not stops), c_next, c)
        last = s
    back = touch("turn out", rule, around)
    return turned(torch.stack(hs), back, ends), turned(torch.stack(cs), back, ends), h, c


def _step(touch: Touch, w: dict[str, Any], x: Any, h: Any, c: Any, cell: Cell, s: Around) -> tuple[Any, Any]:
    """One step: h after it (projected), and c."""
    Wx = touch("Wx", _linear(touch, "x used", x, w["W"], s), s)
    Rh = touch("Rh", _linear(touch, "h used", touch("h used", h, s), w["R"], s), s)
    b = touch.back("b", w["b"], s) if "b" in w else 0
    z = dict(zip("ifgo", (Wx + Rh + b).chunk(4, dim=1), strict=True))
    s["z"] = z
    p = w.get("p")

    def gate(name: str, peeped: Any) -> Any:
        sees = z[name]
        if p is not None and name != "g":
            sees = sees + touch(f"peephole {name}", peeped, s) * p["ifo".index(name)]
        sees = touch.back(f"z {name}", touch(f"z {name}", sees, s), s)
        a = touch.curve(name, sees, cell.candidate if name == "g" else cell.gates, s)
        s[name] = touch(f"gate {name}", a, s)
        return s[name]

    i, g = gate("i", c), gate("g", c)
    f = gate("f", c)
    if touch("coupled", cell.coupled, s):
        s["f"] = f = 1 - i
    kept = touch.product(("keep f", "keep c"), f, c, s)
    added = touch.product(("add i", "add g"), i, g, s)
    raw = touch("c new", kept + added, s)
    s["raw"] = raw
    clip = touch("clip", s.get("clip"), s)
    new = raw if clip is None else raw.clamp(-clip, clip)
    new = touch.back("c new", new, s)
    s["c"] = new
    o = gate("o", new)
    u = touch.curve("u", touch("tanh of", new, s), cell.output, s)
    s["u"] = u
    m = touch("m", touch.product(("out o", "out u"), o, u, s), s)
    s["m"] = m
    out = m @ w["P"].T if "P" in w else m
    s["h"] = touch.back("h new", touch("h new", out, s), s)
    return s["h"], new


def _linear(touch: Touch, place: str, v: Any, M: Any, s: Around) -> Any:
    if f"saved {place}" not in touch.at:
        return v @ M.T
    return _Linear.apply(v, M, lambda: touch(f"saved {place}", v, s))


def run_network(
    touch: Touch, lstm: Any, x: Any, weights: Any, h0: Any, c0: Any, lengths: Any, clip: Any
) -> dict[str, Any]:
    """h_seq, c_seq (of the last lane), h_n and c_n, of weights[layer][direction]."""
    T, B, D = len(x), x.shape[1], len(lstm.directions)
    ends = torch.full((B,), T) if lengths is None else torch.as_tensor(lengths)
    whole = {"T": T, "B": B, "D": D, "L": len(weights), "clip": clip, "given": lengths is not None}
    ends = touch("lengths", ends, whole)
    h0, c0 = touch("h0", h0, whole | {"c0": c0}), touch("c0", c0, whole | {"h0": h0})
    below, h_n, c_n, cs = touch("x of all", x, whole | {"ends": ends}), [], [], None
    for layer in range(len(weights)):
        outs = []
        for d in range(D):
            k = layer * D + d
            around = whole | {"lane": k, "layer": layer, "reverse": lstm.directions[d]}
            source = touch("weights of", (layer, d), around)
            w = {name: array for name, array in weights[source[0]][source[1]].items() if name != "clip"}
            out, cs, h, c = run_lane(touch, w, below, (h0[k], c0[k]), ends, Cell.of(lstm), around)
            outs.append(out)
            h_n.append(h)
            c_n.append(c)
        below = torch.cat(touch("join", outs, whole | {"layer": layer}), dim=-1)
        if layer < len(weights) - 1:
            below = touch("up", below, whole | {"layer": layer, "lane": layer * D})
    states = {"h_n": torch.stack(h_n), "c_n": torch.stack(c_n)}
    h_n = touch("h_n", states["h_n"], whole | states | {"h0": h0})
    c_n = touch("c_n", states["c_n"], whole | states | {"c0": c0})
    around = whole | {"h_seq": below, "c_seq": cs, "ends": ends}
    return {"h_seq": touch("h_seq", below, around), "c_seq": touch("c_seq", cs, around), "h_n": h_n, "c_n": c_n}


def run_decoder(touch: Touch, w: dict[str, Any], enc: Any, h: Any, c: Any, y: Any, steps: int, lengths: Any):
    """Logits and y (steps, B, n) of an attention decoder."""
    S, B, E = enc.shape
    ends = torch.full((B,), S) if lengths is None else torch.as_tensor(lengths)
    whole = {"S": S, "B": B, "E": E, "H": h.shape[1], "h0": h, "c0": c, "y0": y, "enc": enc, "w": w}
    ends = touch("lengths", ends, whole | {"T": S, "given": lengths is not None})
    w = {name: touch(name, array, whole) for name, array in w.items()}
    enc, y = touch("enc", enc, whole), touch("y0", y, whole)
    h, c = touch("start h", h, whole), touch("start c", c, whole)
    valid = torch.arange(S)[None] < ends[:, None]
    logits, ys, last = [], [], None
    for t in range(steps):
        s = whole | {"t": t, "T": steps, "last": last, "h in": h, "c in": c, "y in": y, "valid": valid, "x": y}
        h, c = _step(touch, {k: w[k] for k in ("W", "R", "b") if k in w}, touch("fed", y, s), h, c, Cell(), s)
        query = touch("query", h, s)
        query = query if "W_a" not in w else query @ w["W_a"].T
        scores = touch("scores", torch.einsum("sbe,be->bs", enc, query), s)
        fill = touch("mask", float("-inf"), s)
        masked = torch.where(valid, scores, fill)
        a = torch.softmax(masked, dim=touch("softmax over", 1, s))
        s["context"] = torch.einsum("bs,sbe->be", touch("attention", torch.nan_to_num(a), s), enc)
        used = touch("context", s["context"], s)
        parts = touch("joined", [used, touch("joined h", h, s)], s)
        s["bare"] = torch.cat(parts, dim=1) @ w["W_tilde"].T + w["b_tilde"]
        s["y"] = y = touch("y", CURVES[touch("curve y", "tanh", s)](s["bare"]), s)
        ys.append(y)
        logits.append(touch("target of", y, s) @ w["W_target"].T)
        y = touch("fed back", y, s)
        h, c = touch("h carried", h, s), touch("c carried", c, s)
        last = s
    return torch.stack(logits), torch.stack(ys)


def port_of_slips(slips: Iterable[Slip], lstm: Any) -> Callable[..., Any]:
    """A port that makes these slips; ``lstm`` tells the curves, the directions and the coupling of its network."""
    touch = Touch(tuple(slips))

    def port(x: Any, weights: Any, h0: Any, c0: Any, dh: Any = None, dc: Any = None, lengths: Any = None) -> Any:
        single = isinstance(weights, dict)
        stack = [[weights]] if single else weights
        leaves = _leaves(x, stack, h0[None] if single else h0, c0[None] if single else c0, trained=dh is not None)
        clip = stack[0][0].get("clip")
        with torch.set_grad_enabled(dh is not None):
            result = run_network(touch, lstm, *leaves, lengths, clip)
        if dh is not None:
            return _gradients(touch, result, leaves, dh, dc, single=single)
        if single:
            return _plain(result["h_seq"], x), _plain(result["c_seq"], x)
        return tuple(_plain(result[name], x) for name in ("h_seq", "h_n", "c_n"))

    return port


def decoder_of_slips(slips: Iterable[Slip]) -> Callable[..., Any]:
    """A port of an attention decoder that makes these slips."""
    touch = Touch(tuple(slips))

    def port(enc: Any, weights: Any, h0: Any, c0: Any, y0: Any, steps: int, lengths: Any = None) -> Any:
        arrays = [_tensor(a) for a in (enc, h0, c0, y0)]
        with torch.no_grad():
            w = {name: _tensor(array) for name, array in weights.items()}
            logits, ys = run_decoder(touch, w, *arrays, steps, lengths)
        return _plain(logits, enc), _plain(ys, enc)

    return port


def _tensor(array: Any) -> Any:
    return torch.as_tensor(array).to(torch.float64)


def _plain(tensor: Any, like: Any) -> Any:
    return tensor.detach().numpy().astype(like.dtype)


def _leaves(x: Any, stack: Any, h0: Any, c0: Any, *, trained: bool) -> tuple[Any, Any, Any, Any]:
    def leaf(array: Any) -> Any:
        return _tensor(array).clone().requires_grad_(trained)

    weights = [
        [{name: leaf(a) for name, a in lane.items() if name != "clip"} for lane in layer] for layer in stack
    ]  # fmt: skip
    return leaf(x), weights, leaf(h0), leaf(c0)


def _gradients(touch: Touch, result: Any, leaves: Any, dh: Any, dc: Any, *, single: bool) -> dict[str, Any]:
    """By name, as a port returns them."""
    x, weights, h0, c0 = leaves
    whole = {"T": len(x), "B": x.shape[1], "H": c0.shape[-1]}
    dh64 = touch("dh", _tensor(dh), whole)
    dc64 = touch("dc", _tensor(dc[None] if single else dc), whole)
    named = {"x": [x], "h0": [h0], "c0": [c0]}
    for name in weights[0][0]:
        named[name] = [lane[name] for layer in weights for lane in layer]
    wanted = [leaf for many in named.values() for leaf in many]
    found = torch.autograd.grad((result["h_seq"], result["c_n"]), wanted, (dh64, dc64), allow_unused=True)
    gradients = iter([torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)])
    out: dict[str, Any] = {"h_seq": _plain(result["h_seq"], dh)}
    for name, many in named.items():
        touched = [touch(f"grad {name}", next(gradients), whole | {"lane": k}) for k in range(len(many))]
        arrays = [_plain(gradient, dh) for gradient in touched]
        if name == "x":
            out[name] = arrays[0]
        elif name in {"h0", "c0"}:
            out[name] = arrays[0][0] if single else arrays[0]
        else:
            D = len(weights[0])
            rows = [arrays[k : k + D] for k in range(0, len(arrays), D)]
            out[name] = arrays[0] if single else rows
    return out

"""Ports of a one-layer LSTM, each with one slip, as somebody who ports a model by hand would write them.

``make_port("gates-exchanged-f-g")`` unpacks the gates in that order; ``make_port(None)`` makes no mistake. Names
and meanings are those of ``harness.faults.fault``, and nothing else is taken from there: the loop, its arithmetic (that
of the arrays it is given) and every slip are written anew, so that each can show the other wrong.

A port is made of the pieces in ``Pieces``; a slip is a name with the pieces that it writes otherwise (``SLIPS``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Port = Callable[..., tuple[Array, Array]]
Change = dict[str, Any]

# -- the pieces of a port, without slips -------------------------------------------------------------------------


def sigmoid(z):
    return (np.tanh(z / 2) + 1) / 2


def one_bias(weights):
    """``b``, from canonical weights or from torch's."""
    return weights["b"] if "b" in weights else weights["bias_ih_l0"] + weights["bias_hh_l0"]


def product_of_each(x, h, W, R):
    """Multiply x and h with their kernels; W (4H, I), R (4H, H)."""
    return x @ W.T, h @ R.T


def same(a):
    return a


@dataclass(frozen=True)
class Pieces:
    """What a port is made of, piece by piece; the defaults are right."""

    # Once, before the loop.
    bias: Callable[[dict[str, Array]], Array] = one_bias
    W: Callable[[Array], Array] = same
    R: Callable[[Array], Array] = same
    b: Callable[[Array], Array] = same
    x: Callable[[Array, Array | None], Array] = lambda x, lengths: x
    initial: Callable[[Array, Array], tuple[Array, Array]] = lambda h0, c0: (h0, c0)
    lengths: Callable[[Array, int], Array] = lambda lengths, T: lengths
    # The state that a step is fed, of the states so far: states[0] is the initial one, states[t] the last
    # before step t; the partners of h are the states c, and those of c h.
    feed_h: Callable[[list[Array], list[Array], int], Array] = lambda states, partners, t: states[t]
    feed_c: Callable[[list[Array], list[Array], int], Array] = lambda states, partners, t: states[t]
    # One step.
    products: Callable[[Array, Array, Array, Array], tuple[Array, Array]] = product_of_each
    unpack: tuple[str, str, str] = ("ifgo", "ifgo", "ifgo")  # the products of x and of h, and b
    pre_activation: Callable[[str, Array, Array, Array], Array] = lambda gate, zx, zh, b: zx + zh + b
    peepholes: str = ""
    old_c_for_o: bool = False
    z_done: Callable[[Array], Array] = same
    activate: Callable[[str, Array], Array] = lambda gate, z: np.tanh(z) if gate == "g" else sigmoid(z)
    gate_done: Callable[[Array], Array] = same
    cell: Callable[[Array, Array, Array, Array], Array] = lambda i, f, g, c: f * c + i * g
    c_done: Callable[[Array], Array] = same
    cell_curve: Callable[[Array], Array] = np.tanh
    hidden: Callable[[Array, Array, Array, Callable[[Array], Array]], Array] = lambda o, c, old, tanh: o * tanh(c)
    h_done: Callable[[Array], Array] = same
    # Past a sequence's end: the states that stop there, and what is returned: "zero", "kept", "runs" or "initial".
    stops: str = "hc"
    h_past: str = "zero"
    c_past: str = "kept"
    # What is returned.
    show_h: str = "h"
    show_c: str = "c"
    h_out: Callable[[Array, Array | None], Array] = lambda a, lengths: a
    c_out: Callable[[Array, Array | None], Array] = lambda a, lengths: a
    result: Callable[[Array, Array], tuple[Array, Array]] = lambda h, c: (h, c)


def make_port(fault: str | None = None, *, from_timestep: int = 0, from_sequence: int = 0) -> Port:
    """A ``port(x, weights, h0, c0, lengths=None) -> (h_seq, c_seq)`` with one slip, or without any.

    Args:
        fault: A name of the catalogue.
        from_timestep: The first timestep at which the slip is made; right before.
        from_sequence: The first sequence for which it is made.

    Raises:
        KeyError: If there is no such slip here.
    """
    if fault is not None and fault not in SLIPS.keys() | CHAINED.keys():
        raise KeyError(fault)
    if fault in CHAINED:
        return _chained(CHAINED[fault])
    right, wrong = Pieces(), replace(Pieces(), **SLIPS[fault] if fault else {})

    def port(x, weights, h0, c0, lengths=None):
        with np.errstate(over="ignore", invalid="ignore"):  # some slips grow beyond all bounds
            return run(_Reading(right, x, weights, lengths), _Reading(wrong, x, weights, lengths), h0, c0)

    def run(good: _Reading, bad: _Reading, h0, c0):
        T, B = bad.x.shape[:2]
        made = np.arange(B)[:, None] >= from_sequence
        if from_timestep == 0:
            h0, c0 = (np.where(made, new, old) for new, old in zip(wrong.initial(h0, c0), (h0, c0), strict=True))
        lengths = np.full(B, T) if bad.lengths is None else wrong.lengths(bad.lengths, T)
        hs, cs = [h0], [c0]
        # Before the first step there is the initial state, and there are no gates yet.
        steps = [{"h": h0, "c": c0, "h before": h0, "c before": c0, "u": np.tanh(c0), **dict.fromkeys("ifgo", c0)}]
        for t in range(T):
            step = (bad if t >= from_timestep else good).step(t, hs, cs)
            if from_sequence:
                step = {name: np.where(made, step[name], a) for name, a in good.step(t, hs, cs).items()}
            runs = t < lengths[:, None]
            hs.append(np.where(runs, step["h"], hs[t]) if "h" in wrong.stops else step["h"])
            cs.append(np.where(runs, step["c"], cs[t]) if "c" in wrong.stops else step["c"])
            steps.append(step)

        h_right, c_right = shown(steps, "h", wrong.h_past, lengths), shown(steps, "c", wrong.c_past, lengths)
        h_seq = wrong.h_out(shown(steps, wrong.show_h, wrong.h_past, lengths), bad.lengths)
        c_seq = wrong.c_out(shown(steps, wrong.show_c, wrong.c_past, lengths), bad.lengths)
        h_seq, c_seq = wrong.result(h_seq, c_seq)
        there = (np.arange(T)[:, None, None] >= from_timestep) & made
        return np.where(there, h_seq, h_right), np.where(there, c_seq, c_right)

    return port


# Which states a sequence takes from the end of the one before it.
CHAINED = {"h0-chained": "h", "c0-chained": "c", "initial-state-chained": "hc"}


def _chained(kept: str) -> Port:
    """Run the sequences one after another, as one that never resets its state between them."""
    alone = make_port()

    def port(x, weights, h0, c0, lengths=None):
        results, h, c = [], h0[:1], c0[:1]
        for b in range(x.shape[1]):
            sequence = slice(b, b + 1)
            h = h if "h" in kept else h0[sequence]
            c = c if "c" in kept else c0[sequence]
            ends = None if lengths is None else lengths[sequence]
            h_seq, c_seq = alone(x[:, sequence], weights, h, c, ends)
            results.append((h_seq, c_seq))
            last = len(x) if ends is None else int(ends[0])
            h, c = (h_seq[last - 1], c_seq[last - 1]) if last else (h, c)
        return tuple(np.concatenate(parts, axis=1) for parts in zip(*results, strict=True))

    return port


def shown(steps: list[dict[str, Array]], what: str, past: str, lengths: Array) -> Array:
    """What is returned in the place of h or c (T, B, H); ``steps[0]`` is the state before the first step."""
    initial = steps[0]["h" if what in {"h", "h0"} else "c"]
    values = []
    for step in steps:
        derived = {"zero": 0 * step["h"], "h0": steps[0]["h"], "c0": steps[0]["c"]}
        values.append(np.tanh(step[what[5]]) if what.startswith("tanh") else (derived | step)[what])
    rows, last = [], values[0]
    for t, now in enumerate(values[1:]):
        runs = t < lengths[:, None]
        last = np.where(runs, now, last)
        rows.append(np.where(runs, now, {"zero": 0 * now, "kept": last, "runs": now, "initial": initial}[past]))
    return np.stack(rows)


class _Reading:
    """The weights and inputs as the pieces read them, and one step with them."""

    def __init__(self, pieces: Pieces, x: Array, weights: dict[str, Array], lengths: Array | None) -> None:
        self.p = pieces
        W, R = (weights["W"], weights["R"]) if "W" in weights else (weights["weight_ih_l0"], weights["weight_hh_l0"])
        self.W, self.R, self.b = pieces.W(W), pieces.R(R), pieces.b(pieces.bias(weights))
        self.x, self.lengths = pieces.x(x, lengths), lengths

    def step(self, t: int, hs: list[Array], cs: list[Array]) -> dict[str, Array]:
        p = self.p
        h, c = p.feed_h(hs, cs, t), p.feed_c(cs, hs, t)
        zx, zh = p.products(self.x[t], h, self.W, self.R)
        parts = (zx, zh, np.broadcast_to(self.b, zx.shape))
        zx, zh, b = (
            dict(zip(order, np.split(part, 4, axis=1), strict=True))
            for order, part in zip(p.unpack, parts, strict=True)
        )

        def gate(name: str, peeped: Array) -> Array:
            z = p.pre_activation(name, zx[name], zh[name], b[name])
            if name in p.peepholes:
                z = z + peeped
            return p.gate_done(p.activate(name, p.z_done(z)).astype(z.dtype))

        i, f, g = gate("i", c), gate("f", c), gate("g", c)
        new_c = p.c_done(p.cell(i, f, g, c))
        # The peephole of o sees the new c: Gers and Schmidhuber (2000).
        o = gate("o", c if p.old_c_for_o else new_c)
        new_h = p.h_done(p.hidden(o, new_c, c, p.cell_curve).astype(new_c.dtype))
        u = p.cell_curve(new_c).astype(new_c.dtype)
        return {"i": i, "f": f, "g": g, "o": o, "c": new_c, "u": u, "h": new_h, "h before": h, "c before": c}


# -- the slips: families of names with the pieces they write otherwise -------------------------------------------

GATES = "ifgo"


def _gate_order() -> Iterator[tuple[str, Change]]:
    only = {"-in-W": (1, 0, 0), "-in-R": (0, 1, 0), "-in-b": (0, 0, 1), "-in-kernels": (1, 1, 0),
            "-in-W-and-b": (1, 0, 1), "-in-R-and-b": (0, 1, 1)}  # fmt: skip
    for order in map("".join, permutations(GATES)):
        moved = [gate for gate, place in zip(GATES, order, strict=True) if gate != place]
        if len(moved) == 2:
            name = f"gates-exchanged-{moved[0]}-{moved[1]}"
            yield name, {"unpack": (order,) * 3}
            for where, wrong in only.items():
                yield name + where, {"unpack": tuple(order if w else GATES for w in wrong)}
        elif moved:
            yield f"gates-read-{order}", {"unpack": (order,) * 3}


FORGET_BIAS = 1  # part of the canonical b: a port that reads weights stored without it, or adds it again, has 1


def _added(**constants: float) -> Change:
    return {"pre_activation": lambda gate, zx, zh, b: zx + zh + (b + constants.get(gate, 0))}


def _after_sigmoid(gate, z):
    return sigmoid(z) + FORGET_BIAS if gate == "f" else np.tanh(z) if gate == "g" else sigmoid(z)


def _shared_blocks() -> Iterator[tuple[str, Change]]:
    for gate in GATES:
        for source in GATES.replace(gate, ""):

            def one_for_two(a, gate=gate, source=source):
                H, to, source_at = len(a) // 4, GATES.index(gate), GATES.index(source)
                a = a.copy()
                a[to * H : (to + 1) * H] = a[source_at * H : (source_at + 1) * H]
                return a

            yield f"{gate}-reads-{source}", dict.fromkeys("WRb", one_for_two)
            yield from ((f"{gate}-reads-{source}-in-{array}", {array: one_for_two}) for array in "WRb")


def _forget_bias() -> Iterator[tuple[str, Change]]:
    for whose in ("", "of-the-case-"):
        yield f"forget-bias-{whose}absent", _added(f=-FORGET_BIAS)
        yield f"forget-bias-{whose}twice", _added(f=FORGET_BIAS)
        yield f"forget-bias-{whose}subtracted", _added(f=-2 * FORGET_BIAS)
    yield "forget-bias-after-sigmoid", {"activate": _after_sigmoid}
    yield "forget-bias-moved-after-sigmoid", {**_added(f=-FORGET_BIAS), "activate": _after_sigmoid}
    for gate in "igo":
        yield f"forget-bias-on-{gate}", _added(**{"f": -FORGET_BIAS, gate: FORGET_BIAS})
        yield f"forget-bias-also-on-{gate}", _added(**{gate: FORGET_BIAS})
    yield "forget-bias-on-all", _added(**dict.fromkeys(GATES, FORGET_BIAS))


def _times(part: str, factor: float, gates: str = GATES) -> Change:
    """Count one of the three summands of some gates several times, or not at all."""

    def pre_activation(gate, zx, zh, b):
        k = factor if gate in gates else 1
        return {"W": k * zx + zh + b, "R": zx + k * zh + b, "b": zx + zh + k * b}[part]

    return {"pre_activation": pre_activation}


def _bias() -> Iterator[tuple[str, Change]]:
    for slug, factor in (("dropped", 0), ("twice", 2), ("halved", 0.5), ("subtracted", -1)):
        yield f"bias-{slug}", _times("b", factor)
    for gate in GATES:
        yield f"bias-dropped-{gate}", _times("b", 0, gate)
        yield f"bias-twice-{gate}", _times("b", 2, gate)
        yield f"bias-only-{gate}", _times("b", 0, GATES.replace(gate, ""))
    for slug, name in (("first", "bias_ih_l0"), ("second", "bias_hh_l0")):
        yield f"bias-{slug}-of-two-only", {"bias": lambda weights, name=name: weights[name]}
        yield f"bias-{slug}-of-two-twice", {"bias": lambda weights, name=name: weights[name] + weights[name]}
    yield "bias-rolled", {"b": lambda b: np.concatenate([b[-1:], b[:-1]])}
    for slug in ("first-row-for-all", "first-gate-for-all", "units-reversed", "interleaved", "unit-by-unit"):
        yield f"bias-{slug}", {"b": _by_rows(LAYOUTS[slug])}


# How a kernel (4H, n) may be misread.


def _each_gate(change: Callable[[Array], Array], gates: str = GATES) -> Callable[[Array], Array]:
    return lambda M: np.concatenate(
        [change(block) if gate in gates else block for gate, block in zip(GATES, np.split(M, 4), strict=True)]
    )


def _turned(block):
    H, n = block.shape
    return block.T if n == H else block


def _read_unit_by_unit(M):
    return np.concatenate([M[k::4] for k in range(4)])


def _stored_unit_by_unit(M):
    i, f, g, o = np.split(M, 4)
    return np.stack([row for unit in zip(i, f, g, o, strict=True) for row in unit])


def _written_by_columns(M):
    memory = np.concatenate([M[:, k] for k in range(M.shape[1])])
    return memory.reshape(M.shape)


def _halves_exchanged(M):
    half = (M.shape[1] + 1) // 2
    return np.concatenate([M[:, half:], M[:, :half]], axis=1)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    # The port multiplies x @ kernel.T: reshaping to (n, 4H) stands there for the transposition.
    "reshaped": lambda M: M.reshape(M.shape[1], M.shape[0]).T,
    "each-gate-reshaped": _each_gate(lambda block: block.reshape(block.shape[1], block.shape[0]).T),
    "each-gate-transposed": _each_gate(_turned),
    "interleaved": _read_unit_by_unit,
    "unit-by-unit": _stored_unit_by_unit,
    "fortran": _written_by_columns,
    "columns-reversed": lambda M: M[:, ::-1],
    "columns-rolled": lambda M: np.concatenate([M[:, -1:], M[:, :-1]], axis=1),
    "halves-of-columns-exchanged": _halves_exchanged,
    "units-reversed": _each_gate(lambda block: block[::-1]),
    "rows-rolled": lambda M: np.concatenate([M[-1:], M[:-1]]),
    "negated": lambda M: -M,
    "absolute": np.abs,
    "first-row-for-all": _each_gate(lambda block: np.stack([block[0]] * len(block))),
    "first-gate-for-all": lambda M: np.concatenate([M[: len(M) // 4]] * 4),
    **{f"{gate}-transposed": _each_gate(_turned, gate) for gate in GATES},
}


def _by_rows(layout: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda b: layout(b[:, None])[:, 0]


def _where(mask: Callable[[Array, Array, int, int], Array]) -> Callable[[Array], Array]:
    """Keep of each gate's block what ``mask(row, column, rows, columns)`` says."""

    def part(block):
        row, column = np.indices(block.shape)
        return np.where(mask(row, column, *block.shape), block, np.zeros_like(block))

    return _each_gate(part)


PARTS: dict[str, Callable[[Array], Array]] = {
    "diagonal": _where(lambda r, k, H, n: r == k),
    "all-but-the-diagonal": _where(lambda r, k, H, n: r != k),
    "lower-triangle": _where(lambda r, k, H, n: r >= k),
    "upper-triangle": _where(lambda r, k, H, n: r <= k),
    "first-column": _where(lambda r, k, H, n: k == 0),
    "all-but-the-first-column": _where(lambda r, k, H, n: k != 0),
    "all-but-the-last-column": _where(lambda r, k, H, n: k != n - 1),
    # An odd number of columns has its middle one in either half.
    "first-half-of-the-columns": _where(lambda r, k, H, n: 2 * k < n),
    "second-half-of-the-columns": _where(lambda r, k, H, n: 2 * (k + 1) > n),
    "every-second-column": _where(lambda r, k, H, n: k % 2 == 0),
    "all-but-the-last-unit": _where(lambda r, k, H, n: r != H - 1),
    "all-but-the-first-unit": _where(lambda r, k, H, n: r != 0),
}


def _fused(left: str, upper: str, *, reshaped: bool = False) -> Change:
    """Multiply [x, h] or [h, x] by one kernel, W above R or R above W."""

    def products(x, h, W, R):
        above, below = (W, R) if upper == "W" else (R, W)
        kernel = np.concatenate([above.T, below.T])
        if reshaped:
            stored = np.concatenate([W, R], axis=1)
            kernel = stored.reshape(kernel.shape)
        product = np.concatenate([x, h] if left == "x" else [h, x], axis=1) @ kernel
        return product, np.zeros_like(product)

    return {"products": products}


def _kernels(choose: Callable[[Array, Array], tuple[Array, Array]]) -> Change:
    """Take other kernels, where the shapes allow it."""

    def products(x, h, W, R):
        if W.shape == R.shape:
            W, R = choose(W, R)
        return x @ W.T, h @ R.T

    return {"products": products}


def _kernel() -> Iterator[tuple[str, Change]]:
    for slug, layout in LAYOUTS.items():
        yield f"W-{slug}", {"W": layout}
        yield f"R-{slug}", {"R": layout}
        yield f"kernels-{slug}", {"W": layout, "R": layout}
    for slug in ("interleaved", "unit-by-unit"):
        yield f"weights-{slug}", {"W": LAYOUTS[slug], "R": LAYOUTS[slug], "b": _by_rows(LAYOUTS[slug])}
    for slug, part in PARTS.items():
        yield f"W-{slug}", {"W": part}
        yield f"R-{slug}", {"R": part}
    for kernel in "WR":
        for slug, factor in (("unused", 0), ("twice", 2), ("halved", 0.5)):
            yield f"{kernel}-{slug}", _times(kernel, factor)
            if slug != "halved":
                yield from ((f"{kernel}-{slug}-{gate}", _times(kernel, factor, gate)) for gate in GATES)
    yield "kernel-h-before-x", _fused("h", "W")
    yield "kernel-stored-h-before-x", _fused("x", "R")
    yield "kernel-fused-reshaped", _fused("x", "W", reshaped=True)
    yield "kernel-W-and-R-exchanged", _kernels(lambda W, R: (R, W))
    yield "kernel-W-for-R", _kernels(lambda W, R: (W, W))
    yield "kernel-R-for-W", _kernels(lambda W, R: (R, R))


def _pade(z):
    return np.where(np.abs(z) < 3, z * (27 + z**2) / (27 + 9 * z**2), np.sign(z))


def _elu(z):
    return np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)


CURVES: dict[str, Callable[[Array], Array]] = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "hard-sigmoid-0.2": lambda z: np.minimum(np.maximum(0.2 * z + 0.5, 0), 1),
    "hard-sigmoid-1-6": lambda z: np.minimum(np.maximum(z + 3, 0), 6) / 6,
    "hard-sigmoid-0.25": lambda z: np.minimum(np.maximum(0.25 * z + 0.5, 0), 1),
    "linear": lambda z: z,
    "relu": lambda z: np.where(z > 0, z, 0),
    "hard-tanh": lambda z: np.minimum(np.maximum(z, -1), 1),
    "softsign": lambda z: z / (np.abs(z) + 1),
    "softsign-sigmoid": lambda z: 0.5 * z / (np.abs(z) + 1) + 0.5,
    "pade-tanh": _pade,
    "pade-sigmoid": lambda z: 0.5 * _pade(0.5 * z) + 0.5,
    "taylor-tanh": lambda z: z - z * z * z / 3,
    "taylor-sigmoid": lambda z: 0.5 + 0.25 * z - z * z * z / 48,
    "linear-sigmoid": lambda z: 0.25 * z + 0.5,
    "lecun-tanh": lambda z: 1.7159 * np.tanh(z * 2 / 3),
    "sigmoid-of-2z": lambda z: (np.tanh(z) + 1) / 2,
    "sigmoid-of-base-2": lambda z: 1 / (1 + np.exp2(-z)),
    "tanh-of-half": lambda z: np.tanh(0.5 * z),
    "sigmoid-of--z": lambda z: (1 - np.tanh(z / 2)) / 2,
    "tanh-of--z": lambda z: -np.tanh(z),
    "sigmoid-twice": lambda z: sigmoid(sigmoid(z)),
    "tanh-twice": lambda z: np.tanh(np.tanh(z)),
    "tanh-of-sigmoid": lambda z: np.tanh(sigmoid(z)),
    "sigmoid-of-tanh": lambda z: sigmoid(np.tanh(z)),
    "relu6": lambda z: np.minimum(np.maximum(z, 0), 6),
    "leaky-relu-0.01": lambda z: np.maximum(z, 0.01 * z),
    "leaky-relu-0.2": lambda z: np.maximum(z, 0.2 * z),
    "elu": _elu,
    # Klambauer et al. (2017)
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * _elu(z)),
    "softplus": lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    "silu": lambda z: z * sigmoid(z),
    "gelu-tanh": lambda z: 0.5 * z * (1 + np.tanh(float(np.sqrt(2 / np.pi)) * (z + 0.044715 * z * z * z))),
    "exp": np.exp,
    "sin": np.sin,
    "arctan": np.arctan,
    "algebraic": lambda z: z / (1 + z * z) ** 0.5,
    "step": lambda z: (z >= 0).astype(z.dtype),
    "one": np.ones_like,
    "half": lambda z: np.full_like(z, 0.5),
    "zero": np.zeros_like,
}


def _curves(**by_gate: str) -> Change:
    curves = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid"} | by_gate
    return {"activate": lambda gate, z: CURVES[curves[gate]](z)}


def _activation() -> Iterator[tuple[str, Change]]:
    for slug, curve in CURVES.items():
        cell = {"cell_curve": curve}
        if slug != "sigmoid":
            yield from ((f"{gate}-{slug}", _curves(**{gate: slug})) for gate in "ifo")
            yield f"gates-{slug}", _curves(i=slug, f=slug, o=slug)
        if slug != "tanh":
            yield f"g-{slug}", _curves(g=slug)
            yield f"cell-{slug}", cell
            if slug != "exp":  # of exp overflows at once
                yield f"g-and-cell-{slug}", {**_curves(g=slug), **cell}
        if slug not in {"sigmoid", "tanh"}:
            yield f"all-{slug}", _curves(**dict.fromkeys(GATES, slug))
    for gate, slug in (("hard-sigmoid-0.2", "hard-tanh"), ("pade-sigmoid", "pade-tanh"),
                       ("softsign-sigmoid", "softsign"), ("linear", "linear"), ("relu", "relu")):  # fmt: skip
        yield f"every-curve-{slug}", {**_curves(i=gate, f=gate, g=slug, o=gate), "cell_curve": CURVES[slug]}


def _cell() -> Iterator[tuple[str, Change]]:
    cells: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
        "coupled-by-i": lambda i, f, g, c: (1 - i) * c + i * g,
        "coupled-by-f": lambda i, f, g, c: f * c + (1 - f) * g,
        "without-i": lambda i, f, g, c: f * c + g,
        "without-f": lambda i, f, g, c: c + i * g,
        "without-gates": lambda i, f, g, c: c + g,
        "without-c": lambda i, f, g, c: i * g,
        "without-g": lambda i, f, g, c: f * c,
        "i-for-i-g": lambda i, f, g, c: f * c + i,
        "difference": lambda i, f, g, c: f * c - i * g,
        "f-times-all": lambda i, f, g, c: f * (c + i * g),
        "i-times-all-without-f": lambda i, f, g, c: i * (c + g),
        "i-times-all": lambda i, f, g, c: i * (f * c + g),
        "product": lambda i, f, g, c: f * c * i * g,
        "f-added": lambda i, f, g, c: f + c + i * g,
        "i-and-g-added": lambda i, f, g, c: f * c + i + g,
        "sums-multiplied": lambda i, f, g, c: (f + c) * (i + g),
        "f-inverted": lambda i, f, g, c: (1 - f) * c + i * g,
        "i-inverted": lambda i, f, g, c: f * c + (1 - i) * g,
        "averaged": lambda i, f, g, c: 0.5 * (f * c + i * g),
        "tanh-of-old-c": lambda i, f, g, c: f * np.tanh(c) + i * g,
        "tanh-of-new-c": lambda i, f, g, c: np.tanh(f * c + i * g),
        "old-c-added": lambda i, f, g, c: f * c + c + i * g,
        "g-added": lambda i, f, g, c: f * c + i * g + g,
        "maximum": lambda i, f, g, c: np.where(f * c > i * g, f * c, i * g),
    }
    hiddens: dict[str, Callable[..., Array]] = {
        "without-o": lambda o, c, old, tanh: tanh(c),
        "o-inside-tanh": lambda o, c, old, tanh: tanh(o * c),
        "of-old-c": lambda o, c, old, tanh: o * tanh(old),
        "sum": lambda o, c, old, tanh: o + tanh(c),
        "is-c": lambda o, c, old, tanh: c,
        "is-o": lambda o, c, old, tanh: o,
        "times-c": lambda o, c, old, tanh: o * c * tanh(c),
        "tanh-twice": lambda o, c, old, tanh: tanh(o * tanh(c)),
        "o-squared": lambda o, c, old, tanh: o * o * tanh(c),
        "o-inverted": lambda o, c, old, tanh: (1 - o) * tanh(c),
        "negated": lambda o, c, old, tanh: -o * tanh(c),
    }
    yield from ((f"cell-{slug}", {"cell": cell}) for slug, cell in cells.items())
    yield from ((f"hidden-{slug}", {"hidden": hidden}) for slug, hidden in hiddens.items())


# What of a batch (B, H) or (T, B, n) other sequences get; the batch is the first axis here.
SEQUENCES: dict[str, Callable[[Array], Array]] = {
    "next-sequence": lambda a: np.concatenate([a[1:], a[:1]]),
    "sequence-before": lambda a: np.concatenate([a[-1:], a[:-1]]),
    "reversed-batch": lambda a: a[::-1],
    "first-sequence": lambda a: np.stack([a[0]] * len(a)),
    "last-sequence": lambda a: np.stack([a[-1]] * len(a)),
    "mean": lambda a: np.stack([sum(a) / len(a)] * len(a)),
}


def _reset(every: int, to: float) -> Callable[..., Array]:
    return lambda states, partners, t: to * states[0] if t and t % every == 0 else states[t]


def _reset_once(to: float) -> Callable[..., Array]:
    return lambda states, partners, t: to * states[0] if t == 2 else states[t]


def _state() -> Iterator[tuple[str, Change]]:
    feeds: dict[str, Callable[[list[Array], list[Array], int], Array]] = {
        "reset": lambda states, partners, t: states[0],
        "not-carried": lambda states, partners, t: np.zeros_like(states[0]),
        "zero-after-first": lambda states, partners, t: states[0] if t == 0 else np.zeros_like(states[0]),
        "carried-late": lambda states, partners, t: states[t - 1] if t > 1 else states[0],
        "carried-two-late": lambda states, partners, t: states[t - 2] if t > 2 else states[0],
        "frozen-after-first": lambda states, partners, t: states[1] if t > 1 else states[t],
        "summed": lambda states, partners, t: states[t] + states[t - 1] if t else states[t],
        "averaged": lambda states, partners, t: (states[t] + states[t - 1]) / 2 if t else states[t],
        "negated": lambda states, partners, t: -states[t],
        "through-tanh": lambda states, partners, t: np.tanh(states[t]),
        "of-next-sequence": lambda states, partners, t: SEQUENCES["next-sequence"](states[t]),
        "of-sequence-before": lambda states, partners, t: SEQUENCES["sequence-before"](states[t]),
        "of-reversed-batch": lambda states, partners, t: SEQUENCES["reversed-batch"](states[t]),
        "of-first-sequence": lambda states, partners, t: SEQUENCES["first-sequence"](states[t]),
        "of-last-sequence": lambda states, partners, t: SEQUENCES["last-sequence"](states[t]),
        "mean-over-batch": lambda states, partners, t: SEQUENCES["mean"](states[t]),
        "units-reversed": lambda states, partners, t: states[t][:, ::-1],
        "units-rolled": lambda states, partners, t: np.concatenate([states[t][:, -1:], states[t][:, :-1]], axis=1),
        "reset-to-zero-once": _reset_once(0),
        "reset-to-initial-once": _reset_once(1),
    }
    for slug, feed in feeds.items():
        yield f"h-{slug}", {"feed_h": feed}
        yield f"c-{slug}", {"feed_c": feed}
        yield f"state-{slug}", {"feed_h": feed, "feed_c": feed}
    for every in (2, 3, 4, 5, 8, 10, 16):
        yield f"state-reset-every-{every}", dict.fromkeys(("feed_h", "feed_c"), _reset(every, 0))
        yield f"state-initial-every-{every}", dict.fromkeys(("feed_h", "feed_c"), _reset(every, 1))
    swaps: dict[str, Callable[[list[Array], list[Array], int], Array]] = {
        "": lambda states, partners, t: partners[t],
        "-after-first": lambda states, partners, t: partners[t] if t else states[t],
    }
    for slug, swap in swaps.items():
        yield f"state-h-and-c-exchanged{slug}", {"feed_h": swap, "feed_c": swap}
        yield f"h-taken-from-c{slug}", {"feed_h": swap}
        yield f"c-taken-from-h{slug}", {"feed_c": swap}
    # Only what a step computed can be fed back: the first step has h0.
    yield "h-fed-ungated", {"feed_h": lambda states, partners, t: np.tanh(partners[t]) if t else states[t]}


def _initial_state() -> Iterator[tuple[str, Change]]:
    starts: dict[str, Callable[[Array], Array]] = {
        "ignored": np.zeros_like,
        "ones": np.ones_like,
        "of-first-sequence": SEQUENCES["first-sequence"],
        "of-last-sequence": SEQUENCES["last-sequence"],
        "of-reversed-batch": SEQUENCES["reversed-batch"],
        "of-next-sequence": SEQUENCES["next-sequence"],
        "of-sequence-before": SEQUENCES["sequence-before"],
        "mean-over-batch": SEQUENCES["mean"],
        "first-sequence-only": lambda a: np.concatenate([a[:1], np.zeros_like(a[1:])]),
        "reshaped": lambda a: a.reshape(a.shape[1], a.shape[0]).T,
        "through-tanh": np.tanh,
        "negated": lambda a: -a,
        "doubled": lambda a: a + a,
    }
    for slug, start in starts.items():
        yield f"h0-{slug}", {"initial": lambda h0, c0, start=start: (start(h0), c0)}
        yield f"c0-{slug}", {"initial": lambda h0, c0, start=start: (h0, start(c0))}
        yield f"initial-state-{slug}", {"initial": lambda h0, c0, start=start: (start(h0), start(c0))}
    yield "h0-and-c0-exchanged", {"initial": lambda h0, c0: (c0, h0)}
    yield "h0-taken-from-c0", {"initial": lambda h0, c0: (c0, c0)}
    yield "c0-taken-from-h0", {"initial": lambda h0, c0: (h0, h0)}
    yield "h0-plus-c0", {"initial": lambda h0, c0: (h0 + c0, c0)}
    yield "c0-plus-h0", {"initial": lambda h0, c0: (h0, h0 + c0)}


def _late(a, k):
    return np.concatenate([np.zeros_like(a[:k]), a[:-k]])


def _early(a, k):
    return np.concatenate([a[k:], np.zeros_like(a[:k])])


def _flipped_within(a, lengths):
    out = a.copy()
    for b in range(a.shape[1]):
        length = len(a) if lengths is None else lengths[b]
        for t in range(length):
            out[t, b] = a[length - 1 - t, b]
    return out


def _only(a, kept):
    out = np.zeros_like(a)
    out[kept] = a[kept]
    return out


def _so_far(step: Callable[[Array, Array], Array]) -> Callable[[Array], Array]:
    def running(a):
        rows = [a[0]]
        for row in a[1:]:
            rows.append(step(rows[-1], row))
        return np.stack(rows)

    return running


_sum_so_far = _so_far(lambda so_far, row: so_far + row)
_largest_so_far = _so_far(np.maximum)

# What stands where in an array (T, B, n).
TIMES: dict[str, Callable[[Array, Array | None], Array]] = {
    "reversed": lambda a, lengths: a[::-1],
    "reversed-within-lengths": _flipped_within,
    "one-late-zero-first": lambda a, lengths: _late(a, 1),
    "one-late-first-twice": lambda a, lengths: np.concatenate([a[:1], a[:-1]]),
    "one-late-last-first": lambda a, lengths: np.concatenate([a[-1:], a[:-1]]),
    "two-late-zero-first": lambda a, lengths: _late(a, 2),
    "three-late-zero-first": lambda a, lengths: _late(a, 3),
    "one-early-zero-last": lambda a, lengths: _early(a, 1),
    "one-early-last-twice": lambda a, lengths: np.concatenate([a[1:], a[-1:]]),
    "one-early-first-last": lambda a, lengths: np.concatenate([a[1:], a[:1]]),
    "two-early-zero-last": lambda a, lengths: _early(a, 2),
    "first-for-all": lambda a, lengths: np.stack([a[0] for _ in a]),
    "last-for-all": lambda a, lengths: np.stack([a[-1] for _ in a]),
    "last-only": lambda a, lengths: _only(a, slice(-1, None)),
    "first-only": lambda a, lengths: _only(a, slice(0, 1)),
    "all-but-the-first": lambda a, lengths: _only(a, slice(1, None)),
    "all-but-the-last": lambda a, lengths: _only(a, slice(0, -1)),
    "every-second-twice": lambda a, lengths: np.repeat(a[::2], 2, axis=0)[: len(a)],
    "first-and-last-exchanged": lambda a, lengths: np.stack([a[-1], *a[1:-1], a[0]]) if len(a) > 1 else a,
    "mean-over-time": lambda a, lengths: np.stack([sum(a) / len(a)] * len(a)),
    "sum-so-far": lambda a, lengths: _sum_so_far(a),
    "largest-so-far": lambda a, lengths: _largest_so_far(a),
    "mean-so-far": lambda a, lengths: np.stack([s / (t + 1) for t, s in enumerate(_sum_so_far(a))]),
    "change-from-the-step-before": lambda a, lengths: a - _late(a, 1),
    "with-the-step-before-added": lambda a, lengths: a + _late(a, 1),
}


def _time() -> Iterator[tuple[str, Change]]:
    for slug, order in TIMES.items():
        yield f"x-{slug}", {"x": order}
        yield f"returned-{slug}", {"h_out": order, "c_out": order}
        yield f"h-returned-{slug}", {"h_out": order}
        yield f"c-returned-{slug}", {"c_out": order}
    for slug in ("reversed", "reversed-within-lengths"):
        yield f"run-{slug}", dict.fromkeys(("x", "h_out", "c_out"), TIMES[slug])


def _of_batch(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda a: np.stack([change(row) for row in a])


# Which sequence stands where in an array (T, B, n).
BATCHES: dict[str, Callable[[Array], Array]] = {
    "B-T-read-as-T-B": lambda a: a.transpose(1, 0, 2).reshape(a.shape),
    "T-B-read-as-B-T": lambda a: a.reshape(a.shape[1], a.shape[0], a.shape[2]).transpose(1, 0, 2),
    "time-and-batch-exchanged": lambda a: a.transpose(1, 0, 2) if a.shape[0] == a.shape[1] else a,
    "reversed": _of_batch(SEQUENCES["reversed-batch"]),
    "sequence-before": _of_batch(SEQUENCES["sequence-before"]),
    "next-sequence": _of_batch(SEQUENCES["next-sequence"]),
    "first-sequence-for-all": _of_batch(SEQUENCES["first-sequence"]),
    "last-sequence-for-all": _of_batch(SEQUENCES["last-sequence"]),
    "mean-over-sequences": _of_batch(SEQUENCES["mean"]),
    "first-sequence-only": _of_batch(lambda row: _only(row, slice(0, 1))),
    "all-but-the-last-sequence": _of_batch(lambda row: _only(row, slice(0, max(len(row) - 1, 1)))),
    "first-and-last-exchanged": _of_batch(lambda row: np.stack([row[-1], *row[1:-1], row[0]]) if len(row) > 1 else row),
    "units-and-sequences-reshaped": _of_batch(lambda row: row.reshape(row.shape[1], row.shape[0]).T),
}


def _centred(x):
    return x - x.mean(axis=-1, keepdims=True)


FEATURES: dict[str, Callable[[Array], Array]] = {
    "reversed": lambda x: x[:, :, ::-1],
    "rolled": lambda x: np.concatenate([x[:, :, -1:], x[:, :, :-1]], axis=2),
    "all-but-the-last": lambda x: np.concatenate([x[:, :, :-1], np.zeros_like(x[:, :, -1:])], axis=2),
    "all-but-the-first": lambda x: np.concatenate([np.zeros_like(x[:, :, :1]), x[:, :, 1:]], axis=2),
    "first-for-all": lambda x: np.concatenate([x[:, :, :1]] * x.shape[2], axis=2),
    "tanh": np.tanh,
    "positive-part": lambda x: np.where(x > 0, x, 0),
    "absolute": lambda x: np.where(x > 0, x, -x),
    "negated": lambda x: -x,
    "squared": lambda x: x * x,
    "centred": _centred,
}


def _batch() -> Iterator[tuple[str, Change]]:
    def of(change: Callable[[Array], Array]) -> Callable[[Array, Array | None], Array]:
        return lambda a, lengths: change(a)

    for slug, change in BATCHES.items():
        yield f"x-batch-{slug}", {"x": of(change)}
        yield f"returned-batch-{slug}", {"h_out": of(change), "c_out": of(change)}
        yield f"h-batch-{slug}", {"h_out": of(change)}
        yield f"c-batch-{slug}", {"c_out": of(change)}
    # x arrives (T, B), is reshaped to what the port loops over, and its result is reshaped back.
    there, back = of(BATCHES["B-T-read-as-T-B"]), of(BATCHES["T-B-read-as-B-T"])
    yield "batch-major-reshaped-both-ways", {"x": there, "h_out": back, "c_out": back}
    yield "time-major-reshaped-both-ways", {"x": back, "h_out": there, "c_out": there}
    yield from ((f"x-features-{slug}", {"x": of(change)}) for slug, change in FEATURES.items())


def _returned() -> Iterator[tuple[str, Change]]:
    names = {
        "c": "c", "h": "h", "u": "u", "i": "i", "f": "f", "g": "g", "o": "o", "h-before": "h before",
        "c-before": "c before", "zero": "zero", "tanh-h": "tanh(h)", "tanh-c": "tanh(c)", "h0": "h0", "c0": "c0",
    }  # fmt: skip
    for slug, what in names.items():
        if slug not in {"h", "tanh-c"}:  # for the latter see u
            yield f"h-returned-as-{slug}", {"show_h": what}
        if slug != "c":
            yield f"c-returned-as-{slug}", {"show_c": what}
    yield "h-and-c-returned-exchanged", {"result": lambda h_seq, c_seq: (c_seq, h_seq)}
    yield "state-returned-before-step", {"show_h": "h before", "show_c": "c before"}


def _padding() -> Iterator[tuple[str, Change]]:
    yield "padding-ignored", {"stops": "", "h_past": "runs", "c_past": "runs"}
    yield "padding-h-kept", {"h_past": "kept"}
    yield "padding-h-masked-c-runs-on", {"stops": "", "c_past": "runs"}
    yield "padding-h-kept-c-runs-on", {"stops": "h", "h_past": "kept", "c_past": "runs"}
    yield "padding-both-zero", {"c_past": "zero"}
    yield "padding-h-runs-on-c-kept", {"stops": "c", "h_past": "runs"}
    yield "padding-both-computed-c-kept", {"stops": "", "h_past": "runs"}
    yield "padding-both-computed-h-kept", {"stops": "", "h_past": "kept", "c_past": "runs"}
    yield "padding-h-kept-c-zero", {"h_past": "kept", "c_past": "zero"}
    yield "padding-h-runs-on-c-zero", {"stops": "", "h_past": "runs", "c_past": "zero"}
    yield "padding-initial-state", {"h_past": "initial", "c_past": "initial"}
    yield "padding-h-zero-c-initial", {"c_past": "initial"}
    lengths: dict[str, Callable[[Array, int], Array]] = {
        "one-short": lambda n, T: np.where(n > 0, n - 1, 0),
        "one-long": lambda n, T: np.where(n < T, n + 1, T),
        "first-for-all": lambda n, T: np.array([n[0]] * len(n)),
        "last-for-all": lambda n, T: np.array([n[-1]] * len(n)),
        "longest-for-all": lambda n, T: np.array([max(n)] * len(n)),
        "shortest-for-all": lambda n, T: np.array([min(n)] * len(n)),
        "sorted-longest-first": lambda n, T: np.array(sorted(n, reverse=True)),
        "sorted-shortest-first": lambda n, T: np.array(sorted(n)),
        "reversed": lambda n, T: n[::-1],
        "rolled": lambda n, T: np.concatenate([n[-1:], n[:-1]]),
        "counted-from-the-end": lambda n, T: T - n,
    }
    yield from ((f"lengths-{slug}", {"lengths": change}) for slug, change in lengths.items())


def _clip() -> Iterator[tuple[str, Change]]:
    def clipped(limit: float) -> Callable[[Array], Array]:
        return lambda a: np.minimum(np.maximum(a, -limit), limit)

    yield "h-clipped-at-0.5", {"h_done": clipped(0.5)}
    for limit in (0.5, 1):
        yield f"c-clipped-at-{limit}", {"c_done": clipped(limit)}
        yield f"z-clipped-at-{limit}", {"z_done": clipped(limit)}
    yield from ((f"peephole-{gate}", {"peepholes": gate}) for gate in "ifo")
    yield "peepholes", {"peepholes": "ifo"}
    yield "peephole-o-of-old-c", {"peepholes": "o", "old_c_for_o": True}


def _shortened(bits: int) -> Callable[[Array], Array]:
    """Round to a significand of so many stored bits, ties to even, on the bits themselves."""

    def rounded(a):
        whole, stored = (np.uint32, 23) if a.dtype == np.float32 else (np.uint64, 52)
        drop = whole(stored - bits)
        raw = np.ascontiguousarray(a).view(whole)
        half = (whole(1) << (drop - whole(1))) - whole(1) + ((raw >> drop) & whole(1))
        return (((raw + half) >> drop) << drop).view(a.dtype)

    return rounded


FORMATS: dict[str, Callable[[Array], Array]] = {
    "float16": lambda a: a.astype(np.float16).astype(a.dtype),
    "bfloat16": _shortened(7),
    "tf32": _shortened(10),
    "float32": lambda a: a.astype(np.float32).astype(a.dtype),
}


def _precision() -> Iterator[tuple[str, Change]]:
    for name, cast in FORMATS.items():

        def operands(x, h, W, R, cast=cast):
            return cast(x) @ cast(W).T, cast(h) @ cast(R).T

        yield f"weights-in-{name}", {"W": cast, "R": cast, "b": cast}
        yield f"kernels-in-{name}", {"W": cast, "R": cast}
        yield from ((f"{array}-in-{name}", {array: cast}) for array in "WRb")
        yield f"x-in-{name}", {"x": lambda x, lengths, cast=cast: cast(x)}
        yield f"h-in-{name}", {"initial": lambda h0, c0, cast=cast: (cast(h0), c0), "h_done": cast}
        if name != "float32":
            yield f"operands-in-{name}", {"products": operands}
        if name != "tf32":
            yield f"c-in-{name}", {"initial": lambda h0, c0, cast=cast: (h0, cast(c0)), "c_done": cast}
            yield f"z-in-{name}", {"z_done": cast}
            yield f"gates-in-{name}", {"gate_done": cast}
        if name in {"float16", "bfloat16"}:
            yield f"returned-in-{name}", {"result": lambda h, c, cast=cast: (cast(h), cast(c))}


def _scale() -> Iterator[tuple[str, Change]]:
    for words, k in (("halved", 0.5), ("doubled", 2)):
        yield f"x-{words}", {"x": lambda x, lengths, k=k: k * x}
        yield f"h-{words}-when-fed", {"feed_h": lambda states, partners, t, k=k: k * states[t]}
        yield f"c-{words}-when-fed", {"feed_c": lambda states, partners, t, k=k: k * states[t]}
        yield f"h-{words}-when-returned", {"h_out": lambda h_seq, lengths, k=k: k * h_seq}
        for scaled in GATES:

            def activate(gate, z, scaled=scaled, k=k):
                a = np.tanh(z) if gate == "g" else sigmoid(z)
                return k * a if gate == scaled else a

            yield f"{scaled}-{words}", {"activate": activate}


def _all_slips() -> dict[str, Change]:
    slips: dict[str, Change] = {}
    for family in (_gate_order, _shared_blocks, _forget_bias, _bias, _kernel, _activation, _cell, _state,
                   _initial_state, _time, _batch, _returned, _padding, _clip, _precision, _scale):  # fmt: skip
        for name, change in family():
            assert name not in slips, name
            slips[name] = change
    return slips


SLIPS = _all_slips()

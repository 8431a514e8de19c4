"""The rules that an execution may name: tables from a name to a small function.

A new rule is a line in a table here, and words for it in the family of ``harness.faults`` that names it: from both the
catalogue makes a fault. A rule that computes, and does not only move numbers, adds rounding: ``interpret`` and ``step``
have lists of those. Each fault is also written once more, by hand, in ``tests/faulty_lstm.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.gates import GATES, blocks

# -- how kernels are read ----------------------------------------------------------------------------------------


def _each_transposed(M: Array) -> Array:
    """Transpose each gate's square block; others stay as they are."""
    square = M.ndim > 1 and len(M) == 4 * M.shape[1]
    return blocks(M).swapaxes(1, 2).reshape(M.shape) if square else M


def _reshaped(M: Array) -> Array:
    """Read the memory of (4H, n) as (n, 4H): a reshape where a transposition is needed."""
    return M if M.ndim == 1 else M.reshape(M.shape[::-1]).T


def _each_reshaped(M: Array) -> Array:
    """Read the memory of each gate's (H, n) as (n, H)."""
    if M.ndim == 1:
        return M
    return np.concatenate([_reshaped(block) for block in blocks(M)])


def _interleaved(M: Array) -> Array:
    """Take row 4 u + k for gate k of unit u."""
    return M.reshape(len(M) // 4, 4, *M.shape[1:]).swapaxes(0, 1).reshape(M.shape)


def _units_outside(M: Array) -> Array:
    """Store unit by unit what is read gate by gate: the inverse of ``_interleaved``."""
    return blocks(M).swapaxes(0, 1).reshape(M.shape)


def _units_reversed(M: Array) -> Array:
    return blocks(M)[:, ::-1].reshape(M.shape)


def _rolled_row(M: Array) -> Array:
    return np.roll(M, 1, axis=0)


def _columns(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda M: M if M.ndim == 1 else np.ascontiguousarray(change(M))


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "given": lambda M: M,
    "reshaped": _reshaped,
    "each gate transposed": _each_transposed,
    "each gate reshaped": _each_reshaped,
    "interleaved": _interleaved,
    "unit by unit": _units_outside,
    "fortran": _columns(lambda M: np.ravel(M, "F").reshape(M.shape)),
    "columns reversed": _columns(lambda M: M[:, ::-1]),
    "columns rolled": _columns(lambda M: np.roll(M, 1, axis=1)),
    "halves of columns exchanged": _columns(lambda M: np.roll(M, M.shape[1] // 2, axis=1)),
    "units reversed": _units_reversed,
    "rows rolled": _rolled_row,
    "negated": lambda M: -M,
    "absolute": np.abs,
    "first row for all": lambda M: np.repeat(blocks(M)[:, :1], len(M) // 4, axis=1).reshape(M.shape),
    "first gate for all": lambda M: np.tile(blocks(M)[0], (4, *(1,) * (M.ndim - 1))),
    **{
        f"{gate} transposed": (
            lambda M, k=k: np.concatenate([
                block.T if j == k and M.ndim == 2 and len(set(block.shape)) == 1 else block  # noqa: PLR2004
                for j, block in enumerate(blocks(M))
            ])
        )
        for k, gate in enumerate(GATES)
    },
}  # fmt: skip


def _exchanged(W: Array, R: Array) -> tuple[Array, Array]:
    """Multiply [h; x] by a kernel made for [x; h]."""
    fused, H = np.concatenate([W, R], axis=1), R.shape[1]
    return fused[:, H:], fused[:, :H]


def _fused_reshaped(W: Array, R: Array) -> tuple[Array, Array]:
    fused, I = _reshaped(np.concatenate([W, R], axis=1)), W.shape[1]
    return fused[:, :I], fused[:, I:]


def _fused_other_way(W: Array, R: Array) -> tuple[Array, Array]:
    """Store R before W and read W before R: as ``_exchanged``, from the storing side."""
    fused, I = np.concatenate([R, W], axis=1), W.shape[1]
    return fused[:, :I], fused[:, I:]


def _swapped_when_square(W: Array, R: Array) -> tuple[Array, Array]:
    return (R, W) if W.shape == R.shape else (W, R)


KERNELS: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "[x, h]": lambda W, R: (W, R),
    "[h, x]": _exchanged,
    "stored [h, x]": _fused_other_way,
    "reshaped": _fused_reshaped,
    "W and R exchanged": _swapped_when_square,
    "W for R": lambda W, R: (W, W if W.shape == R.shape else R),
    "R for W": lambda W, R: (R if W.shape == R.shape else W, R),
}


def _masked(mask: Callable[[tuple[int, int]], Array]) -> Callable[[Array], Array]:
    """Keep part of each gate's block, 0 elsewhere."""

    def part(M: Array) -> Array:
        by_gate = blocks(M)
        return (by_gate * mask(by_gate.shape[1:])).reshape(M.shape)

    return part


def _column_mask(keep: Callable[[Array, int], Array]) -> Callable[[Array], Array]:
    return _masked(lambda shape: np.broadcast_to(keep(np.arange(shape[1]), shape[1]), shape))


KERNEL_PARTS: dict[str, Callable[[Array], Array]] = {
    "all": lambda M: M,
    "diagonal": _masked(lambda shape: np.eye(*shape)),
    "all but the diagonal": _masked(lambda shape: 1 - np.eye(*shape)),
    "lower triangle": _masked(lambda shape: np.tri(*shape)),
    "upper triangle": _masked(lambda shape: 1 - np.tri(*shape, k=-1)),
    "first column": _column_mask(lambda k, n: k == 0),
    "all but the first column": _column_mask(lambda k, n: k > 0),
    "all but the last column": _column_mask(lambda k, n: k < n - 1),
    "first half of the columns": _column_mask(lambda k, n: k < (n + 1) // 2),
    "second half of the columns": _column_mask(lambda k, n: k >= n // 2),
    "every second column": _column_mask(lambda k, n: k % 2 == 0),
    "all but the last unit": _masked(lambda shape: (np.arange(shape[0]) < shape[0] - 1)[:, None] * np.ones(shape)),
    "all but the first unit": _masked(lambda shape: (np.arange(shape[0]) > 0)[:, None] * np.ones(shape)),
}

# -- the cell ----------------------------------------------------------------------------------------------------

CELLS: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "f c + i g": lambda i, f, g, c: f * c + i * g,
    "(1 - i) c + i g": lambda i, f, g, c: (1 - i) * c + i * g,
    "f c + (1 - f) g": lambda i, f, g, c: f * c + (1 - f) * g,
    "f c + g": lambda i, f, g, c: f * c + g,
    "c + i g": lambda i, f, g, c: c + i * g,
    "c + g": lambda i, f, g, c: c + g,
    "i g": lambda i, f, g, c: i * g,
    "f c": lambda i, f, g, c: f * c,
    "f c + i": lambda i, f, g, c: f * c + i,
    "f c - i g": lambda i, f, g, c: f * c - i * g,
    "f (c + i g)": lambda i, f, g, c: f * (c + i * g),
    "i (c + g)": lambda i, f, g, c: i * (c + g),
    "i (f c + g)": lambda i, f, g, c: i * (f * c + g),
    "f c i g": lambda i, f, g, c: f * c * i * g,
    "f + c + i g": lambda i, f, g, c: f + c + i * g,
    "f c + i + g": lambda i, f, g, c: f * c + i + g,
    "(f + c) (i + g)": lambda i, f, g, c: (f + c) * (i + g),
    "(1 - f) c + i g": lambda i, f, g, c: (1 - f) * c + i * g,
    "f c + (1 - i) g": lambda i, f, g, c: f * c + (1 - i) * g,
    "(f c + i g) / 2": lambda i, f, g, c: (f * c + i * g) / 2,
    "f tanh(c) + i g": lambda i, f, g, c: f * np.tanh(c) + i * g,
    "tanh(f c + i g)": lambda i, f, g, c: np.tanh(f * c + i * g),
    "f c + c + i g": lambda i, f, g, c: f * c + c + i * g,
    "f c + i g + g": lambda i, f, g, c: f * c + i * g + g,
    "max(f c, i g)": lambda i, f, g, c: np.maximum(f * c, i * g),
}

# ``curve`` is the cell's output activation; ``before`` the cell state before the step.
HIDDEN: dict[str, Callable[[Array, Array, Array, Callable[[Array], Array]], Array]] = {
    "o tanh(c)": lambda o, c, before, curve: o * curve(c),
    "tanh(c)": lambda o, c, before, curve: curve(c),
    "tanh(o c)": lambda o, c, before, curve: curve(o * c),
    "o tanh(c before)": lambda o, c, before, curve: o * curve(before),
    "o + tanh(c)": lambda o, c, before, curve: o + curve(c),
    "c": lambda o, c, before, curve: c,
    "o": lambda o, c, before, curve: o,
    "o c tanh(c)": lambda o, c, before, curve: o * c * curve(c),
    "tanh(o tanh(c))": lambda o, c, before, curve: curve(o * curve(c)),
    "o o tanh(c)": lambda o, c, before, curve: o * o * curve(c),
    "(1 - o) tanh(c)": lambda o, c, before, curve: (1 - o) * curve(c),
    "-o tanh(c)": lambda o, c, before, curve: -o * curve(c),
}

# -- the state that a step takes in ------------------------------------------------------------------------------

# The state (B, H) that goes into step t as "h" or "c". ``at(name, k)`` is a state after timestep k, and the initial one
# for every k below 0.
SOURCES: dict[str, Callable[[str, Callable[[str, int], Array], int], Array]] = {
    "previous": lambda name, at, t: at(name, t - 1),
    "initial": lambda name, at, t: at(name, -1),
    "zero": lambda name, at, t: 0 * at(name, -1),
    "zero after the first": lambda name, at, t: at(name, -1) * (1.0 if t == 0 else 0.0),
    "two before": lambda name, at, t: at(name, t - 2),
    "three before": lambda name, at, t: at(name, t - 3),
    "first": lambda name, at, t: at(name, min(t - 1, 0)),
    "other": lambda name, at, t: at("hc"["ch".index(name)], t - 1),
    "other after the first": lambda name, at, t: at("hc"["ch".index(name)] if t else name, t - 1),
    "ungated": lambda name, at, t: at("u" if t else name, t - 1),
    "tanh": lambda name, at, t: np.tanh(at(name, t - 1)),
    "sum": lambda name, at, t: at(name, t - 1) + at(name, t - 2) * (1.0 if t else 0.0),
    "average with the one before": lambda name, at, t: (at(name, t - 1) + at(name, t - 2)) / 2,
    "negated": lambda name, at, t: -at(name, t - 1),
    "next sequence": lambda name, at, t: np.roll(at(name, t - 1), -1, axis=0),
    "sequence before": lambda name, at, t: np.roll(at(name, t - 1), 1, axis=0),
    "sequences reversed": lambda name, at, t: at(name, t - 1)[::-1],
    "first sequence": lambda name, at, t: np.broadcast_to(at(name, t - 1)[:1], at(name, -1).shape),
    "last sequence": lambda name, at, t: np.broadcast_to(at(name, t - 1)[-1:], at(name, -1).shape),
    "mean over sequences": lambda name, at, t: np.broadcast_to(at(name, t - 1).mean(axis=0), at(name, -1).shape),
    "units reversed": lambda name, at, t: at(name, t - 1)[:, ::-1],
    "units rolled": lambda name, at, t: np.roll(at(name, t - 1), 1, axis=1),
}

CHAINED = "end of the sequence before"
# Of h0 the partner is c0, of c0 h0.
INITIAL: dict[str, Callable[[Array, Array], Array]] = {
    "given": lambda state, partner: state,
    "zero": lambda state, partner: 0 * state,
    "one": lambda state, partner: 0 * state + 1,
    "exchanged": lambda state, partner: partner,
    "first sequence": lambda state, partner: np.broadcast_to(state[:1], state.shape),
    "last sequence": lambda state, partner: np.broadcast_to(state[-1:], state.shape),
    "sequences reversed": lambda state, partner: state[::-1],
    "next sequence": lambda state, partner: np.roll(state, -1, axis=0),
    "sequence before": lambda state, partner: np.roll(state, 1, axis=0),
    "mean over sequences": lambda state, partner: np.broadcast_to(state.mean(axis=0), state.shape),
    "only the first sequence": lambda state, partner: state * (np.arange(len(state)) == 0)[:, None],
    "reshaped": lambda state, partner: state.reshape(state.shape[::-1]).T,
    "tanh": lambda state, partner: np.tanh(state),
    "negated": lambda state, partner: -state,
    "doubled": lambda state, partner: 2 * state,
    "sum": lambda state, partner: state + partner,
    # Sequences are run one after another; the first starts from what is given.
    CHAINED: lambda state, partner: state,
}

# -- time and batch: what stands where, of arrays (T, B, n) -------------------------------------------------------


def _shifted(a: Array, k: int, *, fill: str = "zero") -> Array:
    """An array (T, B, n) that has at t what stood at t - k."""
    T = len(a)
    at = np.arange(T) - k
    moved = a[np.clip(at, 0, T - 1)]
    return moved if fill == "edge" else np.where(((at >= 0) & (at < T))[:, None, None], moved, 0)


def _within(a: Array, lengths: Array | None) -> Array:
    """Reverse each sequence within its own length."""
    if lengths is None:
        return a[::-1]
    turned = a.copy()
    for b, length in enumerate(lengths):
        turned[:length, b] = a[:length, b][::-1]
    return turned


TIMES: dict[str, Callable[[Array, Array | None], Array]] = {
    "given": lambda a, lengths: a,
    "reversed": lambda a, lengths: a[::-1],
    "reversed within lengths": _within,
    "one late, zero first": lambda a, lengths: _shifted(a, 1),
    "one late, first twice": lambda a, lengths: _shifted(a, 1, fill="edge"),
    "one late, last first": lambda a, lengths: np.roll(a, 1, axis=0),
    "two late, zero first": lambda a, lengths: _shifted(a, 2),
    "three late, zero first": lambda a, lengths: _shifted(a, 3),
    "one early, zero last": lambda a, lengths: _shifted(a, -1),
    "one early, last twice": lambda a, lengths: _shifted(a, -1, fill="edge"),
    "one early, first last": lambda a, lengths: np.roll(a, -1, axis=0),
    "two early, zero last": lambda a, lengths: _shifted(a, -2),
    "first for all": lambda a, lengths: np.broadcast_to(a[:1], a.shape),
    "last for all": lambda a, lengths: np.broadcast_to(a[-1:], a.shape),
    "last only": lambda a, lengths: a * (np.arange(len(a)) == len(a) - 1)[:, None, None],
    "first only": lambda a, lengths: a * (np.arange(len(a)) == 0)[:, None, None],
    "all but the first": lambda a, lengths: a * (np.arange(len(a)) > 0)[:, None, None],
    "all but the last": lambda a, lengths: a * (np.arange(len(a)) < len(a) - 1)[:, None, None],
    "every second, twice": lambda a, lengths: a[np.arange(len(a)) // 2 * 2],
    "first and last exchanged": lambda a, lengths: a[
        np.r_[len(a) - 1, 1 : len(a) - 1, 0] if len(a) > 1 else np.arange(len(a))
    ],
    "mean over time": lambda a, lengths: np.broadcast_to(a.mean(axis=0), a.shape),
    "sum so far": lambda a, lengths: np.cumsum(a, axis=0),
    "largest so far": lambda a, lengths: np.maximum.accumulate(a, axis=0),
    "mean so far": lambda a, lengths: np.cumsum(a, axis=0) / np.arange(1, len(a) + 1)[:, None, None],
    "change from the step before": lambda a, lengths: a - _shifted(a, 1),
    "with the step before added": lambda a, lengths: a + _shifted(a, 1),
}


def time_rule(name: str) -> Callable[[Array, Array | None], Array]:
    """A rule of ``TIMES``, or a shift by any number of steps: "7 late, zero first", "7 early, zero last"."""
    if name in TIMES:
        return TIMES[name]
    steps, direction, *_ = name.split()
    k = int(steps) * (1 if direction == "late," else -1)
    return lambda a, lengths: _shifted(a, k)


def _batch_major_reshaped(a: Array) -> Array:
    """Write (B, T, n) out and read it as (T, B, n), or the other way round."""
    T, B, n = a.shape
    return a.swapaxes(0, 1).reshape(T, B, n)


def _time_major_reshaped(a: Array) -> Array:
    T, B, n = a.shape
    return a.reshape(B, T, n).swapaxes(0, 1)


BATCHES: dict[str, Callable[[Array], Array]] = {
    "given": lambda a: a,
    "time and batch exchanged": lambda a: a.swapaxes(0, 1) if a.shape[0] == a.shape[1] else a,
    "(B, T) read as (T, B)": _batch_major_reshaped,
    "(T, B) read as (B, T)": _time_major_reshaped,
    "reversed": lambda a: a[:, ::-1],
    "sequence before": lambda a: np.roll(a, 1, axis=1),
    "next sequence": lambda a: np.roll(a, -1, axis=1),
    "first sequence for all": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "last sequence for all": lambda a: np.broadcast_to(a[:, -1:], a.shape),
    "mean over sequences": lambda a: np.broadcast_to(a.mean(axis=1, keepdims=True), a.shape),
    "first sequence only": lambda a: a * (np.arange(a.shape[1]) == 0)[:, None],
    "all but the last sequence": lambda a: a * (np.arange(a.shape[1]) < max(a.shape[1] - 1, 1))[:, None],
    "first and last exchanged": lambda a: a[:, np.r_[a.shape[1] - 1, 1 : a.shape[1] - 1, 0]] if a.shape[1] > 1 else a,
    "units and sequences reshaped": lambda a: a.reshape(a.shape[0], a.shape[2], a.shape[1]).swapaxes(1, 2),
}

FEATURE_RULES: dict[str, Callable[[Array], Array]] = {
    "given": lambda x: x,
    "reversed": lambda x: x[..., ::-1],
    "rolled": lambda x: np.roll(x, 1, axis=-1),
    "all but the last": lambda x: x * (np.arange(x.shape[-1]) < x.shape[-1] - 1),
    "all but the first": lambda x: x * (np.arange(x.shape[-1]) > 0),
    "first for all": lambda x: np.broadcast_to(x[..., :1], x.shape),
    "tanh": np.tanh,
    "positive part": lambda x: np.maximum(x, 0),
    "absolute": np.abs,
    "negated": lambda x: -x,
    "squared": lambda x: x * x,
    "centred": lambda x: x - x.mean(axis=-1, keepdims=True),
}

# What is handed back in the place of h or c: names of what a step computes. "u" is tanh(c), "before" the state
# that was taken in, "m" the state after clipping.
RETURNED = ("h", "c", "u", "i", "f", "g", "o", "h before", "c before", "zero", "tanh(h)", "tanh(c)", "-", "c0", "h0")

# -- the end of a sequence ---------------------------------------------------------------------------------------

# How h and c, and the state itself, behave past a sequence's length:
#   (what h is there, what c is there, which of h, c and u = tanh(c) go on being computed)
PADDING: dict[str, tuple[str, str, str]] = {
    "masked": ("zero", "kept", ""),
    "ignored": ("computed", "computed", "hcu"),
    "h kept": ("kept", "kept", ""),
    "h masked, c runs on": ("zero", "computed", "hcu"),
    "h kept, c runs on": ("kept", "computed", "cu"),
    "both zero": ("zero", "zero", ""),
    "h runs on, c kept": ("computed", "kept", "h"),
    "both computed, c kept": ("computed", "kept", "hcu"),
    "both computed, h kept": ("kept", "computed", "hcu"),
    "h kept, c zero": ("kept", "zero", ""),
    "h runs on, c zero": ("computed", "zero", "hcu"),
    "initial state": ("initial", "initial", ""),
    "h zero, c initial": ("zero", "initial", ""),
}

LENGTH_RULES: dict[str, Callable[[Array, int], Array]] = {
    "given": lambda n, T: n,
    "one short": lambda n, T: np.maximum(n - 1, 0),
    "one long": lambda n, T: np.minimum(n + 1, T),
    "first for all": lambda n, T: np.full_like(n, n[0]),
    "last for all": lambda n, T: np.full_like(n, n[-1]),
    "longest for all": lambda n, T: np.full_like(n, n.max()),
    "shortest for all": lambda n, T: np.full_like(n, n.min()),
    "sorted, longest first": lambda n, T: np.sort(n)[::-1],
    "sorted, shortest first": lambda n, T: np.sort(n),
    "reversed": lambda n, T: n[::-1],
    "rolled": lambda n, T: np.roll(n, 1),
    "counted from the end": lambda n, T: T - n,
}

# -- precision ---------------------------------------------------------------------------------------------------

# Number formats by the bits of their significand (with the hidden one): source IEEE 754-2019 for binary16; Google's
# bfloat16; NVIDIA's tf32 keeps binary16's significand with the exponent of binary32.
FORMATS: dict[str, int] = {"float16": 11, "bfloat16": 8, "tf32": 11, "float32": 24}


def rounded(values: Array, to: str) -> Array:
    """Round to the nearest value of a format, ties to even; ``""`` leaves them as they are."""
    if not to:
        return values
    if to in {"float16", "float32"}:
        return values.astype(to).astype(values.dtype)
    significand, exponent = np.frexp(values)
    scale = 2.0 ** FORMATS[to]
    return np.ldexp(np.rint(significand * scale) / scale, exponent)

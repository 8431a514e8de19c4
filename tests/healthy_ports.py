"""Healthy ports: one-layer LSTMs in as many styles as engineers write them, none of them wrong.

Each is a function ``port(x, weights, h0, c0, lengths=None)`` that gives ``h`` and ``c``, (T, B, H); ``weights`` holds
canonical ``W`` (4H, I), ``R`` (4H, H) and ``b`` (4H,), gates i f g o. Past a sequence's length h is 0 and c keeps its
last valid value. What a style adds to another is only where it rounds. A framework is imported by the port that needs
it, so that a process imports what it runs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

Port = Callable[..., tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Style:
    """A way to write an LSTM."""

    name: str
    port: Port
    framework: str = "numpy"  # what has to be installed
    dtypes: tuple[str, ...] = ("float32", "float64")
    # Whether h and c are of one run. Of two, each rounded in its own way, no step leads to the next.
    of_one_run: bool = True


# Activations: each is accurate to a few roundings of its range.


def sigmoid_plain(z):
    return 1 / (1 + np.exp(-z))


def sigmoid_tanh(z):
    return (np.tanh(z * 0.5) + 1) * 0.5


def sigmoid_stable(z):
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + small), small / (1 + small))


def sigmoid_branches(z):
    a = np.empty_like(z)
    positive = z >= 0
    a[positive] = 1 / (1 + np.exp(-z[positive]))
    small = np.exp(z[~positive])
    a[~positive] = small / (1 + small)
    return a


def sigmoid_log(z):
    return np.exp(-np.logaddexp(z.dtype.type(0), -z))


def sigmoid_complement(z):
    return 1 - 1 / (1 + np.exp(z))


def sigmoid_clipped(z):
    return 1 / (1 + np.exp(-np.clip(z, -60, 60)))


def tanh_sigmoid(z):
    return 2 * sigmoid_plain(2 * z) - 1


def tanh_exp(z):
    small = np.exp(-2 * np.abs(z))
    return np.sign(z) * (1 - small) / (1 + small)


def tanh_expm1(z):
    grown = np.expm1(-2 * np.abs(z))
    return np.copysign(grown / (grown + 2), z)


# Cell updates.


def update_plain(f, c, i, g):
    return f * c + i * g


def update_added_first(f, c, i, g):
    added = i * g
    added += c * f
    return added


def update_fma(f, c, i, g):
    """Round f c + (i g) once, as a fused multiply-add does."""
    wide = wider(c.dtype)
    return (f.astype(wide) * c.astype(wide) + (i * g).astype(wide)).astype(c.dtype)


def update_leaky(f, c, i, g):
    return c - (1 - f) * c + i * g


def wider(dtype):
    return np.float64 if dtype == np.float32 else np.longdouble


# Pre-activations: ``prepare(x, W, R, b)`` gives a function of t and h that gives z (B, 4H).


def split_products(x, W, R, b):
    return lambda t, h: x[t] @ W.T + h @ R.T + b


def bias_first(x, W, R, b):
    return lambda t, h: (b + x[t] @ W.T) + h @ R.T


def recurrent_first(x, W, R, b):
    return lambda t, h: (h @ R.T + b) + x[t] @ W.T


def bias_in_two_parts(x, W, R, b):
    b_ih = b * b.dtype.type(0.3)
    b_hh = b - b_ih
    return lambda t, h: (x[t] @ W.T + b_ih) + (h @ R.T + b_hh)


def forget_bias_apart(x, W, R, b):
    H = len(b) // 4
    forget = np.zeros_like(b)
    forget[H : 2 * H] = 1
    rest = b - forget
    return lambda t, h: (x[t] @ W.T + h @ R.T + rest) + forget


def fused(x, W, R, b):
    kernel = np.concatenate([W, R], axis=1).T
    return lambda t, h: np.concatenate([x[t], h], axis=1) @ kernel + b


def fused_hidden_first(x, W, R, b):
    kernel = np.ascontiguousarray(np.concatenate([R, W], axis=1).T)
    return lambda t, h: np.dot(np.hstack([h, x[t]]), kernel) + b


def fused_with_bias(x, W, R, b):
    kernel = np.concatenate([W, R, b[:, None]], axis=1).T
    ones = np.ones_like(x[0, :, :1])
    return lambda t, h: np.concatenate([x[t], h, ones], axis=1) @ kernel


def projected_before(x, W, R, b):
    zx = x @ W.T + b
    return lambda t, h: zx[t] + h @ R.T


def projected_flat(x, W, R, b):
    T, B, I = x.shape
    zx = (x.reshape(T * B, I) @ W.T).reshape(T, B, -1)
    return lambda t, h: h @ R.T + zx[t] + b


def transposed_copies(x, W, R, b):
    kernel, recurrent = W.T.copy(), R.T.copy()
    return lambda t, h: np.dot(x[t], kernel) + np.dot(h, recurrent) + b


def fortran_order(x, W, R, b):
    x, W, R = (np.asfortranarray(array) for array in (x, W, R))
    return lambda t, h: np.asfortranarray(x[t]) @ W.T + np.asfortranarray(h) @ R.T + b


def columns(x, W, R, b):
    """Sequences stand in columns, as in the equations of a textbook."""
    return lambda t, h: (W @ x[t].T + R @ h.T + b[:, None]).T


def per_gate(x, W, R, b):
    gates = [tuple(np.split(array, 4)[k].copy() for array in (W, R, b)) for k in range(4)]
    return lambda t, h: np.hstack([x[t] @ W_k.T + h @ R_k.T + b_k for W_k, R_k, b_k in gates])


def per_gate_fused(x, W, R, b):
    gates = [(np.hstack(pair), b_k) for *pair, b_k in zip(*(np.split(array, 4) for array in (W, R, b)), strict=True)]
    return lambda t, h: np.hstack([np.hstack([x[t], h]) @ kernel.T + b_k for kernel, b_k in gates])


def stacked_gates(x, W, R, b):
    """One batched product for the four gates."""
    H = len(b) // 4
    W, R, b = W.reshape(4, H, -1), R.reshape(4, H, -1), b.reshape(4, 1, H)

    def z(t, h):
        return np.concatenate(list(x[t] @ W.swapaxes(1, 2) + h @ R.swapaxes(1, 2) + b), axis=1)

    return z


def einsums(x, W, R, b):
    return lambda t, h: np.einsum("bi,gi->bg", x[t], W) + np.einsum("bh,gh->bg", h, R) + b


def einsum_whole(x, W, R, b):
    zx = np.einsum("tbi,gi->tbg", x, W, optimize=True) + b
    return lambda t, h: zx[t] + np.einsum("bh,gh->bg", h, R, optimize=True)


def inner_products(x, W, R, b):
    return lambda t, h: np.inner(x[t], W) + np.tensordot(h, R, axes=(1, 1)) + b


def summed(add_up, x, W, R, b):
    """Products first, then one way to add them up: ``add_up`` takes (terms, B, 4H)."""

    def z(t, h):
        terms = np.concatenate([x[t].T[:, :, None] * W.T[:, None], h.T[:, :, None] * R.T[:, None]])
        return add_up(terms) + b

    return z


def add_forward(terms):
    total = np.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def add_backward(terms):
    return add_forward(terms[::-1])


def add_shuffled(terms):
    return add_forward(np.random.default_rng(1).permutation(terms))


def add_pairwise(terms):
    while len(terms) > 1:
        half = len(terms) // 2
        rest = terms[2 * half :]
        terms = np.concatenate([terms[: 2 * half : 2] + terms[1 : 2 * half : 2], rest])
    return terms[0]


def add_halves(terms):
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return add_halves(terms[:middle]) + add_halves(terms[middle:])


def add_blocks(terms, size=4):
    return add_forward(np.stack([add_forward(terms[k : k + size]) for k in range(0, len(terms), size)]))


def add_lanes(terms, lanes=8):
    """As vector registers do: every eighth term to the same partial sum, then those eight."""
    return add_pairwise(np.stack([add_forward(terms[k::lanes]) for k in range(min(lanes, len(terms)))]))


def add_by_magnitude(terms):
    return add_forward(np.take_along_axis(terms, np.abs(terms).argsort(axis=0), axis=0))


def add_compensated(terms):
    total, lost = np.zeros_like(terms[0]), np.zeros_like(terms[0])
    for term in terms:
        corrected = term - lost
        new = total + corrected
        lost = (new - total) - corrected
        total = new
    return total


def bias_as_start(x, W, R, b):
    def z(t, h):
        total = np.tile(b, (len(h), 1))
        for k in range(W.shape[1]):
            total += x[t, :, k, None] * W[:, k]
        for k in range(R.shape[1]):
            total += h[:, k, None] * R[:, k]
        return total

    return z


def loop(prepare=split_products, sigmoid=sigmoid_plain, tanh=np.tanh, update=update_plain) -> Port:
    """Write the loop over time once, around one way to do each part."""

    def port(x, weights, h0, c0, lengths=None):
        with np.errstate(over="ignore"):
            z = prepare(x, weights["W"], weights["R"], weights["b"])
            h, c, hs, cs = h0, c0, [], []
            for t in range(len(x)):
                z_i, z_f, z_g, z_o = np.split(z(t, h), 4, axis=1)
                c_new = update(sigmoid(z_f), c, sigmoid(z_i), tanh(z_g))
                h_new = sigmoid(z_o) * tanh(c_new)
                valid = True if lengths is None else (t < lengths)[:, None]
                h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
                hs.append(np.where(valid, h, 0))
                cs.append(c)
        return np.stack(hs), np.stack(cs)

    return port


# Styles that are not that loop.


def wide_inside(x, weights, h0, c0, lengths=None):
    """Compute in the next wider type, and round what is given back."""
    wide = wider(x.dtype)
    weights = {name: array.astype(wide) for name, array in weights.items()}
    h, c = loop()(x.astype(wide), weights, h0.astype(wide), c0.astype(wide), lengths)
    return h.astype(x.dtype), c.astype(x.dtype)


def one_tanh_for_all_gates(x, weights, h0, c0, lengths=None):
    """Halve the weights of i, f and o beforehand: then one tanh serves all four gates."""
    H = h0.shape[1]
    half, one = x.dtype.type(0.5), x.dtype.type(1)
    factor = np.repeat(np.array([half, half, one, half], x.dtype), H)
    kernel = np.concatenate([weights["W"], weights["R"]], axis=1) * factor[:, None]
    b = weights["b"] * factor
    h_seq, c_seq = np.zeros((2, len(x), *h0.shape), x.dtype)
    h, c = h0.copy(), c0.copy()
    for t, x_t in enumerate(x):
        a = np.tanh(np.concatenate([x_t, h], axis=1) @ kernel.T + b)
        i, f, g, o = a[:, :H] * half + half, a[:, H : 2 * H] * half + half, a[:, 2 * H : 3 * H], a[:, 3 * H :]
        mask = np.ones((len(h), 1), x.dtype) if lengths is None else (t < lengths)[:, None].astype(x.dtype)
        c_new = f * c + i * g
        h_new = (o * half + half) * np.tanh(c_new)
        c = mask * c_new + (1 - mask) * c
        h = mask * h_new + (1 - mask) * h
        h_seq[t], c_seq[t] = mask * h_new, c
    return h_seq, c_seq


def in_place(x, weights, h0, c0, lengths=None):
    """Buffers allocated once, every operation with ``out``."""
    H = h0.shape[1]
    W, R, b = weights["W"].T.copy(), weights["R"].T.copy(), weights["b"]
    h, c = h0.copy(), c0.copy()
    z, zh = np.empty((2, len(h0), 4 * H), x.dtype)
    h_seq, c_seq = np.zeros((2, len(x), *h0.shape), x.dtype)
    with np.errstate(over="ignore"):
        for t in range(len(x)):
            running = slice(None) if lengths is None else np.flatnonzero(t < lengths)
            np.matmul(x[t], W, out=z)
            np.matmul(h, R, out=zh)
            z += zh
            z += b
            g = np.tanh(z[:, 2 * H : 3 * H])
            np.negative(z, out=z)
            np.exp(z, out=z)
            z += 1
            np.reciprocal(z, out=z)
            g *= z[:, :H]
            g += z[:, H : 2 * H] * c
            c[running] = g[running]
            np.tanh(c, out=g)
            g *= z[:, 3 * H :]
            h[running] = g[running]
            h_seq[t][running] = g[running]
            c_seq[t] = c
    return h_seq, c_seq


def each_sequence_alone(x, weights, h0, c0, lengths=None):
    """One sequence after the other, each as long as it is, by matrix-vector products."""
    W, R, b = weights["W"], weights["R"], weights["b"]
    T, B, _ = x.shape
    H = h0.shape[1]
    h_seq, c_seq = np.zeros((2, T, B, H), x.dtype)
    for n in range(B):
        h, c = h0[n], c0[n]
        length = T if lengths is None else int(lengths[n])
        for t in range(length):
            z = W @ x[t, n] + R @ h + b
            i, f, o = (sigmoid_stable(z[k * H : (k + 1) * H]) for k in (0, 1, 3))
            c = c * f + i * np.tanh(z[2 * H : 3 * H])
            h = np.tanh(c) * o
            h_seq[t, n], c_seq[t, n] = h, c
        c_seq[length:, n] = c
    return h_seq, c_seq


def packed(x, weights, h0, c0, lengths=None):
    """Sequences sorted by length, so that the batch shrinks as they end."""
    T, B, _ = x.shape
    lengths = np.full(B, T) if lengths is None else lengths
    order = np.argsort(-lengths, kind="stable")
    h, c = h0[order], c0[order]
    h_seq, c_seq = np.zeros((2, T, *h0.shape), x.dtype)
    with np.errstate(over="ignore"):
        for t in range(T):
            running = int((lengths > t).sum())
            z = x[t, order[:running]] @ weights["W"].T + h[:running] @ weights["R"].T + weights["b"]
            i, f, g, o = np.split(z, 4, axis=1)
            c[:running] = sigmoid_plain(f) * c[:running] + sigmoid_plain(i) * np.tanh(g)
            h[:running] = sigmoid_plain(o) * np.tanh(c[:running])
            h_seq[t, order[:running]] = h[:running]
            c_seq[t, order] = c
    return h_seq, c_seq


def batch_first(x, weights, h0, c0, lengths=None):
    """Batch first inside, input and width padded with zeros to multiples of eight."""
    I = x.shape[2]
    H = h0.shape[1]
    rows, width = -I % 8, H + -H % 8
    b, W, R = (
        np.zeros((4, width), x.dtype),
        np.zeros((4, width, I + rows), x.dtype),
        np.zeros((4, width, width), x.dtype),
    )
    b[:, :H], W[:, :H, :I], R[:, :H, :H] = (
        weights["b"].reshape(4, H), weights["W"].reshape(4, H, I), weights["R"].reshape(4, H, H),
    )  # fmt: skip
    padded = {"W": W.reshape(4 * width, -1), "R": R.reshape(4 * width, -1), "b": b.reshape(-1)}
    by_sequence = np.pad(x, ((0, 0), (0, 0), (0, rows))).swapaxes(0, 1).copy()
    widen = ((0, 0), (0, width - H))
    h, c = loop(fused, sigmoid_tanh)(
        by_sequence.swapaxes(0, 1), padded, np.pad(h0, widen), np.pad(c0, widen), lengths
    )  # fmt: skip
    return h[..., :H].copy(), c[..., :H].copy()


def python_floats(x, weights, h0, c0, lengths=None):
    """No array anywhere: lists of Python's floats, rounded to the dtype when they are given back."""
    H = h0.shape[1]
    rows = np.concatenate([weights["W"], weights["R"]], axis=1).tolist()
    b = weights["b"].tolist()

    def sigmoid(z):
        return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))

    def run(x_n, h, c, length):
        hs, cs = [], []
        for t, x_t in enumerate(x_n):
            if t < length:
                inputs = x_t + h
                z = [sum(map(operator.mul, row, inputs), bias) for row, bias in zip(rows, b, strict=True)]
                c = [
                    sigmoid(z[H + k]) * c[k] + sigmoid(z[k]) * math.tanh(z[2 * H + k])
                    for k in range(H)
                ]  # fmt: skip
                h = [sigmoid(z[3 * H + k]) * math.tanh(c[k]) for k in range(H)]
            hs.append(h if t < length else [0.0] * H)
            cs.append(c)
        return hs, cs

    ends = [len(x)] * x.shape[1] if lengths is None else lengths.tolist()
    sequences = zip(x.swapaxes(0, 1).tolist(), h0.tolist(), c0.tolist(), ends, strict=True)
    h_seq, c_seq = zip(*(run(*sequence) for sequence in sequences), strict=True)
    return tuple(np.array(seq, x.dtype).swapaxes(0, 1) for seq in (h_seq, c_seq))


def numpy_scalars(x, weights, h0, c0, lengths=None):
    """Scalars of the dtype itself, as a loop in C has them: each product and each sum is rounded."""
    real = x.dtype.type
    one = real(1)
    W, R, b = (list(map(list, weights["W"])), list(map(list, weights["R"])), list(weights["b"]))
    H = len(h0[0])
    h_seq, c_seq = np.zeros((2, len(x), *h0.shape), x.dtype)
    for n in range(len(h0)):
        h, c = list(h0[n]), list(c0[n])
        for t in range(len(x)):
            if lengths is None or t < lengths[n]:
                x_t, z = list(x[t, n]), []
                for k in range(4 * H):
                    total = sum(map(operator.mul, W[k], x_t), b[k])
                    z.append(sum(map(operator.mul, R[k], h), total))
                for k in range(H):
                    i, f, o = (one / (one + np.exp(-max(z[k + gate * H], real(-80)))) for gate in (0, 1, 3))
                    c[k] = f * c[k] + i * np.tanh(z[k + 2 * H])
                    h[k] = o * np.tanh(c[k])
                h_seq[t, n] = h
            c_seq[t, n] = c
    return h_seq, c_seq


# PyTorch.


def torch_port(build) -> Port:
    """Make a port of ``build(weights)``, which gives the function of one step: (x_t, h, c) -> (h, c)."""

    def port(x, weights, h0, c0, lengths=None):
        import torch

        x, h, c = torch.tensor(x), torch.tensor(h0), torch.tensor(c0)
        ends = torch.full((len(h), 1), len(x)) if lengths is None else torch.tensor(lengths)[:, None]
        hs, cs = [], []
        with torch.inference_mode():
            step = build({name: torch.tensor(array) for name, array in weights.items()})
            for t, x_t in enumerate(x):
                h_new, c_new = step(x_t, h, c)
                h, c = torch.where(t < ends, h_new, h), torch.where(t < ends, c_new, c)
                hs.append(torch.where(t < ends, h, torch.zeros_like(h)))
                cs.append(c)
        return torch.stack(hs).numpy(), torch.stack(cs).numpy()

    return port


def torch_loop(w):
    import torch

    def step(x, h, c):
        i, f, g, o = (x @ w["W"].T + h @ w["R"].T + w["b"]).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    return step


def torch_fused(w):
    import torch

    kernel = torch.cat([w["W"], w["R"]], dim=1).T.contiguous()

    def step(x, h, c):
        i, f, g, o = torch.addmm(w["b"], torch.cat([x, h], dim=1), kernel).split(h.shape[1], dim=1)
        c = torch.addcmul(i.sigmoid() * g.tanh(), f.sigmoid(), c)
        return o.sigmoid() * c.tanh(), c

    return step


def torch_linears(w):
    import torch

    H = w["R"].shape[1]

    def step(x, h, c):
        z = [
            torch.nn.functional.linear(x, w["W"][k : k + H], w["b"][k : k + H])
            + torch.nn.functional.linear(h, w["R"][k : k + H])
            for k in range(0, 4 * H, H)
        ]
        c = z[1].sigmoid() * c + z[0].sigmoid() * z[2].tanh()
        return z[3].sigmoid() * c.tanh(), c

    return step


def load_torch(module, w, suffix=""):
    """Put canonical weights into a module of PyTorch's, the bias in two uneven parts."""
    first = w["b"] * 0.25
    stored = {"weight_ih": w["W"], "weight_hh": w["R"], "bias_ih": first, "bias_hh": w["b"] - first}
    module.load_state_dict({name + suffix: tensor for name, tensor in stored.items()})
    return module


def torch_cell(w):
    import torch

    cell = load_torch(torch.nn.LSTMCell(w["W"].shape[1], w["R"].shape[1], dtype=w["W"].dtype), w)
    return lambda x, h, c: cell(x, (h, c))


def torch_layer_by_steps(w):
    import torch

    layer = load_torch(torch.nn.LSTM(w["W"].shape[1], w["R"].shape[1], dtype=w["W"].dtype), w, "_l0")

    def step(x, h, c):
        _, (h, c) = layer(x[None], (h[None], c[None]))
        return h[0], c[0]

    return step


def torch_layer(x, weights, h0, c0, lengths=None):
    """``nn.LSTM`` over the whole sequence, batch first; it gives no c but the last, so c comes from steps."""
    import torch

    _, c_seq = torch_port(torch_layer_by_steps)(x, weights, h0, c0, lengths)
    w = {name: torch.tensor(array) for name, array in weights.items()}
    layer = torch.nn.LSTM(x.shape[2], h0.shape[1], batch_first=True, dtype=w["W"].dtype)
    load_torch(layer, w, "_l0")
    with torch.inference_mode():
        h, _ = layer(torch.tensor(x).swapaxes(0, 1), (torch.tensor(h0)[None], torch.tensor(c0)[None]))
    h_seq = h.swapaxes(0, 1).numpy().copy()
    if lengths is not None:
        h_seq[np.arange(len(x))[:, None] >= lengths] = 0
    return h_seq, c_seq


# TensorFlow.


def tf_port(build, *, compiled=False) -> Port:
    """Make a port of ``build(W, R, b)``, which gives the function of one step: (x_t, h, c) -> (h, c)."""

    def body(x, W, R, b, h, c, ends):
        import tensorflow as tf

        step = build(W, R, b)
        hs, cs = [], []
        for t, x_t in enumerate(tf.unstack(x)):
            h_new, c_new = step(x_t, h, c)
            h, c = tf.where(t < ends, h_new, h), tf.where(t < ends, c_new, c)
            hs.append(tf.where(t < ends, h, tf.zeros_like(h)))
            cs.append(c)
        return tf.stack(hs), tf.stack(cs)

    def port(x, weights, h0, c0, lengths=None):
        import tensorflow as tf

        ends = np.full(len(h0), len(x)) if lengths is None else lengths
        arrays = (x, weights["W"], weights["R"], weights["b"], h0, c0, ends[:, None])
        run = tf_function(body) if compiled else body
        return tuple(array.numpy() for array in run(*map(tf.constant, arrays)))

    return port


@cache
def tf_function(body):
    import tensorflow as tf

    return tf.function(body, reduce_retracing=False)


def tf_loop(W, R, b):
    import tensorflow as tf

    def step(x, h, c):
        i, f, g, o = tf.split(tf.matmul(x, W, transpose_b=True) + tf.matmul(h, R, transpose_b=True) + b, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    return step


def tf_fused(W, R, b):
    import tensorflow as tf

    kernel = tf.transpose(tf.concat([W, R], axis=1))

    def step(x, h, c):
        i, f, g, o = tf.split(tf.nn.bias_add(tf.concat([x, h], axis=1) @ kernel, b), 4, axis=1)
        c = tf.add(tf.multiply(c, tf.sigmoid(f)), tf.multiply(tf.sigmoid(i), tf.tanh(g)))
        return tf.multiply(tf.tanh(c), tf.sigmoid(o)), c

    return step


def tf_block_cell(W, R, b):
    """``LSTMBlockCell`` as a raw operation: kernel of [x; h], gates i g f o, no peepholes."""
    import tensorflow as tf

    def reorder(array):
        i, f, g, o = tf.split(array, 4, axis=0)
        return tf.concat([i, g, f, o], axis=0)

    kernel, bias = tf.transpose(reorder(tf.concat([W, R], axis=1))), reorder(b)
    none = tf.zeros(R.shape[1], R.dtype)

    def step(x, h, c):
        found = tf.raw_ops.LSTMBlockCell(
            x=x, cs_prev=c, h_prev=h, w=kernel, b=bias, wci=none, wcf=none, wco=none, forget_bias=0.0, cell_clip=-1.0
        )
        return found.h, found.cs

    return step


def keras_cell(W, R, b):
    import keras
    import tensorflow as tf

    cell = keras.layers.LSTMCell(R.shape[1], dtype=R.dtype.name)
    cell.build((None, W.shape[1]))
    cell.set_weights([tf.transpose(W).numpy(), tf.transpose(R).numpy(), b.numpy()])

    def step(x, h, c):
        _, (h, c) = cell(x, [h, c])
        return h, c

    return step


def tf_scan(x, weights, h0, c0, lengths=None):
    """``tf.scan`` over inputs that are projected before."""
    import tensorflow as tf

    ends = np.full(len(h0), len(x)) if lengths is None else lengths
    arrays = (x, weights["W"], weights["R"], weights["b"], h0, c0, ends[:, None])
    h, c = tf_function(tf_scan_body)(*map(tf.constant, arrays))
    return h.numpy(), c.numpy()


def tf_scan_body(x, W, R, b, h0, c0, ends):
    import tensorflow as tf

    def step(state, inputs):
        h, c, _ = state
        t, zx_t = inputs
        i, f, g, o = tf.split(zx_t + tf.matmul(h, R, transpose_b=True), 4, axis=1)
        c_new = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h_new = tf.sigmoid(o) * tf.tanh(c_new)
        valid = t < ends
        h = tf.where(valid, h_new, h)
        return h, tf.where(valid, c_new, c), tf.where(valid, h, tf.zeros_like(h))

    zx = tf.einsum("tbi,gi->tbg", x, W) + b
    times = tf.range(tf.shape(x)[0], dtype=ends.dtype)
    _, c, h = tf.scan(step, (times, zx), initializer=(h0, c0, tf.zeros_like(h0)))
    return h, c


# JAX.


def jax_port(body) -> Port:
    """Make a port of a function of JAX arrays, compiled once for each shape."""

    def port(x, weights, h0, c0, lengths=None):
        import jax

        ends = np.full(len(h0), len(x)) if lengths is None else lengths
        with jax.enable_x64(x.dtype == np.float64):
            h, c = jax_jit(body)(x, weights["W"], weights["R"], weights["b"], h0, c0, ends.astype(np.int32))
            return np.array(h), np.array(c)

    return port


@cache
def jax_jit(body):
    import jax

    return jax.jit(body)


def jax_step(z, h, c, valid):
    """From z to the state after: h, c, and h as it is given out."""
    import jax
    import jax.numpy as jnp

    i, f, g, o = jnp.split(z, 4, axis=-1)
    c_new = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h_new = jax.nn.sigmoid(o) * jnp.tanh(c_new)
    return jnp.where(valid, h_new, h), jnp.where(valid, c_new, c), jnp.where(valid, h_new, 0)


def jax_scan(x, W, R, b, h0, c0, ends):
    import jax
    import jax.numpy as jnp

    def step(state, inputs):
        t, x_t = inputs
        h, c, out = jax_step(x_t @ W.T + state[0] @ R.T + b, *state, (t < ends)[:, None])
        return (h, c), (out, c)

    _, outputs = jax.lax.scan(step, (h0, c0), (jnp.arange(len(x)), x))
    return outputs


def jax_each_sequence(x, W, R, b, h0, c0, ends):
    """A scan of one sequence, mapped over the batch."""
    import jax
    import jax.numpy as jnp

    def run(x_n, h_n, c_n, end):
        def step(state, inputs):
            t, x_t = inputs
            h, c, out = jax_step(W @ x_t + R @ state[0] + b, *state, t < end)
            return (h, c), (out, c)

        return jax.lax.scan(step, (h_n, c_n), (jnp.arange(len(x_n)), x_n))[1]

    return jax.vmap(run, in_axes=(1, 0, 0, 0), out_axes=1)(x, h0, c0, ends)


def jax_fori(x, W, R, b, h0, c0, ends):
    import jax
    import jax.numpy as jnp

    kernel = jnp.concatenate([W, R], axis=1)

    def step(t, state):
        h, c, h_seq, c_seq = state
        z = jnp.einsum("bk,gk->bg", jnp.concatenate([x[t], h], axis=1), kernel) + b
        h, c, out = jax_step(z, h, c, (t < ends)[:, None])
        return h, c, h_seq.at[t].set(out), c_seq.at[t].set(c)

    room = jnp.zeros((len(x), *h0.shape), x.dtype)
    return jax.lax.fori_loop(0, len(x), step, (h0, c0, room, room))[2:]


def jax_eager(x, weights, h0, c0, lengths=None):
    """A Python loop over JAX arrays, nothing compiled as a whole."""
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(x.dtype == np.float64):
        W, R, b, h, c = map(jnp.asarray, (weights["W"], weights["R"], weights["b"], h0, c0))
        hs, cs = [], []
        for t, x_t in enumerate(x):
            valid = np.ones((len(h0), 1), bool) if lengths is None else (t < lengths)[:, None]
            h, c, out = jax_step(jnp.dot(x_t, W.T) + jnp.dot(h, R.T) + b, h, c, valid)
            hs.append(np.asarray(out))
            cs.append(np.asarray(c))
    return np.stack(hs), np.stack(cs)


def _numpy_styles() -> list[Style]:
    loops: dict[str, dict[str, Any]] = {
        "plain": {},
        "bias first": {"prepare": bias_first},
        "recurrent part first": {"prepare": recurrent_first},
        "bias in two parts": {"prepare": bias_in_two_parts},
        "forget bias apart": {"prepare": forget_bias_apart},
        "fused [x;h]": {"prepare": fused},
        "fused [h;x], np.dot": {"prepare": fused_hidden_first, "sigmoid": sigmoid_tanh},
        "fused [x;h;1]": {"prepare": fused_with_bias},
        "projected before": {"prepare": projected_before},
        "projected flat, bias last": {"prepare": projected_flat, "sigmoid": sigmoid_stable},
        "np.dot on transposed copies": {"prepare": transposed_copies},
        "Fortran order": {"prepare": fortran_order},
        "columns": {"prepare": columns, "sigmoid": sigmoid_branches},
        "per gate": {"prepare": per_gate},
        "per gate, fused": {"prepare": per_gate_fused, "sigmoid": sigmoid_tanh},
        "stacked gates": {"prepare": stacked_gates},
        "einsum": {"prepare": einsums},
        "einsum, projected before": {"prepare": einsum_whole},
        "inner and tensordot": {"prepare": inner_products},
        "sums forward": {"prepare": partial(summed, add_forward)},
        "sums backward": {"prepare": partial(summed, add_backward)},
        "sums shuffled": {"prepare": partial(summed, add_shuffled)},
        "sums pairwise": {"prepare": partial(summed, add_pairwise)},
        "sums by halves": {"prepare": partial(summed, add_halves)},
        "sums in blocks": {"prepare": partial(summed, add_blocks)},
        "sums in lanes": {"prepare": partial(summed, add_lanes)},
        "sums by magnitude": {"prepare": partial(summed, add_by_magnitude)},
        "sums compensated": {"prepare": partial(summed, add_compensated)},
        "sums from the bias on": {"prepare": bias_as_start},
        "sigmoid by tanh": {"sigmoid": sigmoid_tanh},
        "sigmoid by exp(-|z|)": {"sigmoid": sigmoid_stable},
        "sigmoid by branches": {"sigmoid": sigmoid_branches},
        "sigmoid by logarithm": {"sigmoid": sigmoid_log},
        "sigmoid as complement": {"sigmoid": sigmoid_complement},
        "sigmoid clipped": {"sigmoid": sigmoid_clipped},
        "tanh by sigmoid": {"tanh": tanh_sigmoid},
        "tanh by exp": {"tanh": tanh_exp},
        "tanh by expm1": {"tanh": tanh_expm1},
        "c: i g first": {"update": update_added_first},
        "c: fused multiply-add": {"update": update_fma},
        "c: leaky": {"update": update_leaky},
        "all at once": {
            "prepare": partial(summed, add_backward), "sigmoid": sigmoid_complement, "tanh": tanh_sigmoid,
            "update": update_leaky,
        },
    }  # fmt: skip
    return [Style(name, loop(**parts)) for name, parts in loops.items()]


STYLES = [
    *_numpy_styles(),
    Style("wide inside", wide_inside),
    Style("one tanh for all gates", one_tanh_for_all_gates),
    Style("in place", in_place),
    Style("each sequence alone", each_sequence_alone),
    Style("packed", packed),
    Style("batch first, padded", batch_first),
    Style("Python floats", python_floats),
    Style("NumPy scalars", numpy_scalars),
    Style("torch loop", torch_port(torch_loop), "torch"),
    Style("torch addmm, addcmul", torch_port(torch_fused), "torch"),
    Style("torch linear per gate", torch_port(torch_linears), "torch"),
    Style("torch LSTMCell", torch_port(torch_cell), "torch"),
    Style("torch LSTM by steps", torch_port(torch_layer_by_steps), "torch"),
    Style("torch LSTM", torch_layer, "torch", of_one_run=False),
    Style("tf eager", tf_port(tf_loop), "tensorflow"),
    Style("tf eager, fused", tf_port(tf_fused), "tensorflow"),
    Style("tf function, unrolled", tf_port(tf_loop, compiled=True), "tensorflow"),
    Style("tf scan", tf_scan, "tensorflow"),
    Style("tf LSTMBlockCell", tf_port(tf_block_cell), "tensorflow", dtypes=("float32",)),
    Style("Keras LSTMCell", tf_port(keras_cell), "tensorflow"),
    Style("jax scan", jax_port(jax_scan), "jax"),
    Style("jax vmap of scan", jax_port(jax_each_sequence), "jax"),
    Style("jax fori_loop", jax_port(jax_fori), "jax"),
    Style("jax eager", jax_eager, "jax"),
]

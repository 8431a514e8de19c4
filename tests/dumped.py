"""An LSTM as people write one, for dumps: canonical weights, time first, in the dtype of its input."""

from __future__ import annotations

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def weights(I=3, H=4, seed=0, dtype=np.float32):
    """W (4H, I), R (4H, H) and two biases (4H,), gates i, f, g, o."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) / 2 for shape in ((4 * H, I), (4 * H, H), (4 * H,), (4 * H,))]


def inputs(T=5, B=2, I=3, seed=1, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(T, B, I)).astype(dtype)


def lstm(x, W, R, b, *, h=None, c=None, order="ifgo", carry=True):
    """All h and all c, (T, B, H). ``order``: of the blocks as they are read; ``carry``: the state goes on."""
    H = len(b) // 4
    h0 = h = np.zeros((x.shape[1], H), x.dtype) if h is None else h
    c0 = c = np.zeros((x.shape[1], H), x.dtype) if c is None else c
    h_seq, c_seq = [], []
    for x_t in x:
        gate = dict(zip(order, np.split(x_t @ W.T + h @ R.T + b, 4, axis=-1), strict=True))
        c = sigmoid(gate["f"]) * c + sigmoid(gate["i"]) * np.tanh(gate["g"])
        h = sigmoid(gate["o"]) * np.tanh(c)
        h_seq.append(h)
        c_seq.append(c)
        if not carry:
            h, c = h0, c0
    return np.stack(h_seq), np.stack(c_seq)


def bidirectional(x, forward, backward):
    """Both directions of one layer: h side by side, and the final h and c of each."""
    h, c = lstm(x, *forward)
    h_back, c_back = lstm(x[::-1], *backward)
    return np.concatenate([h, h_back[::-1]], axis=-1), [h[-1], h_back[-1]], [c[-1], c_back[-1]]


def blocks(array, order):
    """Blocks i, f, g, o of the first axis in another order."""
    parts = dict(zip("ifgo", np.split(array, 4), strict=True))
    return np.concatenate([parts[gate] for gate in order])


def torch_names(W, R, b_ih, b_hh, prefix="", suffix="_l0"):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {f"{prefix}{name}{suffix}": array for name, array in zip(names, (W, R, b_ih, b_hh), strict=True)}


def keras_names(W, R, b, prefix=""):
    arrays = {"kernel": W.T, "recurrent_kernel": R.T, "bias": b}
    return {prefix + name: array for name, array in arrays.items()}


def batch_first(array):
    return array.swapaxes(0, 1)

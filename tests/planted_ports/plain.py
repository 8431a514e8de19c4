"""Behaves: the plainest loop."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def port(x, weights, h0, c0, lengths=None):
    W, R, b = weights["W"], weights["R"], weights["b"]
    h, c = h0, c0
    hs, cs = [], []
    for t in range(len(x)):
        i, f, g, o = np.split(x[t] @ W.T + h @ R.T + b, 4, axis=-1)
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_new = sigmoid(o) * np.tanh(c_new)
        out = h_new
        if lengths is not None:
            valid = (t < lengths)[:, None]
            out = np.where(valid, h_new, 0)
            h_new, c_new = np.where(valid, h_new, h), np.where(valid, c_new, c)
        h, c = h_new, c_new
        hs.append(out)
        cs.append(c)
    return np.stack(hs).astype(x.dtype), np.stack(cs).astype(x.dtype)


def without_lengths(x, weights, h0, c0):
    return port(x, weights, h0, c0)


def insists_on_lengths(x, weights, h0, c0, lengths):
    return port(x, weights, h0, c0, lengths)


def two_arguments(x, weights):
    return None


def other_order(x, h0, c0, weights):
    return port(x, weights, h0, c0)


def one_more(x, weights, h0, c0, mask, *, training):
    return None


not_a_function = {"port": port}


class Module:
    def __call__(self, x, weights, h0, c0, lengths=None):
        return port(x, weights, h0, c0, lengths)


instance = Module()

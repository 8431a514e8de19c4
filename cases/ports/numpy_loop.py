"""A port in plain NumPy that agrees in every case: the equations, in one loop over the timesteps.

Checked by ``lockstep check cases/ports/numpy_loop.py:port``.
"""

import numpy as np


def port(x, weights, h0, c0, lengths=None):
    """Run an LSTM over x (T, B, I) from h0 and c0 (B, H); give h and c, each (T, B, H).

    ``weights`` holds ``W`` (4H, I), ``R`` (4H, H) and ``b`` (4H,), gates i, f, g, o, the forget bias inside ``b``.
    Some cases have sequences of different ``lengths`` (B,): past a sequence's end h is 0, and the state stays what it
    was. Without that parameter, those cases are reported as unsupported.
    """
    W, R, b = weights["W"], weights["R"], weights["b"]
    h, c = h0, c0
    h_seq, c_seq = [], []
    for t, x_t in enumerate(x):
        i, f, g, o = np.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_new = sigmoid(o) * np.tanh(c_new)
        valid = np.ones((len(h), 1), bool) if lengths is None else (t < lengths)[:, None]
        h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
        h_seq.append(np.where(valid, h_new, 0))
        c_seq.append(c)
    return np.stack(h_seq), np.stack(c_seq)


def sigmoid(z):
    """1 / (1 + exp(-z)), written so that nothing overflows."""
    return (1 + np.tanh(z / 2)) / 2

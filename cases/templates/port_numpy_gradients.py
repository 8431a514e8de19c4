"""A port in NumPy with gradients written by hand, which agrees as it stands: put your own LSTM into it.

lockstep check port_numpy_gradients.py:port gradients gradients-float64
"""

import numpy as np


def port(x, weights, h0, c0, dh=None, dc=None):
    """Run the LSTM over x (T, B, I) from h0 and c0 (B, H), and back.

    ``dh`` (T, B, H) and ``dc`` (B, H) are the cotangents of h_seq and of the final c: the gradients are those of
    sum(dh * h_seq) + sum(dc * c). What is left out of the result is not compared. Cases without gradients have no
    ``dh``.
    """
    W, R, b = weights["W"], weights["R"], weights["b"]
    h_seq, c_seq, kept = forward(x, h0, c0, W, R, b)
    return (h_seq, c_seq) if dh is None else {"h_seq": h_seq, **backward(dh, dc, kept, W, R)}


def forward(x, h, c, W, R, b):
    """h_seq and c_seq (T, B, H), and what the way back needs of each timestep."""
    h_seq, c_seq, kept = [], [], []
    for x_t in x:
        # YOUR LSTM HERE, forward and, below, backward. W, R and b hold the gates i, f, g, o.
        i, f, g, o = np.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        before = h, c
        c = f * c + i * g
        h = o * np.tanh(c)
        kept.append((x_t, *before, i, f, g, o, c))
        h_seq.append(h)
        c_seq.append(c)
    return np.stack(h_seq), np.stack(c_seq), kept


def backward(dh_seq, dc, kept, W, R):
    """Gradients by the names of the arguments."""
    dh, dx = np.zeros_like(dc), []
    dW, dR, db = np.zeros_like(W), np.zeros_like(R), np.zeros_like(W[:, 0])
    for dh_t, (x_t, h, c, i, f, g, o, c_new) in zip(dh_seq[::-1], kept[::-1], strict=True):
        dh = dh + dh_t
        u = np.tanh(c_new)
        dc = dc + dh * o * (1 - u * u)
        slopes = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * u * o * (1 - o)
        dz = np.concatenate(slopes, axis=-1)
        dW, dR, db = dW + dz.T @ x_t, dR + dz.T @ h, db + dz.sum(axis=0)
        dx.append(dz @ W)
        dh, dc = dz @ R, dc * f
    return {"x": np.stack(dx[::-1]), "W": dW, "R": dR, "b": db, "h0": dh, "c0": dc}


def sigmoid(z):
    """1 / (1 + exp(-z)), written so that nothing overflows."""
    return (1 + np.tanh(z / 2)) / 2

"""A port in NumPy that agrees as it stands: put your own LSTM into it, and check it again.

lockstep check port_numpy_plain.py:port
"""

import numpy as np


def step(x_t, h, c, W, R, b):
    """One timestep from x_t (B, I) and the state h, c (B, H): the next h and c."""
    # YOUR LSTM HERE, in the place of these lines. W (4H, I), R (4H, H) and b (4H,) hold the gates i, f, g, o.
    i, f, g, o = np.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def port(x, weights, h0, c0, lengths=None):
    """Run the LSTM over x (T, B, I) from h0 and c0 (B, H): h and c of all timesteps, each (T, B, H).

    Past a sequence's length h is 0, and the state stays what it was. If yours takes no lengths, remove that parameter:
    cases that have them are then unsupported.
    """
    h, c, h_seq, c_seq = h0, c0, [], []
    for t, x_t in enumerate(x):
        h_new, c_new = step(x_t, h, c, weights["W"], weights["R"], weights["b"])
        valid = np.full((len(h), 1), True) if lengths is None else (t < lengths)[:, None]
        h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
        h_seq.append(np.where(valid, h_new, 0))
        c_seq.append(c)
    return np.stack(h_seq), np.stack(c_seq)


def sigmoid(z):
    """1 / (1 + exp(-z)), written so that nothing overflows."""
    return (1 + np.tanh(z / 2)) / 2

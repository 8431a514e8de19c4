"""A port in NumPy of an attention decoder, which agrees as it stands: put your own decoder into it.

lockstep check port_numpy_decoder.py:port
"""

import numpy as np


def port(enc, weights, h0, c0, y0, steps, lengths=None):
    """Decode over enc (S, B, E) from h0, c0 (B, H) and y0 (B, A): logits (T, B, O) and h_tilde (T, B, A).

    ``weights`` holds the cell's W, R and b, W_tilde (A, E + H), b_tilde (A,), W_target (O, A), and W_a (E, H) where the
    scores are general. Source timesteps from a sequence's length on take no part.
    """
    S, B, _ = enc.shape
    valid = np.full((S, B), True) if lengths is None else np.arange(S)[:, None] < lengths
    h, c, y, logits, h_tilde = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = cell(y, h, c, weights["W"], weights["R"], weights["b"])
        context = attend(enc, h @ weights["W_a"].T if "W_a" in weights else h, valid)
        # What is fed back as the next input.
        y = np.tanh(np.concatenate([context, h], axis=-1) @ weights["W_tilde"].T + weights["b_tilde"])
        h_tilde.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(h_tilde)


def cell(y, h, c, W, R, b):
    """The next h and c (B, H) of the LSTM around which attention is."""
    # YOUR LSTM HERE: the cell; attention and what is fed back stand above and below. The gates are i, f, g, o.
    i, f, g, o = np.split(y @ W.T + h @ R.T + b, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def attend(enc, query, valid):
    """The context (B, E): the mean of ``enc``, weighted by the softmax of its products with the query (B, E)."""
    scores = np.where(valid, (enc * query).sum(axis=-1), -np.inf)
    shares = np.exp(scores - scores.max(axis=0))
    return (shares[:, :, None] * enc).sum(axis=0) / shares.sum(axis=0)[:, None]


def sigmoid(z):
    """1 / (1 + exp(-z)), written so that nothing overflows."""
    return (1 + np.tanh(z / 2)) / 2

"""A port of a whole network in plain NumPy: layers of one or both directions, over sequences of different lengths.

Checked by ``lockstep check cases/ports/bidirectional.py:port --case cases/ports/network.toml``.
"""

import numpy as np


def port(x, weights, h0, c0, lengths=None):
    """Run the network over x (T, B, I) from h0 and c0; give h_seq (T, B, D*H), and the final states h_n and c_n.

    ``weights[layer][direction]`` holds ``W``, ``R`` and ``b`` as ``numpy_loop.py`` beside this file has them, forward
    before reverse. States are (L*D, B, H) in the same order: both directions of the first layer, then of the second.
    """
    lengths = np.full(x.shape[1], len(x)) if lengths is None else lengths
    h_seq, h_n, c_n = x, [], []
    for layer in weights:
        sides = []
        for reverse, lane in enumerate(layer):
            k = len(h_n)
            inputs = turned(h_seq, lengths) if reverse else h_seq
            outputs, h, c = run(inputs, lane, h0[k], c0[k], lengths)
            sides.append(turned(outputs, lengths) if reverse else outputs)
            h_n.append(h)
            c_n.append(c)
        h_seq = np.concatenate(sides, axis=-1)
    return h_seq, np.stack(h_n), np.stack(c_n)


def run(x, weights, h, c, lengths):
    """Run one direction of one layer; past a sequence's end h is 0 in the output, and the state stays what it was."""
    outputs = []
    for t, x_t in enumerate(x):
        i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_new = sigmoid(o) * np.tanh(c_new)
        valid = (t < lengths)[:, None]
        h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
        outputs.append(np.where(valid, h_new, 0))
    return np.stack(outputs), h, c


def turned(array, lengths):
    """Turn (T, B, n) round in time, each sequence within its own length: the padding stays behind it."""
    result = array.copy()
    for n, length in enumerate(lengths):
        result[:length, n] = array[:length, n][::-1]
    return result


def sigmoid(z):
    """1 / (1 + exp(-z)), written so that nothing overflows."""
    return (1 + np.tanh(z / 2)) / 2

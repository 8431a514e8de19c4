"""A port in NumPy of layers in one or both directions, which agrees as it stands: put your own network into it.

lockstep check port_numpy_network.py:port bidirectional layers-bidirectional
"""

import numpy as np


def port(x, weights, h0, c0, lengths=None):
    """Run the network over x (T, B, I): h_seq (T, B, D H), the final states h_n and c_n (L D, B, H).

    ``weights[layer][direction]`` is a dict of W (4H, I), R (4H, H) and b (4H,), forward before reverse; h0 and c0
    (L D, B, H) are in the same order. One layer in one direction comes as one dict, with states (B, H).
    """
    if isinstance(weights, dict):
        h_seq, _, c_n = network(x, [[weights]], h0[None], c0[None], lengths)
        return h_seq, c_n[0]
    return network(x, weights, h0, c0, lengths)


def network(x, weights, h0, c0, lengths):
    """All layers, each over the outputs of the one below, which stand side by side."""
    lengths = np.full(x.shape[1], len(x)) if lengths is None else lengths
    h_seq, finals = x, []
    for layer in weights:
        outputs = []
        for d, lane in enumerate(layer):
            k = len(finals)
            inputs = turned(h_seq, lengths) if d else h_seq
            output, *final = lstm(inputs, h0[k], c0[k], lengths, **lane)
            outputs.append(turned(output, lengths) if d else output)
            finals.append(final)
        h_seq = np.concatenate(outputs, axis=-1)
    h_n, c_n = zip(*finals, strict=True)
    return h_seq, np.stack(h_n), np.stack(c_n)


def lstm(x, h, c, lengths, W, R, b):
    """One direction of one layer over x (T, B, n): its outputs, 0 past a sequence's end, and the final h and c."""
    outputs = []
    for t, x_t in enumerate(x):
        # YOUR LSTM HERE: the next h and c. W, R and b hold the gates i, f, g, o.
        i, f, g, o = np.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_new = sigmoid(o) * np.tanh(c_new)
        valid = (t < lengths)[:, None]
        h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
        outputs.append(np.where(valid, h_new, 0))
    return np.stack(outputs), h, c


def turned(array, lengths):
    """Turn (T, B, n) round in time, each sequence within its own length: the padding stays behind it."""
    t = np.arange(len(array))[:, None]
    return np.take_along_axis(array, np.where(t < lengths, lengths - 1 - t, t)[:, :, None], axis=0)


def sigmoid(z):
    """1 / (1 + exp(-z)), written so that nothing overflows."""
    return (1 + np.tanh(z / 2)) / 2

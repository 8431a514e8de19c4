"""A port of Keras 3 layers in one or both directions, which agrees as it stands: put your own layers into it.

lockstep check port_keras_network.py:port bidirectional layers-bidirectional
"""

import keras
import numpy as np

# Weights come as Keras stores them: kernel (I, 4H), recurrent_kernel (H, 4H), bias (4H,), gates i, f, g (c), o.
LOCKSTEP = {"layout": "keras"}


def build(hidden_size, directions, dtype):
    """One layer that gives h of all timesteps, then the last h and c of each direction."""
    # YOUR LSTM HERE: your layer, or a model that ends with one.
    layer = keras.layers.LSTM(hidden_size, return_sequences=True, return_state=True, dtype=dtype)
    return layer if directions == 1 else keras.layers.Bidirectional(layer, dtype=dtype)


def port(x, weights, h0, c0):
    """Run the network over x (T, B, I): h_seq (T, B, D H), the final states h_n and c_n (L D, B, H).

    ``weights`` is the list that get_weights() of the layers would give, forward before backward; h0 and c0 (L D, B, H)
    are in the same order. One layer in one direction comes as a dict of its arrays, with states (B, H). With a further
    parameter ``lengths=None`` cases whose sequences end early are run, too.
    """
    if isinstance(weights, dict):
        h_seq, _, c_n = network(x, list(weights.values()), h0[None], c0[None])
        return h_seq, c_n[0]
    return network(x, weights, h0, c0)


def network(x, weights, h0, c0):
    """All layers, each over the outputs of the one below. Keras takes the batch first."""
    hidden_size, (last_kernel, *_) = h0.shape[2], weights[-3:]
    # A list of arrays does not tell: the last kernel takes in all directions below it, or x itself.
    two_ways = len(last_kernel) == 2 * hidden_size or (len(h0), len(last_kernel)) == (2, x.shape[2])
    directions = 2 if two_ways else 1
    h_seq, h_n, c_n = x.swapaxes(0, 1), [], []
    for start in range(0, len(h0), directions):
        layer = build(hidden_size, directions, x.dtype.name)
        layer.build((None, None, h_seq.shape[2]))
        layer.set_weights(weights[3 * start : 3 * (start + directions)])
        first = [state[k] for k in range(start, start + directions) for state in (h0, c0)]
        h_seq, *finals = layer(h_seq, initial_state=first)
        h_n += [keras.ops.convert_to_numpy(h) for h in finals[::2]]
        c_n += [keras.ops.convert_to_numpy(c) for c in finals[1::2]]
    return keras.ops.convert_to_numpy(h_seq).swapaxes(0, 1), np.stack(h_n), np.stack(c_n)

"""A port of a Keras 3 layer that agrees as it stands: put your own layer or model into it, and check it again.

lockstep check port_keras_plain.py:port
"""

import keras
import numpy as np

# Weights come as Keras stores them: kernel (I, 4H), recurrent_kernel (H, 4H), bias (4H,), gates i, f, g (c), o.
LOCKSTEP = {"layout": "keras"}


def build(hidden_size, dtype):
    """A layer that gives h of all timesteps, then the last h and c."""
    # YOUR LSTM HERE: your layer, or a model that ends with one.
    return keras.layers.LSTM(hidden_size, return_sequences=True, return_state=True, dtype=dtype)


def port(x, weights, h0, c0, lengths=None):
    """Load the weights into the layer, and run it over x (T, B, I) from h0 and c0 (B, H): h_seq, and the last c.

    Keras takes the batch first. Past a sequence's length it repeats the last output: there h_seq is to be 0.
    """
    layer = build(h0.shape[1], x.dtype.name)
    layer.build((None, None, x.shape[2]))
    layer.set_weights([weights[name] for name in ("kernel", "recurrent_kernel", "bias")])
    valid = np.full(x.shape[:2], True) if lengths is None else np.arange(len(x))[:, None] < lengths
    mask = None if lengths is None else keras.ops.convert_to_tensor(valid.T)
    h_seq, _, c_n = layer(x.swapaxes(0, 1), initial_state=[h0, c0], mask=mask)
    h_seq = keras.ops.convert_to_numpy(h_seq).swapaxes(0, 1)
    return np.where(valid[:, :, None], h_seq, 0), keras.ops.convert_to_numpy(c_n)

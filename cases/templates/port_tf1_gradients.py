"""A port of a TF1 graph with its gradients by ``tf.gradients``, which agrees as it stands: put your own graph into it.

lockstep check port_tf1_gradients.py:port gradients gradients-float64
"""

import os

# TF 2.16 and later offer the rnn cells through tf-keras only.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

tf1 = tf.compat.v1


def build(x, kernel, bias, h0, c0):
    """The graph over x (T, B, I) from h0 and c0 (B, H): h of all timesteps, and the last c.

    kernel (I + H, 4H) and bias (4H,) hold the gates i, g (j), f, o, the forget bias inside ``bias``.
    """
    # YOUR LSTM HERE: what makes your graph, with these in the place of its variables.
    h, c, h_seq = h0, c0, []
    for x_t in tf.unstack(x):
        i, j, f, o = tf.split(tf.concat([x_t, h], axis=1) @ kernel + bias, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(j)
        h = tf.sigmoid(o) * tf.tanh(c)
        h_seq.append(h)
    return tf.stack(h_seq), c


def port(x, weights, h0, c0, dh=None, dc=None):
    """Build the graph and the way back, and run both.

    ``dh`` (T, B, H) and ``dc`` (B, H) are the cotangents of h_seq and of the last c: the gradients are those of
    sum(dh * h_seq) + sum(dc * c). What is left out of the result is not compared. Cases without gradients have no
    ``dh``.
    """
    with tf.Graph().as_default(), tf1.Session() as session:
        leaves = {name: tf.constant(array) for name, array in {"x": x, **weights, "h0": h0, "c0": c0}.items()}
        kernel = stored(tf.concat([leaves["W"], leaves["R"]], axis=1))
        results = build(leaves["x"], kernel, stored(leaves["b"]), leaves["h0"], leaves["c0"])
        if dh is None:
            return session.run(results)
        gradients = tf1.gradients(results, list(leaves.values()), [tf.constant(dh), tf.constant(dc)])
        return session.run({"h_seq": results[0], **dict(zip(leaves, gradients, strict=True))})


def stored(array):
    """Canonical weights, gates i, f, g, o in the first axis, as TF1 stores them. The gradients find their way back."""
    i, f, g, o = tf.split(array, 4)
    return tf.transpose(tf.concat([i, g, f, o], axis=0))

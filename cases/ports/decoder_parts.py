"""What the three attention decoders have in common: ``decoder_as_asked.py`` and its two corrections."""

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1


def placeholders(batch, window, hidden_size, attention_size):
    """Give inputs without values: enc (S, B, H), h0 and c0 (B, H), the first input y0 (B, A)."""
    shapes = {
        "enc": (window, batch, hidden_size),
        "h0": (batch, hidden_size),
        "c0": (batch, hidden_size),
        "y0": (batch, attention_size),
    }
    return [tf1.placeholder(tf.float32, shape, name) for name, shape in shapes.items()]


def attend(enc, h, lengths):
    """Give the context (B, E): the mean of ``enc`` (S, B, E), weighted by the softmax of its products with h (B, E)."""
    scores = tf.reduce_sum(enc * h, axis=2)
    if lengths is None:
        return tf.reduce_sum(tf.nn.softmax(scores, axis=0)[:, :, None] * enc, axis=0)
    valid = tf.range(enc.shape[0])[:, None] < tf.cast(lengths, tf.int32)
    scores = tf.where(valid, scores, scores.dtype.min)
    weights = tf.where(valid, tf.nn.softmax(scores, axis=0), tf.zeros_like(scores))
    return tf.reduce_sum(weights[:, :, None] * enc, axis=0)


def run(decode, enc, weights, h0, c0, y0, steps, lengths):
    """Build a decoder's graph, put ``weights`` into its first step's variables, and run it.

    What later steps have for themselves keeps what its initialiser gives it.
    """
    given = as_the_graph_stores_them(weights)
    with tf.Graph().as_default(), tf1.Session() as session:
        results = decode(
            *map(tf.constant, (enc, h0, c0, y0)),
            steps,
            lengths,
            outputs=len(weights["W_target"]),
            general="W_a" in weights,
        )
        variables = {variable.op.name: variable for variable in tf1.global_variables()}
        session.run(tf1.global_variables_initializer())
        session.run([tf1.assign(variables[f"lstm_cell_decoder/{name}"], array) for name, array in given.items()])
        return session.run(results)


def as_the_graph_stores_them(weights):
    """Give canonical weights by the names of the first step's variables; gates i, j, f, o (j is g) in TF1's cells."""
    i, f, g, o = np.split(np.hstack([weights["W"], weights["R"]]), 4)
    kernel = np.vstack([i, g, f, o]).T
    i, f, g, o = np.split(weights["b"], 4)
    # The cell adds forget_bias = 1.0 at run time; b has it inside, and it would count twice.
    bias = np.concatenate([i, g, f - 1, o])
    own = {"W_a": "weights_score", "W_tilde": "weights_tilde", "b_tilde": "bias_tilde", "W_target": "weights_target"}
    named = {own[name]: np.transpose(weights[name]) for name in own if name in weights}
    return {"rnn/lstm_cell/kernel": kernel, "rnn/lstm_cell/bias": bias, **named}

"""A port of a TF1 attention decoder, which agrees as it stands: put your own graph into it.

lockstep check port_tf1_decoder.py:port
"""

import os

# TF 2.16 and later offer the rnn cells through tf-keras only.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

tf1 = tf.compat.v1
# The cell's weights come as TF1 stores them: kernel (A + H, 4H), bias (4H,), gates i, g (j), f, o, without the forget
# bias of 1.0 that the cell adds when it runs.
LOCKSTEP = {"layout": "tf1"}


def build(enc, h, c, y, steps, valid, outputs, *, general):
    """The graph over enc (S, B, E) from h, c (B, H) and y (B, A): logits (T, B, O) and h_tilde (T, B, A)."""
    # YOUR LSTM HERE: what makes your graph. Variables are those of `weights` by the last part of their names.
    E, H, A, dtype = enc.shape[2], h.shape[1], y.shape[1], enc.dtype
    logits, h_tilde = [], []
    for _ in range(steps):
        # So that every step reads the same variables.
        with tf1.variable_scope("decoder", reuse=tf1.AUTO_REUSE):
            cell = tf1.nn.rnn_cell.BasicLSTMCell(H, forget_bias=1.0, dtype=dtype, name="cell")
            h, (c, _) = cell(y, tf1.nn.rnn_cell.LSTMStateTuple(c=c, h=h))
            query = h @ tf.transpose(tf1.get_variable("W_a", [E, H], dtype)) if general else h
            W_tilde, b_tilde = (
                tf1.get_variable(*named, dtype) for named in (("W_tilde", [A, E + H]), ("b_tilde", [A]))
            )
            W_target = tf1.get_variable("W_target", [outputs, A], dtype)
        # What is fed back as the next input.
        y = tf.tanh(tf.concat([attend(enc, query, valid), h], axis=1) @ tf.transpose(W_tilde) + b_tilde)
        h_tilde.append(y)
        logits.append(y @ tf.transpose(W_target))
    return tf.stack(logits), tf.stack(h_tilde)


def attend(enc, query, valid):
    """The context (B, E): the mean of ``enc``, weighted by the softmax of its products with the query (B, E)."""
    scores = tf.reduce_sum(enc * query, axis=2)
    scores = scores if valid is None else tf.where(valid, scores, scores.dtype.min)
    return tf.reduce_sum(tf.nn.softmax(scores, axis=0)[:, :, None] * enc, axis=0)


def port(enc, weights, h0, c0, y0, steps, lengths=None):
    """Build the graph, load the weights into its variables, and run it.

    ``weights`` holds the cell's, W_tilde (A, E + H), b_tilde (A,), W_target (O, A), and W_a (E, H) where the scores are
    general. Source timesteps from a sequence's length on take no part.
    """
    with tf.Graph().as_default(), tf1.Session() as session:
        valid = None if lengths is None else tf.range(len(enc))[:, None] < lengths
        outputs, general = len(weights["W_target"]), "W_a" in weights
        results = build(*map(tf.constant, (enc, h0, c0, y0)), steps, valid, outputs, general=general)
        for variable in tf1.global_variables():
            session.run(tf1.assign(variable, weights[variable.op.name.rpartition("/")[2]]))
        return session.run(results)

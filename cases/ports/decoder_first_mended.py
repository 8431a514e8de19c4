"""The attention decoder of the question, as first mended: the last projection is shared, the others are not.

``tf.get_variable`` finds the variable of the first step again; ``tf.Variable`` beside it still makes new ones.
``lockstep variables cases/ports/decoder_first_mended.py:build`` tells which variables its steps share,
``lockstep check cases/ports/decoder_first_mended.py:port --case attention-probe`` what comes of it. The graph is that
of ``decoder_parts.py`` but for how its variables are made.
"""

import os

# TF 2.16 and later offer the rnn cells through tf-keras only.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import decoder_parts as parts
import tensorflow as tf

tf1 = tf.compat.v1


def build():
    """Build the graph in the sizes of the question: one sequence, a window of 2, attention of size 64."""
    return decode(*parts.placeholders(batch=1, window=2, hidden_size=64, attention_size=64), steps=2)


def port(enc, weights, h0, c0, y0, steps, lengths=None):
    """Run the decoder with the weights given; give logits (T, B, O) and h_tilde (T, B, A)."""
    return parts.run(decode, enc, weights, h0, c0, y0, steps, lengths)


def decode(enc, h, c, y, steps, lengths=None, *, outputs=1, general=False):
    """Decode step by step over ``enc`` (S, B, E) from states h, c (B, H) and the first input y (B, A)."""
    E, H, A, dtype = enc.shape[2], h.shape[1], y.shape[1], enc.dtype
    logits, h_tilde = [], []
    for step in range(steps):
        with tf1.variable_scope("lstm_cell_decoder", reuse=step > 0, initializer=tf1.ones_initializer()):
            cell = tf1.nn.rnn_cell.LSTMCell(H, dtype=dtype)
            (h,), (c, _) = tf1.nn.static_rnn(cell, [y], initial_state=tf1.nn.rnn_cell.LSTMStateTuple(c, h))

            W_a = tf.Variable(tf.ones([H, E], dtype), name="weights_score") if general else None
            W_tilde = tf.Variable(tf.ones([E + H, A], dtype), name="weights_tilde")
            b_tilde = tf.Variable(tf.zeros([A], dtype), name="bias_tilde")
            W_target = tf1.get_variable("weights_target", [A, outputs], dtype)
            context = parts.attend(enc, h if W_a is None else tf.matmul(h, W_a), lengths)
            y = tf.tanh(tf.matmul(tf.concat([context, h], axis=1), W_tilde) + b_tilde)  # fed back as the next input
            h_tilde.append(y)
            logits.append(tf.matmul(y, W_target))
    return tf.stack(logits), tf.stack(h_tilde)

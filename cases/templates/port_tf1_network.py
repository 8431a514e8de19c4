"""A port of a TF1 graph with layers in one or both directions, which agrees as it stands: put your own graph into it.

lockstep check port_tf1_network.py:port bidirectional layers-bidirectional
"""

import contextlib
import os

# TF 2.16 and later offer the rnn cells through tf-keras only.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

tf1 = tf.compat.v1
# Weights come as a TF1 cell stores them: kernel (I + H, 4H), bias (4H,), gates i, g (j), f, o, without the forget bias
# of 1.0 that the cell adds when it runs.
LOCKSTEP = {"layout": "tf1"}


def build(x, weights, first):
    """All layers over x (T, B, n), from the first states: h of all timesteps, and the final states, forward first."""
    # YOUR LSTM HERE: what makes your graph, with variables of these names.
    cells = [tf1.nn.rnn_cell.BasicLSTMCell(state.h.shape[1], forget_bias=1.0, dtype=x.dtype) for state in first]
    if not any("bidirectional_rnn/" in name for name in weights):
        stack = tf1.nn.rnn_cell.MultiRNNCell(cells)
        return tf1.nn.dynamic_rnn(stack, x, initial_state=tuple(first), time_major=True)
    finals = []
    for k in range(0, len(cells), 2):  # as stack_bidirectional_dynamic_rnn of tf.contrib, of which one layer is alone
        scope = f"stack_bidirectional_rnn/cell_{k // 2}"
        with tf1.variable_scope(scope) if cells[2:] else contextlib.nullcontext():
            outputs, final = tf1.nn.bidirectional_dynamic_rnn(
                *cells[k : k + 2], x, None, *first[k : k + 2], time_major=True
            )
        x = tf.concat(outputs, axis=-1)
        finals += final
    return x, finals


def port(x, weights, h0, c0):
    """Build the graph, load the weights into its variables, and run it: h_seq (T, B, D H), h_n and c_n (L D, B, H).

    ``weights`` has the variables by name, as these functions call them; h0 and c0 (L D, B, H) have forward before
    reverse in each layer. One layer in one direction comes as kernel and bias alone, with states (B, H). With a further
    parameter ``lengths=None`` cases whose sequences end early are run, too.
    """
    if "kernel" in weights:
        one = {f"rnn/multi_rnn_cell/cell_0/basic_lstm_cell/{name}": array for name, array in weights.items()}
        h_seq, _, c_n = network(x, one, h0[None], c0[None])
        return h_seq, c_n[0]
    return network(x, weights, h0, c0)


def network(x, weights, h0, c0):
    """The whole network in a graph of its own."""
    with tf.Graph().as_default(), tf1.Session() as session:
        first = [
            tf1.nn.rnn_cell.LSTMStateTuple(c=tf.constant(c), h=tf.constant(h)) for c, h in zip(c0, h0, strict=True)
        ]
        h_seq, finals = build(tf.constant(x), weights, first)
        session.run([tf1.assign(variable, weights[variable.op.name]) for variable in tf1.global_variables()])
        return session.run((h_seq, tf.stack([final.h for final in finals]), tf.stack([final.c for final in finals])))

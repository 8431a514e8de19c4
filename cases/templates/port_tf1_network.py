"""A port of a TF1 graph with layers in one or both directions, which agrees as it stands: put your own graph into it.

lockstep check port_tf1_network.py:port bidirectional layers-bidirectional
"""

import os

# TF 2.16 and later offer the rnn cells through tf-keras only.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf

tf1 = tf.compat.v1
# Weights come as a TF1 cell stores them: kernel (I + H, 4H), bias (4H,), gates i, g (j), f, o, without the forget bias
# of 1.0 that the cell adds when it runs.
LOCKSTEP = {"layout": "tf1"}


def build(x, states):
    """One layer over x (T, B, n), from the first state of each direction: h of all timesteps, and the final states."""
    # YOUR LSTM HERE: what makes a layer of your graph.
    cells = [tf1.nn.rnn_cell.BasicLSTMCell(state.h.shape[1], forget_bias=1.0, dtype=x.dtype) for state in states]
    if len(cells) == 1:
        h_seq, final = tf1.nn.dynamic_rnn(cells[0], x, initial_state=states[0], time_major=True)
        return h_seq, [final]
    outputs, finals = tf1.nn.bidirectional_dynamic_rnn(*cells, x, None, *states, time_major=True)
    return tf.concat(outputs, axis=-1), finals


def port(x, weights, h0, c0):
    """Build the graph, load the weights into its variables, and run it: h_seq (T, B, D H), h_n and c_n (L D, B, H).

    ``weights[layer][direction]`` is a dict, forward before reverse; h0 and c0 (L D, B, H) are in the same order. One
    layer in one direction comes as one dict, with states (B, H). With a further parameter ``lengths=None`` cases whose
    sequences end early are run, too.
    """
    if isinstance(weights, dict):
        h_seq, _, c_n = network(x, [[weights]], h0[None], c0[None])
        return h_seq, c_n[0]
    return network(x, weights, h0, c0)


def network(x, weights, h0, c0):
    """All layers, each over the outputs of the one below."""
    first = [tf1.nn.rnn_cell.LSTMStateTuple(c=c, h=h) for c, h in zip(c0, h0, strict=True)]
    with tf.Graph().as_default(), tf1.Session() as session:
        h_seq, finals = tf.constant(x), []
        for k, lanes in enumerate(weights):
            with tf1.variable_scope(f"layer_{k}"):
                states = [tf.nest.map_structure(tf.constant, first.pop(0)) for _ in lanes]
                h_seq, final = build(h_seq, states)
                finals += final
            # Kernel and bias of a direction come one after the other, forward before reverse.
            stored = [lane[name] for lane in lanes for name in ("kernel", "bias")]
            variables = tf1.global_variables(f"layer_{k}/")
            session.run([tf1.assign(*pair) for pair in zip(variables, stored, strict=True)])
        return session.run((h_seq, tf.stack([final.h for final in finals]), tf.stack([final.c for final in finals])))

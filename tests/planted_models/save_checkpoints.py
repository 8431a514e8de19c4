"""Write planted TF1 checkpoints into the folder that is the argument."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
folder = Path(sys.argv[1])


def save(name, shapes):
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.set_random_seed(1)
        for variable, shape in shapes.items():
            tf1.get_variable(variable, shape, initializer=tf1.random_uniform_initializer(-0.5, 0.5))
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(folder / name), write_meta_graph=False)


CELL = {"rnn/basic_lstm_cell/kernel": (7, 16), "rnn/basic_lstm_cell/bias": (16,)}
save(
    "model.ckpt-100", {**CELL, "rnn/basic_lstm_cell/kernel/Adam": (7, 16), "dense/kernel": (20, 8), "dense/bias": (8,)}
)
PEEPHOLES = {f"rnn/lstm_cell/w_{gate}_diag": (4,) for gate in "ifo"}
save("peepholes", {"rnn/lstm_cell/kernel": (5, 16), "rnn/lstm_cell/bias": (16,), **PEEPHOLES,
                   "rnn/lstm_cell/projection/kernel": (4, 2)})  # fmt: skip
save(
    "two",
    {f"{scope}/{name.rpartition('/')[2]}": shape for scope in ("a/lstm", "b/lstm") for name, shape in CELL.items()},
)


def cells(scopes, kernel="kernel", bias="bias", widths=(7, 8)):
    """The shapes of cells, layer by layer."""
    return {
        f"{scope}/{name}": shape
        for layer, width in zip(scopes, widths, strict=False)
        for scope in layer
        for name, shape in ((kernel, (width, 16)), (bias, (16,)))
    }


save("old", cells([["rnn/basic_lstm_cell"]], "weights", "biases"))
save("older", cells([["RNN/BasicLSTMCell/Linear"]], "Matrix", "Bias"))
save("multi", cells([[f"rnn/multi_rnn_cell/cell_{k}/basic_lstm_cell"] for k in range(2)]))
ways = ("fw", "bw")
save("deep", cells([[f"bidirectional_rnn/{way}/multi_rnn_cell/cell_{k}/lstm_cell" for way in ways] for k in range(2)]))
save("stack", cells([[f"stack_bidirectional_rnn/cell_{k}/bidirectional_rnn/{way}/lstm_cell" for way in ways]
                     for k in range(2)], widths=(7, 12)))  # fmt: skip
save("gap", cells([[f"rnn/multi_rnn_cell/cell_{k}/basic_lstm_cell"] for k in (0, 2)]))
save("gru", {"gru_cell/gates/kernel": (7, 8), "gru_cell/gates/bias": (8,), "gru_cell/candidate/kernel": (7, 4)})
save("dense", {"dense/kernel": (3, 5), "dense/bias": (5,)})
save("misfit", {"lstm/kernel": (7, 12), "lstm/bias": (16,)})
np.savez(
    folder / "cell.npz",
    **{
        name: tf.train.load_variable(str(folder / "model.ckpt-100"), f"rnn/basic_lstm_cell/{name}")
        for name in ("kernel", "bias")
    },
)

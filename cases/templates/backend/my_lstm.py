"""My own LSTM, one layer forward, in NumPy."""

import numpy as np

from lockstep import Trace

REQUIRES = ("numpy",)  # what must be importable, first the framework
INSTALL = "my-lstm"  # what pip installs to get it


def unsupported(case):
    """Why a case cannot be run faithfully, or None."""
    if not case.plain or case.run.lengths is not None:
        return "my_lstm is one forward layer of the standard cell, without lengths and gradients"
    return None


def run(problem):
    """Run a problem: x (T, B, I); h0, c0 (B, H); W (4H, I), R (4H, H), b (4H,), gates i, f, g, o."""
    h, c, steps = problem.h0, problem.c0, []
    for x in problem.x:
        i, f, g, o = np.split(x @ problem.W.T + h @ problem.R.T + problem.b, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        steps.append((h, c))
    all_h, all_c = map(np.stack, zip(*steps, strict=True))
    return Trace(h=all_h, c=all_c, h_n=h, c_n=c)


def sigmoid(z):
    return (1 + np.tanh(z / 2)) / 2

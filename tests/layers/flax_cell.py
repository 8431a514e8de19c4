"""Flax linen's ``LSTMCell``; the names of its parameters are paths, joined by points."""

import flax.linen as nn
from flax.traverse_util import unflatten_dict
from layers.loop import loop

from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("flax", "jax")


def unsupported(case):
    return None


def run(problem, cell_class=nn.LSTMCell):
    p = problem
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["flax"])
    cell, params = cell_class(p.case.lstm.hidden_size), {"params": unflatten_dict(stored, sep=".")}

    def step(x, h, c):
        (c, h), _ = cell.apply(params, (c, h), x)
        return h, c

    return loop(p, step)

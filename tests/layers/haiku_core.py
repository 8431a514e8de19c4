"""Haiku's ``LSTM``, whose weights are those of a Linear inside it."""

import haiku as hk
from layers.loop import loop

from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("haiku", "jax")


def unsupported(case):
    return None


def run(problem):
    p = problem
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["haiku"])

    @hk.without_apply_rng
    @hk.transform
    def network(x, state):
        return hk.LSTM(p.case.lstm.hidden_size)(x, state)

    def step(x, h, c):
        _, state = network.apply({"lstm/linear": stored}, x, hk.LSTMState(hidden=h, cell=c))
        return state.hidden, state.cell

    return loop(p, step)

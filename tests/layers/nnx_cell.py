"""Flax nnx' ``LSTMCell``; the names of its parameters are attributes, joined by points."""

import jax.numpy as jnp
from flax import nnx
from layers.loop import loop

from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("flax", "jax")


def unsupported(case):
    return None


def run(problem):
    p = problem
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["nnx"])
    cell = nnx.LSTMCell(p.case.lstm.input_size, p.case.lstm.hidden_size, rngs=nnx.Rngs(0))
    state = nnx.state(cell, nnx.Param)
    assert {".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)} == set(stored)
    for name, array in stored.items():
        linear, _, kind = name.partition(".")
        getattr(getattr(cell, linear), kind).set_value(jnp.asarray(array))

    def step(x, h, c):
        (c, h), _ = cell((c, h), x)
        return h, c

    return loop(p, step)

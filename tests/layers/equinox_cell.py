"""Equinox' ``LSTMCell``, its attributes replaced."""

import equinox as eqx
import jax
import jax.numpy as jnp
from layers.loop import loop

from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("equinox", "jax")


def unsupported(case):
    return None


def run(problem):
    p = problem
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["equinox"])
    cell = eqx.nn.LSTMCell(p.case.lstm.input_size, p.case.lstm.hidden_size, key=jax.random.key(0))
    for name, array in stored.items():
        cell = eqx.tree_at(lambda cell, name=name: getattr(cell, name), cell, jnp.asarray(array))
    return loop(p, lambda x, h, c: jax.vmap(cell)(x, (h, c)))

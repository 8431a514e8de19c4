"""Flax linen's ``OptimizedLSTMCell``, as ``flax_cell`` runs ``LSTMCell``."""

import flax.linen as nn
from layers import flax_cell

REQUIRES = ("flax", "jax")

unsupported = flax_cell.unsupported


def run(problem):
    return flax_cell.run(problem, nn.OptimizedLSTMCell)

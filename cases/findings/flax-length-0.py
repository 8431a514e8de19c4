"""Exits 1 where it shows: a sequence of length 0 does not keep its initial carry."""

import sys

import jax.numpy as jnp
from flax import nnx

rnn = nnx.RNN(nnx.LSTMCell(1, 1, rngs=nnx.Rngs(0)), return_carry=True)
first = (jnp.zeros((1, 1)), jnp.zeros((1, 1)))
carry, _ = rnn(jnp.ones((1, 2, 1)), initial_carry=first, seq_lengths=jnp.array([0]))
print("the carry of a sequence of length 0, which began at 0, is", carry)
sys.exit(any(float(part[0, 0]) != 0 for part in carry))

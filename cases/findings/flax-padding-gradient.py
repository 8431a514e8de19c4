"""Exits 1 where it shows: what stands past a sequence's end reaches the gradients."""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp

rnn = nn.RNN(nn.LSTMCell(1), return_carry=True)
weights = rnn.init(jax.random.key(0), jnp.ones((1, 2, 1)))


def final(x):
    (c, _), _ = rnn.apply(weights, x, seq_lengths=jnp.array([1]))
    return c.sum()


found = [float(jax.grad(final)(jnp.array([[[1.0], [padding]]]))[0, 0, 0]) for padding in (1.0, jnp.nan)]
print("with 1 and with NaN in the padding the gradient of the first input is", found)
sys.exit(found[1] != found[1])

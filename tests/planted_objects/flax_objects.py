"""JAX objects, as people write them: Flax and Equinox modules, and a class with a dict of arrays."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx


def flax_rnn(input_size, hidden_size):
    return nnx.RNN(nnx.LSTMCell(input_size, hidden_size, rngs=nnx.Rngs(0)), return_carry=True)


class FlaxModule(nnx.Module):
    """A module of one's own around a cell of Flax's."""

    def __init__(self, din, dout, *, rngs):
        self.cell = nnx.OptimizedLSTMCell(din, dout, rngs=rngs)
        self.dout = dout

    def __call__(self, x, carry=None):
        carry = (jnp.zeros((x.shape[0], self.dout)),) * 2 if carry is None else carry
        outputs = []
        for t in range(x.shape[1]):
            carry, y = self.cell(carry, x[:, t])
            outputs.append(y)
        return carry, jnp.stack(outputs, 1)


class EquinoxModule(eqx.Module):
    """One sequence at a time, by a scan."""

    cell: eqx.nn.LSTMCell

    def __init__(self, input_size, hidden_size, *, key):
        self.cell = eqx.nn.LSTMCell(input_size, hidden_size, key=key)

    def __call__(self, xs):
        def step(state, x):
            state = self.cell(x, state)
            return state, state

        zeros = jnp.zeros(self.cell.hidden_size)
        _, (hs, cs) = jax.lax.scan(step, (zeros, zeros), xs)
        return hs, cs

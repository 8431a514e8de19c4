import jax
import jax.numpy as jnp
from flax import linen, nnx


class Decoder(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.cells = nnx.List([nnx.LSTMCell(3, 3, rngs=rngs) for _ in range(2)])
        self.out = nnx.Linear(3, 3, rngs=rngs)
        self.again = self.out
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.stack = nnx.Sequential(nnx.Linear(3, 3, rngs=rngs), nnx.Linear(3, 3, rngs=rngs))


class Dense(linen.Module):
    @linen.compact
    def __call__(self, x):
        for _ in range(2):
            x = linen.Dense(3)(x)
        shared = linen.Dense(3, name="shared")
        return shared(shared(x))


def with_variables():
    return Dense(), Dense().init(jax.random.key(0), jnp.ones((1, 3)))


def alone():
    return Dense()

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


def scanned(axes, length=None, over_inputs=True):
    """An LSTM over time whose parameters are made for each step, or once; or a row of layers."""
    cell = linen.scan(
        linen.LSTMCell if over_inputs else Layer, split_rngs={"params": bool(axes)}, in_axes=0 if over_inputs else (),
        length=length, **({"variable_axes": {"params": 0}} if axes else {"variable_broadcast": "params"}),
    )  # fmt: skip
    return cell(features=3)


class Layer(linen.Module):
    features: int

    @linen.compact
    def __call__(self, x):
        return linen.Dense(self.features)(x), None


class OverTime(linen.Module):
    axes: bool

    @linen.compact
    def __call__(self, x):
        state = (jnp.zeros((1, 3)), jnp.zeros((1, 3)))
        return scanned(self.axes)(state, x)[1]


class OverLayers(linen.Module):
    @linen.compact
    def __call__(self, x):
        return scanned(axes=True, length=5, over_inputs=False)(x)[0]


X = jnp.ones((5, 1, 3))


def by_timestep():
    return OverTime(True), OverTime(True).init(jax.random.key(0), X), X


def once_for_all():
    return OverTime(False), OverTime(False).init(jax.random.key(0), X), X


def by_layer():
    return OverLayers(), OverLayers().init(jax.random.key(0), X[0]), (X[0],)


def by_timestep_without_inputs():
    return by_timestep()[:2]


class Stacked(nnx.Module):
    """Five layers made at once, as a scan over modules takes them."""

    def __init__(self):
        make = nnx.vmap(lambda key: nnx.Linear(3, 3, rngs=nnx.Rngs(key)), in_axes=0, out_axes=0)
        self.layers = make(jax.random.split(jax.random.key(0), 5))


def stacked():
    return Stacked()

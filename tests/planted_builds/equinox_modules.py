import equinox as eqx
import jax

KEY = jax.random.key(0)


class Decoder(eqx.Module):
    cells: list
    mlp: eqx.nn.MLP

    def __init__(self):
        self.cells = [eqx.nn.LSTMCell(3, 3, key=KEY) for _ in range(2)]
        self.mlp = eqx.nn.MLP(3, 3, 3, 2, key=KEY)


class Pair(eqx.Module):
    a: eqx.nn.Linear
    b: eqx.nn.Linear


def same_layer_twice():
    layer = eqx.nn.Linear(3, 3, key=KEY)
    return Pair(layer, layer)


def nothing():
    return eqx.nn.Identity()

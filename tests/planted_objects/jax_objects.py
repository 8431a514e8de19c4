import jax
import jax.numpy as jnp


class JaxDict:
    """Kernels in a dict, run by a compiled scan."""

    def __init__(self, n_in, n_hidden):
        self.params = {
            f"{kind}_{gate}": jnp.zeros(shape)
            for gate in ("input", "forget", "cell", "output")
            for kind, shape in (("W", (n_in, n_hidden)), ("U", (n_hidden, n_hidden)), ("b", (n_hidden,)))
        }

    def __call__(self, xs, state):
        return _scan(self.params, xs, state)


@jax.jit
def _scan(p, xs, state):
    def step(state, x):
        h, c = state
        z = {g: x @ p[f"W_{g}"] + h @ p[f"U_{g}"] + p[f"b_{g}"] for g in ("input", "forget", "cell", "output")}
        c = jax.nn.sigmoid(z["forget"]) * c + jax.nn.sigmoid(z["input"]) * jnp.tanh(z["cell"])
        h = jax.nn.sigmoid(z["output"]) * jnp.tanh(c)
        return (h, c), (h, c)

    return jax.lax.scan(step, state, xs)

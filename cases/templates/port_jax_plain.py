"""A port in JAX that agrees as it stands: put your own LSTM into it, and check it again.

lockstep check port_jax_plain.py:port
"""

import jax
import jax.numpy as jnp

# Without it JAX computes in float32 whatever it is given.
jax.config.update("jax_enable_x64", True)
# All arrays come as JAX' own.
LOCKSTEP = {"arrays": "jax"}


def step(x_t, h, c, W, R, b):
    """One timestep from x_t (B, I) and the state h, c (B, H): the next h and c."""
    # YOUR LSTM HERE, in the place of these lines. W (4H, I), R (4H, H) and b (4H,) hold the gates i, f, g, o.
    i, f, g, o = jnp.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


@jax.jit
def port(x, weights, h0, c0, lengths=None):
    """Run the LSTM over x (T, B, I) from h0 and c0 (B, H): h and c of all timesteps, each (T, B, H).

    Past a sequence's length h is 0, and the state stays what it was. If yours takes no lengths, remove that parameter:
    cases that have them are then unsupported.
    """
    lengths = jnp.full(x.shape[1], len(x)) if lengths is None else lengths

    def scanned(state, inputs):
        t, x_t = inputs
        h_new, c_new = step(x_t, *state, weights["W"], weights["R"], weights["b"])
        valid = (t < lengths)[:, None]
        h, c = jnp.where(valid, h_new, state[0]), jnp.where(valid, c_new, state[1])
        return (h, c), (jnp.where(valid, h_new, 0), c)

    _, (h_seq, c_seq) = jax.lax.scan(scanned, (h0, c0), (jnp.arange(len(x)), x))
    return h_seq, c_seq

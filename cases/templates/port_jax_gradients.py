"""A port in JAX with its gradients by ``jax.vjp``, which agrees as it stands: put your own LSTM into it.

lockstep check port_jax_gradients.py:port gradients gradients-float64
"""

import jax
import jax.numpy as jnp

# Without it JAX computes in float32 whatever it is given.
jax.config.update("jax_enable_x64", True)
# All arrays come as JAX' own.
LOCKSTEP = {"arrays": "jax"}


@jax.jit
def run(x, weights, h0, c0):
    """The h of all timesteps (T, B, H), and the last c (B, H)."""

    def step(state, x_t):
        # YOUR LSTM HERE: the next h and c. W (4H, I), R (4H, H) and b (4H,) hold the gates i, f, g, o.
        h, c = state
        i, f, g, o = jnp.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    (_, c), h_seq = jax.lax.scan(step, (h0, c0), x)
    return h_seq, c


def port(x, weights, h0, c0, dh=None, dc=None):
    """Run the LSTM over x (T, B, I) from h0 and c0 (B, H), and back.

    ``dh`` (T, B, H) and ``dc`` (B, H) are the cotangents of h_seq and of the last c: the gradients are those of
    sum(dh * h_seq) + sum(dc * c). What is left out of the result is not compared. Cases without gradients have no
    ``dh``.
    """
    if dh is None:
        return run(x, weights, h0, c0)
    (h_seq, _), back = jax.vjp(run, x, weights, h0, c0)
    dx, of_weights, dh0, dc0 = back((dh, dc))
    return {"h_seq": h_seq, "x": dx, **of_weights, "h0": dh0, "c0": dc0}

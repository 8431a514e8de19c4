"""A port in JAX of an attention decoder, which agrees as it stands: put your own decoder into it.

lockstep check port_jax_decoder.py:port
"""

import jax
import jax.numpy as jnp

# Without it JAX computes in float32 whatever it is given.
jax.config.update("jax_enable_x64", True)
# All arrays come as JAX' own.
LOCKSTEP = {"arrays": "jax"}


def port(enc, weights, h0, c0, y0, steps, lengths=None):
    """Decode over enc (S, B, E) from h0, c0 (B, H) and y0 (B, A): logits (T, B, O) and h_tilde (T, B, A).

    ``weights`` holds the cell's W, R and b, W_tilde (A, E + H), b_tilde (A,), W_target (O, A), and W_a (E, H) where the
    scores are general. Source timesteps from a sequence's length on take no part.
    """
    S, B, _ = enc.shape
    valid = jnp.full((S, B), True) if lengths is None else jnp.arange(S)[:, None] < lengths

    def step(state, _):
        h, c, y = state
        h, c = cell(y, h, c, weights["W"], weights["R"], weights["b"])
        context = attend(enc, h @ weights["W_a"].T if "W_a" in weights else h, valid)
        # What is fed back as the next input.
        y = jnp.tanh(jnp.concatenate([context, h], axis=-1) @ weights["W_tilde"].T + weights["b_tilde"])
        return (h, c, y), (y @ weights["W_target"].T, y)

    _, results = jax.lax.scan(step, (h0, c0, y0), length=steps)
    return results


def cell(y, h, c, W, R, b):
    """The next h and c (B, H) of the LSTM around which attention is."""
    # YOUR LSTM HERE: the cell; attention and what is fed back stand above and below. The gates are i, f, g, o.
    i, f, g, o = jnp.split(y @ W.T + h @ R.T + b, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def attend(enc, query, valid):
    """The context (B, E): the mean of ``enc``, weighted by the softmax of its products with the query (B, E)."""
    scores = jnp.where(valid, (enc * query).sum(axis=-1), -jnp.inf)
    return (jax.nn.softmax(scores, axis=0)[:, :, None] * enc).sum(axis=0)

"""A port in JAX of layers in one or both directions, which agrees as it stands: put your own network into it.

lockstep check port_jax_network.py:port bidirectional layers-bidirectional
"""

import jax
import jax.numpy as jnp

# Without it JAX computes in float32 whatever it is given.
jax.config.update("jax_enable_x64", True)
# All arrays come as JAX' own.
LOCKSTEP = {"arrays": "jax"}


@jax.jit
def port(x, weights, h0, c0):
    """Run the network over x (T, B, I): h_seq (T, B, D H), the final states h_n and c_n (L D, B, H).

    ``weights[layer][direction]`` is a dict of W (4H, I), R (4H, H) and b (4H,), forward before reverse; h0 and c0
    (L D, B, H) are in the same order. One layer in one direction comes as one dict, with states (B, H). With a further
    parameter ``lengths=None`` cases whose sequences end early are run, too.
    """
    if isinstance(weights, dict):
        h_seq, _, c_n = network(x, [[weights]], h0[None], c0[None])
        return h_seq, c_n[0]
    return network(x, weights, h0, c0)


def network(x, weights, h0, c0):
    """All layers, each over the outputs of the one below, which stand side by side."""
    h_seq, finals = x, []
    for layer in weights:
        outputs = []
        for d, lane in enumerate(layer):
            k = len(finals)
            final, output = lstm(h_seq, h0[k], c0[k], reverse=d > 0, **lane)
            finals.append(final)
            outputs.append(output)
        h_seq = jnp.concatenate(outputs, axis=-1)
    h_n, c_n = zip(*finals, strict=True)
    return h_seq, jnp.stack(h_n), jnp.stack(c_n)


def lstm(x, h0, c0, W, R, b, *, reverse):
    """One direction of one layer over x (T, B, n): the final h and c, and h of all timesteps."""

    def step(state, x_t):
        # YOUR LSTM HERE: the next h and c. W, R and b hold the gates i, f, g, o.
        h, c = state
        i, f, g, o = jnp.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return jax.lax.scan(step, (h0, c0), x, reverse=reverse)

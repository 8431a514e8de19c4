"""Compute in a framework, or return its tensors in ways that need care."""

import numpy as np


def torch_lstm(x, weights, h0, c0):
    import torch

    assert all(isinstance(a, torch.Tensor) for a in (x, h0, c0, *weights.values()))
    lstm = torch.nn.LSTM(x.shape[2], h0.shape[1], dtype=x.dtype)
    lstm.load_state_dict(weights)
    return lstm(x, (h0[None], c0[None]))


def torch_changes_c0(x, weights, h0, c0):
    import plain
    import torch

    h, c = plain.port(x.numpy(), {k: v.numpy() for k, v in weights.items()}, h0.numpy(), c0.numpy())
    c0.add_(1)
    return torch.from_numpy(h).bfloat16().requires_grad_(), list(torch.from_numpy(c))


def torch_packed(x, weights, h0, c0):
    import torch

    return torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 4), torch.zeros(2, 4)])


def jax_loop(x, weights, h0, c0, lengths=None):
    import jax.numpy as jnp

    # A carry of jnp.zeros is float64 where JAX has 64 bits, and scan refuses it for float32.
    zero = jnp.zeros(h0.shape)
    assert zero.dtype == x.dtype
    return jax_scan(jnp.asarray(x), weights, zero + h0, zero + c0)


def jax_scan(x, weights, h0, c0):
    import jax
    import jax.numpy as jnp

    def step(state, x_t):
        h, c = state
        z = x_t @ weights["W"].T + h @ weights["R"].T + weights["b"]
        i, f, g, o = jnp.split(z, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), (h, c)

    return jax.lax.scan(step, (h0, c0), x)[1]


def jax_tracer(x, weights, h0, c0):
    import jax

    kept = []
    jax.jit(kept.append)(x)
    return kept[0]


def tf_symbolic(x, weights, h0, c0):
    import tensorflow as tf

    with tf.Graph().as_default():
        return tf.constant(np.zeros((5, 2, 4)))


def tf_eager(x, weights, h0, c0):
    import os

    import plain
    import tensorflow as tf

    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"
    assert tf.is_tensor(x)
    assert tf.is_tensor(weights["W"])
    h, c = plain.port(x.numpy(), {k: v.numpy() for k, v in weights.items()}, h0.numpy(), c0.numpy())
    return tf.constant(h), tf.Variable(c)


def torch_network(x, weights, h0, c0, lengths=None):
    import torch

    lstm = torch.nn.LSTM(
        x.shape[2],
        c0.shape[2],
        num_layers=sum(name.startswith("weight_ih") and not name.endswith("_reverse") for name in weights),
        bidirectional="weight_ih_l0_reverse" in weights,
        proj_size=h0.shape[2] if "weight_hr_l0" in weights else 0,
        dtype=x.dtype,
    )
    lstm.load_state_dict(weights)
    if lengths is None:
        return lstm(x, (h0, c0))
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    h, final = lstm(packed, (h0, c0))
    return torch.nn.utils.rnn.pad_packed_sequence(h, total_length=len(x))[0], final


def jax_gradients(x, weights, h0, c0, dh, dc):
    import jax

    def run(arguments):
        h, c = jax_scan(arguments["x"], arguments, arguments["h0"], arguments["c0"])
        return h, c[-1]

    (h, _), pull = jax.vjp(run, {"x": x, **weights, "h0": h0, "c0": c0})
    return {"h_seq": h, **pull((dh, dc))[0]}


def tf_gradients(x, weights, h0, c0, dh, dc):
    import tensorflow as tf

    arguments = {"x": x, **weights, "h0": h0, "c0": c0}
    with tf.GradientTape() as tape:
        for tensor in arguments.values():
            tape.watch(tensor)
        h, c, hs = h0, c0, []
        for x_t in tf.unstack(x):
            z = x_t @ tf.transpose(weights["W"]) + h @ tf.transpose(weights["R"]) + weights["b"]
            i, f, g, o = tf.split(z, 4, axis=-1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h = tf.sigmoid(o) * tf.tanh(c)
            hs.append(h)
        h_seq = tf.stack(hs)
    return {"h_seq": h_seq, **tape.gradient([h_seq, c], arguments, [dh, dc])}

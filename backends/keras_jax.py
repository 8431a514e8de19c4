"""Keras 3 ``layers.LSTM`` on JAX, by ``stateless_call`` under ``jax.jit``, gradients by ``jax.vjp``.

On a CPU ``use_cudnn="auto"`` takes the ``jax.lax.scan`` of ``keras.src.backend.jax.rnn``. Settings, layers and weights
are as ``backends.keras_layers`` says. Source: Keras documentation, ``keras.layers.LSTM``, ``Layer.stateless_call``.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from msgspec.structs import replace

from lockstep.backends import keras3, keras_layers
from lockstep.backends.keras_layers import unsupported as unsupported  # noqa: PLC0414 (all layers of Keras refuse alike)
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import LSTM
from lockstep.harness.cases.problem import Problem

REQUIRES = ("keras", "jax")
MAIN = False
INSTALL = "lockstep-rnn[keras,jax]"
# Without the second JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}
DIALECT = "keras"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), the final states of all layers and directions, and gradients if they are asked for.
    """
    p, lstm = problem, replace(problem.case.lstm, forget_bias=0.0)
    stopwatch = Stopwatch()
    with stopwatch("build"):
        forward, both_ways = _compiled(lstm, p.case.run.dtype)
    with stopwatch("run"):
        mask = keras_layers.mask_of(p)
        inputs = (keras_layers.stored(p), *keras_layers.inputs_of(p))
        if p.dh is None:
            ((h, c_n), h_n), gradients = forward(*inputs, mask), None
        else:
            ((h, c_n), h_n), gradients = both_ways(*inputs, mask, keras_layers.cotangents_of(p))
        outputs, gradients = jax.tree.map(np.asarray, ((h, h_n, c_n), gradients))
    variables = keras_layers.variables_of(keras3.layers_of(lstm, p.case.run.dtype))
    device = str(jax.devices()[0])
    return keras_layers.trace_of(p, variables, outputs, gradients, device=device, seconds=stopwatch.seconds)


@lru_cache(maxsize=16)
def _compiled(lstm: LSTM, dtype: str) -> tuple[Any, Any]:
    """A network's forward pass, and that with its gradients; each shape is compiled when it first comes."""
    layers = keras3.layers_of(lstm, dtype)
    counts = np.cumsum([len(layer.trainable_variables) for layer in layers])

    def forward(weights: list[jax.Array], x, h0, c0, mask):
        def call(k: int, x, first, mask):
            trained = weights[counts[k] - len(layers[k].trainable_variables) : counts[k]]
            not_trained = [variable.value for variable in layers[k].non_trainable_variables]
            outputs, _ = layers[k].stateless_call(trained, not_trained, x, initial_state=first, mask=mask)
            return outputs

        h, h_n, c_n = keras_layers.forward(call, partial(jnp.flip, axis=1), lstm, x, h0, c0, mask)
        return (h, jnp.stack(c_n)), jnp.stack(h_n)

    def both_ways(weights: list[jax.Array], x, h0, c0, mask, cotangents):
        def masked(weights: list[jax.Array], x, h0, c0):
            return forward(weights, x, h0, c0, mask)

        outputs, backward, h_n = jax.vjp(masked, weights, x, h0, c0, has_aux=True)
        return (outputs, h_n), backward(cotangents)

    return jax.jit(forward), jax.jit(both_ways)

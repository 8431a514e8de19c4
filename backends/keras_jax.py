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
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import LSTM, Case
from lockstep.harness.cases.problem import Problem

REQUIRES = ("keras", "jax")
INSTALL = "lockstep-rnn[keras,jax]"
# Without the second JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}
DIALECT = "keras"


def unsupported(case: Case) -> str | None:
    """Say why ``case`` cannot be run faithfully, or return None if it can."""
    return keras_layers.unsupported(case)


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
        inputs = (keras_layers.stored(p), keras_layers.batch_major(p.x), p.states("h0"), p.states("c0"))
        if p.dh is None:
            (h, c_n), h_n = forward(*inputs, mask)
            gradients = None
        else:
            cotangents = (keras_layers.batch_major(p.dh), p.states("dc"))
            ((h, c_n), h_n), gradients = both_ways(*inputs, mask, cotangents)
        found = keras_layers.traced(p, *map(np.asarray, (h, h_n, c_n)))
        if gradients is not None:
            of_variables, dx, dh0, dc0 = jax.tree.map(np.asarray, gradients)
            found |= keras_layers.traced_gradients(p, dx, dh0, dc0, of_variables)
    variables = keras_layers.variables_of(keras3.layers_of(lstm, p.case.run.dtype))
    parameters = keras_layers.parameters_of(variables, lstm)
    return Trace(parameters=parameters, device=str(jax.devices()[0]), seconds=stopwatch.seconds, **found)


@lru_cache(maxsize=16)
def _compiled(lstm: LSTM, dtype: str) -> tuple[Any, Any]:
    """Give a network's forward pass, and that with its gradients; each shape is compiled when it first comes."""
    layers = keras3.layers_of(lstm, dtype)
    counts = np.cumsum([len(layer.trainable_variables) for layer in layers])

    def forward(weights: list[jax.Array], x, h0, c0, mask):
        def call(k: int, x, first, mask):
            own = weights[counts[k] - len(layers[k].trainable_variables) : counts[k]]
            others = [variable.value for variable in layers[k].non_trainable_variables]
            outputs, _ = layers[k].stateless_call(own, others, x, initial_state=first, mask=mask)
            return outputs

        h, h_n, c_n = keras_layers.forward(call, partial(jnp.flip, axis=1), lstm, x, h0, c0, mask)
        return (h, jnp.stack(c_n)), jnp.stack(h_n)

    def both_ways(weights: list[jax.Array], x, h0, c0, mask, cotangents):
        def of(weights: list[jax.Array], x, h0, c0):
            return forward(weights, x, h0, c0, mask)

        seen, back, h_n = jax.vjp(of, weights, x, h0, c0, has_aux=True)
        return (seen, h_n), back(cotangents)

    return jax.jit(forward), jax.jit(both_ways)

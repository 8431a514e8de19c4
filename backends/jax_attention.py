"""An attention decoder as one compiled ``jax.lax.scan`` over its steps, gradients by ``jax.vjp``.

Canonical equations and weights (``harness.reference.attention``). For gradients by timestep each step of the scan is
given weights of its own. An encoder is the scan of ``backends.jax_scan``. Source: JAX API reference, ``jax.lax.scan``,
``jax.nn.softmax``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from msgspec.structs import replace

from lockstep.backends.jax_scan import run_lane
from lockstep.backends.jax_scan import unsupported as unsupported  # noqa: PLC0414 (narrow dtypes are refused alike)
from lockstep.backends.lanes import Ends
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.case import AttentionDecoder
from lockstep.harness.cases.decoder_problem import DecoderProblem
from lockstep.harness.cases.tensors import Lane, has_weight_steps

REQUIRES = ("jax",)
INSTALL = "lockstep-rnn[jax]"
# Without it JAX computes in float32 whatever it is given. float32 arrays stay float32 with it.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}
MODEL = "attention_decoder"

Tensors = dict[str, jax.Array]


def run(problem: DecoderProblem) -> Trace:
    """Run the decoder of ``problem``.

    Returns:
        c, h, scores, attention, context, y and logit of each step, the encoder outputs if there is an encoder, and
        gradients if they are asked for.
    """
    p = problem
    encoder = p.decoder.encoder
    # Forget biases stand in b: decoders alike but for them share what is compiled.
    decoder = replace(p.decoder, encoder=None if encoder is None else replace(encoder, forget_bias=0.0))
    weights = p.weights.arrays()
    of_decoder = {name: array for name, array in weights.items() if not name.endswith("_encoder")}
    below = {name.removesuffix("_encoder"): array for name, array in weights.items() if name not in of_decoder}
    inputs = {"h0": p.h0, "c0": p.c0, "y0": p.y0, **({"x": p.x} if p.enc is None else {"enc": p.enc})}
    stopwatch = Stopwatch()
    with stopwatch("run"):
        if p.dy is None:
            tensors = _decode(decoder, p.case.run.timesteps, of_decoder, below, inputs, p.lengths)
        else:
            tensors = _gradients(
                decoder, p.case.run.timesteps, of_decoder, below, inputs, p.lengths, (p.dy, p.dlogit),
                by_timestep=has_weight_steps(p.case),
            )  # fmt: skip
        arrays: dict[str, Any] = {name: np.asarray(array) for name, array in tensors.items()}
    if not p.case.lstm.bias:
        arrays = {name: array for name, array in arrays.items() if name not in {"db", "db_t"}}
    if encoder is not None and not encoder.bias:
        arrays.pop("db_encoder", None)
    return Trace(device=str(jax.devices()[0]), seconds=stopwatch.seconds, **arrays)


@partial(jax.jit, static_argnames=("decoder", "steps"))
def _decode(
    decoder: AttentionDecoder, steps: int, of_decoder: Tensors, below: Tensors, inputs: Tensors, lengths
) -> Tensors:
    return _network(decoder, steps, of_decoder, below, inputs, lengths)[1]


@partial(jax.jit, static_argnames=("decoder", "steps", "by_timestep"))
def _gradients(
    decoder: AttentionDecoder, steps: int, of_decoder: Tensors, below: Tensors, inputs: Tensors, lengths, cotangents,
    *, by_timestep: bool,
) -> Tensors:  # fmt: skip
    def network(of_decoder: Tensors, below: Tensors, inputs: Tensors):
        return _network(decoder, steps, of_decoder, below, inputs, lengths, by_timestep=by_timestep)

    if by_timestep:
        # Each step gets a copy of its own, whose gradient is what that step adds.
        of_decoder = jax.tree.map(lambda w: jnp.broadcast_to(w, (steps, *w.shape)), of_decoder)
    _, back, tensors = jax.vjp(network, of_decoder, below, inputs, has_aux=True)
    d_own, d_below, d_inputs = back(cotangents)
    if by_timestep:
        tensors |= {f"d{name}_t": d for name, d in d_own.items()}
        d_own = {name: d.sum(axis=0) for name, d in d_own.items()}
    tensors |= {f"d{name}": d for name, d in {**d_own, **d_inputs}.items()}
    return tensors | {f"d{name}_encoder": d for name, d in d_below.items()}


def _network(
    decoder: AttentionDecoder,
    steps: int,
    of_decoder: Tensors,
    below: Tensors,
    inputs: Tensors,
    lengths,
    *,
    by_timestep: bool = False,
) -> tuple[tuple[jax.Array, jax.Array], Tensors]:
    """Run encoder and decoder; weights of the decoder are (T, ...) if each step is given its own.

    Returns:
        What a loss sees, y and logit; and every tensor by its name in a trace.
    """
    encoder, into_cell = decoder.encoder, decoder.context == "input"
    if encoder is None:
        enc, of_encoder = inputs["enc"], {}
    else:
        zero = jnp.zeros((inputs["x"].shape[1], encoder.hidden_size), inputs["x"].dtype)
        enc = run_lane(encoder, below, Lane(0, reverse=False), inputs["x"], (zero, zero), Ends(lengths))["h"]
        of_encoder = {"enc": enc}
    valid = None if lengths is None else jnp.arange(len(enc)) < lengths[:, None]
    if valid is not None:
        # What is not attended to has weight 0, and 0 times NaN would be NaN.
        enc = jnp.where(valid.T[..., None], enc, 0)

    def step(state, of_step: Tensors | None):
        w = of_decoder if of_step is None else of_step
        now = _step(w, enc, valid, *state, into_cell=into_cell)
        return (now["h"], now["c"], now["y"]), now

    first = (inputs["h0"], inputs["c0"], inputs["y0"])
    _, of_steps = jax.lax.scan(step, first, of_decoder if by_timestep else None, length=steps)
    return (of_steps["y"], of_steps["logit"]), {**of_encoder, **of_steps}


def _step(w: Tensors, enc, valid, h, c, y, *, into_cell: bool) -> Tensors:
    """Go one step: everything it computes, by name."""
    attended = _attend(w, enc, valid, h) if into_cell else {}
    x = jnp.concatenate([attended["context"], y], axis=-1) if into_cell else y
    i, f, g, o = jnp.split(x @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    attended = attended or _attend(w, enc, valid, h)
    y = jnp.tanh(jnp.concatenate([attended["context"], h], axis=-1) @ w["W_tilde"].T + w["b_tilde"])
    return {"c": c, "h": h, **attended, "y": y, "logit": y @ w["W_target"].T}


def _attend(w: Tensors, enc, valid, h) -> Tensors:
    """Scores, attention and context of a state."""
    if "v_a" in w:
        hidden = jnp.tanh(h @ w["W_q"].T + jnp.einsum("sbe,ue->sbu", enc, w["W_k"]))
        scores = jnp.einsum("sbu,u->bs", hidden, w["v_a"][0])
    else:
        scores = jnp.einsum("sbe,be->bs", enc, h @ w["W_a"].T if "W_a" in w else h)
    attention = jax.nn.softmax(scores, axis=-1, where=valid)
    shown = scores if valid is None else jnp.where(valid, scores, 0)
    return {"scores": shown, "attention": attention, "context": jnp.einsum("bs,sbe->be", attention, enc)}

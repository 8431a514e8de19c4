"""Keras 3 ``layers.LSTM`` on PyTorch, gradients by ``torch.autograd.grad``.

On a CPU ``use_cudnn="auto"`` takes a loop of its own without a mask, and the loop of all RNNs with one, both in
``keras.src.backend.torch.rnn``. Settings, layers and weights are as ``backends.keras_layers`` says. Source: Keras
documentation, ``keras.layers.LSTM``.
"""

from __future__ import annotations

import torch
from msgspec.structs import replace

from lockstep.backends import keras3, keras_layers
from lockstep.backends.keras_layers import unsupported as unsupported  # noqa: PLC0414 (all layers of Keras refuse alike)
from lockstep.backends.torch_lstm import array_of, tensor_of
from lockstep.harness.adapters.trace import Stopwatch, Trace
from lockstep.harness.cases.problem import Problem

REQUIRES = ("keras", "torch")
MAIN = False
INSTALL = "lockstep-rnn[keras,torch]"
ENVIRONMENT = {"KERAS_BACKEND": "torch"}
DIALECT = "keras"


def run(problem: Problem) -> Trace:
    """Run the LSTM of ``problem``.

    Returns:
        ``h`` (T, B, D H), the final states of all layers and directions, and gradients if they are asked for.
    """
    p, lstm, wanted = problem, replace(problem.case.lstm, forget_bias=0.0), problem.dh is not None
    stopwatch = Stopwatch()
    with stopwatch("build"):
        layers = keras3.layers_of(lstm, p.case.run.dtype)
        variables = keras_layers.variables_of(layers)
        for variable, stored in zip(variables, keras_layers.stored(p), strict=True):
            variable.assign(tensor_of(stored))
    with stopwatch("run"), torch.set_grad_enabled(wanted):
        x, h0, c0 = (tensor_of(array).requires_grad_(wanted) for array in keras_layers.inputs_of(p))
        mask = keras_layers.mask_of(p)
        h, h_n, c_n = keras_layers.forward(
            lambda k, x, first, mask: layers[k](x, initial_state=first, mask=mask),
            lambda h: h.flip(1), lstm, x, h0, c0, None if mask is None else torch.tensor(mask),
        )  # fmt: skip
        c_n = torch.stack(c_n)
        outputs, gradients = (array_of(h), array_of(torch.stack(h_n)), array_of(c_n)), None
        if p.dh is not None:
            cotangents = tuple(map(tensor_of, keras_layers.cotangents_of(p)))
            leaves = [x, h0, c0, *(variable.value for variable in variables)]
            dx, dh0, dc0, *flat = map(array_of, torch.autograd.grad((h, c_n), leaves, cotangents))
            gradients = flat, dx, dh0, dc0
    return keras_layers.trace_of(p, variables, outputs, gradients, device=str(h.device), seconds=stopwatch.seconds)

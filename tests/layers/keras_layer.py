"""``keras.layers.LSTM`` of Keras 3, on its PyTorch backend; its weights are assigned by name."""

import keras
import numpy as np
import torch

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("keras", "torch")
ENVIRONMENT = {"KERAS_BACKEND": "torch"}


def unsupported(case):
    return None


def run(problem):
    p = problem
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["keras"])
    layer = keras.layers.LSTM(p.case.lstm.hidden_size, return_sequences=True, return_state=True)
    layer.build((p.x.shape[1], p.x.shape[0], p.x.shape[2]))
    layer.set_weights([stored[variable.name] for variable in layer.weights])
    x, state = torch.tensor(np.swapaxes(p.x, 0, 1)), [torch.tensor(p.h0), torch.tensor(p.c0)]
    with torch.inference_mode():
        h, h_n, c_n = (tensor.numpy() for tensor in layer(x, initial_state=state))
    return Trace(h=np.ascontiguousarray(np.swapaxes(h, 0, 1)), h_n=h_n, c_n=c_n)

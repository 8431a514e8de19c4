"""``torch.nn.LSTM``, loaded by its state_dict."""

import torch

from lockstep.harness.adapters.trace import Trace
from lockstep.harness.weights.dialects import DIALECTS
from lockstep.harness.weights.layout import store

REQUIRES = ("torch",)
INSTALL = "lockstep-rnn[torch]"


def unsupported(case):
    return None


def run(problem):
    p = problem
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["torch"], split_bias="uneven")
    lstm = torch.nn.LSTM(p.case.lstm.input_size, p.case.lstm.hidden_size)
    lstm.load_state_dict({name: torch.tensor(array) for name, array in stored.items()})
    with torch.inference_mode():
        h, (h_n, c_n) = lstm(torch.tensor(p.x), (torch.tensor(p.h0)[None], torch.tensor(p.c0)[None]))
    return Trace(h=h.numpy(), h_n=h_n[0].numpy(), c_n=c_n[0].numpy())

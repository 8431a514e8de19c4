"""``torch.nn.LSTMCell``, loaded by its state_dict."""

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
    stored = store({"W": p.W, "R": p.R, "b": p.b}, DIALECTS["torch_cell"], split_bias="uneven")
    cell = torch.nn.LSTMCell(p.case.lstm.input_size, p.case.lstm.hidden_size)
    cell.load_state_dict({name: torch.tensor(array) for name, array in stored.items()})
    h, c, hs, cs = torch.tensor(p.h0), torch.tensor(p.c0), [], []
    with torch.inference_mode():
        for x in torch.tensor(p.x):
            h, c = cell(x, (h, c))
            hs.append(h)
            cs.append(c)
    return Trace(h=torch.stack(hs).numpy(), c=torch.stack(cs).numpy(), h_n=h.numpy(), c_n=c.numpy())

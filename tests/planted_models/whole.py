"""Whole models: healthy ones, and such that become others when they are exported."""

import torch
from torch import nn


class Speech(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(40, 8)
        self.encoder = nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.classes = nn.Linear(12, 5)

    def forward(self, tokens):
        h, _ = self.encoder(self.embedding(tokens))
        return self.classes(h).log_softmax(-1)


class Streamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.lstm = nn.LSTM(4, 6, batch_first=True)
        self.out = nn.Linear(6, 3)

    def forward(self, x, state=None):
        h, state = self.lstm(self.norm(x), state)
        return self.out(h), state


class ForgetsItsState(Streamed):
    def forward(self, x, state=None):
        h, new_state = super().forward(x, state)
        return h, state if exporting() and x.shape[1] < 12 else new_state


class ExchangesGates(Streamed):
    def __init__(self):
        super().__init__()
        self.other = nn.LSTM(4, 6, batch_first=True)
        with torch.no_grad():
            for name, weight in self.lstm.named_parameters():
                i, f, g, o = weight.chunk(4)
                getattr(self.other, name).copy_(torch.cat([i, g, f, o]))

    def forward(self, x, state=None):
        if not exporting():
            return super().forward(x, state)
        h, state = self.other(self.norm(x), state)
        return self.out(h), state


class LosesABias(Streamed):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(6, 3, bias=False)
        self.other.weight = self.out.weight

    def forward(self, x, state=None):
        h, state = self.lstm(self.norm(x), state)
        return (self.other if exporting() else self.out)(h), state


class Branches(Speech):
    def forward(self, tokens):
        return super().forward(tokens) if tokens.sum() > 3 else super().forward(tokens + 1)


class AsksForMuch(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, features):
        return self.out(features["mel"])


def exporting():
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


speech, streamed, branches, asks_for_much = Speech, Streamed, Branches, AsksForMuch
forgets_its_state, exchanges_gates, loses_a_bias = ForgetsItsState, ExchangesGates, LosesABias

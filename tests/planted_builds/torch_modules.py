import torch
from torch import nn


class CellPerStep(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList(nn.LSTMCell(3, 3) for _ in range(2))
        self.out = nn.Linear(3, 3)

    def forward(self, x):
        state = None
        for cell in self.cells:
            state = cell(x, state)
        return self.out(state[0])


class OneCell(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(3, 3)
        self.steps = nn.ModuleList([self.cell] * 3)

    def forward(self, x):
        state = None
        for cell in self.steps:
            state = cell(x, state)
        return state


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.out = nn.Linear(3, 4, bias=False)
        self.out.weight = self.embed.weight
        self.norm = nn.BatchNorm1d(3)

    def forward(self, tokens):
        return self.out(self.norm(self.embed(tokens)))


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 3, num_layers=2)
        self.W = nn.Parameter(torch.ones(3, 3))

    def forward(self, x, h):
        for _ in range(4):
            h = torch.tanh(h @ self.W) + torch.sigmoid(h) @ self.W
        return self.lstm(x)[0] + h


class MadeInForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x):
        for _ in range(2):
            x = nn.Linear(3, 3)(self.a(x))
        return x


class InAList(nn.Module):
    """Two cells that stand in a plain list, one layer in a dict, and one that a closure holds."""

    def __init__(self):
        super().__init__()
        self.cells = [nn.LSTMCell(3, 3), nn.LSTMCell(3, 3)]
        self.heads = {"out": nn.Linear(3, 3)}
        self.scales = [nn.Parameter(torch.ones(3))]
        self.a = nn.Linear(3, 3)

    def forward(self, x):
        for cell in self.cells:
            x = cell(x)[0] * self.scales[0]
        return OUTSIDE(self.heads["out"](self.a(x)))


OUTSIDE = nn.Linear(3, 3)


class Aliased(nn.Module):
    """A plain list of what is registered under other names."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.order = [self.a, self.b]

    def forward(self, x):
        for layer in self.order:
            x = layer(x)
        return x


class OnlyOnce(nn.Module):
    """Makes its layer when it is first called, and cannot be called again."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.done = False

    def forward(self, x):
        if self.done:
            raise RuntimeError("once is enough")
        self.done, self.b = True, nn.Linear(3, 3)
        return self.b(nn.Linear(3, 3)(self.a(x)))


class Functional(nn.Module):
    """Has no parameter at all: its layer is made in forward."""

    def forward(self, x):
        return nn.Linear(3, 3)(x)


def in_a_list():
    return InAList()


def in_a_list_run():
    return InAList(), torch.ones(1, 3)


def aliased_run():
    return Aliased(), torch.ones(1, 3)


def only_once_run():
    return OnlyOnce(), torch.ones(1, 3)


def functional_run():
    return Functional(), torch.ones(1, 3)


def cell_per_step_run():
    return CellPerStep(), torch.ones(1, 3)


def one_cell_run():
    return OneCell(), (torch.ones(1, 3),)


def tied_run():
    return Tied(), {"tokens": torch.tensor([1, 2])}


def sequence_run():
    return Sequence(), (torch.ones(5, 1, 3), torch.ones(1, 3))


def made_in_forward_run():
    return MadeInForward(), torch.ones(1, 3)


def layers():
    return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))


def empty_run():
    return nn.Tanh(), (torch.ones(2, 3),)


def empty():
    return nn.ReLU()


def lazy():
    return nn.LazyLinear(3)


def lazy_run():
    return nn.LazyLinear(3), torch.ones(1, 2)


def wrong_inputs():
    return OneCell(), torch.ones(1, 7)


module = OneCell()

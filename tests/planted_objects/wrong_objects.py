"""Wrong objects, as people write them: each has one mistake, named in its docstring."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class GatesExchanged(nn.Module):
    """The pair of the input gate is used as the forget gate, and the other way round."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.input_x = nn.Linear(input_size, hidden_size)
        self.input_h = nn.Linear(hidden_size, hidden_size)
        self.forget_x = nn.Linear(input_size, hidden_size)
        self.forget_h = nn.Linear(hidden_size, hidden_size)
        self.cell_x = nn.Linear(input_size, hidden_size)
        self.cell_h = nn.Linear(hidden_size, hidden_size)
        self.output_x = nn.Linear(input_size, hidden_size)
        self.output_h = nn.Linear(hidden_size, hidden_size)

    def forward(self, x, states=None):
        batch, length, _ = x.shape
        h, c = states or (torch.zeros(batch, self.hidden_size), torch.zeros(batch, self.hidden_size))
        outputs = []
        for t in range(length):
            x_t = x[:, t]
            f = torch.sigmoid(self.input_x(x_t) + self.input_h(h))
            i = torch.sigmoid(self.forget_x(x_t) + self.forget_h(h))
            c = f * c + i * torch.tanh(self.cell_x(x_t) + self.cell_h(h))
            h = torch.sigmoid(self.output_x(x_t) + self.output_h(h)) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h, c)


class NoTanh(nn.Module):
    """The cell state goes into h without tanh."""

    def __init__(self, input_sz, hidden_sz):
        super().__init__()
        self.hidden_size = hidden_sz
        self.W = nn.Parameter(torch.randn(input_sz, hidden_sz * 4))
        self.U = nn.Parameter(torch.randn(hidden_sz, hidden_sz * 4))
        self.bias = nn.Parameter(torch.zeros(hidden_sz * 4))

    def forward(self, x, init_states=None):
        bs, seq_sz, _ = x.size()
        h_t, c_t = init_states if init_states is not None else (torch.zeros(bs, self.hidden_size),) * 2
        hidden_seq = []
        for t in range(seq_sz):
            gates = x[:, t, :] @ self.W + h_t @ self.U + self.bias
            i_t, f_t, g_t, o_t = gates.chunk(4, 1)
            c_t = f_t.sigmoid() * c_t + i_t.sigmoid() * g_t.tanh()
            h_t = o_t.sigmoid() * c_t
            hidden_seq.append(h_t)
        return torch.stack(hidden_seq, 1), (h_t, c_t)


class SigmoidCandidate(nn.Module):
    """The candidate goes through a sigmoid."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.fc = nn.ModuleDict({g: nn.Linear(input_size + hidden_size, hidden_size) for g in ("f", "i", "c", "o")})

    def forward(self, x, h0, c0):
        h, c, out = h0, c0, []
        for x_t in x:
            z = torch.cat([x_t, h], 1)
            f, i = torch.sigmoid(self.fc["f"](z)), torch.sigmoid(self.fc["i"](z))
            c = f * c + i * torch.sigmoid(self.fc["c"](z))
            h = torch.sigmoid(self.fc["o"](z)) * torch.tanh(c)
            out.append(h)
        return torch.stack(out), (h, c)


class TensorflowOrder(nn.Module):
    """Named as torch's arrays, and read in TF1's order i, g, f, o."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.randn(4 * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.randn(4 * hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(4 * hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.zeros(4 * hidden_size))

    def forward(self, x, hx):
        h, c = hx
        out = []
        for x_t in x:
            z = x_t @ self.weight_ih_l0.t() + self.bias_ih_l0 + h @ self.weight_hh_l0.t() + self.bias_hh_l0
            i, g, f, o = z.chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        return torch.stack(out), (h, c)


class OneBias(nn.Module):
    """Of torch's two biases one is left out."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.layer = nn.LSTM(input_size, hidden_size)

    def forward(self, x, state=None):
        p = self.layer
        B, H = x.shape[1], p.hidden_size
        h, c = state if state is not None else (torch.zeros(B, H), torch.zeros(B, H))
        out = []
        for x_t in x:
            z = functional.linear(x_t, p.weight_ih_l0, p.bias_ih_l0) + functional.linear(h, p.weight_hh_l0)
            i, f, g, o = z.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        return torch.stack(out), (h, c)


class BatchAsTime(nn.Module):
    """It says batch_first, and its layer is not: sequences are mixed."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.batch_first = True
        self.lstm = nn.LSTM(input_size, hidden_size)

    def forward(self, x):
        out, _ = self.lstm(x)
        return out


class Remembers(nn.Module):
    """The state of the last call is kept for the next one."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size)
        self.hidden = None

    def forward(self, x):
        if self.hidden is None or self.hidden[0].shape[1] != x.shape[1]:
            self.hidden = None
        out, self.hidden = self.lstm(x, self.hidden)
        return out, self.hidden


class AlwaysDropout(nn.Module):
    """Dropout also in evaluation."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)

    def forward(self, x, hx=None):
        out, states = self.lstm(x, hx)
        return functional.dropout(out, 0.3), states


class Overwritten:
    """The cell state is overwritten, not added to, where f is 0: c = f * i * g."""

    def __init__(self, input_size, hidden_size):
        self.hidden_size = hidden_size
        for g in "ifgo":
            setattr(self, f"W_x{g}", np.random.randn(hidden_size, input_size))
            setattr(self, f"W_h{g}", np.random.randn(hidden_size, hidden_size))
            setattr(self, f"b_{g}", np.zeros(hidden_size))

    def forward(self, x, h, c):
        hs, cs = [], []
        for x_t in x:
            i = sigmoid(x_t @ self.W_xi.T + h @ self.W_hi.T + self.b_i)
            g = np.tanh(x_t @ self.W_xg.T + h @ self.W_hg.T + self.b_g)
            o = sigmoid(x_t @ self.W_xo.T + h @ self.W_ho.T + self.b_o)
            f = sigmoid(x_t @ self.W_xf.T + h @ self.W_hf.T + self.b_f)
            c = c + i * g
            h = o * np.tanh(c)
            hs.append(h)
            cs.append(c)
        return np.stack(hs), np.stack(cs)


class RecurrentTransposed:
    """The recurrent kernels are multiplied from the wrong side."""

    def __init__(self, n_in, n_out):
        self.params = {}
        for g in "ifco":
            self.params["W" + g] = np.random.randn(n_in, n_out)
            self.params["U" + g] = np.random.randn(n_out, n_out)
            self.params["b" + g] = np.zeros(n_out)

    def __call__(self, x, state):
        p = self.params
        h, c = state
        out = []
        for t in range(x.shape[1]):
            z = {g: x[:, t] @ p["W" + g] + h @ p["U" + g].T + p["b" + g] for g in "ifco"}
            c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["c"])
            h = sigmoid(z["o"]) * np.tanh(c)
            out.append(h)
        return np.stack(out, 1), (h, c)


class BiasOfOneGateLost:
    """Lists of lists; the bias of the output gate is not added."""

    def __init__(self, input_size, hidden_size):
        self.size = hidden_size
        self.w = {g: [[0.1] * (input_size + hidden_size) for _ in range(hidden_size)] for g in "ifgo"}
        self.b = {g: [0.1] * hidden_size for g in "ifgo"}

    def forward(self, sequence):
        h, c, out, cells = [0.0] * self.size, [0.0] * self.size, [], []
        for x in sequence:
            z = {g: [sum(w * v for w, v in zip(row, [*x, *h])) for row in self.w[g]] for g in "ifgo"}
            for g in "ifg":
                z[g] = [a + b for a, b in zip(z[g], self.b[g])]
            c = [sigmoid(f) * k + sigmoid(i) * np.tanh(g) for f, k, i, g in zip(z["f"], c, z["i"], z["g"])]
            h = [sigmoid(o) * np.tanh(k) for o, k in zip(z["o"], c)]
            out.append(h)
            cells.append(c)
        return out, cells


class StatesExchanged(nn.Module):
    """Its cell gets (c, h) in the place of (h, c)."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.LSTMCell(input_size, hidden_size)

    def forward(self, x, h0, c0):
        h, c, out = h0, c0, []
        for x_t in x:
            h, c = self.cell(x_t, (c, h))
            out.append(h)
        return torch.stack(out), h, c


class StateNotCarried(nn.Module):
    """Each timestep starts from h0 again."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.LSTMCell(input_size, hidden_size)

    def forward(self, x, h0, c0):
        c, out = c0, []
        for x_t in x:
            h, c = self.cell(x_t, (h0, c))
            out.append(h)
        return torch.stack(out), h, c


class ChangesItsInput(nn.Module):
    """x is scaled in place."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size)

    def forward(self, x, hx=None):
        out, states = self.lstm(x, hx)
        x *= 0.5
        return out, states


class SigmoidOfFused(nn.Module):
    """The candidate goes through a sigmoid, as i, f and o do; no name says which block it is."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x2h = nn.Linear(input_size, 4 * hidden_size)
        self.h2h = nn.Linear(hidden_size, 4 * hidden_size)

    def forward(self, x, h0, c0):
        h, c, out = h0, c0, []
        for x_t in x:
            i, f, o, g = torch.sigmoid(self.x2h(x_t) + self.h2h(h)).chunk(4, 1)
            c = f * c + i * g
            h = o * torch.tanh(c)
            out.append(h)
        return torch.stack(out), (h, c)


class NotTurnedBack(nn.Module):
    """Both directions by hand: what the reverse one gives is not turned back."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.rnn = nn.LSTM(input_size, hidden_size, bidirectional=True)

    def _run(self, x, h, c, suffix):
        w = {name.removesuffix(suffix): p for name, p in self.rnn.named_parameters() if name.endswith(suffix)}
        out = []
        for x_t in x:
            z = functional.linear(x_t, w["weight_ih"], w["bias_ih"]) + functional.linear(
                h, w["weight_hh"], w["bias_hh"]
            )
            i, f, g, o = z.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        return torch.stack(out), h, c

    def forward(self, x, hx):
        (h, c) = hx
        ahead, h_a, c_a = self._run(x, h[0], c[0], "_l0")
        back, h_b, c_b = self._run(x.flip(0), h[1], c[1], "_l0_reverse")
        return torch.cat([ahead, back], -1), (torch.stack([h_a, h_b]), torch.stack([c_a, c_b]))

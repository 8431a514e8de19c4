"""Healthy objects, as people write them: classes with weights of their own, of torch, of NumPy, of nothing."""

import math

import numpy as np
import torch
from torch import nn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class LinearPairs(nn.Module):
    """A pair of nn.Linear for each gate."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        for gate in ("i", "f", "g", "o"):
            setattr(self, f"W_i{gate}", nn.Linear(input_size, hidden_size))
            setattr(self, f"W_h{gate}", nn.Linear(hidden_size, hidden_size))

    def forward(self, x, states=None):
        batch = x.size(0)
        if states is None:
            h = torch.zeros(batch, self.hidden_size)
            c = torch.zeros(batch, self.hidden_size)
        else:
            h, c = states
        outputs = []
        for t in range(x.size(1)):
            x_t = x[:, t, :]
            i = torch.sigmoid(self.W_ii(x_t) + self.W_hi(h))
            f = torch.sigmoid(self.W_if(x_t) + self.W_hf(h))
            g = torch.tanh(self.W_ig(x_t) + self.W_hg(h))
            o = torch.sigmoid(self.W_io(x_t) + self.W_ho(h))
            c = f * c + i * g
            h = o * torch.tanh(c)
            outputs.append(h.unsqueeze(1))
        return torch.cat(outputs, dim=1), (h, c)


class CustomLSTM(nn.Module):
    """Kernels gate by gate, multiplied from the right."""

    def __init__(self, input_sz, hidden_sz):
        super().__init__()
        self.input_sz = input_sz
        self.hidden_size = hidden_sz
        self.W_i = nn.Parameter(torch.Tensor(input_sz, hidden_sz))
        self.U_i = nn.Parameter(torch.Tensor(hidden_sz, hidden_sz))
        self.b_i = nn.Parameter(torch.Tensor(hidden_sz))
        self.W_f = nn.Parameter(torch.Tensor(input_sz, hidden_sz))
        self.U_f = nn.Parameter(torch.Tensor(hidden_sz, hidden_sz))
        self.b_f = nn.Parameter(torch.Tensor(hidden_sz))
        self.W_c = nn.Parameter(torch.Tensor(input_sz, hidden_sz))
        self.U_c = nn.Parameter(torch.Tensor(hidden_sz, hidden_sz))
        self.b_c = nn.Parameter(torch.Tensor(hidden_sz))
        self.W_o = nn.Parameter(torch.Tensor(input_sz, hidden_sz))
        self.U_o = nn.Parameter(torch.Tensor(hidden_sz, hidden_sz))
        self.b_o = nn.Parameter(torch.Tensor(hidden_sz))
        self.init_weights()

    def init_weights(self):
        stdv = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            weight.data.uniform_(-stdv, stdv)

    def forward(self, x, init_states=None):
        bs, seq_sz, _ = x.size()
        hidden_seq = []
        if init_states is None:
            h_t, c_t = (
                torch.zeros(bs, self.hidden_size).to(x.device),
                torch.zeros(bs, self.hidden_size).to(x.device),
            )
        else:
            h_t, c_t = init_states
        for t in range(seq_sz):
            x_t = x[:, t, :]
            i_t = torch.sigmoid(x_t @ self.W_i + h_t @ self.U_i + self.b_i)
            f_t = torch.sigmoid(x_t @ self.W_f + h_t @ self.U_f + self.b_f)
            g_t = torch.tanh(x_t @ self.W_c + h_t @ self.U_c + self.b_c)
            o_t = torch.sigmoid(x_t @ self.W_o + h_t @ self.U_o + self.b_o)
            c_t = f_t * c_t + i_t * g_t
            h_t = o_t * torch.tanh(c_t)
            hidden_seq.append(h_t.unsqueeze(0))
        hidden_seq = torch.cat(hidden_seq, dim=0)
        hidden_seq = hidden_seq.transpose(0, 1).contiguous()
        return hidden_seq, (h_t, c_t)


class FusedLSTM(nn.Module):
    """Fused kernels under names that say nothing of the order, which is i, f, o, g."""

    def __init__(self, n_in, n_hidden):
        super().__init__()
        self.n_hidden = n_hidden
        self.W = nn.Parameter(torch.randn(n_in, n_hidden * 4) * 0.1)
        self.U = nn.Parameter(torch.randn(n_hidden, n_hidden * 4) * 0.1)
        self.bias = nn.Parameter(torch.zeros(n_hidden * 4))

    def forward(self, x, state=None):
        T, B, _ = x.shape
        HS = self.n_hidden
        h, c = (x.new_zeros(B, HS), x.new_zeros(B, HS)) if state is None else state
        hs, cs = [], []
        for t in range(T):
            gates = x[t] @ self.W + h @ self.U + self.bias
            i, f, o = torch.sigmoid(gates[:, : 3 * HS]).chunk(3, 1)
            g = torch.tanh(gates[:, 3 * HS :])
            c = f * c + i * g
            h = o * torch.tanh(c)
            hs.append(h)
            cs.append(c)
        return torch.stack(hs), torch.stack(cs)


class CellLoop(nn.Module):
    """torch's own cell, step by step."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.LSTMCell(input_size, hidden_size)

    def forward(self, inputs, h0, c0):
        h, c, outs = h0, c0, []
        for x in inputs:
            h, c = self.cell(x, (h, c))
            outs.append(h)
        return torch.stack(outs), h, c


class Tagger(nn.Module):
    """A layer of torch's, batch first, beside others that are not called."""

    def __init__(self, input_size, hidden_size, dropout=0.5):
        super().__init__()
        self.rnn = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, 11)

    def forward(self, x, hidden=None):
        out, hidden = self.rnn(x, hidden)
        return self.drop(out), hidden


class Listed(nn.Module):
    """Lists of parameters, in the order o, f, i, g, and one kernel for [x, h]."""

    def __init__(self, input_dim, hidden_dim):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.kernels = nn.ParameterList(
            [nn.Parameter(torch.randn(hidden_dim, input_dim + hidden_dim) * 0.2) for _ in range(4)]
        )
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(hidden_dim)) for _ in range(4)])

    def forward(self, x, hc=None):
        seq_len, batch, _ = x.shape
        h, c = hc if hc is not None else (torch.zeros(batch, self.hidden_dim, dtype=x.dtype),) * 2
        outs = []
        for t in range(seq_len):
            z = torch.cat([x[t], h], dim=1)
            o, f, i, g = [z @ w.t() + b for w, b in zip(self.kernels, self.biases)]
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outs.append(h)
        return torch.stack(outs, 0), (h, c)


class FromOnnx(nn.Module):
    """Weights that came from a state dict of another order, i, o, f, g, and are kept in it."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        source = nn.LSTM(input_size, hidden_size).state_dict()
        order = torch.cat([torch.arange(hidden_size) + k * hidden_size for k in (0, 3, 1, 2)])
        self.w_x = nn.Parameter(source["weight_ih_l0"][order])
        self.w_h = nn.Parameter(source["weight_hh_l0"][order])
        self.b = nn.Parameter((source["bias_ih_l0"] + source["bias_hh_l0"])[order])

    def forward(self, x, h_0, c_0):
        h, c = h_0, c_0
        seq = []
        for x_t in x.unbind(0):
            i, o, f, g = (x_t @ self.w_x.T + h @ self.w_h.T + self.b).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            seq.append(torch.stack([h, c]))
        seq = torch.stack(seq)
        return {"h": seq[:, 0], "c": seq[:, 1]}


class MyCell(nn.Module):
    """One timestep a call, two Linears."""

    def __init__(self, input_size, hidden_size, bias=True):
        super().__init__()
        self.x2h = nn.Linear(input_size, 4 * hidden_size, bias=bias)
        self.h2h = nn.Linear(hidden_size, 4 * hidden_size, bias=bias)

    def forward(self, x, hidden):
        hx, cx = hidden
        gates = self.x2h(x) + self.h2h(hx)
        ingate, forgetgate, cellgate, outgate = gates.chunk(4, 1)
        cy = cx * torch.sigmoid(forgetgate) + torch.sigmoid(ingate) * torch.tanh(cellgate)
        hy = torch.sigmoid(outgate) * torch.tanh(cy)
        return hy, cy


class Cs231n:
    """NumPy: (N, T, D), kernels (D, 4H), gates i, f, o, g, the whole of h alone."""

    def __init__(self, input_dim, hidden_dim):
        rng = np.random.RandomState(0)
        self.Wx = rng.randn(input_dim, 4 * hidden_dim) / np.sqrt(input_dim)
        self.Wh = rng.randn(hidden_dim, 4 * hidden_dim) / np.sqrt(hidden_dim)
        self.b = np.zeros(4 * hidden_dim)
        self.cache = None

    def forward(self, x, h0):
        N, T, _ = x.shape
        H = h0.shape[1]
        h = np.zeros((N, T, H))
        prev_h, prev_c = h0, np.zeros_like(h0)
        for t in range(T):
            a = x[:, t] @ self.Wx + prev_h @ self.Wh + self.b
            i, f, o = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H]), sigmoid(a[:, 2 * H : 3 * H])
            g = np.tanh(a[:, 3 * H :])
            prev_c = f * prev_c + i * g
            prev_h = o * np.tanh(prev_c)
            h[:, t] = prev_h
        return h


class Columns:
    """NumPy: columns, one sequence at a time, kernels of [h; x], gradients beside them."""

    def __init__(self, n_x, n_h):
        self.n_h = n_h
        n_z = n_h + n_x
        for gate in ("f", "i", "c", "o"):
            setattr(self, "W" + gate, np.random.randn(n_h, n_z) * 0.1)
            setattr(self, "b" + gate, np.zeros((n_h, 1)))
            setattr(self, "dW" + gate, np.zeros((n_h, n_z)))
            setattr(self, "db" + gate, np.zeros((n_h, 1)))

    def forward(self, xs):
        h, c = np.zeros((self.n_h, 1)), np.zeros((self.n_h, 1))
        hs, cs = [], []
        for x in xs:
            z = np.vstack((h, x.reshape(-1, 1)))
            f = sigmoid(np.dot(self.Wf, z) + self.bf)
            i = sigmoid(np.dot(self.Wi, z) + self.bi)
            c_bar = np.tanh(np.dot(self.Wc, z) + self.bc)
            o = sigmoid(np.dot(self.Wo, z) + self.bo)
            c = f * c + i * c_bar
            h = o * np.tanh(c)
            hs.append(h)
            cs.append(c)
        return hs, cs


class PlainLists:
    """Nothing but lists and math."""

    def __init__(self, input_size, hidden_size):
        def matrix(rows, columns):
            return [[0.01 * (r + c) for c in range(columns)] for r in range(rows)]

        self.hidden_size = hidden_size
        self.gates = {
            name: {
                "w": matrix(hidden_size, input_size),
                "u": matrix(hidden_size, hidden_size),
                "b": [0.0] * hidden_size,
            }
            for name in ("forget", "input", "candidate", "output")
        }

    def _gate(self, name, x, h, activation):
        p = self.gates[name]
        return [
            activation(sum(w * v for w, v in zip(p["w"][k], x)) + sum(u * v for u, v in zip(p["u"][k], h)) + p["b"][k])
            for k in range(self.hidden_size)
        ]

    def __call__(self, sequence):
        def sig(v):
            return 1.0 / (1.0 + math.exp(-v))

        h, c = [0.0] * self.hidden_size, [0.0] * self.hidden_size
        outputs = []
        for x in sequence:
            f = self._gate("forget", x, h, sig)
            i = self._gate("input", x, h, sig)
            g = self._gate("candidate", x, h, math.tanh)
            o = self._gate("output", x, h, sig)
            c = [f[k] * c[k] + i[k] * g[k] for k in range(self.hidden_size)]
            h = [o[k] * math.tanh(c[k]) for k in range(self.hidden_size)]
            outputs.append(h)
        return outputs


class Tf1Names:
    """What a checkpoint of TF1 holds: one kernel of [x, h], gates i, j, f, o, and a forget bias of 1 at run time."""

    def __init__(self, input_size, num_units, forget_bias=1.0):
        self.kernel = np.zeros((input_size + num_units, 4 * num_units), np.float32)
        self.bias = np.zeros(4 * num_units, np.float32)
        self.forget_bias = forget_bias

    def __call__(self, inputs, state):
        c, h = state
        outputs = []
        for x in inputs:
            i, j, f, o = np.split(np.concatenate([x, h], 1) @ self.kernel + self.bias, 4, axis=1)
            c = c * sigmoid(f + self.forget_bias) + sigmoid(i) * np.tanh(j)
            h = np.tanh(c) * sigmoid(o)
            outputs.append(h)
        return np.stack(outputs), (c, h)


class Wrapped:
    """Weights are had by get_weights and set_weights alone."""

    __slots__ = ("_f",)

    def __init__(self, input_size, hidden_size):
        held = [
            np.ones((4 * hidden_size, input_size)),
            np.ones((4 * hidden_size, hidden_size)),
            np.ones(4 * hidden_size),
        ]

        def run(what, value=None):
            if what == "get":
                return [np.array(array) for array in held]
            if what == "set":
                held[:] = [np.array(array) for array in value]
                return None
            W, R, b = held
            x, h, c = value
            hs, cs = [], []
            for x_t in x:
                i, f, g, o = np.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
                hs.append(h)
                cs.append(c)
            return np.stack(hs), np.stack(cs)

        self._f = run

    def get_weights(self):
        return self._f("get")

    def set_weights(self, weights):
        self._f("set", weights)

    def __call__(self, x, h, c):
        return self._f("run", (x, h, c))


def make(input_size, hidden_size):
    """A function that builds one."""
    return torch.jit.script(nn.LSTM(input_size, hidden_size)) if False else nn.LSTM(input_size, hidden_size)


made = FusedLSTM(6, 5)


class FixedSizes(nn.Module):
    """Its sizes are written into it."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 6)

    def forward(self, x):
        return self.lstm(x)[0]


class NoBias(nn.Module):
    """No bias, and no states to start from."""

    def __init__(self, n_in, n_hidden):
        super().__init__()
        self.n_hidden = n_hidden
        self.inp = nn.Linear(n_in, 4 * n_hidden, bias=False)
        self.rec = nn.Linear(n_hidden, 4 * n_hidden, bias=False)

    def forward(self, x):
        h = c = torch.zeros(x.shape[1], self.n_hidden, dtype=x.dtype)
        out = []
        for x_t in x:
            f, i, g, o = (self.inp(x_t) + self.rec(h)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        return torch.stack(out)


class WithLengths(nn.Module):
    """Packs its sequences where it is given lengths."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size)

    def forward(self, x, hx=None, lengths=None):
        if lengths is None:
            return self.lstm(x, hx)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        out, states = self.lstm(packed, hx)
        return nn.utils.rnn.pad_packed_sequence(out, total_length=len(x))[0], states


class Classifier(nn.Module):
    """A layer between an embedding and a head: what it returns is no h."""

    def __init__(self, vocabulary=100, hidden_size=16):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 8)
        self.lstm = nn.LSTM(8, hidden_size)
        self.fc = nn.Linear(hidden_size, 2)

    def forward(self, tokens):
        out, _ = self.lstm(self.embedding(tokens))
        return self.fc(out[-1])


def layers(input_size, hidden_size):
    return nn.LSTM(input_size, hidden_size, num_layers=2, batch_first=True)


def both_ways(input_size, hidden_size):
    return nn.LSTM(input_size, hidden_size, num_layers=2, bidirectional=True)

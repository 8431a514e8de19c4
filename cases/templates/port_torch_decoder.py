"""A port in PyTorch of an attention decoder, which agrees as it stands: put your own decoder into it.

lockstep check port_torch_decoder.py:port
"""

import torch
from torch import nn

# The cell's weights come as the state dict of an nn.LSTMCell, and all arrays as tensors.
LOCKSTEP = {"layout": "torch_cell", "arrays": "torch"}


class Decoder(nn.Module):
    """YOUR LSTM HERE: paste or import your decoder; what it needs is made of enc (S, B, E) and the widths."""

    def __init__(self, cell, W_tilde, b_tilde, W_target, W_a=None):
        super().__init__()
        hidden_size, input_size = cell["weight_hh"].shape[1], cell["weight_ih"].shape[1]
        self.cell = nn.LSTMCell(input_size, hidden_size, dtype=W_tilde.dtype)
        self.cell.load_state_dict(cell)
        self.W_tilde, self.b_tilde, self.W_target, self.W_a = W_tilde, b_tilde, W_target, W_a

    def forward(self, enc, h, c, y, steps, valid):
        """Logits (T, B, O) and h_tilde (T, B, A)."""
        logits, h_tilde = [], []
        for _ in range(steps):
            h, c = self.cell(y, (h, c))
            context = attend(enc, h if self.W_a is None else h @ self.W_a.T, valid)
            # What is fed back as the next input.
            y = (torch.cat([context, h], dim=-1) @ self.W_tilde.T + self.b_tilde).tanh()
            h_tilde.append(y)
            logits.append(y @ self.W_target.T)
        return torch.stack(logits), torch.stack(h_tilde)


def attend(enc, query, valid):
    """The context (B, E): the mean of ``enc``, weighted by the softmax of its products with the query (B, E)."""
    scores = torch.where(valid, (enc * query).sum(dim=-1), -torch.inf)
    return (scores.softmax(dim=0)[:, :, None] * enc).sum(dim=0)


def port(enc, weights, h0, c0, y0, steps, lengths=None):
    """Load the weights into a decoder, and run it from h0, c0 (B, H) and y0 (B, A).

    ``weights`` holds the cell's, W_tilde (A, E + H), b_tilde (A,), W_target (O, A), and W_a (E, H) where the scores are
    general. Source timesteps from a sequence's length on take no part.
    """
    others = {name: weights[name] for name in ("W_tilde", "b_tilde", "W_target", "W_a") if name in weights}
    cell = {name: tensor for name, tensor in weights.items() if name not in others}
    valid = torch.ones(enc.shape[:2], dtype=torch.bool)
    if lengths is not None:
        valid = torch.arange(len(enc))[:, None] < lengths
    with torch.no_grad():
        return Decoder(cell, **others)(enc, h0, c0, y0, steps, valid)

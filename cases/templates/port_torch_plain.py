"""A port of a PyTorch module that agrees as it stands: put your own module into it, and check it again.

lockstep check port_torch_plain.py:port
"""

import torch
from torch import nn

# Weights come as the state dict of an nn.LSTM, and all arrays as tensors.
LOCKSTEP = {"layout": "torch", "arrays": "torch"}


class Model(nn.Module):
    """YOUR LSTM HERE: paste or import your module, over x (T, B, I) from h and c (B, H); below, name its weights."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size)

    def forward(self, x, h, c):
        """The h of all timesteps (T, B, H), and the last c (B, H)."""
        h_seq, (_, c_n) = self.lstm(x, (h[None], c[None]))
        return h_seq, c_n[0]


# What your module calls the weights of an nn.LSTM, whose gates are i, f, g, o.
NAMES = {
    "weight_ih_l0": "lstm.weight_ih_l0",  # (4H, I)
    "weight_hh_l0": "lstm.weight_hh_l0",  # (4H, H)
    "bias_ih_l0": "lstm.bias_ih_l0",  # (4H,)
    "bias_hh_l0": "lstm.bias_hh_l0",  # (4H,), added to the first
}


def port(x, weights, h0, c0):
    """Load the weights into a module, and run it: h_seq (T, B, H), and c of all timesteps, the last c, or None.

    With a further parameter ``lengths=None`` cases whose sequences end early are run, too.
    """
    model = Model(x.shape[2], h0.shape[1]).to(x.dtype)
    model.load_state_dict({NAMES[name]: tensor for name, tensor in weights.items()})
    with torch.no_grad():
        return model(x, h0, c0)

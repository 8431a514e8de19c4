"""A port of a PyTorch module with layers in one or both directions, which agrees as it stands: put your own into it.

lockstep check port_torch_network.py:port bidirectional layers-bidirectional
"""

import torch
from torch import nn

# Weights come as the state dict of an nn.LSTM, and all arrays as tensors.
LOCKSTEP = {"layout": "torch", "arrays": "torch"}


class Model(nn.Module):
    """YOUR LSTM HERE: paste or import your module; what it needs is made of x (T, B, I) and h, c (L D, B, H)."""

    def __init__(self, input_size, hidden_size, layers, directions):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers=layers, bidirectional=directions > 1)

    def forward(self, x, h, c):
        """The h of all timesteps (T, B, D H), and the final h and c (L D, B, H)."""
        h_seq, (h_n, c_n) = self.lstm(x, (h, c))
        return h_seq, h_n, c_n


def port(x, weights, h0, c0):
    """Load the weights into a module, and run it: h_seq (T, B, D H), h_n and c_n (L D, B, H).

    ``weights`` is the state dict of an nn.LSTM of all layers and directions; h0 and c0 (L D, B, H) are in the same
    order. Of one layer in one direction states are (B, H). With a further parameter ``lengths=None`` cases whose
    sequences end early are run, too.
    """
    directions = 1 + ("weight_ih_l0_reverse" in weights)
    layers = sum(name.startswith("weight_ih") for name in weights) // directions
    model = Model(x.shape[2], h0.shape[-1], layers, directions).to(x.dtype)
    model.load_state_dict({f"lstm.{name}": tensor for name, tensor in weights.items()})
    with torch.no_grad():
        h_seq, h_n, c_n = model(x, *(state.reshape(-1, *state.shape[-2:]) for state in (h0, c0)))
    return (h_seq, c_n[0]) if layers * directions == 1 else (h_seq, h_n, c_n)

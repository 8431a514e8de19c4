"""A port of a PyTorch module with layers in one or both directions, which agrees as it stands: put your own into it.

lockstep check port_torch_network.py:port bidirectional layers-bidirectional
"""

import torch
from torch import nn

# Weights come as in the state dict of an nn.LSTM, and all arrays as tensors.
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
    """Load the weights into a module, and run it.

    ``weights[layer][direction]`` is a dict, forward before reverse. One layer in one direction comes as one dict, with
    states (B, H). With a further parameter ``lengths=None`` cases whose sequences end early are run, too.
    """
    if isinstance(weights, dict):
        h_seq, _, c_n = run(x, [[weights]], h0[None], c0[None])
        return h_seq, c_n[0]
    return run(x, weights, h0, c0)


def run(x, weights, h0, c0):
    """h_seq, h_n and c_n of the module with these weights."""
    model = Model(x.shape[2], h0.shape[2], len(weights), len(weights[0])).to(x.dtype)
    stored = {
        f"lstm.{name.removesuffix('_l0')}_l{k}{'_reverse' if d else ''}": tensor
        for k, layer in enumerate(weights)
        for d, lane in enumerate(layer)
        for name, tensor in lane.items()
    }
    model.load_state_dict(stored)
    with torch.no_grad():
        return model(x, h0, c0)

"""A port of a PyTorch module with its gradients by autograd, which agrees as it stands: put your own module into it.

lockstep check port_torch_gradients.py:port gradients gradients-float64
"""

import torch
from torch import nn

# All arrays come as tensors; weights and their gradients as W, R and b.
LOCKSTEP = {"arrays": "torch"}


class Model(nn.Module):
    """YOUR LSTM HERE: paste or import your module. The gates of W (4H, I), R (4H, H) and b (4H,) are i, f, g, o."""

    def __init__(self, W, R, b):
        super().__init__()
        self.W, self.R, self.b = nn.Parameter(W), nn.Parameter(R), nn.Parameter(b)

    def forward(self, x, h, c):
        """The h of all timesteps (T, B, H), and the last c (B, H)."""
        h_seq = []
        for x_t in x:
            i, f, g, o = (x_t @ self.W.T + h @ self.R.T + self.b).chunk(4, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            h_seq.append(h)
        return torch.stack(h_seq), c


def port(x, weights, h0, c0, dh=None, dc=None):
    """Load the weights into a module, run it, and go back.

    ``dh`` (T, B, H) and ``dc`` (B, H) are the cotangents of h_seq and of the last c: the gradients are those of
    sum(dh * h_seq) + sum(dc * c). What is left out of the result is not compared. Cases without gradients have no
    ``dh``.
    """
    model = Model(weights["W"], weights["R"], weights["b"])
    if dh is None:
        return model(x, h0, c0)
    leaves = {"x": x, "h0": h0, "c0": c0}
    for tensor in leaves.values():
        tensor.requires_grad_()
    h_seq, c = model(x, h0, c0)
    leaves |= {"W": model.W, "R": model.R, "b": model.b}
    gradients = torch.autograd.grad((h_seq, c), tuple(leaves.values()), (dh, dc))
    return {"h_seq": h_seq, **dict(zip(leaves, gradients, strict=True))}

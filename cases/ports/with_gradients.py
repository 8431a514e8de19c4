"""A port that gives gradients too: a cell written by hand in PyTorch, differentiated by autograd.

Checked by ``lockstep check cases/ports/with_gradients.py:port --case gradients --arrays torch``.
"""

import torch


def port(x, weights, h0, c0, dh, dc, lengths=None):
    """Run an LSTM over x (T, B, I) from h0 and c0 (B, H), and back; give h_seq (T, B, H) and gradients by name.

    ``dh`` (T, B, H) and ``dc`` (B, H) are the cotangents of h_seq and of the final cell state: the gradients are
    those of sum(dh * h_seq) + sum(dc * c). Each has the name and the shape of the argument it belongs to. What is left
    out is not compared.
    """
    arguments = {"x": x, **weights, "h0": h0, "c0": c0}
    for tensor in arguments.values():
        tensor.requires_grad_()
    h_seq, c = run(**arguments, lengths=lengths)
    gradients = torch.autograd.grad((h_seq, c), tuple(arguments.values()), (dh, dc))
    return {"h_seq": h_seq, **dict(zip(arguments, gradients, strict=True))}


def run(x, W, R, b, h0, c0, lengths):
    """Give h_seq and the final c; past a sequence's end h_seq is 0, and the state stays what it was."""
    h, c, h_seq = h0, c0, []
    for t, x_t in enumerate(x):
        i, f, g, o = (x_t @ W.T + h @ R.T + b).chunk(4, dim=-1)
        c_new = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h_new = o.sigmoid() * c_new.tanh()
        valid = torch.ones(len(h), 1, dtype=torch.bool) if lengths is None else (t < lengths)[:, None]
        h, c = torch.where(valid, h_new, h), torch.where(valid, c_new, c)
        h_seq.append(torch.where(valid, h_new, 0))
    return torch.stack(h_seq), c

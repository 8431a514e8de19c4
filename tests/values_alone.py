"""What the reference computes without noise: values, and gradients, in its own precision."""

from __future__ import annotations

import numpy as np

from lockstep.harness.cases.tensors import tensors_of
from lockstep.harness.reference.network import Network


def forward(problem):
    """Every tensor of the case but gradients."""
    network = Network(problem)
    with np.errstate(all="ignore"):
        return _in_order(problem, network.named(network.forward(noisy=False)))


def backward(problem):
    """The gradients alone; the problem has cotangents."""
    network = Network(problem)
    with np.errstate(all="ignore"):
        return _in_order(problem, network.backward(network.forward(noisy=False), noisy=False))


def _in_order(problem, results):
    return {name: results[name].value for name in tensors_of(problem.case) if name in results}

"""Exits 1 where it shows: the gradient of a saturated gate is NaN."""

import os
import sys

os.environ["DEV"] = "CPU"
from tinygrad.tensor import Tensor

z = Tensor([-1000.0])
h = z.sigmoid() * z.tanh()
(gradient,) = h.sum().gradient(z)
print("at -1000 sigmoid(z) tanh(z) is", h.numpy(), "and its gradient", gradient.numpy())
sys.exit(bool((gradient.numpy() != gradient.numpy()).any()))

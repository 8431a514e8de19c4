"""Exits 1 where it shows: the sigmoid of a float64 is off by float32's rounding."""

import math
import sys

import mlx.core as mx

with mx.stream(mx.cpu):
    found = mx.sigmoid(mx.array([0.3], dtype=mx.float64)).item()
exact = 1 / (1 + math.exp(-0.3))
print("sigmoid(0.3) is", found, "and should be", exact)
sys.exit(abs(found - exact) > 1e-12)

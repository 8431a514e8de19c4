"""Exits 1 where it shows: the gradient of the reverse weight_hh against differences."""

import sys

import numpy as np
import paddle

paddle.seed(0)
lstm = paddle.nn.LSTM(1, 1, direction="bidirect", time_major=True)
states = (paddle.ones([2, 1, 1]), paddle.ones([2, 1, 1]))
weight = dict(lstm.named_parameters())["weight_hh_l0_reverse"]


def loss():
    return lstm(paddle.ones([2, 1, 1]), states, paddle.to_tensor([1]))[0].sum()


loss().backward()
gradient, own = weight.grad.numpy()[0, 0], weight.numpy().copy()
found = []
for step in (1e-2, -1e-2):
    moved = own.copy()
    moved[0, 0] += step
    weight.set_value(moved)
    found.append(float(loss()))
difference = (found[0] - found[1]) / 2e-2
print("gradient", gradient, "difference", difference)
sys.exit(not np.isclose(gradient, difference, rtol=0.05, atol=1e-4))

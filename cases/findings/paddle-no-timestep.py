"""Ends the process where it shows: no timestep."""

import paddle

h, _ = paddle.nn.LSTM(1, 1, time_major=True)(paddle.zeros([0, 1, 1]))
print("h has shape", h.shape)

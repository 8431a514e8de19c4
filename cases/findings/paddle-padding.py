"""Exits 1 where it shows: what stands past a sequence's end reaches its final state."""

import sys

import numpy as np
import paddle

lstm = paddle.nn.LSTM(1, 1, time_major=True)
x = np.ones((2, 1, 1), np.float32)
final = []
for padding in (1, np.nan):
    x[1] = padding
    final.append(float(lstm(paddle.to_tensor(x), sequence_length=paddle.to_tensor([1]))[1][1].numpy().ravel()[0]))
print("with 1 and with NaN in the padding the final c is", final)
sys.exit(final[0] != final[1])

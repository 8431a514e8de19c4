"""Exits 1 where it shows: no sequence."""

import sys

import paddle

try:
    print(paddle.nn.LSTM(1, 1, time_major=True)(paddle.zeros([1, 0, 1]))[0].shape)
except Exception as error:
    print(type(error).__name__, str(error).strip().splitlines()[0])
    sys.exit(1)

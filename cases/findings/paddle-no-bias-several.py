"""Exits 1 where it shows."""

import sys

import paddle

try:
    paddle.nn.LSTM(1, 1, direction="bidirect", bias_ih_attr=False, bias_hh_attr=False)
except IndexError as error:
    sys.exit(f"nn.LSTM raises IndexError: {error}")

"""Exits 1 where it shows."""

import paddle

paddle.nn.LSTM(1, 1, direction="bidirect", bias_ih_attr=False, bias_hh_attr=False)

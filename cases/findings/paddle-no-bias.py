"""Is killed, or exits 1, where it shows."""

import paddle

print(paddle.nn.LSTM(1, 1, bias_ih_attr=False, bias_hh_attr=False)(paddle.ones([1, 1, 1])))

"""Ends the process where it shows: the gradient of an index into an array of no elements."""

import mlx.core as mx

mx.set_default_device(mx.cpu)
gradient = mx.grad(lambda h: h[0].sum())(mx.zeros((1, 0, 4)))
mx.eval(gradient)
print("the gradient has shape", gradient.shape)

"""Keras objects, as people write them: layers, models, a subclassed layer, healthy and wrong."""

import keras
from keras import layers, ops
from keras.layers import LSTM


def lstm(units):
    return layers.LSTM(units, return_sequences=True, return_state=True)


def model(input_size, hidden_size):
    inputs = keras.Input((None, input_size))
    outputs = layers.LSTM(hidden_size, return_sequences=True, name="encoder")(inputs)
    return keras.Model(inputs, outputs)


@keras.saving.register_keras_serializable()
class MyLSTM(layers.Layer):
    """A subclassed layer with weights of its own, gates i, f, o, g."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], 4 * self.units), initializer="glorot_uniform", name="w")
        self.u = self.add_weight(shape=(self.units, 4 * self.units), initializer="orthogonal", name="u")
        self.bias = self.add_weight(shape=(4 * self.units,), initializer="zeros", name="b")

    def call(self, inputs, initial_state=None):
        h, c = initial_state if initial_state is not None else [ops.zeros((ops.shape(inputs)[0], self.units))] * 2
        outputs = []
        for t in range(inputs.shape[1]):
            z = ops.matmul(inputs[:, t], self.w) + ops.matmul(h, self.u) + self.bias
            i, f, o, g = ops.split(z, 4, axis=-1)
            c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
            h = ops.sigmoid(o) * ops.tanh(c)
            outputs.append(h)
        return ops.stack(outputs, axis=1), h, c


class WrongOrder(layers.Layer):
    """Keras' names, and the order i, f, o, c."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 4 * self.units), name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(self.units, 4 * self.units), name="recurrent_kernel")
        self.bias = self.add_weight(shape=(4 * self.units,), name="bias")

    def call(self, x):
        h = c = ops.zeros((ops.shape(x)[0], self.units))
        outputs = []
        for t in range(x.shape[1]):
            z = ops.matmul(x[:, t], self.kernel) + ops.matmul(h, self.recurrent_kernel) + self.bias
            i, f, o, g = ops.split(z, 4, axis=-1)
            c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
            h = ops.sigmoid(o) * ops.tanh(c)
            outputs.append(h)
        return ops.stack(outputs, axis=1)

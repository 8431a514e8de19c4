import keras
import tf_keras


def functional(k=keras):
    shared = k.layers.Dense(3)
    x = k.Input((4, 3))
    h = k.layers.LSTM(3)(shared(shared(x)))
    return k.Model(x, k.layers.Dense(3)(h))


def functional_tf_keras():
    return functional(tf_keras)


def stack():
    model = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(3)])
    model.build((None, 3))
    return model


def layer():
    made = keras.layers.LSTM(3)
    made.build((1, 4, 3))
    return made


def unbuilt():
    return tf_keras.layers.Dense(3)


def relu():
    made = keras.layers.ReLU()
    made(keras.Input((3,)))
    return made


model = functional()

"""Write planted Keras models into the folder that is the argument."""

import sys
from pathlib import Path

import keras
from keras import layers

folder = Path(sys.argv[1])
keras.utils.set_random_seed(1)


def save(name, *stack):
    keras.Sequential([keras.Input((None, 3)), *stack]).save(folder / f"{name}.keras")


save("sequences", layers.LSTM(4, return_sequences=True))
save(
    "stack",
    layers.Masking(),
    layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
    layers.Dropout(0.1),
    layers.Bidirectional(layers.LSTM(4)),
    layers.Dense(2),
)
save(
    "backwards",
    layers.LSTM(
        4, go_backwards=True, return_sequences=True, return_state=False, activation="relu", use_bias=False,
        recurrent_activation="hard_sigmoid", zero_output_for_mask=True,
    ),
)  # fmt: skip
save("sizes", layers.LSTM(4, return_sequences=True, name="small"), layers.LSTM(5, name="large"))
save("summed", layers.Bidirectional(layers.LSTM(4), merge_mode="sum", name="both"))
save("gru", layers.GRU(4, name="memory"))
save("dense", layers.Dense(4))
save("selu", layers.LSTM(4, activation="selu", name="odd"))
x = keras.Input((None, 3))
keras.Model(x, [layers.LSTM(4, name="first")(x), layers.LSTM(4, name="second")(x)]).save(folder / "two.keras")

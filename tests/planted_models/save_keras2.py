"""Write planted models of tf_keras, which is Keras 2, into the folder that is the argument: .h5 files, a SavedModel."""

import sys
from pathlib import Path

import tf_keras
from tf_keras import layers

folder = Path(sys.argv[1])
tf_keras.utils.set_random_seed(1)


def lstm(units, **settings):
    return layers.LSTM(units, return_sequences=True, recurrent_activation="hard_sigmoid", **settings)


model = tf_keras.Sequential([
    tf_keras.Input((None, 3)), layers.Masking(), layers.Bidirectional(lstm(4), name="lower"), layers.Dropout(0.1),
    layers.Bidirectional(lstm(4), name="upper"), layers.Lambda(lambda x: 2 * x), layers.Dense(2),
])  # fmt: skip
model.save(folder / "stack.h5")
alone = tf_keras.Sequential([tf_keras.Input((None, 3)), layers.Bidirectional(lstm(4), name="both", merge_mode="sum")])
alone.save(folder / "both.h5")
alone.save(folder / "saved")
tf_keras.Sequential([tf_keras.Input((None, 3)), layers.GRU(4, name="memory", reset_after=False)]).save(
    folder / "gru.h5"
)
alone.save_weights(folder / "weights.h5")

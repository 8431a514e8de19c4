"""What the backends of Keras 3 have in common, whatever their engine: activations, and layers kept by network."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import keras

from lockstep.backends import keras_layers
from lockstep.harness.cases.case import LSTM


@keras.saving.register_keras_serializable("lockstep")
def hard_sigmoid_of_keras_2(z: Any) -> Any:
    """Hard sigmoid: 0.2 z + 0.5, held in [0, 1]: Keras 3 has no name for it."""
    return keras.ops.clip(0.2 * z + 0.5, 0, 1)


HARD_SIGMOIDS = {"hard_sigmoid_0.2": hard_sigmoid_of_keras_2, "hard_sigmoid_1/6": "hard_sigmoid"}


@lru_cache(maxsize=16)
def layers_of(lstm: LSTM, dtype: str) -> list[Any]:
    """The layers of a network, the same ones each time."""
    return keras_layers.layers_of(keras, HARD_SIGMOIDS, lstm, dtype)

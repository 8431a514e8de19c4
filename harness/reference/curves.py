"""The curves that stand, or are met, in the place of sigmoid and tanh.

Each maps a pre-activation to a value, element by element, in the precision it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lockstep.harness.arrays import Array


class Curve(NamedTuple):
    """A curve, and how it is called in a sentence."""

    value: Callable[[Array], Array]
    words: str


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-z))


def _pade_tanh(z: Array) -> Array:
    """Z (27 + z²) / (27 + 9 z²), held at ±1 from |z| = 3 on: the approximation most often written by hand."""
    z = np.clip(z, -3, 3)
    return z * (27 + z * z) / (27 + 9 * z * z)


def _where_positive(z: Array, otherwise: Array) -> Array:
    # Both branches are computed everywhere: one that may overflow is given min(z, 0).
    return np.where(z > 0, z, otherwise)


# Sources: Keras 2 `hard_sigmoid` (0.2 z + 0.5); ONNX `HardSigmoid` (alpha 0.2, beta 0.5); Keras 3, PyTorch and TFLite
# `hard_sigmoid` (z / 6 + 0.5); LeCun et al., Efficient BackProp (1998), for 1.7159 tanh(2 z / 3).
CURVES: dict[str, Curve] = {
    "sigmoid": Curve(sigmoid, "the sigmoid"),
    "tanh": Curve(np.tanh, "tanh"),
    "hard_sigmoid_0.2": Curve(lambda z: np.clip(z / 5 + 0.5, 0, 1), "the hard sigmoid 0.2 z + 0.5 (Keras 2, ONNX)"),
    "hard_sigmoid_1/6": Curve(lambda z: np.clip(z / 6 + 0.5, 0, 1), "the hard sigmoid z/6 + 0.5 (Keras 3, PyTorch)"),
    "hard_sigmoid_0.25": Curve(lambda z: np.clip(z / 4 + 0.5, 0, 1), "the hard sigmoid 0.25 z + 0.5"),
    "linear": Curve(lambda z: z, "no activation at all"),
    "relu": Curve(lambda z: np.maximum(z, 0), "relu"),
    "hard_tanh": Curve(lambda z: np.clip(z, -1, 1), "the hard tanh, z held in [-1, 1]"),
    "softsign": Curve(lambda z: z / (1 + np.abs(z)), "softsign, z / (1 + |z|)"),
    "softsign_sigmoid": Curve(
        lambda z: (z / (1 + np.abs(z)) + 1) / 2, "the sigmoid made of softsign, (z / (1 + |z|) + 1) / 2"
    ),
    "pade_tanh": Curve(_pade_tanh, "the approximation z (27 + z²) / (27 + 9 z²) of tanh"),
    "pade_sigmoid": Curve(lambda z: (_pade_tanh(z / 2) + 1) / 2, "the sigmoid made of z (27 + z²) / (27 + 9 z²)"),
    "taylor_tanh": Curve(lambda z: z - z**3 / 3, "the series z - z³/3 of tanh"),
    "taylor_sigmoid": Curve(lambda z: 0.5 + z / 4 - z**3 / 48, "the series 1/2 + z/4 - z³/48 of the sigmoid"),
    "linear_sigmoid": Curve(lambda z: 0.5 + z / 4, "the line 1/2 + z/4"),
    "lecun_tanh": Curve(lambda z: 1.7159 * np.tanh(2 * z / 3), "1.7159 tanh(2 z / 3)"),
    "sigmoid_of_2z": Curve(lambda z: sigmoid(2 * z), "the sigmoid of 2 z, (tanh(z) + 1) / 2"),
    "tanh_of_half": Curve(lambda z: np.tanh(z / 2), "tanh(z / 2), that is 2 sigmoid(z) - 1"),
    "sigmoid_of_base_2": Curve(lambda z: 1 / (1 + np.exp2(-z)), "the sigmoid with 2^-z for exp(-z)"),
    "sigmoid_of_-z": Curve(lambda z: sigmoid(-z), "the sigmoid of -z, that is 1 - sigmoid(z)"),
    "tanh_of_-z": Curve(lambda z: np.tanh(-z), "tanh of -z"),
    "sigmoid_twice": Curve(lambda z: sigmoid(sigmoid(z)), "the sigmoid taken twice"),
    "tanh_twice": Curve(lambda z: np.tanh(np.tanh(z)), "tanh taken twice"),
    "tanh_of_sigmoid": Curve(lambda z: np.tanh(sigmoid(z)), "tanh of the sigmoid"),
    "sigmoid_of_tanh": Curve(lambda z: sigmoid(np.tanh(z)), "the sigmoid of tanh"),
    "relu6": Curve(lambda z: np.clip(z, 0, 6), "relu6"),
    "leaky_relu_0.01": Curve(lambda z: _where_positive(z, z / 100), "leaky relu with slope 0.01"),
    "leaky_relu_0.2": Curve(lambda z: _where_positive(z, z / 5), "leaky relu with slope 0.2"),
    "elu": Curve(lambda z: _where_positive(z, np.expm1(np.minimum(z, 0))), "elu"),
    # Klambauer et al., Self-Normalizing Neural Networks (2017), for both constants.
    "selu": Curve(
        lambda z: 1.0507009873554805 * _where_positive(z, 1.6732632423543772 * np.expm1(np.minimum(z, 0))), "selu"
    ),
    "softplus": Curve(lambda z: np.logaddexp(z, 0 * z), "softplus"),
    "silu": Curve(lambda z: z * sigmoid(z), "silu, z sigmoid(z)"),
    # Hendrycks and Gimpel, Gaussian Error Linear Units (2016): sqrt(2 / pi) and 0.044715.
    "gelu_tanh": Curve(
        lambda z: z / 2 * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z**3))), "gelu in its tanh form"
    ),
    "exp": Curve(np.exp, "exp"),
    "sin": Curve(np.sin, "sin"),
    "arctan": Curve(np.arctan, "arctan"),
    "algebraic": Curve(lambda z: z / np.sqrt(1 + z * z), "z / sqrt(1 + z²)"),
    "step": Curve(lambda z: np.where(z >= 0, 1.0, 0.0), "a step at 0"),
    # Made of z, so that they have its shape and precision.
    "one": Curve(lambda z: 0 * z + 1, "the constant 1"),
    "half": Curve(lambda z: 0 * z + 0.5, "the constant 1/2"),
    "zero": Curve(lambda z: 0 * z, "the constant 0"),
}

"""A whole model of tf_keras (Keras 2); as ``backends.whole_keras`` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tf_keras

from lockstep.backends import whole_keras
from lockstep.backends.whole_keras import WholeKeras

REQUIRES = ("tf_keras", "tensorflow")
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def open_model(value: Any, path: Path | None) -> WholeKeras:
    """A model that a function returned, or that a file holds."""
    return whole_keras.open_model(value, path, tf_keras, "tf_keras", "tensorflow")

"""A whole model of Keras 3, on the engine that ``backends.model_keras`` chooses; as ``backends.whole_keras`` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.backends import whole_keras
from lockstep.backends.model_keras import keras  # which has chosen its engine
from lockstep.backends.whole_keras import WholeKeras

REQUIRES = ("keras",)
INSTALL = "lockstep-rnn[tf]"
ENVIRONMENT = {"JAX_ENABLE_X64": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def open_model(value: Any, path: Path | None) -> WholeKeras:
    """A model that a function returned, or that a file holds."""
    return whole_keras.open_model(value, path, keras, "keras", keras.backend.backend())

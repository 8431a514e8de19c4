"""A whole model in a ``.h5`` file: loaded by the Keras that wrote it, Keras 3 or tf_keras.

A ``Lambda`` layer is compiled Python code in such a file, which loading would run: it is refused. Source: Keras
documentation, ``keras.models.load_model``, ``safe_mode``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import h5py

from lockstep.backends.model_hdf5 import read_config
from lockstep.harness.adapters.user_code import first_line
from lockstep.harness.weights.model_file import ModelError

REQUIRES = ("h5py",)
INSTALL = "lockstep-rnn[tf]"

_SOURCES = {"2": "tf_keras", "3": "keras"}


def open_model(value: Any, path: Path) -> Any:
    """The model in a file.

    Raises:
        ModelError: If it holds weights alone or Python code, or its Keras is not installed.
    """
    try:
        with h5py.File(path) as stored:
            major, config = read_config(stored)
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ModelError(f"it cannot be read as a Keras model in HDF5: {first_line(error)}.") from error
    if _has_code(config):
        raise ModelError(
            "it has a Lambda layer, which in such a file is compiled Python code: that is not run. Build the model in "
            "Python and load its weights: FILE.py:FUNCTION."
        )
    library = _SOURCES[major]
    if importlib.util.find_spec(library) is None:
        raise ModelError(f"Keras {major} wrote it, and {library} is not installed: pip install '{INSTALL}'.")
    return importlib.import_module(f"lockstep.backends.source_{library}").open_model(None, path)


def _has_code(config: Any) -> bool:
    if isinstance(config, dict):
        return config.get("class_name") in {"Lambda", "__lambda__"} or any(map(_has_code, config.values()))
    return isinstance(config, list) and any(map(_has_code, config))

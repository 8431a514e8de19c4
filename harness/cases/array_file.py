"""Named arrays on disk: .safetensors and .npz. Nothing is ever unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lockstep.harness.arrays import Arrays
from lockstep.harness.errors import CaseError, LockstepError, TraceError
from lockstep.harness.files import replacing


def load_arrays(path: Path) -> Arrays:
    """Read the named arrays of a .npz or .safetensors file.

    Raises:
        CaseError: If the file is neither, or damaged.
    """
    if path.suffix == ".safetensors":
        return load_safetensors(path, CaseError)[0]
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise CaseError(f"{path}: one bare array. Give a .npz or .safetensors file with named arrays.")
            # NumPy gives a member that is no array as bytes.
            return {name: array for name, array in loaded.items() if isinstance(array, np.ndarray)}
    except OSError as error:
        raise CaseError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError, NotImplementedError) as error:
        raise CaseError(f"{path}: not a readable .npz file: {error}. Pickled objects are never loaded.") from error


def load_safetensors(path: Path, error_type: type[LockstepError] = TraceError) -> tuple[Arrays, dict[str, str]]:
    """Read the arrays of a .safetensors file and its metadata.

    Raises:
        LockstepError: Of ``error_type``, if the file is missing, truncated or something else.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except OSError as error:
        raise error_type(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (SafetensorError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise error_type(f"{path}: not a readable .safetensors file: {error}.") from error


def save_safetensors(path: Path, arrays: Arrays, metadata: dict[str, str]) -> None:
    """Write arrays with metadata, over an old file once all is written."""
    with replacing(path) as beside:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, beside, metadata)

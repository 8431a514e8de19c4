"""The types of arrays, and room for large ones.

What is expected of many timesteps is several times as large as what a backend gives. Such arrays lie in files, of which
only what is being looked at takes memory.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]

LARGE_ARRAY = 2**23  # bytes from which on an array lies in a file
PIECE = 2**19  # numbers that are looked at together


class FileMemory(mmap.mmap):
    """A mapped file, of which any part may leave the memory: the file still has it."""


def room(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Make an array to be filled; a large one lies in a file that has no name and ends with it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size >= LARGE_ARRAY and sys.platform == "linux":
        # Where the disk has no room the memory may.
        with contextlib.suppress(OSError), tempfile.TemporaryFile(buffering=0) as file:
            # A file with holes would end the process once the disk is full.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.ndarray(shape, dtype, FileMemory(file.fileno(), size))
    return np.empty(shape, dtype)


def let_go(*arrays: Array | None) -> None:
    """Take those that lie in files out of the memory; whoever looks at them again reads them."""
    for array in arrays:
        owner: Any = array
        while isinstance(owner, (np.ndarray, memoryview)):
            owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
        if isinstance(owner, FileMemory) and sys.platform == "linux":
            owner.madvise(mmap.MADV_DONTNEED)


def by_rows(make: Callable[[slice], Array], *sources: Array) -> Array:
    """What is made of sources row by row; in pieces, which are let go."""
    if sources[0].size <= PIECE:
        return make(slice(None))
    rows, step = len(sources[0]), max(1, PIECE * len(sources[0]) // sources[0].size)
    made: Array | None = None
    for start in range(0, rows, step):
        piece = make(slice(start, start + step))
        made = room((rows, *piece.shape[1:]), piece.dtype) if made is None else made
        made[start : start + step] = piece
        let_go(made, *sources)
    assert made is not None
    return made

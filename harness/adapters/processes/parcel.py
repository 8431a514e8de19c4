"""Values between two processes: pickled, with their arrays in files that both sides keep mapped.

A pipe takes some 64 KB at a time and wakes both sides for each; a file that is written again and again stays in memory,
and whoever maps it copies nothing.
"""

from __future__ import annotations

import os
import pickle
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.harness.arrays import FileMemory

# What is larger would reach the disk, and copying it takes its time anyway: it goes through the pipe.
MOST_SHARED_BYTES = 2**30
MOST_KEPT_BYTES = 2**24  # a larger file is mapped anew each time: what is mapped counts as this process's memory
ALIGNED = 64  # bytes at whose multiples arrays begin

Mapping = Callable[[str, int], mmap]


def _mapped(path: str, size: int) -> mmap:
    """A file of at least that size, made or grown with zeros: a full disk is an OSError, not a signal later on."""
    with Path(path).open("r+b" if os.path.exists(path) else "w+b", buffering=0) as file:  # noqa: PTH110 (half the time)
        missing = size - file.seek(0, os.SEEK_END)
        while missing > 0:  # the system may take a part at a time
            missing -= file.write(bytes(missing))
        return FileMemory(file.fileno(), size)


@dataclass(frozen=True)
class Parcel:
    """A pickled value whose arrays lie in a file, one after the other."""

    pickled: bytes
    path: str
    sizes: tuple[int, ...]
    reply: str = ""  # a file that the other side may write into

    @classmethod
    def pack(cls, value: Any, path: str, mapping: Mapping = _mapped, reply: str = "") -> Parcel:
        """Pack a value over what ``path`` held before; an OSError if there is no place for its arrays."""
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        sizes = tuple(array.nbytes for array in arrays)
        if not 0 < sum(sizes) <= MOST_SHARED_BYTES:
            return cls(pickle.dumps(value, protocol=5), path, (), reply)
        whole = memoryview(mapping(path, _end(sizes)))
        for place, array in zip(_places(sizes), arrays, strict=True):
            whole[place : place + array.nbytes] = array
        return cls(pickled, path, sizes, reply)

    def unpack(self) -> Any:
        """The value, with arrays of its own."""
        return self.unpack_with([bytearray(part) for part in self.parts()])

    def unpack_with(self, arrays: Sequence[Any]) -> Any:
        """The value, with these arrays."""
        return pickle.loads(self.pickled, buffers=arrays)  # noqa: S301 (from this run's own processes)

    def parts(self, mapping: Mapping = _mapped) -> list[np.ndarray]:
        """Its arrays' bytes as they lie in the file."""
        if not self.sizes:
            return []
        whole = mapping(self.path, _end(self.sizes))
        places = zip(_places(self.sizes), self.sizes, strict=True)
        return [np.ndarray((size,), np.uint8, whole, place) for place, size in places]


class Exchange:
    """One of two sides that send parcels to and fro: each tells the other which of its files is free to be written."""

    def __init__(self, stem: str) -> None:
        """Have files that others write into begin with ``stem``, a path."""
        self._stem = stem
        self._mapped: dict[str, mmap] = {}
        # Of each file the arrays that were given out: it is free when nobody has them any more.
        self._given: dict[str, list[weakref.ref[np.ndarray]]] = {}

    def pack(self, value: Any, path: str) -> Parcel:
        """Pack a value into a file of the other side's; an OSError if there is no place for its arrays."""
        return Parcel.pack(value, path, self._mapping, self.free())

    def unpack(self, parcel: Parcel) -> Any:
        """The value, with arrays that lie in the file."""
        parts = parcel.parts(self._mapping)
        self._given[parcel.path] = [weakref.ref(part) for part in parts]
        return parcel.unpack_with([part.data for part in parts])  # NumPy would look through an array

    def free(self) -> str:
        """A file for the next parcel to this side."""
        free = (path for path, given in self._given.items() if all(part() is None for part in given))
        names = (f"{self._stem}{k}" for k in count())
        return next(free, None) or next(name for name in names if name not in self._given)

    def _mapping(self, path: str, size: int) -> mmap:
        mapped = self._mapped.get(path)
        if mapped is None or len(mapped) < size:
            mapped = _mapped(path, size)
            if size <= MOST_KEPT_BYTES:
                self._mapped[path] = mapped
        return mapped


def _places(sizes: Sequence[int]) -> list[int]:
    """Where arrays begin in a file."""
    ends = accumulate(-(-size // ALIGNED) * ALIGNED for size in sizes)
    return [0, *ends][:-1]


def _end(sizes: Sequence[int]) -> int:
    return _places(sizes)[-1] + sizes[-1]

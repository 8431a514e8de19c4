"""Values between two processes: pickled, with their arrays in files that both sides keep mapped.

A pipe takes some 64 KB at a time and wakes both sides for each; a file that is written again and again stays in memory,
and whoever maps it copies nothing.
"""

from __future__ import annotations

import os
import pickle
import weakref
from collections.abc import Callable, Sequence
from itertools import count
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

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


class Parcel(NamedTuple):
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
        for place, array in zip(_places(sizes), arrays, strict=False):
            whole[place : place + array.nbytes] = array
        return cls(pickled, path, sizes, reply)

    def unpack(self) -> Any:
        """The value, with arrays of its own."""
        return self.unpack_with([bytearray(part) for part in self.parts(self.whole())])

    def unpack_with(self, arrays: Sequence[Any]) -> Any:
        """The value, with these arrays."""
        return pickle.loads(self.pickled, buffers=arrays)  # noqa: S301 (from this run's own processes)

    def whole(self, mapping: Mapping = _mapped) -> np.ndarray:
        """The bytes of its file: what lies there is there as long as this array is."""
        size = _end(self.sizes)
        return np.ndarray((size,), np.uint8, mapping(self.path, size) if size else None)

    def parts(self, whole: np.ndarray) -> list[memoryview]:
        """Its arrays' bytes as they lie in the file."""
        view = whole.data  # not the array itself: NumPy would look through it
        return [view[place : place + size] for place, size in zip(_places(self.sizes), self.sizes, strict=False)]


class Exchange:
    """One of two sides that send parcels to and fro: each tells the other which of its files is free to be written."""

    def __init__(self, stem: str) -> None:
        """Have files that others write into begin with ``stem``, a path."""
        self._stem = stem
        self._mapped: dict[str, mmap] = {}
        # Of each file what its arrays lie in: it is free when nobody has one of them any more.
        self._given: dict[str, weakref.ref[np.ndarray]] = {}

    def pack(self, value: Any, path: str) -> Parcel:
        """Pack a value into a file of the other side's; an OSError if there is no place for its arrays."""
        return Parcel.pack(value, path, self._mapping, self.free())

    def unpack(self, parcel: Parcel) -> Any:
        """The value, with arrays that lie in the file."""
        whole = parcel.whole(self._mapping)
        self._given[parcel.path] = weakref.ref(whole)
        return parcel.unpack_with(parcel.parts(whole))

    def free(self) -> str:
        """A file for the next parcel to this side."""
        for path, given in self._given.items():
            if given() is None:
                return path
        names = (f"{self._stem}{k}" for k in count())
        return next(name for name in names if name not in self._given)

    def _mapping(self, path: str, size: int) -> mmap:
        mapped = self._mapped.get(path)
        if mapped is None or len(mapped) < size:
            mapped = _mapped(path, size)
            if size <= MOST_KEPT_BYTES:
                self._mapped[path] = mapped
        return mapped


def _places(sizes: Sequence[int]) -> list[int]:
    """Where arrays begin in a file, and where the next one would."""
    places = [0]
    for size in sizes:
        places.append(places[-1] + -(-size // ALIGNED) * ALIGNED)
    return places


def _end(sizes: Sequence[int]) -> int:
    return _places(sizes)[-1]

"""Values on their way between processes: what is small through the pipe, arrays through a file that stays.

A pipe takes some 64 KB at a time and wakes both sides for each. A file that is written again and again
stays in memory, and passes arrays at the speed of a copy.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What is larger would reach the disk, and copying it takes its time anyway: it goes through the pipe.
MOST_SHARED_BYTES = 2**26


@dataclass(frozen=True)
class Parcel:
    """A pickled value whose arrays lie in a file, one after the other."""

    pickled: bytes
    path: Path
    sizes: tuple[int, ...]

    @classmethod
    def pack(cls, value: Any, path: Path) -> Parcel:
        """Pack a value over what ``path`` held before; an OSError if there is no place for its arrays."""
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        if sum(array.nbytes for array in arrays) > MOST_SHARED_BYTES:
            return cls(pickle.dumps(value, protocol=5), path, ())
        # Not truncated: the file keeps its pages, and the copy is all that writing costs.
        with path.open("r+b" if path.exists() else "wb") as file:
            sizes = tuple(file.write(array) for array in arrays)
        return cls(pickled, path, sizes)

    def unpack(self) -> Any:
        """The value, with arrays of its own."""
        if not self.sizes:
            return pickle.loads(self.pickled)  # noqa: S301 (from this run's own processes)
        arrays = [bytearray(size) for size in self.sizes]
        with self.path.open("rb") as file:
            for array in arrays:
                file.readinto(array)
        return pickle.loads(self.pickled, buffers=arrays)  # noqa: S301 (from this run's own processes)

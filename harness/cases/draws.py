"""Seeded numbers that are bit-identical on every machine, in every process, under every NumPy.

NumPy promises a stable stream for its bit generators but not for the distributions of
``Generator``, and functions such as ``log`` differ between processors. So numbers are made here of
raw bits by the operations that IEEE 754 rounds correctly: addition, multiplication, division and
square root.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from lockstep.harness.arrays import PIECE, by_rows

F64 = NDArray[np.float64]


def raw_bits(seed: int, stream: str, count: int) -> NDArray[np.uint64]:
    """Draw ``count`` 64-bit words from the stream of that name.

    Source: Philox 4x64 (Salmon et al., 2011) as ``numpy.random.Philox``, keyed by SHA-256 of seed and name.
    """
    # 128 bits, as many as Philox takes for a key.
    key = hashlib.sha256(f"lockstep 1/{seed}/{stream}".encode()).digest()[:16]
    return np.random.Philox(key=int.from_bytes(key, "little")).random_raw(count)


def uniform(seed: int, stream: str, count: int, bound: float) -> F64:
    """Draw independent values, uniform in [-bound, bound)."""
    bits = raw_bits(seed, stream, count)

    def values(rows: slice) -> F64:
        # 53 bits, as many as a float64 below 1 has: the division is exact.
        unit = (bits[rows] >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (2 * unit - 1) * bound

    return by_rows(values, bits)


def probe(seed: int, stream: str, count: int, bound: float) -> F64:
    """Draw values in ±[bound/4, bound] of which no two have the same magnitude.

    The range of magnitudes is cut into ``count`` strata and each gives one value, so that an
    exchange of any two values, a lost sign or an ignored value shows. After rounding to float32
    magnitudes stay distinct up to 2^22 values.
    """
    bits = raw_bits(seed, stream, count)
    ranks = _ranks(bits)

    def values(rows: slice) -> F64:
        # The low bits do not decide the rank: half a stratum of jitter, and the sign.
        jitter = ((bits[rows] >> np.uint64(1)) & np.uint64(0xFFFF)).astype(np.float64) * 2.0**-17
        sign = 1.0 - 2.0 * (bits[rows] & np.uint64(1)).astype(np.float64)
        magnitude = 0.25 + 0.75 * ((ranks[rows] + 0.25 + jitter) / max(count, 1))
        return sign * magnitude * bound

    return by_rows(values, bits)


def _ranks(bits: NDArray[np.uint64]) -> NDArray[np.integer]:
    """The place of each among all of them, by size."""
    order, count = np.argsort(bits, kind="stable"), len(bits)
    ranks = np.empty(count, np.int32 if count < 2**31 else np.int64)
    for start in range(0, count, PIECE):
        ranks[order[start : start + PIECE]] = np.arange(start, min(start + PIECE, count))
    return ranks

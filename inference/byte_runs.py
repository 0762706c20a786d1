"""Several texts as one array of bytes: where their words are, and the hash of any run of bytes, without a loop.

The hash of a run is a difference of prefix sums of b[i] * P**i (mod 2**64), brought to a common origin by the
inverse of P**i (Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987). A word is a run of ASCII
letters and digits and of bytes beyond ASCII; all else counts as a space.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRIME = 0x9E3779B97F4A7C15  # odd, hence it has an inverse modulo 2**64
_INVERSE = pow(PRIME, -1, 1 << 64)
_TABLED_BYTES = 1 << 16


class ByteRuns:
    """Several texts as one array of bytes, with where words are and the hash of any run."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        joined = b" " + b"  ".join(texts) + b" "
        self.bytes = _CLASSES[np.frombuffer(joined, dtype=np.uint8)]
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 2
        self.row = np.repeat(np.arange(len(texts)), lengths)
        self.is_word = self.bytes != ord(" ")
        edges = np.flatnonzero(self.is_word[1:] != self.is_word[:-1]) + 1
        self.starts, self.ends = edges[::2], edges[1::2]
        self._powers, self._inverses = _powers(len(joined) + 1)
        self._prefix = np.zeros(len(joined) + 1, dtype=np.uint64)
        np.cumsum(self.bytes * self._powers[: len(joined)], out=self._prefix[1:])

    def hashes(self, starts: NDArray[Any], ends: NDArray[Any]) -> NDArray[np.uint64]:
        """The hash of each run of bytes: the same for the same bytes, wherever they stand."""
        hashes: NDArray[np.uint64] = (self._prefix[ends] - self._prefix[starts]) * self._inverses[starts]
        return hashes

    def runs(self, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Where runs within a word and the spaces round it start, and the ordinal, among the bytes of words, of each
        run's second byte, which always is one of its word's."""
        inner = self.is_word[1:-1].copy()  # of the run that starts one earlier
        ordinal = np.cumsum(inner) - 1
        for offset in range(1, size - 2):
            inner[:-offset] &= self.is_word[1 + offset : -1]
            inner[-offset:] = False
        starts = np.flatnonzero(inner[: len(self.bytes) - size + 1])
        return starts, ordinal[starts]


def hash_of(data: bytes) -> int:
    """What `ByteRuns.hashes` gives for these bytes."""
    return sum(byte * pow(PRIME, index, 1 << 64) for index, byte in enumerate(data)) % (1 << 64)


def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first `count` powers of the prime and of its inverse."""
    if count <= len(_POWERS):
        return _POWERS, _INVERSES
    return _power_table(PRIME, count), _power_table(_INVERSE, count)


def _power_table(factor: int, count: int) -> NDArray[np.uint64]:
    table = np.full(count, factor, dtype=np.uint64)
    table[0] = 1
    powers: NDArray[np.uint64] = np.cumprod(table, dtype=np.uint64)
    return powers


def _class_table() -> NDArray[np.uint64]:
    """Bytes of words as they are, all others as a space. UTF-8 beyond ASCII counts as letters."""
    keep = [chr(code).isalnum() or code >= 0x80 for code in range(256)]
    return np.array([code if kept else ord(" ") for code, kept in enumerate(keep)], dtype=np.uint64)


_CLASSES = _class_table()
_POWERS = _power_table(PRIME, _TABLED_BYTES)
_INVERSES = _power_table(_INVERSE, _TABLED_BYTES)

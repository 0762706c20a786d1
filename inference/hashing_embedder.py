"""The built-in embedder: character and word n-grams hashed into 384 signed buckets. No model, no training, no torch.

Features of a text, lower-cased, anything but letters, digits and non-ASCII bytes taken as a space:
* each word; each pair of neighbouring words;
* each run of 3, 4 and 5 bytes within a word and the spaces round it (the subwords of Bojanowski et al., "Enriching
  Word Vectors with Subword Information", TACL 2017), so that forms of a word and slips of the pen lie near each other.

Each is added to one of `dimension` buckets with a sign, both from its hash (Weinberger et al., "Feature Hashing for
Large Scale Multitask Learning", ICML 2009): inner products are those of the features, unbiased, with a noise of about
1/sqrt(dimension). A word's runs together weigh about as much as the word, whatever its length; stop words weigh a
tenth, short words less than long ones, since nothing here knows how rare a word is, and long ones are.

Rules:
* The vector of a text depends on that text and the settings alone: no vocabulary, no state. The identity hashes both.
* All is done on whole arrays of bytes: the hash of any run is a difference of prefix sums of b[i] * P**i (mod 2**64),
  brought to a common origin by the inverse of P**i (Karp and Rabin, 1987). Nothing loops over texts or words.

Measured on one core that others used too: 72,000 to 210,000 texts of 54 characters a second.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.embedder import EmbedderIdentity, Vectors, with_unit_rows

_REVISION = "1"
_PRIME = 0x9E3779B97F4A7C15  # odd, hence it has an inverse modulo 2**64
_INVERSE = pow(_PRIME, -1, 1 << 64)
_CHUNK_TEXTS = 256
_CHUNK_BYTES = 1 << 15
_RUNS = (3, 4, 5)
_CANCELLED = 1e-9
_STOP_WORDS = tuple(
    """
    a about after again all am an and any are as at be been before being but by can could did do does doing don down
    during each few for from further had has have having he her here hers him his how i if in into is it its just ll me
    more most my no nor not now of off on once only or other our out over own re s same she should so some such t than
    that the their them then there these they this those through to too under until up ve very was we were what when
    where which while who whom why will with would you your yours
    """.split()  # noqa: SIM905  # a list of 120 quoted words is no easier to read
)


@dataclass(frozen=True)
class HashingSettings:
    """What decides the vectors. Weights are those of one feature before the sum is scaled to length 1."""

    dimension: int = 384
    word: float = 1.0
    word_pair: float = 0.4
    runs: float = 0.9
    """Of all runs of one word together, in root of squares."""
    stop_word: float = 0.1
    """Factor of a stop word's features."""

    def __post_init__(self) -> None:
        if not 8 <= self.dimension <= 65_536:
            raise ValueError(f"dimension is {self.dimension}: give 8 to 65,536")
        if min(self.word, self.word_pair, self.runs, self.stop_word) < 0 or self.word <= 0:
            raise ValueError("weights must be at least 0, and that of a word above 0")


class HashingEmbedder:
    """An `Embedder` of hashed n-grams. Safe to use from several threads: it has no state but its tables."""

    def __init__(self, settings: HashingSettings | None = None) -> None:
        self.settings = settings or HashingSettings()
        spec = f"{_REVISION}|{self.settings}|{_RUNS}|{_PRIME}|{' '.join(_STOP_WORDS)}"
        self._identity = EmbedderIdentity(
            "hashing", _REVISION, hashlib.sha256(spec.encode()).hexdigest(), self.settings.dimension
        )
        self._stop_words = np.sort(np.array([_hash_of(word) for word in _STOP_WORDS], dtype=np.uint64))

    @property
    def identity(self) -> EmbedderIdentity:
        """Name, revision, the hash of the settings, dimension."""
        return self._identity

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), rows of length 1."""
        vectors = np.empty((len(texts), self.settings.dimension), dtype=np.float32)
        encoded = [text.lower().encode(errors="replace") for text in texts]
        start = size = 0
        for end, text in enumerate(encoded):
            if end > start and (end - start >= _CHUNK_TEXTS or size + len(text) > _CHUNK_BYTES):
                vectors[start:end] = self._embed_chunk(encoded[start:end])
                start, size = end, 0
            size += len(text)
        if encoded[start:]:
            vectors[start:] = self._embed_chunk(encoded[start:])
        return with_unit_rows(vectors)

    def _embed_chunk(self, texts: Sequence[bytes]) -> NDArray[np.float64]:
        rows, dimension = len(texts), self.settings.dimension
        text = _Bytes(texts)
        hashes, places, weights = self._features(text)
        buckets = (hashes >> np.uint64(33)) % np.uint64(dimension)
        signs = 1.0 - 2.0 * ((hashes >> np.uint64(32)) & np.uint64(1)).astype(np.float64)
        cells = text.row[places] * dimension + buckets.astype(np.int64)
        flat = np.bincount(cells, weights=weights * signs, minlength=rows * dimension)
        sums: NDArray[np.float64] = flat.astype(np.float64, copy=False).reshape(rows, dimension)
        # Texts with no word in them ("", "?!"), or whose features cancel, get a unit vector of their own.
        for row in np.flatnonzero(np.abs(sums).max(axis=1) < _CANCELLED).tolist():
            sums[row] = 0
            sums[row, _hash_of(texts[row]) % dimension] = 1.0
        return sums

    def _features(self, text: "_Bytes") -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Hash, place (index of a byte in the feature) and weight of each feature."""
        words = text.hashes(text.starts, text.ends)
        stop = self._stop_words[np.searchsorted(self._stop_words[:-1], words)] == words
        lengths = text.ends - text.starts
        weight = np.minimum(0.4 + 0.1 * lengths, 1.0) * np.where(stop, self.settings.stop_word, 1.0)
        found = [(_mixed(words), text.starts, weight * self.settings.word)]
        follows = np.flatnonzero(text.row[text.starts[1:]] == text.row[text.starts[:-1]])
        pairs = _mixed(words[follows] * np.uint64(_PRIME) + words[follows + 1] + np.uint64(1))
        found.append(
            (
                pairs,
                text.starts[follows],
                np.minimum(weight[follows], weight[follows + 1]) * self.settings.word_pair,
            )
        )
        # A word of n bytes with its two spaces has n, n - 1 and n - 2 runs of 3, 4 and 5.
        each = weight * self.settings.runs / np.sqrt(np.maximum(3 * lengths - 3, 1))
        weight_at = np.repeat(each, lengths)  # by place among the bytes of words
        for size in _RUNS:
            starts, at = text.runs(size)
            found.append(
                (_mixed(text.hashes(starts, starts + size) + np.uint64(size)), starts + 1, weight_at[at])
            )
        hashes, places, weights = zip(*found, strict=True)
        return np.concatenate(hashes), np.concatenate(places), np.concatenate(weights)


class _Bytes:
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


def _hash_of(text: str | bytes) -> int:
    """What `_Bytes.hashes` gives for these bytes."""
    data = text.encode() if isinstance(text, str) else text
    return sum(byte * pow(_PRIME, index, 1 << 64) for index, byte in enumerate(data)) % (1 << 64)


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hashes with all bits depending on all: the last half of SplitMix64 (Steele et al., OOPSLA 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed: NDArray[np.uint64] = hashes ^ (hashes >> np.uint64(27))
    return mixed


def _powers(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first `count` powers of the prime and of its inverse."""
    if count <= len(_POWERS):
        return _POWERS, _INVERSES
    return _power_table(_PRIME, count), _power_table(_INVERSE, count)


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
_POWERS = _power_table(_PRIME, _CHUNK_BYTES + 2 * _CHUNK_TEXTS + 2)
_INVERSES = _power_table(_INVERSE, _CHUNK_BYTES + 2 * _CHUNK_TEXTS + 2)

"""The built-in embedder: character and word n-grams hashed into signed buckets. No model is run, no torch is needed.

Features of a text, lower-cased, anything but letters, digits and non-ASCII bytes taken as a space:
* each word; each pair of neighbouring words;
* each run of 3, 4 and 5 bytes within a word and the spaces round it (the subwords of Bojanowski et al., "Enriching
  Word Vectors with Subword Information", TACL 2017), so that forms of a word and slips of the pen lie near each other.

Each is added to one of `dimension` buckets with a sign, both from its hash (Weinberger et al., "Feature Hashing for
Large Scale Multitask Learning", ICML 2009): inner products are those of the features, unbiased, with a noise of about
1/sqrt(dimension). A word's runs together weigh about as much as the word, whatever its length; stop words weigh a
tenth, short words less than long ones, since nothing here knows how rare a word is, and long ones are.

What texts mean without sharing a word is not seen here: `memory/thesaurus.py` does what rules can, a sentence model
(`sentence_embedder.py`) more.

Rules:
* The vector of a text depends on that text and the settings alone: no state. The identity hashes the settings.
* All is done on whole arrays of bytes (`byte_runs.py`). Nothing loops over texts or words.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.byte_runs import PRIME, ByteRuns, hash_of
from inference.embedder import EmbedderIdentity, Vectors, with_unit_rows

_REVISION = "1"
_CHUNK_TEXTS = 256
_CHUNK_BYTES = 1 << 15
_RUNS = (3, 4, 5)
_CANCELLED = 1e-9
_PLAIN_BYTES = 64
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
    """An `Embedder` of hashed n-grams. Threads may share it."""

    def __init__(self, settings: HashingSettings | None = None) -> None:
        self.settings = settings or HashingSettings()
        spec = f"{_REVISION}|{self.settings}|{_RUNS}|{PRIME}|{' '.join(_STOP_WORDS)}"
        self._identity = EmbedderIdentity(
            "hashing",
            _REVISION,
            hashlib.sha256(spec.encode()).hexdigest(),
            self.settings.dimension,
        )
        self._stop_words = np.sort(
            np.array([hash_of(word.encode()) for word in _STOP_WORDS], dtype=np.uint64)
        )

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
                self._embed_chunk(encoded[start:end], vectors[start:end])
                start, size = end, 0
            size += len(text)
        if encoded[start:]:
            self._embed_chunk(encoded[start:], vectors[start:])
        return with_unit_rows(vectors)

    def _embed_chunk(self, texts: Sequence[bytes], vectors: Vectors) -> None:
        """Fills in the rows of a few texts."""
        text = ByteRuns(texts)
        words = text.hashes(text.starts, text.ends)
        vectors[:] = self._hashed(text, words, texts)

    def _hashed(
        self, text: ByteRuns, words: NDArray[np.uint64], texts: Sequence[bytes]
    ) -> NDArray[np.float64]:
        """The sums of features in their buckets: shape (texts, buckets), no row zero."""
        rows, count = len(texts), self.settings.dimension
        hashes, places, weights = self._features(text, words)
        buckets = (hashes >> np.uint64(33)) % np.uint64(count)
        signs = 1.0 - 2.0 * ((hashes >> np.uint64(32)) & np.uint64(1)).astype(np.float64)
        cells = text.row[places] * count + buckets.astype(np.int64)
        flat = np.bincount(cells, weights=weights * signs, minlength=rows * count)
        sums: NDArray[np.float64] = flat.astype(np.float64, copy=False).reshape(rows, count)
        # Texts with no word in them ("", "?!"), or whose features cancel, get a unit vector by their first bytes.
        for row in np.flatnonzero(np.abs(sums).max(axis=1) < _CANCELLED).tolist():
            sums[row] = 0
            sums[row, hash_of(texts[row][:_PLAIN_BYTES]) % count] = 1.0
        return sums

    def _are_stop_words(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        stop: NDArray[np.bool_] = self._stop_words[np.searchsorted(self._stop_words[:-1], words)] == words
        return stop

    def _features(
        self, text: ByteRuns, words: NDArray[np.uint64]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Hash, place (index of a byte in the feature) and weight of each feature."""
        stop = self._are_stop_words(words)
        lengths = text.ends - text.starts
        weight = np.minimum(0.4 + 0.1 * lengths, 1.0) * np.where(stop, self.settings.stop_word, 1.0)
        found = [(_mixed(words), text.starts, weight * self.settings.word)]
        follows = np.flatnonzero(text.row[text.starts[1:]] == text.row[text.starts[:-1]])
        pairs = _mixed(words[follows] * np.uint64(PRIME) + words[follows + 1] + np.uint64(1))
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


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hashes with all bits depending on all: the last half of SplitMix64 (Steele et al., OOPSLA 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed: NDArray[np.uint64] = hashes ^ (hashes >> np.uint64(27))
    return mixed

"""An embedder for tests that is fast and small, and vectors at random."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from inference.embedder import EmbedderIdentity
from memory.schema import Vectors


class TinyEmbedder:
    """A vector that is fixed by the words of a text: texts that share words are near each other."""

    def __init__(self, dimension: int = 16, name: str = "tiny") -> None:
        self._identity = EmbedderIdentity(name, "1", f"{name}-{dimension}", dimension)

    @property
    def identity(self) -> EmbedderIdentity:
        """What the vectors may be compared with."""
        return self._identity

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Sums of the words' vectors, of length 1."""
        rows = np.array([self._row(text) for text in texts], np.float32).reshape(-1, self._identity.dimension)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def _row(self, text: str) -> Vectors:
        row = np.full(self._identity.dimension, 0.01, np.float32)
        for word in text.lower().split():
            seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
            row += np.random.default_rng(seed).standard_normal(self._identity.dimension).astype(np.float32)
        return row


def random_vectors(rng: np.random.Generator, count: int, dimension: int) -> Vectors:
    """Unit vectors of shape (count, dimension)."""
    rows = rng.standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)

"""A cache of embeddings by content, in front of a slow embedder.

Rules:
* It holds at most `entries` vectors, in one array made at the start; the least recently used gives way.
* The key is 128 bits of BLAKE2b of the text, so a text of any length costs 16 bytes beside its vector.
* Only what is missing goes to the embedder, each text once, in one call. The answer is the same as without the cache.

In front of `HashingEmbedder` it gains nothing: hashing costs as much as looking up. It is for models.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock

import numpy as np

from inference.embedder import Embedder, EmbedderError, EmbedderIdentity, Vectors, check_vectors

ENTRIES_MAX = 10_000_000


class CachedEmbedder:
    """An `Embedder` that remembers. Threads may share it where they may share the embedder behind it."""

    def __init__(self, embedder: Embedder, *, entries: int = 50_000) -> None:
        if not 1 <= entries <= ENTRIES_MAX:
            raise EmbedderError(f"a cache of {entries} entries: give 1 to {ENTRIES_MAX:,}")
        self._embedder = embedder
        self._vectors = np.empty((entries, embedder.identity.dimension), dtype=np.float32)
        self._row_of: OrderedDict[bytes, int] = OrderedDict()
        self._lock = Lock()
        """Held while vectors are copied in or out, not while texts are embedded."""
        self.hits = 0
        self.misses = 0

    @property
    def identity(self) -> EmbedderIdentity:
        """That of the embedder behind."""
        return self._embedder.identity

    def __len__(self) -> int:
        return len(self._row_of)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), rows of length 1."""
        keys = [blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest() for text in texts]
        vectors = np.empty((len(texts), self._vectors.shape[1]), dtype=np.float32)
        wanted: dict[bytes, list[int]] = {}
        with self._lock:
            for place, key in enumerate(keys):
                row = self._row_of.get(key)
                if row is None:
                    wanted.setdefault(key, []).append(place)
                else:
                    self._row_of.move_to_end(key)
                    vectors[place] = self._vectors[row]
            self.misses += len(wanted)
            self.hits += len(texts) - len(wanted)
        if wanted:
            made = self._embedder.embed([texts[places[0]] for places in wanted.values()])
            check_vectors(made, len(wanted), self.identity)
            with self._lock:
                for (key, places), vector in zip(wanted.items(), made, strict=True):
                    vectors[places] = vector
                    self._keep(key, vector)
        return vectors

    def _keep(self, key: bytes, vector: Vectors) -> None:
        known = self._row_of.get(key)
        if known is not None:  # another thread was faster
            row = known
        elif len(self._row_of) < len(self._vectors):
            row = len(self._row_of)
        else:
            _, row = self._row_of.popitem(last=False)
        self._vectors[row] = vector
        self._row_of[key] = row

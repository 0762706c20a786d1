"""What words mean, roughly: 21,719 English words as vectors of 72 dimensions, in a file of under a megabyte.

The vectors were distilled from a sentence model (`distil_words.py`): each is what the model makes of the word alone.
A text is the sum of its words' vectors, rare words counting more: the order of words, and so negation and who did
what to whom, is lost. No model runs, nothing is fetched, and no library beside NumPy is needed. On long
conversations a table of this kind found more than the model it came from (46 against 41 recall at 10).

Rules:
* The table is data: it is read once, checked, and never changes. Its identity is the hash of the file.
* Words that it does not know have no vector. It knows English, in lower case, and names only by chance.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from inference.byte_runs import ByteRuns
from inference.embedder import EmbedderError, Vectors

DIMENSION: Final = 72
LEVEL_MAX: Final = 7
"""Numbers are levels from -7 to 7, times the scale of their axis."""
TABLE_FILE: Final = Path(__file__).with_name("words.npz")


@dataclass(frozen=True, eq=False)
class WordTable:
    """Words with their vectors."""

    words: tuple[str, ...]
    """The frequent first."""
    vectors: Vectors
    """(words, dimension), rows of length 1."""
    hash: str
    """SHA-256 of the file, in hexadecimal."""
    row_of: dict[str, int] = field(repr=False, default_factory=dict)
    hashes: np.ndarray[tuple[int], np.dtype[np.uint64]] = field(
        repr=False, default_factory=lambda: np.zeros(0, dtype=np.uint64)
    )
    """Of the words (`byte_runs.py`), ascending."""
    order: np.ndarray[tuple[int], np.dtype[np.int64]] = field(
        repr=False, default_factory=lambda: np.zeros(0, dtype=np.int64)
    )
    """The row of each of `hashes`."""

    def weights(self) -> Vectors:
        """How much each word counts in a text: the logarithm of its rank, (words,), as Zipf's law would have it."""
        weights: Vectors = np.log(np.arange(len(self.words)) + 2.0).astype(np.float32)
        return weights

    def vectors_of(self, words: Sequence[str]) -> Vectors:
        """(len(words), dimension): unit rows, and zeros for words that are not known."""
        rows = np.array([self.row_of.get(word, -1) for word in words], dtype=np.int64)
        found = np.zeros((len(words), self.vectors.shape[1]), dtype=np.float32)
        found[rows >= 0] = self.vectors[rows[rows >= 0]]
        return found


@cache
def load_word_table() -> WordTable:
    """The table that comes with the package. Raises `EmbedderError` if the file is missing or not what it was."""
    return read_word_table(TABLE_FILE)


def read_word_table(file: Path) -> WordTable:
    """The table in a file that `distil_words` wrote."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            words = data["words"].tobytes().decode().split("\n")
            levels, scale = data["levels"], data["scale"]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise EmbedderError(f"{file} is no table of words: {error}. Install the package again.") from error
    if levels.shape != (len(words), len(scale) // 2):
        raise EmbedderError(
            f"{file} holds {len(words)} words and {levels.shape} levels: install the package again"
        )
    vectors = np.empty((len(words), len(scale)), dtype=np.float32)
    vectors[:, 0::2] = levels >> 4
    vectors[:, 1::2] = levels & 15
    vectors = (vectors - 8) * scale
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    runs = ByteRuns(["\n".join(words).encode()])
    hashes = runs.hashes(runs.starts, runs.ends)
    if len(hashes) != len(words):
        raise EmbedderError(f"{file} holds what is no word: install the package again")
    order = np.argsort(hashes)
    return WordTable(
        tuple(words),
        vectors,
        hashlib.sha256(file.read_bytes()).hexdigest(),
        {word: row for row, word in enumerate(words)},
        hashes[order],
        order,
    )

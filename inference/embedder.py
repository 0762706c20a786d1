"""Embedders: text in, unit vectors out.

Rules:
* `embed` gives float32 of shape (number of texts, dimension), each row of Euclidean length 1, so that an inner product
  is a cosine. The rows are in the order of the texts. No text is refused for its content: the empty one has a vector.
* An embedder is its `identity`. Vectors of two identities are never compared: a store keeps the identity beside its
  vectors and refuses any other. So the identity changes whenever the vectors would.
* The same text has the same vector, alone or among others, to float32 rounding; a cache may therefore stand in front.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32, shape (texts, dimension), rows of length 1."""

CHARACTERS_PER_TOKEN = 64
_READ_BYTES = 1 << 20


class EmbedderError(Exception):
    """An embedder cannot be made or used. The text says what, why, and the mend. Nothing was embedded."""


class EmbedderMissing(EmbedderError):
    """An optional package that the embedder stands on is not installed."""


class EmbedderBusy(EmbedderError):
    """As many texts wait as may wait. Nothing was taken; ask again later."""


@dataclass(frozen=True)
class EmbedderIdentity:
    """What makes vectors comparable."""

    name: str
    """`hashing`, or the model's name."""
    revision: str
    """The version of the algorithm, or of the model."""
    hash: str
    """SHA-256, in hexadecimal, of all that decides the vectors: settings, or the model's files."""
    dimension: int

    def __str__(self) -> str:
        return f"{self.name}@{self.revision} ({self.dimension} dimensions, {self.hash[:12]})"


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def identity(self) -> EmbedderIdentity:
        """What these vectors may be compared with."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), rows of length 1; (0, dimension) for no texts."""
        ...


def with_unit_rows(vectors: Vectors) -> Vectors:
    """The rows scaled to length 1, in place. Raises `EmbedderError` if a row is zero or not finite."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        row = int(np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))[0])
        raise EmbedderError(
            f"the vector of text {row} is zero or not finite: the model or its precision is at fault"
        )
    vectors /= lengths[:, None]
    return vectors


def check_vectors(vectors: Vectors, texts: int, identity: EmbedderIdentity) -> None:
    """Raises `EmbedderError` unless an embedder gave what its identity says: a finite row for each text."""
    expected = (texts, identity.dimension)
    if np.shape(vectors) != expected:
        raise EmbedderError(
            f"{identity} gave vectors of shape {np.shape(vectors)}, not {expected}: it is at fault"
        )
    if not np.isfinite(vectors).all():
        raise EmbedderError(
            f"{identity} gave numbers that are not finite: the model or its precision is at fault"
        )


def for_tokenizer(texts: Sequence[str], tokens_max: int) -> list[str]:
    """The texts as a model's tokenizer can take them.

    Half a surrogate pair becomes a question mark. A text is cut at `CHARACTERS_PER_TOKEN` for each token that the model
    takes, far beyond what it reads: to split a megabyte into words takes seconds, in which others wait.
    """
    characters = CHARACTERS_PER_TOKEN * tokens_max
    return [text[:characters].encode(errors="replace").decode() for text in texts]


def hash_of_files(folder: Path, *, suffixes: tuple[str, ...]) -> str:
    """SHA-256 over names and contents of a folder's files with one of the suffixes, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if not (path.is_file() and path.suffix in suffixes):
            continue
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()

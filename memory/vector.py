"""Vectors from outside: checked before anything is made of them."""

import numpy as np

from inference.embedder import EmbedderIdentity
from memory.errors import InvalidItem
from memory.schema import Vectors

_UNIT = 1e-3


def checked_vectors(vectors: object, count: int, identity: EmbedderIdentity) -> Vectors:
    """Vectors of shape (count, d), single precision, of length 1. Raises `InvalidItem`, and says which is wrong."""
    array = np.asarray(vectors, np.float32)
    if array.shape != (count, identity.dimension):
        raise InvalidItem(
            f"vectors of shape {array.shape} for {count} texts: the embedder {identity.name} gives ({count}, "
            f"{identity.dimension}). Embed with the embedder that the memory was opened with."
        )
    squares = np.einsum("ij,ij->i", array, array)
    sound = np.isfinite(squares) & (squares > 0)
    if not sound.all():
        row = int(np.flatnonzero(~sound)[0])
        raise InvalidItem(
            f"vector {row} of {count} is zero, or holds NaN or infinity: nothing was written. Look at what its "
            "embedder was given."
        )
    if (abs(squares - 1) > _UNIT).any():
        array = array / np.sqrt(squares)[:, None]
    return array

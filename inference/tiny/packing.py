"""Packing: conversations side by side in rows of a fixed length, so that little is computed on padding.

Rules:
* A conversation is never cut, and sees nothing of its neighbours: attention is causal within its own segment, and its
  positions begin at 0. So the loss is that of each conversation alone (a test holds this).
* Rows are filled first fit in the order of arrival, never sorted by length: batches of one length, which are batches of
  one family, did not train.
* Only answers are learnt: the loss is taken where the next token belongs to an answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Example = tuple[list[int], list[int]]
"""The tokens of a prompt, and those of its answer with the end of the turn."""


@dataclass(frozen=True)
class Batch:
    """All int64 of shape (rows, length). `segments` is 0 on padding; `targets` is -100 where nothing is learnt."""

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]
    targets: NDArray[np.int64]


def batches(examples: Iterator[Example], rows: int, length: int) -> Iterator[Batch]:
    """Batches of packed rows, as long as there are examples; an example that opens no batch any more is left out.

    Raises `ValueError` for an example that is longer than a row.
    """
    waiting = next(examples, None)
    while waiting is not None:
        tokens = np.zeros((rows, length), np.int64)
        positions, segments = np.zeros_like(tokens), np.zeros_like(tokens)
        targets = np.full_like(tokens, -100)
        used = [0] * rows
        count = 0
        while waiting is not None:
            prompt, answer = waiting
            size = len(prompt) + len(answer)
            if size > length:
                raise ValueError(f"an example has {size} tokens: a row holds {length}")
            row = next((row for row in range(rows) if used[row] + size <= length), None)
            if row is None:
                break
            start, end = used[row], used[row] + size
            count += 1
            tokens[row, start:end] = prompt + answer
            positions[row, start:end] = np.arange(size)
            segments[row, start:end] = count
            targets[row, start + len(prompt) - 1 : end - 1] = answer
            used[row] = end
            waiting = next(examples, None)
        yield Batch(tokens, positions, segments, targets)

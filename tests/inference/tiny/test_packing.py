"""Rows hold whole conversations, each with its own positions, and only answers are targets."""

import random

import numpy as np
import pytest

from inference.tiny.packing import Example, batches


def examples(count: int) -> list[Example]:
    rng = random.Random(1)
    return [
        (
            [rng.randint(1, 99) for _ in range(rng.randint(1, 12))],
            [rng.randint(1, 99) for _ in range(rng.randint(1, 8))],
        )
        for _ in range(count)
    ]


def test_every_conversation_is_packed_whole_and_once() -> None:
    given = examples(300)
    found = []
    for batch in batches(iter(given), rows=3, length=24):
        for segment in range(1, int(batch.segments.max()) + 1):
            row, columns = np.nonzero(batch.segments == segment)
            assert len(set(row)) == 1
            assert list(columns) == list(range(columns[0], columns[-1] + 1))
            tokens = list(batch.tokens[row, columns])
            assert list(batch.positions[row, columns]) == list(range(len(tokens)))
            learnt = batch.targets[row, columns]
            answer = [int(each) for each in learnt if each >= 0]
            assert learnt[-1] == -100
            assert tokens[-len(answer) :] == answer
            found.append((tokens[: -len(answer)], answer))
    assert sorted(found) == sorted(given)


def test_rows_are_well_filled_and_padding_is_no_target() -> None:
    made = list(batches(iter(examples(500)), rows=6, length=48))
    filled = np.mean([(batch.segments > 0).mean() for batch in made[:-1]])
    assert filled > 0.85
    assert all((batch.targets[batch.segments == 0] == -100).all() for batch in made)


def test_what_does_not_fit_a_row_is_an_error() -> None:
    with pytest.raises(ValueError, match="an example has 30 tokens: a row holds 24"):
        list(batches(iter([([1] * 20, [2] * 10)]), rows=2, length=24))

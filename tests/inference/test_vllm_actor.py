"""Real vLLM in a Ray actor: what is asked at once travels together, and nothing that dies takes its caller along."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.inference_model import CONTEXT, make_model
from inference.completion import Completion
from inference.errors import (
    BadRequest,
    ConfigurationError,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    LLMError,
    QueueFull,
)
from inference.provider import open_model
from inference.request import Request, Sampling
from inference.vllm_settings import VLLMSettings
from inference.vllm_wire import encoded_request
from tests.actors.ray_here import RAY_OPTIONS
from tests.inference.conformance import check_model
from tests.inference.needs import needs_vllm
from tests.inference.vllm_cast import LoopThread, quiet_vllm

pytestmark = [pytest.mark.ray, *quiet_vllm()]
GREEDY = Sampling(temperature=0, max_tokens=12)
LONG = Sampling(temperature=0, max_tokens=900)


class Served:
    """A replica, the loop that its caller lives in, and its model's folder."""

    def __init__(self, folder: Path) -> None:
        from inference.ray_vllm import start_vllm  # noqa: PLC0415  # Ray reads its environment when it is imported

        self.start = start_vllm
        self.folder = make_model(folder / "random")
        self.loop = LoopThread()
        self.llm = start_vllm(
            str(self.folder),
            VLLMSettings(cache_bytes=32 << 20, running_requests=32, unfinished_requests=200),
        )

    def run(self, work: Any) -> Any:
        return self.loop.run(work)

    def fails(self, kind: type[LLMError], request: Request) -> Any:
        """The error of a request, after which the actor serves."""
        with pytest.raises(kind) as caught:
            self.run(self.llm.complete(request))
        assert self.run(self.llm.complete(Request.of("Go on.", sampling=GREEDY))).text
        return caught.value

    async def unfinished(self, number: int) -> None:
        """Returns when the actor's engine has so many requests; a sequence that is not freed fails here."""
        for _turn in range(500):
            health = await self.llm.health()
            if health.unfinished == number:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{number} were awaited, and there are {health}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    needs_vllm()
    import ray  # noqa: PLC0415  # as above

    ray.init(address="local", **RAY_OPTIONS, logging_level="error", log_to_driver=False)
    try:
        made = Served(tmp_path_factory.mktemp("vllm"))
        yield made
        made.run(made.llm.aclose())
        made.loop.close()
    finally:
        ray.shutdown(wait_for_processes=True)


def test_a_replica_is_a_model(served: Served) -> None:
    served.run(check_model(served.llm))
    assert served.run(served.llm.count_tokens(Request.of("vote"))).exact
    assert served.llm.identity == f"vllm:random@{served.llm.describe()['revision']}"


def test_a_thousand_callers_need_few_calls_and_beyond_the_limit_are_told(served: Served) -> None:
    calls = 0
    exchange = served.llm._exchange

    async def counted(session: str, batch: Any) -> None:
        nonlocal calls
        calls += 1
        await exchange(session, batch)

    async def crowd() -> list[Completion | LLMError]:
        asked = [
            Request.of(f"vote {number}", sampling=Sampling(seed=1, max_tokens=4)) for number in range(1000)
        ]
        return await served.llm.complete_many(asked)

    served.llm._exchange = counted
    try:
        told = served.run(crowd())
    finally:
        served.llm._exchange = exchange
    answered = [each for each in told if isinstance(each, Completion)]
    refused = [each for each in told if isinstance(each, QueueFull)]
    assert len(answered) + len(refused) == 1000
    assert len(answered) >= 200
    assert all(each.definite and "200 may be" in str(each) for each in refused)
    assert calls < 120
    # Each has the answer to its own question.
    for number in [number for number, each in enumerate(told) if isinstance(each, Completion)][:5]:
        again = Request.of(f"vote {number}", sampling=Sampling(seed=1, max_tokens=4))
        assert served.run(served.llm.complete(again)).text == told[number].text


def test_errors_arrive_as_what_they_are(served: Served) -> None:
    error = served.fails(ContextTooLong, Request.of("budgets " * CONTEXT))
    assert error.limit_tokens == CONTEXT < error.prompt_tokens
    assert served.fails(DeadlinePassed, Request.of("x", sampling=LONG, timeout_s=0)).definite
    assert not served.fails(DeadlinePassed, Request.of("x", sampling=LONG, timeout_s=0.1)).definite
    with pytest.raises(BadRequest, match="no LoRA adapter 'judge'"):
        served.llm.adapter("judge")


def test_who_goes_away_frees_the_sequence(served: Served) -> None:
    async def leave() -> None:
        tasks = [
            asyncio.ensure_future(served.llm.complete(Request.of(f"{n}", sampling=LONG))) for n in range(8)
        ]
        await served.unfinished(8)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await served.unfinished(0)
        async with aclosing(served.llm.stream(Request.of("stream", sampling=LONG))) as stream:
            await anext(stream)
        await served.unfinished(0)
        assert served.llm.load == 0

    served.run(leave())


def test_ray_cancel_frees_the_sequence(served: Served) -> None:
    import ray  # noqa: PLC0415  # as above

    async def cancel() -> None:
        data = bytes(encoded_request(Request.of("x", sampling=LONG)))
        call = served.llm.actor.complete.remote(data)
        stream = served.llm.actor.stream.options(num_returns="streaming").remote(data)
        await anext(stream)
        await served.unfinished(2)
        ray.cancel(call)
        ray.cancel(stream)
        with pytest.raises(ray.exceptions.TaskCancelledError):
            await call
        await served.unfinished(0)

    served.run(cancel())


def test_it_counts_what_it_does(served: Served) -> None:
    async def counted() -> None:
        before = await served.llm.metrics()
        persona = "You are a brief judge of motions. " * 12
        for text in ("One.", "Two."):
            await served.llm.complete(Request.of(text, system=persona, sampling=GREEDY))
        after = await served.llm.metrics()
        assert after.requests - before.requests == 2
        assert after.generated_tokens - before.generated_tokens <= 24
        assert after.cached_tokens - before.cached_tokens >= 64
        assert after.mean_first_token_s is not None
        assert after.mean_queue_s is not None

    served.run(counted())


def test_an_engine_killed_in_mid_stream_is_told_and_the_next_is_served(served: Served) -> None:
    async def kill() -> None:
        core = await asyncio.wrap_future(served.llm.actor.process.remote().future())
        had = asyncio.ensure_future(served.llm.complete(Request.of("had", sampling=LONG)))
        async with aclosing(served.llm.stream(Request.of("stream", sampling=LONG))) as stream:
            await anext(stream)
            await served.unfinished(2)
            os.kill(core, signal.SIGKILL)
            with pytest.raises(EngineDead, match="died while it had the request") as streamed:
                async for _delta in stream:
                    pass
        with pytest.raises(EngineDead, match="died while it had the request") as whole:
            await had
        assert not streamed.value.definite
        assert not whole.value.definite
        # What comes now waits for the engine that is being started, and is answered.
        assert (await served.llm.health()).state == "starting"
        assert (await served.llm.complete(Request.of("new", sampling=GREEDY))).text
        health = await served.llm.health()
        assert (health.state, health.restarts) == ("serving", 1)

    served.run(kill())


def test_what_is_not_there_is_told_and_leaves_the_actor_serving(served: Served) -> None:
    model = str(served.folder)
    for start, told in (
        (lambda: open_model("vllm:no/model"), "download it once"),
        (lambda: served.start(str(served.folder / "nothing")), "there is no folder"),
        (lambda: served.start(model, VLLMSettings(gpus=1)), "Ray knows of 0"),
        (lambda: served.start(model, VLLMSettings(tensor_parallel=2, gpus=2)), "Ray knows of 0"),
        (lambda: served.start(model, VLLMSettings(cpus=64)), "Ray has 2"),
        (lambda: served.start(model, VLLMSettings(cpus=2), place_s=0.5), "no node has 2 CPU free"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            start()
    assert served.run(served.llm.complete(Request.of("Go on.", sampling=GREEDY))).text


def test_an_actor_that_dies_fails_what_it_had_and_serves_again(served: Served) -> None:
    import ray  # noqa: PLC0415  # as above

    async def kill() -> None:
        had = asyncio.ensure_future(served.llm.complete(Request.of("had", sampling=LONG)))
        await served.unfinished(1)
        ray.kill(served.llm.actor, no_restart=False)
        with pytest.raises(EngineDead) as caught:
            await had
        assert not caught.value.definite
        assert (await served.llm.complete(Request.of("new", sampling=GREEDY))).text

    served.run(kill())


def test_a_drained_replica_takes_no_more(served: Served) -> None:
    async def drain() -> None:
        had = asyncio.ensure_future(served.llm.complete(Request.of("had", sampling=LONG)))
        await served.unfinished(1)
        assert await served.llm.drain(60.0) is True
        assert (await had).text
        with pytest.raises(EngineDead, match="draining") as caught:
            await served.llm.complete(Request.of("late"))
        assert caught.value.definite

    served.run(drain())

"""What every model keeps to, whatever stands behind it: run on each implementation of `BaseLLM`."""

import asyncio
from contextlib import aclosing

from inference.completion import Completion, Delta
from inference.llm import BaseLLM
from inference.request import Request, Sampling


async def pieces(model: BaseLLM, request: Request) -> list[Delta]:
    """All that a stream yields."""
    async with aclosing(model.stream(request)) as stream:
        return [delta async for delta in stream]


async def check_model(model: BaseLLM, *, samples: int = 2) -> None:
    """A model that answers any question with some text."""
    request = Request.of("Say something.", system="You are brief.", sampling=Sampling(n=samples, seed=3))
    completion = await model.complete(request)
    check_completion(completion, samples)
    deltas = await pieces(model, request)
    *texts, last = deltas
    assert last.completion is not None
    assert not last.text
    assert all(delta.completion is None for delta in texts)
    check_completion(last.completion, samples)
    for number, choice in enumerate(last.completion.choices):
        assert "".join(delta.text for delta in texts if delta.choice == number) == choice.text
    count = await model.count_tokens(request)
    assert count.tokens > 0
    await check_leaving(model, request)
    assert model.identity
    assert "\n" not in model.identity


def check_completion(completion: Completion, samples: int) -> None:
    assert len(completion.choices) == samples
    assert completion.text == completion.choices[0].text != ""
    assert completion.finish_reason in ("stop", "length")
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens > 0
    assert completion.cost_usd is None or completion.cost_usd >= 0
    assert completion.timing.total_s is None or completion.timing.total_s >= 0


async def check_leaving(model: BaseLLM, request: Request) -> None:
    """Who leaves in the middle leaves nothing behind that would keep the loop from ending, and can ask again."""
    async with aclosing(model.stream(request)) as stream:
        async for _delta in stream:
            break
    task = asyncio.create_task(model.complete(request))
    await asyncio.sleep(0)
    task.cancel()
    (left,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError | Completion)
    assert (await model.complete(request)).text

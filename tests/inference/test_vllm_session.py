"""The exchange between a replica and its actor without Ray or vLLM: order, loss, and callers that go."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from random import Random
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from inference import ray_vllm, vllm_session
from inference.completion import Choice, Completion, Delta
from inference.errors import BadRequest, EngineDead
from inference.llm import TokenCount
from inference.ray_vllm import VLLMActor
from inference.request import Request, Sampling
from inference.vllm_replica import VLLMReplica
from inference.vllm_session import Session
from inference.vllm_settings import VLLMSettings
from inference.vllm_wire import (
    Answers,
    Asked,
    Batch,
    decoded_answers,
    decoded_batch,
    encoded,
    encoded_request,
)

DESCRIBED = {"identity": "vllm:words@1", "settings": {"timeout_s": 20.0}, "adapters": {"judge": "2"}}


class Words:
    """A model that says the question's words one after another, each after some turns of the loop."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = Random(seed)
        self.began = 0
        self.ended = 0
        self.asked = asyncio.Event()

    identity = "vllm:words@1"

    async def complete(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None, adapter: str = ""
    ) -> Completion:
        completion = None
        async for delta in self.stream(request, prompt_ids=prompt_ids, adapter=adapter):
            completion = delta.completion
        assert completion is not None
        return completion

    async def stream(
        self, request: Request, *, prompt_ids: Sequence[int] | None = None, adapter: str = ""
    ) -> AsyncGenerator[Delta, None]:
        self.began += 1
        self.asked.set()
        text = request.messages[-1].text
        try:
            if text == "bad":
                raise BadRequest("the request is bad")
            for word in text.split():
                await asyncio.sleep(0.001 * self.rng.randrange(3))
                if word == "wait":
                    await asyncio.sleep(60)
                yield Delta(f"{word} ")
            said = f"{text} {adapter} {prompt_ids or ''}".strip()
            yield Delta(completion=Completion((Choice(said),), model="words"))
        finally:
            self.ended += 1

    async def count_tokens(self, request: Request) -> TokenCount:
        return TokenCount(len(request.messages[-1].text.split()), exact=True)


class Reference:
    """A Ray call under way, as far as a replica knows one."""

    def __init__(self, work: Any) -> None:
        self._work = work

    def future(self) -> "Future[Any]":
        told: Future[Any] = Future()

        async def run() -> None:
            try:
                told.set_result(await self._work)
            except Exception as error:
                told.set_exception(error)

        self._task = asyncio.ensure_future(run())
        return told


class Method:
    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def remote(self, *values: Any) -> Reference:
        return Reference(self._method(*values))


class Actor:
    """An actor whose calls arrive and return late, out of order, or not at all."""

    def __init__(self, seed: int) -> None:
        self.words = Words(seed)
        self.rng = Random(seed)
        self.sessions: dict[str, Session] = {}
        self.calls = 0
        self.lose = False
        self.open, self.exchange, self.leave = Method(self._open), Method(self._exchange), Method(self._leave)

    async def _late(self) -> None:
        for _turn in range(self.rng.randrange(6)):
            await asyncio.sleep(0)
        if not self.rng.randrange(3):
            await asyncio.sleep(0.005)

    async def _open(self, session: str) -> None:
        await self._late()
        self.sessions[session] = Session(self.words)

    async def _exchange(self, session: str, data: bytes) -> bytes:
        self.calls += 1
        await self._late()
        known = self.sessions.get(session)
        answers = encoded(Answers(0)) if known is None else await known.exchange(decoded_batch(data))
        await self._late()
        if self.lose:
            self.lose = False
            raise ActorUnavailableError("lost", None)
        return answers

    async def _leave(self, session: str) -> None:
        self.sessions.pop(session).close()


async def streamed(llm: VLLMReplica, text: str, after_s: float) -> str:
    await asyncio.sleep(after_s)  # callers come while others are answered, so that calls overlap
    return "".join([delta.text async for delta in llm.stream(Request.of(text))])


@pytest.mark.parametrize("seed", range(10))
def test_pieces_come_in_order_and_each_caller_has_its_own_whatever_overtakes(seed: int) -> None:
    async def ask() -> None:
        actor = Actor(seed)
        async with VLLMReplica(actor, DESCRIBED) as llm:
            texts = [" ".join(f"{caller}.{word}" for word in range(caller % 40 + 1)) for caller in range(60)]
            told = await asyncio.gather(*(streamed(llm, text, actor.rng.random() / 20) for text in texts))
            assert told == [f"{text} " for text in texts], f"seed {seed}"
            whole = await llm.complete_many([Request.of(text) for text in [*texts, "bad"]])
            assert [each.text for each in whole[:-1]] == texts, f"seed {seed}"
            assert isinstance(whole[-1], BadRequest)
            assert llm.load == 0
            assert actor.words.began == actor.words.ended == 121

    asyncio.run(ask())


def test_what_is_asked_at_once_travels_together() -> None:
    async def ask() -> None:
        actor = Actor(0)
        async with VLLMReplica(actor, DESCRIBED) as llm:
            await llm.complete_many([Request.of(f"a b {number}") for number in range(1000)])
            assert actor.calls <= 10

    asyncio.run(ask())


def test_adapters_and_ids_arrive() -> None:
    async def ask() -> None:
        async with VLLMReplica(Actor(0), DESCRIBED) as llm:
            judge = llm.adapter("judge")
            assert judge.identity == "vllm:words@1+judge@2"
            assert (await judge.complete(Request.of("a"))).text == "a judge"
            assert (await judge.complete(Request.of("a"), prompt_ids=[1, 2])).text == "a judge (1, 2)"

    asyncio.run(ask())


@pytest.mark.parametrize("ids", [[], [1.5], ["a"], [-1], [1 << 70], [True]])
def test_ids_that_cannot_travel_are_refused_and_take_nobody_along(ids: list[Any]) -> None:
    async def ask() -> None:
        async with VLLMReplica(Actor(0), DESCRIBED) as llm:
            beside = asyncio.ensure_future(llm.complete(Request.of("a")))
            with pytest.raises(BadRequest, match="whole numbers from 0"):
                await llm.complete(Request.of("b"), prompt_ids=ids)
            with pytest.raises(BadRequest, match="no LoRA adapter 'clerk'"):
                await llm.complete(Request.of("b"), adapter="clerk")
            assert (await beside).text == "a"

    asyncio.run(ask())


def test_a_lost_reply_fails_what_was_sent_and_the_next_session_serves() -> None:
    async def ask() -> None:
        actor = Actor(1)
        async with VLLMReplica(actor, DESCRIBED) as llm:
            had = asyncio.ensure_future(llm.complete(Request.of("a wait")))
            await asyncio.wait_for(actor.words.asked.wait(), 10)
            actor.lose = True
            other = asyncio.ensure_future(llm.complete(Request.of("b")))
            for task in (had, other):
                with pytest.raises(EngineDead, match="died while it had the request") as caught:
                    await task
                assert not caught.value.definite
            assert (await llm.complete(Request.of("c"))).text == "c"

    asyncio.run(ask())


def test_what_an_actor_that_began_anew_did_not_take_is_asked_again() -> None:
    async def ask() -> None:
        actor = Actor(2)
        async with VLLMReplica(actor, DESCRIBED) as llm:
            assert (await llm.complete(Request.of("a"))).text == "a"
            for session in actor.sessions.values():
                session.close()
            actor.sessions.clear()  # a restart
            assert (await llm.complete(Request.of("b"))).text == "b"

    asyncio.run(ask())


@pytest.mark.parametrize("seed", range(5))
def test_who_leaves_frees_what_it_asked_whenever_it_leaves(seed: int) -> None:
    async def ask() -> None:
        actor = Actor(seed)
        rng = Random(seed)
        async with VLLMReplica(actor, DESCRIBED) as llm:
            for _round in range(20):
                task = asyncio.ensure_future(llm.complete(Request.of("a wait")))
                for _turn in range(rng.randrange(30)):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            for _turn in range(400):
                if actor.words.began == actor.words.ended:
                    break
                await asyncio.sleep(0.005)
            assert actor.words.began == actor.words.ended, f"seed {seed}"
            assert llm.load == 0

    asyncio.run(ask())


def asked(number: int, text: str) -> Asked:
    return Asked(number, encoded_request(Request.of(text, sampling=Sampling(seed=1))))


def test_a_newer_call_lets_the_older_return_and_who_left_before_its_request_came_is_not_run() -> None:
    async def exchange() -> None:
        words = Words()
        session = Session(words)
        older = asyncio.ensure_future(session.exchange(Batch((asked(1, "a wait"),))))
        await asyncio.sleep(0.01)
        newer = asyncio.ensure_future(session.exchange(Batch(left=(2,))))
        assert decoded_answers(await asyncio.wait_for(older, 1)) == Answers(1)
        last = asyncio.ensure_future(session.exchange(Batch((asked(2, "never"), asked(3, "c")))))
        replies = [decoded_answers(reply) for reply in await asyncio.gather(newer, last)]
        assert sorted(reply.number for reply in replies) == [2, 3]
        assert [answer.number for reply in replies for answer in reply.answers] == [3]
        assert words.began == 2
        assert session.idle_s >= 0
        session.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert words.ended == 2

    asyncio.run(exchange())


def test_a_session_waits_no_longer_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_session, "WAIT_S", 0.01)

    async def exchange() -> None:
        session = Session(Words())
        assert decoded_answers(await session.exchange(Batch())) == Answers(1)

    asyncio.run(exchange())


def test_a_caller_that_says_nothing_any_more_frees_what_it_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_vllm, "LEASE_S", 0.05)
    monkeypatch.setattr(ray_vllm, "WAIT_S", 0.02)
    monkeypatch.setattr(vllm_session, "WAIT_S", 0.02)

    async def vanish() -> None:
        words = Words()
        actor = VLLMActor("words", VLLMSettings())
        monkeypatch.setattr(actor, "_made", words)
        await actor.open("gone")
        await actor.exchange("gone", encoded(Batch((asked(1, "a wait"),))))
        assert (words.began, words.ended) == (1, 0)
        for _turn in range(500):
            if words.ended:
                break
            await asyncio.sleep(0.01)
        assert words.ended == 1
        assert decoded_answers(await actor.exchange("gone", encoded(Batch()))) == Answers(0)

    asyncio.run(vanish())

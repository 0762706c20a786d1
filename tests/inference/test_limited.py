"""A model within its limits, in virtual time: shared, fair, paid for once, and calm when it is told to slow down."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from inference.budget import Budget
from inference.clock import VirtualClock
from inference.completion import Choice, Completion, Delta, Usage
from inference.errors import (
    BudgetExceeded,
    ConfigurationError,
    DeadlinePassed,
    EngineDead,
    InvalidAnswer,
    LLMError,
    QueueFull,
    RateLimited,
)
from inference.limited import SHARED, LimitedLLM
from inference.limits import BudgetLimits, Ceiling, Rate, ServingLimits
from inference.llm import BaseLLM, TokenCount
from inference.price import FREE, Price
from inference.request import Caller, Request, Sampling
from inference.scripted import Rule, ScriptedLLM
from tests.inference.conformance import check_model, pieces

GREEDY = Sampling(temperature=0, max_tokens=10)
FREELY = Sampling(max_tokens=10)


class Engine(BaseLLM):
    """Takes a second for each answer, and notes when each call began and which were left."""

    identity = "engine"  # type: ignore[assignment]  # a plain attribute will do

    def __init__(self, clock: VirtualClock, faults: list[LLMError] | None = None) -> None:
        self.clock = clock
        self.faults = faults or []
        self.began: list[tuple[float, str]] = []
        self.left = 0

    async def complete(self, request: Request) -> Completion:
        self.began.append((self.clock.now(), request.messages[-1].text))
        assert request.timeout_s is None
        if self.faults:
            raise self.faults.pop(0)
        try:
            await self.clock.sleep(1.0)
        except asyncio.CancelledError:
            self.left += 1
            raise
        return Completion((Choice(f"answer to {request.messages[-1].text}"),), Usage(5, 3))

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        if self.faults:
            raise self.faults.pop(0)
        yield Delta("a")
        await self.clock.sleep(1.0)
        yield Delta("b")
        yield Delta(completion=Completion((Choice("ab"),), Usage(5, 2)))

    async def count_tokens(self, request: Request) -> TokenCount:
        return TokenCount(5, exact=True)


def run(
    test: Callable[[LimitedLLM, Engine], Awaitable[None]],
    *,
    faults: list[LLMError] | None = None,
    limits: ServingLimits | None = None,
    **options: Any,
) -> None:
    """Runs a test on an engine behind limits; at the end nothing is left under way or held."""

    async def main() -> None:
        clock = VirtualClock()
        engine = Engine(clock, faults)
        budget = options.pop("budget", None) or Budget(BudgetLimits())
        model = LimitedLLM(engine, limits, clock=clock, budget=budget, **options)
        await test(model, engine)
        assert model.waiting == model._admission.running == 0
        assert (model._flights, model._admitted, model._sent) == ({}, {}, set())
        assert budget.spent().reserved_tokens == 0
        await model.aclose()

    asyncio.run(main())


def asked(text: str, agent: str = "a/1", sampling: Sampling = FREELY, **options: Any) -> Request:
    return Request.of(text, caller=Caller(agent, agent.partition("/")[0]), sampling=sampling, **options)


async def outcomes(model: BaseLLM, *requests: Request) -> list[Any]:
    return await asyncio.gather(*map(model.complete, requests), return_exceptions=True)


def test_it_keeps_to_what_all_models_keep_to() -> None:
    async def main() -> None:
        async with LimitedLLM(ScriptedLLM([Rule("", "hello there")])) as model:
            await check_model(model)

    asyncio.run(main())


# --- One computation for many ---------------------------------------------------------------------------------


def test_identical_deterministic_requests_in_flight_are_computed_once() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        requests = [asked("x", f"a/{agent}", GREEDY) for agent in range(50)]
        done = await outcomes(model, *requests, asked("y", sampling=GREEDY))
        assert {completion.text for completion in done} == {"answer to x", "answer to y"}
        assert len(engine.began) == 2
        assert budget.spent().tokens == 16
        shared = [completion for completion in done if SHARED in completion.notes]
        assert len(shared) == 49
        assert sum(completion.cost_usd for completion in done) == pytest.approx(budget.spent().usd)
        await model.complete(requests[0])
        assert len(engine.began) == 3  # it is no cache

    budget = Budget(BudgetLimits())
    run(test, budget=budget, price=Price(1.0, 10.0))


def test_requests_that_sample_freely_are_each_computed() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        await outcomes(model, asked("x"), asked("x"))
        await outcomes(model, asked("x", sampling=Sampling(seed=1)), asked("x", sampling=Sampling(seed=2)))
        assert len(engine.began) == 4

    run(test)


def test_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        tasks = [asyncio.ensure_future(model.complete(asked("x", sampling=GREEDY))) for _ in range(3)]
        await engine.clock.sleep(0.5)
        tasks[0].cancel()
        hurried = await outcomes(model, asked("x", sampling=GREEDY, timeout_s=0.1))
        assert isinstance(hurried[0], DeadlinePassed)
        assert not hurried[0].definite
        assert (await tasks[1]).text == (await tasks[2]).text == "answer to x"
        assert tasks[0].cancelled()
        assert len(engine.began) == 1

    run(test)


def test_when_the_last_has_left_the_engine_is_freed_and_the_next_begins_anew() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        tasks = [asyncio.ensure_future(model.complete(asked("x", sampling=GREEDY))) for _ in range(2)]
        await engine.clock.sleep(0.5)
        for task in tasks:
            task.cancel()
        next_one = asyncio.ensure_future(model.complete(asked("x", sampling=GREEDY)))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert engine.left == 1
        assert (await next_one).text == "answer to x"

    run(test)


def test_an_error_is_everyones() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        done = await outcomes(model, *[asked("x", sampling=GREEDY)] * 3)
        assert [type(error) for error in done] == [InvalidAnswer] * 3
        assert (await model.complete(asked("x", sampling=GREEDY))).text == "answer to x"

    run(test, faults=[InvalidAnswer("broken")])


# --- The queue ------------------------------------------------------------------------------------------------


def test_agents_take_turns_and_the_wait_is_told() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        chatty = [asked(f"chatty {number}", "a/0") for number in range(20)]
        done = await outcomes(model, *chatty, asked("quiet", "b/1"))
        order = [text for _, text in engine.began]
        assert order.index("quiet") <= 2
        assert done[-1].timing.queue_s == pytest.approx(order.index("quiet"))

    run(test, limits=ServingLimits(running_requests=1))


def test_a_full_queue_pushes_back_at_once() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        done = await outcomes(model, *(asked(str(number), f"a/{number}") for number in range(8)))
        assert [isinstance(outcome, QueueFull) for outcome in done] == [False] * 4 + [True] * 4
        assert (await model.complete(asked("later"))).text == "answer to later"

    run(test, limits=ServingLimits(running_requests=1, queued_requests=3))


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_in_the_queue_is_definite(stream: bool) -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        first = asyncio.ensure_future(model.complete(asked("x")))
        await engine.clock.sleep(0.1)
        late = asked("y", timeout_s=0.5)
        with pytest.raises(DeadlinePassed) as caught:
            await (pieces(model, late) if stream else model.complete(late))
        assert caught.value.definite
        assert engine.clock.now() == pytest.approx(0.6)
        await first
        assert len(engine.began) == 1

    run(test, limits=ServingLimits(running_requests=1))


def test_a_call_cancelled_in_any_moment_leaves_nothing_behind() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        for turns in range(40):
            tasks = [asyncio.ensure_future(model.complete(asked(str(number)))) for number in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert model.waiting == model._admission.running == 0, f"after {turns} turns"
        assert (await model.complete(asked("last"))).text == "answer to last"

    run(test, limits=ServingLimits(running_requests=1))


def test_calls_under_way_at_the_end_are_told() -> None:
    async def main() -> None:
        clock = VirtualClock()
        model = LimitedLLM(Engine(clock), ServingLimits(running_requests=1), clock=clock)
        tasks = [asyncio.ensure_future(model.complete(asked(str(number)))) for number in range(2)]
        await clock.sleep(0.5)
        await model.aclose()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, EngineDead)
        assert isinstance(second, EngineDead)
        assert second.definite

    asyncio.run(main())


# --- The rate -------------------------------------------------------------------------------------------------


def test_calls_are_sent_at_the_rate() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        await outcomes(model, *(asked(str(number)) for number in range(5)))
        assert [at for at, _ in engine.began] == pytest.approx([0, 2, 4, 6, 8])

    run(test, rate=Rate(requests_per_minute=30, burst_s=0))


def test_retry_after_is_kept_to_by_all_callers_together() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        first = asyncio.ensure_future(model.complete(asked("first")))
        await engine.clock.sleep(0.1)
        done = await outcomes(model, *(asked(str(number), f"a/{number}") for number in range(6)))
        assert {completion.text for completion in done} == {f"answer to {number}" for number in range(6)}
        await first
        assert all(at >= 7.0 for at, _ in engine.began[1:])
        assert budget.spent().tokens == 7 * 8  # the call that was refused is paid for once

    budget = Budget(BudgetLimits())
    run(test, faults=[RateLimited("slow down", wait_s=7.0)], budget=budget)


def test_a_storm_of_refusals_ends_with_one_probe_a_wait() -> None:
    class Closed(Engine):
        """Refuses until 21 s, then takes 5 s for an answer."""

        async def complete(self, request: Request) -> Completion:
            self.began.append((self.clock.now(), request.messages[-1].text))
            await self.clock.sleep(0.01)
            if self.clock.now() < 21.0:
                raise RateLimited("slow down", wait_s=5.0)
            await self.clock.sleep(5.0)
            return Completion((Choice("open"),), Usage(5, 3))

    async def main() -> None:
        clock = VirtualClock()
        engine = Closed(clock)
        async with LimitedLLM(engine, ServingLimits(running_requests=64), clock=clock) as model:
            done = await outcomes(model, *(asked(str(number), f"a/{number}") for number in range(200)))
        assert {completion.text for completion in done} == {"open"}
        times = [at for at, _ in engine.began]
        assert times[:64] == [0.0] * 64
        assert times[64:69] == pytest.approx([5.01, 10.02, 15.03, 20.04, 25.05])  # one probe a wait
        assert times[69] == pytest.approx(26.05)  # the fifth is not refused at once: the others follow
        assert len([at for at in times if at < 26]) == 69

    asyncio.run(main())


def test_a_dead_engine_that_had_nothing_is_waited_for_and_one_that_may_have_is_not() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        assert (await model.complete(asked("x"))).text == "answer to x"
        assert [at for at, _ in engine.began] == pytest.approx([0, 1, 3])
        engine.faults.append(EngineDead("broke off"))
        with pytest.raises(EngineDead):
            await model.complete(asked("y"))
        assert budget.spent().tokens == 8 + 15  # it may have been computed

    budget = Budget(BudgetLimits())
    run(test, faults=[EngineDead("no", definite=True), EngineDead("no", definite=True)], budget=budget)


def test_a_wait_that_is_too_long_or_without_end_goes_to_the_caller() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        with pytest.raises(RateLimited):
            await model.complete(asked("x"))
        assert len(engine.began) == 1
        engine.faults = [RateLimited("again", wait_s=1.0)] * 3
        with pytest.raises(RateLimited):
            await model.complete(asked("x"))
        assert len(engine.began) == 4

    limits = ServingLimits(attempts=3, longest_hold_s=60.0)
    run(test, faults=[RateLimited("come back tomorrow", wait_s=86400.0)], limits=limits)


# --- The budget -----------------------------------------------------------------------------------------------


def test_a_budget_is_hard_also_for_calls_made_at_once() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        done = await outcomes(model, *(asked(str(number), f"a/{number}") for number in range(10)))
        assert [isinstance(outcome, BudgetExceeded) for outcome in done] == [False] * 4 + [True] * 6
        assert budget.spent().tokens == 32
        assert len(engine.began) == 4

    budget = Budget(BudgetLimits(run=Ceiling(tokens=60)))  # 15 may be used by each, 8 are
    run(test, budget=budget)


def test_money_is_counted_by_the_price() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        completion = await model.complete(asked("x"))
        assert completion.cost_usd == pytest.approx(35e-6)
        assert budget.spent(agent="a/1").usd == pytest.approx(35e-6)
        with pytest.raises(BudgetExceeded, match="USD"):
            await model.complete(asked("x"))

    budget = Budget(BudgetLimits(each_agent=Ceiling(usd=110e-6)))
    run(test, budget=budget, price=Price(1.0, 10.0))


def test_an_unknown_price_under_a_ceiling_in_money_is_refused_and_a_free_one_is_not() -> None:
    async def refused(model: LimitedLLM, engine: Engine) -> None:
        with pytest.raises(ConfigurationError, match="price is not known"):
            await model.complete(asked("x"))

    async def free(model: LimitedLLM, engine: Engine) -> None:
        assert (await model.complete(asked("x"))).cost_usd == 0

    limits = BudgetLimits(run=Ceiling(usd=0.0))
    run(refused, budget=Budget(limits))
    run(free, budget=Budget(limits), price=FREE)


def test_two_models_may_share_a_budget() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        other = LimitedLLM(Engine(engine.clock), budget=budget, clock=engine.clock)
        done = await outcomes(model, asked("x")) + await outcomes(other, asked("x"), asked("y"))
        assert [isinstance(outcome, BudgetExceeded) for outcome in done] == [False, False, True]
        await other.aclose()

    budget = Budget(BudgetLimits(run=Ceiling(tokens=24)))
    run(test, budget=budget)


# --- Streams --------------------------------------------------------------------------------------------------


def test_a_stream_is_counted_and_one_that_is_left_is_charged_in_full() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        *texts, last = await pieces(model, asked("x"))
        assert "".join(delta.text for delta in texts) == "ab"
        assert last.completion is not None
        assert last.completion.timing.queue_s == 0
        assert budget.spent().tokens == 7
        async with aclosing(model.stream(asked("x"))) as stream:
            await anext(stream)
        assert budget.spent().tokens == 7 + 15

    budget = Budget(BudgetLimits())
    run(test, budget=budget)


def test_what_a_stream_learns_of_the_endpoint_all_keep_to() -> None:
    async def test(model: LimitedLLM, engine: Engine) -> None:
        with pytest.raises(RateLimited):
            await pieces(model, asked("x"))
        await model.complete(asked("y"))
        assert engine.began[0][0] >= 9.0

    run(test, faults=[RateLimited("slow down", wait_s=9.0)])


def test_a_stream_without_a_completion_is_an_error() -> None:
    class Short(Engine):
        async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
            yield Delta("a")

    async def main() -> None:
        clock = VirtualClock()
        async with LimitedLLM(Short(clock), clock=clock) as model:
            with pytest.raises(InvalidAnswer, match="without a completion"):
                await pieces(model, asked("x"))
            assert model._admission.running == 0

    asyncio.run(main())

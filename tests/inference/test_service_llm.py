"""Cells and a model service, in one process and virtual time: batches, answers as they come, faults of the way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from inference.clock import VirtualClock
from inference.completion import Choice, Completion, Usage
from inference.errors import (
    BadRequest,
    BudgetExceeded,
    ConfigurationError,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    QueueFull,
    RateLimited,
)
from inference.failure import KINDS, Failure
from inference.limited import LimitedLLM
from inference.limits import ServingLimits
from inference.llm import BaseLLM
from inference.request import Request, Tool
from inference.scripted import Rule, ScriptedLLM
from inference.service_desk import ServiceDesk
from inference.service_llm import ServiceLLM, ServiceSettings
from inference.service_wire import Delivery, Taken
from tests.inference.conformance import check_model
from tests.inference.line import Line


class Engine(BaseLLM):
    """Takes as many seconds as the text says, and notes what it began and what was taken from it."""

    identity = "engine"  # type: ignore[assignment]  # a plain attribute will do

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.began: list[str] = []
        self.left = 0

    async def complete(self, request: Request) -> Completion:
        text = request.messages[-1].text
        self.began.append(text)
        if text == "broken":
            raise KeyError("a fault of the model's author")
        if text == "long":
            raise ContextTooLong("too long", prompt_tokens=9, limit_tokens=5)
        try:
            await self.clock.sleep(float(text.partition(" ")[0]))
        except asyncio.CancelledError:
            self.left += 1
            raise
        return Completion((Choice(f"answer to {text}"),), Usage(5, 3))


class Stage:
    """A clock, an engine that outlives the services before it, and the way to them."""

    def __init__(self, faults: list[str] | None = None, **desk: Any) -> None:
        self.clock = VirtualClock()
        self.engine = Engine(self.clock)
        self.line = Line(lambda: ServiceDesk(self.engine, clock=self.clock, **desk), faults)

    def cell(self, **settings: Any) -> ServiceLLM:
        return ServiceLLM(self.line, ServiceSettings(**settings), clock=self.clock)


def run(test: Callable[[Stage], Awaitable[None]], faults: list[str] | None = None, **desk: Any) -> None:
    async def main() -> None:
        stage = Stage(faults, **desk)
        await test(stage)
        await stage.line.desk.aclose()
        assert stage.line.desk.held == stage.line.desk.sessions == 0

    asyncio.run(main())


async def outcomes(model: BaseLLM, *texts: str, **options: Any) -> list[Any]:
    return await asyncio.gather(
        *(model.complete(Request.of(text, **options)) for text in texts), return_exceptions=True
    )


def test_a_service_keeps_to_what_all_models_keep_to() -> None:
    async def main() -> None:
        line = Line(lambda: ServiceDesk(LimitedLLM(ScriptedLLM([Rule("", "hello there")]))))
        async with ServiceLLM(line) as model:
            await check_model(model)
            assert (await model.count_tokens(Request.of("one two"))).exact
        await line.desk.aclose()

    asyncio.run(main())


def test_requests_of_many_agents_cross_in_a_few_batches_each_of_bounded_size() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell(batch_requests=64, batch_bytes=4_000) as cell:
            done = await outcomes(cell, *(f"1 {number}" for number in range(300)))
        assert [completion.text for completion in done] == [f"answer to 1 {number}" for number in range(300)]
        assert len(stage.line.batches) < 30
        assert max(stage.line.batches) < 4_500

    run(test)


def test_who_is_done_has_its_answer_though_others_of_its_batch_are_slow() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            slow = asyncio.ensure_future(cell.complete(Request.of("100")))
            assert (await cell.complete(Request.of("1"))).text == "answer to 1"
            assert stage.clock.now() < 2
            assert (await slow).text == "answer to 100"
        assert stage.line.deliveries == [1, 1]

    run(test)


def test_errors_arrive_as_what_they_were_and_a_bad_request_takes_no_other_with_it() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            long, broken, good = await outcomes(cell, "long", "broken", "1")
        assert isinstance(long, ContextTooLong)
        assert (long.prompt_tokens, long.limit_tokens, long.definite) == (9, 5, True)
        assert isinstance(broken, EngineDead)
        assert not broken.definite
        assert "author" not in str(broken)
        assert good.text == "answer to 1"

    run(test)


@pytest.mark.parametrize("reason", sorted(KINDS))
@pytest.mark.parametrize("definite", [False, True])
def test_every_kind_of_error_crosses(reason: str, definite: bool) -> None:
    error = KINDS[reason]("what happened")
    error.definite = definite
    again = Failure.of(error).error()
    assert (type(again), str(again), again.definite) == (KINDS[reason], "what happened", definite)


def test_a_wait_crosses_and_an_unknown_kind_is_an_engine_that_died() -> None:
    again = Failure.of(RateLimited("slow down", wait_s=7.5)).error()
    assert isinstance(again, RateLimited)
    assert again.wait_s == 7.5
    assert isinstance(Failure("of tomorrow", "text", True).error(), EngineDead)


def test_a_request_that_cannot_be_sent_fails_alone() -> None:
    async def test(stage: Stage) -> None:
        tool = Tool("t", parameters={"type": "object", "maxProperties": 1 << 70})
        async with stage.cell() as cell:
            bad = asyncio.ensure_future(cell.complete(Request.of("1", tools=[tool])))
            assert (await cell.complete(Request.of("1"))).text == "answer to 1"
            with pytest.raises(BadRequest, match="cannot be sent"):
                await bad

    run(test)


# --- Back-pressure --------------------------------------------------------------------------------------------


def test_what_the_service_has_no_room_for_fails_at_once_and_says_how_many_wait() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            done = await outcomes(cell, *(f"1 {number}" for number in range(8)))
            assert [isinstance(outcome, QueueFull) for outcome in done] == [False] * 5 + [True] * 3
            assert "5 requests wait" in str(done[-1])
            assert done[-1].definite
            assert (await cell.complete(Request.of("1 later"))).text == "answer to 1 later"
        assert len(stage.engine.began) == 6

    run(test, held=5)


def test_a_process_holds_only_so_many_itself() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell(waiting_requests=3) as cell:
            done = await outcomes(cell, *(f"1 {number}" for number in range(5)))
            assert [isinstance(outcome, QueueFull) for outcome in done] == [False] * 3 + [True] * 2
            assert cell.waiting == 0

    run(test)


def test_cells_that_have_all_their_answers_and_ask_nothing_more_take_no_room() -> None:
    async def test(stage: Stage) -> None:
        cells = [stage.cell() for _ in range(6)]
        for cell in cells:  # one after the other: together they would have ten times the room
            done = await outcomes(cell, *(f"1 {number}" for number in range(50)))
            assert all(isinstance(outcome, Completion) for outcome in done)
            (last,) = await outcomes(cell, "1")
            assert last.text == "answer to 1"
        await stage.clock.sleep(0.1)
        assert stage.line.desk.held == 0
        assert sum(len(session.outbox) for session in stage.line.desk._sessions.values()) <= 6
        for cell in cells:
            await cell.aclose()

    run(test, held=50)


# --- Leaving --------------------------------------------------------------------------------------------------


def test_a_caller_that_goes_away_frees_its_call() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            tasks = [asyncio.ensure_future(cell.complete(Request.of(f"50 {number}"))) for number in range(3)]
            await stage.clock.sleep(1)
            assert stage.line.desk.held == 3
            tasks[0].cancel()
            tasks[1].cancel()
            await stage.clock.sleep(1)
            assert stage.line.desk.held == 1
            assert stage.engine.left == 2
            assert (await tasks[2]).text == "answer to 50 2"

    run(test)


def test_a_call_cancelled_in_any_moment_leaves_nothing_behind() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            for turns in range(0, 120, 3):
                task = asyncio.ensure_future(cell.complete(Request.of("0.01")))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await stage.clock.sleep(1)
            assert (cell.waiting, cell._taken) == (0, set())
            assert (await cell.complete(Request.of("1"))).text == "answer to 1"

    run(test)


def test_a_cell_that_is_not_heard_of_frees_its_calls_and_is_told_when_it_comes_back() -> None:
    async def test(stage: Stage) -> None:
        cell = stage.cell()
        task = asyncio.ensure_future(cell.complete(Request.of("500")))
        await stage.clock.sleep(1)
        assert cell._receiver is not None
        cell._receiver.cancel()  # the process hangs: nothing asks for answers any more
        await stage.clock.sleep(90)
        assert stage.line.desk.held == stage.line.desk.sessions == 0
        assert stage.engine.left == 1
        assert (await cell.complete(Request.of("1"))).text == "answer to 1"
        with pytest.raises(EngineDead) as caught:
            await task
        assert not caught.value.definite
        await cell.aclose()

    run(test)


def test_a_cell_that_waits_long_for_an_answer_is_not_taken_for_dead() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            assert (await cell.complete(Request.of("1000"))).text == "answer to 1000"

    run(test)


def test_a_cell_that_closes_fails_what_waits_and_leaves_the_service_to_others() -> None:
    async def test(stage: Stage) -> None:
        first, second = stage.cell(), stage.cell()
        tasks = [asyncio.ensure_future(cell.complete(Request.of("50"))) for cell in (first, second)]
        await stage.clock.sleep(1)
        await first.aclose()
        with pytest.raises(EngineDead):
            await tasks[0]
        assert stage.line.desk.held == 1
        assert (await tasks[1]).text == "answer to 50"
        await second.aclose()

    run(test)


# --- Deadlines ------------------------------------------------------------------------------------------------


def test_the_service_keeps_the_deadline_and_says_whether_the_request_was_sent() -> None:
    async def main() -> None:
        clock = VirtualClock()
        engine = Engine(clock)
        limited = LimitedLLM(engine, ServingLimits(running_requests=1), clock=clock)
        line = Line(lambda: ServiceDesk(limited, clock=clock))
        async with ServiceLLM(line, clock=clock) as cell:
            first = asyncio.ensure_future(outcomes(cell, "50", timeout_s=5.0))
            await clock.sleep(0.5)
            (waiting,) = await outcomes(cell, "51", timeout_s=3.0)
            assert 3.5 <= clock.now() < 4.0
            (running,) = await first
            assert 5.0 <= clock.now() < 5.5
        assert isinstance(running, DeadlinePassed)
        assert isinstance(waiting, DeadlinePassed)
        assert (running.definite, waiting.definite) == (False, True)
        await line.desk.aclose()

    asyncio.run(main())


def test_a_service_that_hangs_is_not_waited_for_beyond_the_deadline() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            (late,) = await outcomes(cell, "500", timeout_s=5.0)  # this engine keeps no deadline
            assert isinstance(late, DeadlinePassed)
            assert not late.definite
            assert stage.clock.now() < 8.0
            await stage.clock.sleep(1)
            assert stage.engine.left == 1

    run(test)


# --- Faults of the way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["request", "reply", "answer reply"])
def test_a_lost_call_or_reply_is_made_again_and_nothing_is_computed_twice(fault: str) -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            await cell.complete(Request.of("0.5 first"))
            stage.line.faults += [fault] * 3
            done = await outcomes(cell, "1 a", "1 b")
            assert [completion.text for completion in done] == ["answer to 1 a", "answer to 1 b"]
        assert stage.engine.began == ["0.5 first", "1 a", "1 b"]

    run(test)


def test_what_the_service_never_had_is_sent_to_the_next() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            await cell.complete(Request.of("1"))
            stage.line.faults.append("restart before")
            assert (await cell.complete(Request.of("2"))).text == "answer to 2"
        assert stage.engine.began == ["1", "2"]

    run(test)


def test_what_a_service_took_before_it_died_may_have_been_computed_and_is_not_asked_again() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            task = asyncio.ensure_future(cell.complete(Request.of("50")))
            await stage.clock.sleep(1)
            await stage.line.restart()
            with pytest.raises(EngineDead) as caught:
                await task
            assert not caught.value.definite
            assert (await cell.complete(Request.of("2"))).text == "answer to 2"
        assert stage.engine.began == ["50", "2"]

    run(test)


def test_a_batch_that_an_old_service_may_have_taken_is_not_offered_to_the_next() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell() as cell:
            await cell.complete(Request.of("1"))
            stage.line.faults.append("restart after")
            (lost,) = await outcomes(cell, "2")
            assert isinstance(lost, EngineDead)
            assert not lost.definite
            assert (await cell.complete(Request.of("3"))).text == "answer to 3"
        assert stage.engine.began.count("2") == 1

    run(test)


def test_a_service_that_cannot_be_reached_is_given_up_definitely_if_it_never_had_a_session() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell(reconnect_s=5.0) as cell:
            (lost,) = await outcomes(cell, "1")
            assert isinstance(lost, EngineDead)
            assert lost.definite
            assert 5.0 <= stage.clock.now() < 7.0

    run(test, faults=["request"] * 100)


def test_what_waits_behind_a_service_that_cannot_be_reached_does_not_wait_in_turn() -> None:
    async def test(stage: Stage) -> None:
        async with stage.cell(reconnect_s=5.0, batch_requests=2) as cell:
            lost = await outcomes(cell, *(f"1 {number}" for number in range(20)))
            assert all(isinstance(error, EngineDead) and error.definite for error in lost)
            assert stage.clock.now() < 7.0

    run(test, faults=["request"] * 1000)


def test_a_model_that_is_slow_to_let_go_holds_nobody_up() -> None:
    class Clinging(Engine):
        async def complete(self, request: Request) -> Completion:
            try:
                return await super().complete(request)
            except asyncio.CancelledError:
                await self.clock.sleep(300)
                raise

    async def main() -> None:
        clock = VirtualClock()
        line = Line(lambda: ServiceDesk(Clinging(clock), clock=clock))
        async with ServiceLLM(line, clock=clock) as cell:
            (late,) = await outcomes(cell, "500", timeout_s=5.0)
            assert isinstance(late, DeadlinePassed)
            assert (await cell.complete(Request.of("1"))).text == "answer to 1"
            assert clock.now() < 10
        await line.desk.aclose()

    asyncio.run(main())


def test_a_service_that_is_gone_fails_all_and_all_that_comes() -> None:
    async def test(stage: Stage) -> None:
        cell = stage.cell()
        taken = asyncio.ensure_future(cell.complete(Request.of("50")))
        await stage.clock.sleep(1)
        stage.line.gone = True
        (offered,) = await outcomes(cell, "2")
        assert isinstance(offered, EngineDead)
        assert offered.definite
        with pytest.raises(EngineDead) as caught:
            await taken
        assert not caught.value.definite
        (later,) = await outcomes(cell, "3")
        assert later.definite
        stage.line.gone = False
        await cell.aclose()

    run(test)


def test_settings_are_checked() -> None:
    for wrong in ({"batch_requests": 0}, {"gather_s": 1.0}, {"reconnect_s": -1}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            ServiceSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_budget_hit_in_the_service_is_told_as_such() -> None:
    class Poor(Engine):
        async def complete(self, request: Request) -> Completion:
            raise BudgetExceeded("the run may spend 5 tokens")

    async def main() -> None:
        clock = VirtualClock()
        line = Line(lambda: ServiceDesk(Poor(clock), clock=clock))
        async with ServiceLLM(line, clock=clock) as cell:
            (poor,) = await outcomes(cell, "1")
        assert isinstance(poor, BudgetExceeded)
        assert poor.definite
        await line.desk.aclose()

    asyncio.run(main())


def test_a_service_that_starts_again_and_cannot_open_its_model_says_why() -> None:
    class Shut(Line):
        shut = False

        async def submit(self, session: str, confirmed: int, batch: bytes) -> Taken:
            self._look()
            return await super().submit(session, confirmed, batch)

        async def collect(self, session: str, confirmed: int) -> Delivery:
            delivery = await super().collect(session, confirmed)
            self._look()
            return delivery

        def _look(self) -> None:
            if self.shut:
                raise ConfigurationError("cannot open the ledger spent.jsonl")

    async def main() -> None:
        clock = VirtualClock()
        line = Shut(lambda: ServiceDesk(Engine(clock), clock=clock))
        async with ServiceLLM(line, clock=clock) as cell:
            taken = asyncio.ensure_future(cell.complete(Request.of("50")))
            await clock.sleep(1)
            line.shut = True
            with pytest.raises(EngineDead, match="cannot open the ledger") as caught:
                await taken
            assert not caught.value.definite
            with pytest.raises(ConfigurationError, match="cannot open the ledger"):
                await cell.complete(Request.of("1"))
        await line.desk.aclose()

    asyncio.run(main())

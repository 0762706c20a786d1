"""Anything of asyncio works in a handler, and costs a task only where it is used."""

import asyncio
import contextvars
import sys
from collections.abc import Awaitable, Callable
from types import coroutine
from typing import Any

import pytest

from actors import Agent, Context, HandlerFailed, Message, Plan, Role, RunResult, Swarm, SwarmError
from tests.actors import cast

Handler = Callable[[Message, Context], Awaitable[None]]
SCHEDULES = pytest.mark.parametrize("schedule", ["rounds", "free"])
colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


class Scripted(Agent):
    """Does what its parameter says: a function for each word."""

    def __init__(self, script: dict[str, Handler]) -> None:
        self.script = script

    async def on_message(self, message: Message, context: Context) -> None:
        await self.script[message.text](message, context)


def plan_of(schedule: str, script: dict[str, Handler], **settings: Any) -> Plan:
    roles = {
        "scripted": Role(Scripted, 3, {"script": script}),
        "echo": Role(cast.Echo),
        "silent": Role(cast.Silent),
    }
    return Plan(**{"roles": roles, "schedule": schedule, "fingerprint": False} | settings)


def told(schedule: str, handler: Handler, **settings: Any) -> Any:
    """What the handler answers."""

    async def main() -> Any:
        async with Swarm.local(plan_of(schedule, {"go": handler}, **settings)) as swarm:
            answer = await swarm.ask("scripted/0", "go", timeout_s=10)
            return answer.text or answer.data

    return asyncio.run(asyncio.wait_for(main(), 20))


def run_of(schedule: str, script: dict[str, Handler], *words: str) -> RunResult:
    async def main() -> RunResult:
        async with Swarm.local(plan_of(schedule, script)) as swarm:
            for word in words:
                await swarm.send("scripted/0", word)
            return await swarm.run()

    return asyncio.run(asyncio.wait_for(main(), 20))


# --- Time-outs, groups, cancellation ----------------------------------------------------------------------------


def test_a_timeout_around_an_effect_ends_it() -> None:
    async def never() -> None:
        await asyncio.sleep(60)

    async def handler(_message: Message, context: Context) -> None:
        try:
            async with asyncio.timeout(0.02):
                await context.effect(never)
        except TimeoutError:
            context.reply("timed out")

    assert told("free", handler) == "timed out"


@SCHEDULES
def test_a_timeout_that_is_over_at_once_strikes_the_next_wait(schedule: str) -> None:
    async def handler(_message: Message, context: Context) -> None:
        for wait in (lambda: asyncio.sleep(5), lambda: context.sleep(5), lambda: context.ask("silent")):
            try:
                async with asyncio.timeout(0):
                    await wait()
                context.reply("was not timed out")
            except TimeoutError:
                pass
        context.reply("timed out")

    if schedule == "free":
        assert told(schedule, handler) == "timed out"


@SCHEDULES
def test_a_task_group_with_a_failing_child_cancels_the_others_and_raises(schedule: str) -> None:
    log: list[str] = []

    async def child(context: Context, number: int) -> None:
        try:
            if number == 2:
                await context.ask("echo", "hello")
                raise ValueError("child 2 fails")
            await context.sleep(10_000)
        except asyncio.CancelledError:
            log.append(f"{number} cancelled")
            raise

    async def handler(_message: Message, context: Context) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(4):
                    group.create_task(child(context, number))
        except* ValueError as group_error:
            context.reply([str(error) for error in group_error.exceptions])

    assert told(schedule, handler) == ["child 2 fails"]
    assert sorted(log) == ["0 cancelled", "1 cancelled", "3 cancelled"]


@SCHEDULES
def test_a_group_that_fails_unhandled_fails_its_turn_alone(schedule: str) -> None:
    async def fails(_message: Message, context: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0, 1))
            group.create_task(context.effect(int, "no number"))  # type: ignore[arg-type]  # any awaitable will do

    async def fine(_message: Message, context: Context) -> None:
        context.reply("fine")

    async def main() -> None:
        async with Swarm.local(plan_of(schedule, {"bad": fails, "good": fine})) as swarm:
            with pytest.raises(HandlerFailed):
                await swarm.ask("scripted/0", "bad", timeout_s=10)
            assert (await swarm.ask("scripted/0", "good", timeout_s=10)).text == "fine"

    asyncio.run(asyncio.wait_for(main(), 20))


@SCHEDULES
def test_a_handler_that_cancels_its_own_task_is_cancelled_where_it_waits_next(schedule: str) -> None:
    async def handler(_message: Message, context: Context) -> None:
        log: list[str] = []
        for prelude in (False, True):
            if prelude:
                await asyncio.sleep(0)  # Now the turn has a task of its own.
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                await asyncio.sleep(0)
                log.append("not cancelled")
            except asyncio.CancelledError:
                task.uncancel()
                log.append("cancelled")
            await asyncio.sleep(0)
        context.reply(log)

    assert told(schedule, handler) == ["cancelled", "cancelled"]


@SCHEDULES
def test_a_handler_that_cancels_its_task_and_ends_harms_no_other(schedule: str) -> None:
    async def careless(_message: Message, _context: Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def waits(_message: Message, context: Context) -> None:
        await asyncio.sleep(0.001)
        context.reply("well")

    async def main() -> str:
        async with Swarm.local(plan_of(schedule, {"careless": careless, "waits": waits})) as swarm:
            await swarm.send("scripted/0", "careless")
            await swarm.run()
            return (await swarm.ask("scripted/1", "waits", timeout_s=10)).text

    assert asyncio.run(asyncio.wait_for(main(), 20)) == "well"


@SCHEDULES
def test_a_turn_that_is_cancelled_fails_and_the_agent_goes_on(schedule: str) -> None:
    async def cancelled(_message: Message, _context: Context) -> None:
        raise asyncio.CancelledError

    async def fine(_message: Message, context: Context) -> None:
        context.send("silent")

    result = run_of(schedule, {"cancelled": cancelled, "fine": fine}, "cancelled", "fine")
    assert [failure.address for failure in result.failures] == ["scripted/0"]
    assert result.quiet


# --- The current task, and context variables --------------------------------------------------------------------


@SCHEDULES
def test_the_current_task_is_the_same_all_through_a_turn(schedule: str) -> None:
    async def handler(_message: Message, context: Context) -> None:
        first = asyncio.current_task()
        await context.ask("echo", 1)
        second = asyncio.current_task()
        await asyncio.sleep(0)
        third = asyncio.current_task()
        await context.sleep(0.01)
        await context.effect(len, "abc")
        context.reply([first is not None, first is second, second is third, third is asyncio.current_task()])

    assert told(schedule, handler) == [True] * 4


@SCHEDULES
def test_each_waiting_turn_has_a_task_of_its_own(schedule: str) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def handler(message: Message, context: Context) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0.001)
        await context.sleep(0.01)

    async def main() -> None:
        async with Swarm.local(plan_of(schedule, {"go": handler})) as swarm:
            await swarm.broadcast("scripted", "go")
            await swarm.run()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert len(tasks) == len({id(task) for task in tasks}) == 3


@SCHEDULES
def test_context_variables_stay_in_their_turn(schedule: str) -> None:
    seen: list[str] = []

    async def paints(message: Message, context: Context) -> None:
        seen.append(colour.get())
        colour.set(message.text)
        await asyncio.sleep(0) if message.text == "asyncio" else await context.sleep(0.01)
        seen.append(colour.get())
        await context.effect(len, "x")
        seen.append(colour.get())

    async def looks(_message: Message, _context: Context) -> None:
        seen.append(colour.get())

    script = {"asyncio": paints, "context": paints, "looks": looks}
    run_of(schedule, script, "looks", "asyncio", "looks", "context", "looks")
    assert seen == ["none", "none", *["asyncio"] * 2, "none", "none", *["context"] * 2, "none"]


@SCHEDULES
def test_a_variable_set_after_the_first_wait_stays_in_its_turn_too(schedule: str) -> None:
    seen: dict[str, list[str]] = {"scripted/0": [], "scripted/1": [], "scripted/2": []}

    async def handler(_message: Message, context: Context) -> None:
        await context.sleep(0.01)
        seen[context.address].append(colour.get())
        colour.set(context.address)
        await context.sleep(0.01)
        seen[context.address].append(colour.get())

    async def main() -> None:
        async with Swarm.local(plan_of(schedule, {"go": handler})) as swarm:
            await swarm.broadcast("scripted", "go")
            await swarm.run()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert seen == {address: ["none", address] for address in seen}


# --- What waiting costs -----------------------------------------------------------------------------------------


def tasks_of(loop: asyncio.AbstractEventLoop) -> int:
    return len(asyncio.all_tasks(loop))


class Sleeper(Agent):
    """Sleeps long."""

    async def on_message(self, message: Message, context: Context) -> None:
        if message.text == "sleep":
            await context.sleep(1000)
        elif message.text == "ask":
            await context.ask("silent", timeout_s=1000)


@SCHEDULES
@pytest.mark.parametrize("word", ["nothing", "sleep", "ask"])
def test_ten_thousand_agents_that_run_or_wait_on_their_context_cost_no_task(schedule: str, word: str) -> None:
    async def main() -> tuple[int, int, int]:
        roles = {"sleeper": Role(Sleeper, 10_000), "silent": Role(cast.Silent)}
        async with Swarm.local(Plan(roles, schedule=schedule, fingerprint=False)) as swarm:  # type: ignore[arg-type]  # one of two
            await swarm.broadcast("sleeper", "nothing")
            await run_a_little(swarm)
            before = len(asyncio.all_tasks())
            await swarm.broadcast("sleeper", word)
            await run_a_little(swarm)
            (status,) = await swarm._all("status")
            return before, len(asyncio.all_tasks()), status.suspended

    async def run_a_little(swarm: Swarm) -> None:
        if schedule == "rounds":
            await swarm.run(rounds=1)
        else:
            await swarm.run(stop=lambda state: state.queued == 0)

    before, after, suspended = asyncio.run(asyncio.wait_for(main(), 60))
    assert suspended == (0 if word == "nothing" else 10_000)
    assert after <= before + 1


@SCHEDULES
def test_tasks_that_turns_used_are_gone_after_them(schedule: str) -> None:
    async def handler(_message: Message, context: Context) -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
            await context.sleep(0.01)

    async def main() -> int:
        async with Swarm.local(plan_of(schedule, {"go": handler})) as swarm:
            before = len(asyncio.all_tasks())
            for _ in range(20):
                await swarm.broadcast("scripted", "go")
            await swarm.run()
            for _ in range(200):  # on a busy machine the last ones end a little later
                left = len(asyncio.all_tasks()) - before
                if left <= 2:
                    break
                await asyncio.sleep(0.01)
            return left

    assert asyncio.run(asyncio.wait_for(main(), 20)) <= 2


# --- What is awaited wrongly ------------------------------------------------------------------------------------


@coroutine
def foreign() -> Any:
    return (yield "not an awaitable of asyncio")


@SCHEDULES
def test_awaiting_what_is_nobodys_fails_that_turn_and_says_so(schedule: str) -> None:
    async def wrong(_message: Message, _context: Context) -> None:
        await foreign()

    async def fine(_message: Message, context: Context) -> None:
        context.send("silent")

    result = run_of(schedule, {"wrong": wrong, "fine": fine}, "wrong", "fine")
    (failure,) = result.failures
    assert "neither of its context nor of asyncio" in failure.error
    assert result.messages >= 3


@SCHEDULES
def test_a_handler_may_catch_that_and_go_on(schedule: str) -> None:
    async def handler(_message: Message, context: Context) -> None:
        try:
            await foreign()
        except RuntimeError:
            await context.sleep(0.01)
            context.reply("went on")

    assert told(schedule, handler) == "went on"


@SCHEDULES
def test_a_wait_awaited_again_gives_the_same_at_once(schedule: str) -> None:
    async def handler(_message: Message, context: Context) -> None:
        wait = context.effect(len, "four")
        context.reply([await wait, await wait])

    assert told(schedule, handler) == [4, 4]


@SCHEDULES
def test_a_wait_awaited_late_has_its_result_kept(schedule: str) -> None:
    async def handler(_message: Message, context: Context) -> None:
        effect, alarm = context.effect(len, "four"), context.sleep(0.01)
        await context.sleep(0.03)
        await context.sleep(0.03)
        await alarm
        context.reply(await effect)

    assert told(schedule, handler) == 4


@SCHEDULES
def test_handlers_that_are_not_async_or_take_the_wrong_arguments_fail_their_turn(schedule: str) -> None:
    class Plain(Agent):
        def on_message(self, message: Message, context: Context) -> None:  # type: ignore[override]  # the mistake under test
            if message.text == "raise":
                raise ValueError("raised at once")

    class Short(Agent):
        async def on_message(self, message: Message) -> None:  # type: ignore[override]  # as above
            pass

    async def main() -> RunResult:
        roles = {"plain": Role(Plain), "short": Role(Short), "echo": Role(cast.Echo)}
        async with Swarm.local(Plan(roles, schedule=schedule)) as swarm:  # type: ignore[arg-type]  # one of two
            for to, word in [("plain", "raise"), ("plain", "nothing"), ("short", "x")]:
                await swarm.send(to, word)
            assert (await swarm.ask("echo", "well?", timeout_s=10)).text == "well?"
            return await swarm.run()

    errors = [failure.error for failure in asyncio.run(asyncio.wait_for(main(), 20)).failures]
    assert len(errors) == 3
    assert "raised at once" in errors[0]
    assert "a handler of Plain is not `async def`" in errors[1]
    assert "positional argument" in errors[2]


# --- Ends -------------------------------------------------------------------------------------------------------


@SCHEDULES
@pytest.mark.parametrize("how", ["group", "gather", "timeout", "finally", "stubborn"])
def test_a_swarm_ends_whatever_its_turns_are_in_the_middle_of(schedule: str, how: str) -> None:
    ended: list[str] = []

    async def handler(_message: Message, context: Context) -> None:
        try:
            if how == "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.sleep(1000))
                    group.create_task(context.ask("silent", timeout_s=1000))
            elif how == "gather":
                await asyncio.gather(
                    context.sleep(1000), asyncio.sleep(1000), context.ask("silent", timeout_s=1000)
                )
            elif how == "timeout":
                async with asyncio.timeout(1000):
                    await context.sleep(1000)
            else:
                await context.sleep(1000)
        finally:
            ended.append(how)
            context.send("echo", "goes nowhere")
            if how == "stubborn":
                await context.sleep(0.01)

    async def main() -> int:
        async with Swarm.local(plan_of(schedule, {"go": handler})) as swarm:
            await swarm.send("scripted/0", "go")
            work = asyncio.ensure_future(swarm.run(rounds=2, timeout_s=0.05))
            with_limit = await asyncio.wait((work,), timeout=0.2)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            assert with_limit
        for _ in range(5):
            await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    unraisable: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        assert asyncio.run(asyncio.wait_for(main(), 20)) == 2  # this one, and the one that waits for it
    finally:
        sys.unraisablehook = before
    assert ended == [how]
    assert unraisable == []


@SCHEDULES
def test_an_error_whose_text_cannot_be_encoded_reaches_the_asker_all_the_same(schedule: str) -> None:
    async def bad(_message: Message, _context: Context) -> None:
        raise ValueError("half \ud800 a pair")

    async def outside(_message: Message, context: Context) -> None:
        try:
            await context.ask("scripted/1", "bad")
        except SwarmError as error:
            context.reply("\\ud800" in str(error))

    async def main() -> Any:
        async with Swarm.local(plan_of(schedule, {"bad": bad, "ask": outside}, cells=2)) as swarm:
            return (await swarm.ask("scripted/0", "ask", timeout_s=10)).data

    assert asyncio.run(asyncio.wait_for(main(), 20)) is True

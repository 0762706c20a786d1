"""What a swarm promises, on every runtime and in every schedule: one suite, run over all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors import AgentStopped, ConfigurationError, HandlerFailed, Limits, Plan, Role, Swarm, UnknownAddress
from tests.actors import cast
from tests.actors.ray_here import RAY_OPTIONS

ROLES = {
    "echo": Role(cast.Echo),
    "counter": Role(cast.Counter),
    "sender": Role(cast.Sender, count=4),
    "asker": Role(cast.Asker),
    "failing": Role(cast.Failing),
    "silent": Role(cast.Silent),
    "parent": Role(cast.Parent, count=2),
    "child": Role(cast.Child, count=0),
    "clockwork": Role(cast.Clockwork),
    "asynchronous": Role(cast.Asynchronous, count=3),
    "starter": Role(cast.Starter, count=5),
}

WORLDS = [
    pytest.param(("local", "rounds", 1), id="local-rounds-1-cell"),
    pytest.param(("local", "rounds", 3), id="local-rounds-3-cells"),
    pytest.param(("local", "free", 1), id="local-free-1-cell"),
    pytest.param(("local", "free", 3), id="local-free-3-cells"),
    pytest.param(("ray", "rounds", 2), id="ray-rounds-2-cells", marks=pytest.mark.ray),
    pytest.param(("ray", "free", 2), id="ray-free-2-cells", marks=pytest.mark.ray),
]

World = tuple[str, str, int]


@asynccontextmanager
async def swarm_in(world: World, **settings: Any) -> AsyncIterator[Swarm]:
    where, schedule, cells = world
    plan = Plan(
        **{"roles": ROLES, "schedule": schedule, "cells": cells, "run_id": f"conformance-{schedule}"}
        | settings
    )
    async with Swarm.local(plan) if where == "local" else Swarm.on_ray(plan, "local", **RAY_OPTIONS) as swarm:
        yield swarm


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    return request.param


@pytest.fixture(scope="module")
def shared(world: World) -> Any:
    """A swarm that the module's tests share, on a loop of its own: starting Ray costs seconds."""
    loop = asyncio.new_event_loop()
    context = swarm_in(world)
    swarm = loop.run_until_complete(context.__aenter__())

    def run(test: Callable[[Swarm], Coroutine[Any, Any, Any]]) -> Any:
        return loop.run_until_complete(test(swarm))

    yield run
    loop.run_until_complete(context.__aexit__(None, None, None))
    loop.close()


@pytest.mark.parametrize(
    "content",
    ["text", "", 7, -1, 2**63, 0.5, True, None, b"\x00raw", [1, [2, {"a": None}]], {"key": "value", "n": 1}],
)
def test_an_answer_brings_back_what_was_sent(shared: Any, content: Any) -> None:
    async def check(swarm: Swarm) -> None:
        answer = await swarm.ask("echo", content)
        assert answer.parts[0].value == content
        assert type(answer.parts[0].value) is type(content)

    shared(check)


def test_messages_from_one_agent_to_another_keep_their_order(shared: Any) -> None:
    async def check(swarm: Swarm) -> None:
        await swarm.run()  # what the starters send when they start
        before = (await swarm.ask("counter", "total")).data
        for number in range(4):
            await swarm.send(f"sender/{number}", ["counter", 500])
        await swarm.run()
        count, total, disorder = (await swarm.ask("counter", "total")).data
        assert (count - before[0], total - before[1]) == (2000, 4 * sum(range(500)))
        assert disorder == before[2] == 0

    shared(check)


def test_an_ask_of_an_unknown_address_fails_and_names_the_roles(shared: Any) -> None:
    async def check(swarm: Swarm) -> None:
        for nobody in ("nobody", "nobody/3", "sender/4", "sender/04", "sender", "counter/0"):
            with pytest.raises(UnknownAddress, match=r"sender/0\.\.3"):
                await swarm.ask(nobody)

    shared(check)


def test_an_agent_hears_why_its_ask_failed_and_whether_it_may_have_happened(shared: Any) -> None:
    async def check(swarm: Swarm) -> None:
        unknown = (await swarm.ask("asker", {"ask": "nobody"})).data
        late = (await swarm.ask("asker", {"ask": "silent", "timeout": 0.1})).data
        failed = (await swarm.ask("asker", {"ask": "failing"})).data
        assert unknown[:2] == ["unknown address", True]
        assert late[:2] == ["deadline passed", False]
        assert failed[:2] == ["handler failed", False]
        assert "cannot stand hello" in failed[2]
        assert "failing failed on asker#" in failed[2]

    shared(check)


def test_a_handler_that_raises_fails_its_own_turn_and_nothing_else(shared: Any) -> None:
    async def check(swarm: Swarm) -> None:
        with pytest.raises(HandlerFailed, match="cannot stand noise"):
            await swarm.ask("failing", "noise")
        assert (await swarm.ask("failing", "are you well")).text == "yes"
        result = await swarm.run()
        assert any("cannot stand noise" in failure.error for failure in result.failures)

    shared(check)


def test_agents_spawn_ask_and_stop_others(shared: Any) -> None:
    async def check(swarm: Swarm) -> None:
        totals = await asyncio.gather(
            *(swarm.ask(f"parent/{n}", 4) for n in range(2)), return_exceptions=True
        )
        if swarm.plan.schedule == "rounds":
            totals = [await swarm.ask(f"parent/{n}", 4) for n in range(2)]
        assert [total.data for total in totals] == [1_004_006] * 2

    shared(check)


def test_timers_repeat_until_cancelled(shared: Any) -> None:
    async def check(swarm: Swarm) -> None:
        period = 2 if swarm.plan.schedule == "rounds" else 0.01
        assert (await swarm.ask("clockwork", period)).data == [3, True, False]

    shared(check)


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("sleep", "slept"),
        ("timeout", "timed out"),
        ("timeout over context", "timed out"),
        ("gather", [0, 1, 2, 3, 4]),
        ("group", [0, 10, 20]),
        ("effect", 42),
        ("no answer", ["deadline passed", False]),
    ],
)
def test_anything_of_asyncio_works_in_a_handler(shared: Any, what: str, result: Any) -> None:
    async def check(swarm: Swarm) -> None:
        if swarm.plan.schedule == "rounds" and what == "timeout over context":
            return  # Rounds do not pass with the clock: a time-out of asyncio's cannot end a wait for one.
        answer = await swarm.ask("asynchronous/1", what)
        assert (answer.text or answer.data) == result

    shared(check)


def test_an_effect_that_raises_says_what_failed(shared: Any) -> None:
    async def check(swarm: Swarm) -> None:
        reason, text = (await swarm.ask("asynchronous/2", "failing effect")).data
        assert reason == "effect failed"
        assert "no number" in text

    shared(check)


def test_agents_that_act_by_themselves_start_with_the_swarm_once(shared: Any) -> None:
    async def check(swarm: Swarm) -> None:
        await swarm.run()
        for number in range(5):
            assert (await swarm.ask(f"starter/{number}", "?")).data == 1

    shared(check)


@pytest.mark.parametrize("cells", [1, 2, 4])
def test_the_fingerprint_does_not_depend_on_the_number_of_cells(cells: int) -> None:
    assert asyncio.run(gossip(("local", "rounds", cells))) == asyncio.run(gossip(("local", "rounds", 3)))


@pytest.mark.ray
def test_the_fingerprint_is_the_same_on_ray() -> None:
    assert asyncio.run(gossip(("ray", "rounds", 2))) == asyncio.run(gossip(("local", "rounds", 1)))


def test_another_seed_gives_another_fingerprint() -> None:
    one = asyncio.run(gossip(("local", "rounds", 2)))
    other = asyncio.run(gossip(("local", "rounds", 2), seed=8))
    assert one[0] != other[0]


async def gossip(world: World, seed: int = 7) -> tuple[Any, ...]:
    roles = {"gossip": Role(cast.Gossip, count=50, parameters={"peers": 50}), "echo": Role(cast.Echo)}
    async with swarm_in(world, roles=roles, seed=seed, run_id=f"gossip-{seed}") as swarm:
        await swarm.broadcast("gossip", "go")
        result = await swarm.run()
    assert result.quiet
    assert result.messages > 1000
    return result.fingerprint, result.messages, result.now, result.measures, result.traffic


def test_a_swarm_that_was_described_wrongly_says_what_where_and_how_to_mend() -> None:
    for settings, problem in [
        ({"roles": {}}, "at least one role"),
        ({"roles": {"a/b": Role(cast.Echo)}}, "without '/'"),
        ({"roles": {"a": Role(cast.Echo, count=-1)}}, r"roles\.a\.count: -1 is negative"),
        ({"roles": {"a": Role(int)}}, "extends Agent"),  # type: ignore[arg-type]  # the mistake under test
        ({"cells": 0}, "cells: 0"),
    ]:
        with pytest.raises(ConfigurationError, match=problem):
            Swarm.local(Plan(**{"roles": ROLES} | settings))  # type: ignore[arg-type]  # settings of several types


def test_a_stopped_swarm_takes_no_messages() -> None:
    async def check() -> None:
        async with swarm_in(("local", "free", 1)) as swarm:
            pass
        with pytest.raises(AgentStopped, match="not running"):
            await swarm.send("echo", 1)

    asyncio.run(check())


def test_a_full_mailbox_refuses_and_tells_the_sender() -> None:
    async def check() -> None:
        roles = {"sender": Role(cast.Sender, count=1), "counter": Role(cast.Counter)}
        async with swarm_in(("local", "rounds", 1), roles=roles, limits=Limits(mailbox_messages=10)) as swarm:
            await swarm.send("sender/0", ["counter", 18])
            result = await swarm.run()
            assert result.counts["dead_letters: mailbox full"] == 8
            assert (await swarm.ask("counter", "total")).data[0] == 10

    asyncio.run(check())


@pytest.mark.parametrize("schedule", ["rounds", "free"])
@pytest.mark.parametrize("cells", [1, 3])
def test_a_budget_of_messages_is_spent_to_the_last_and_not_beyond(schedule: str, cells: int) -> None:
    async def check(budget: int) -> tuple[int, bool]:
        roles = {"gossip": Role(cast.Gossip, count=20, parameters={"peers": 20}), "echo": Role(cast.Echo)}
        world = ("local", schedule, cells)
        async with swarm_in(world, roles=roles, budget_messages=budget, run_id="budget") as swarm:
            await swarm.broadcast("gossip", "go" if schedule == "rounds" else 3)
            result = await swarm.run(timeout_s=20)
        return result.messages, result.quiet

    assert asyncio.run(check(137)) == (137, False)
    assert asyncio.run(check(0)) == (0, False)
    messages, quiet = asyncio.run(check(100_000))
    assert quiet
    assert messages < 100_000


def test_an_agent_that_is_spawned_twice_or_exists_starts_once() -> None:
    async def check() -> None:
        roles = {
            "twin": Role(cast.Twins),
            "starter": Role(cast.Starter, count=1),
            "counter": Role(cast.Counter),
        }
        async with swarm_in(("local", "rounds", 2), roles=roles, run_id="twice") as swarm:
            await swarm.send("twin", "spawn")
            await swarm.run()
            for address in ("starter/0", "starter/new"):
                assert (await swarm.ask(address, "how often")).data == 1

    asyncio.run(check())


def test_what_sits_at_the_seats_of_the_context_is_what_the_plan_says() -> None:
    async def check() -> None:
        roles = {"seated": Role(cast.Seated)}
        async with swarm_in(("local", "rounds", 1), roles=roles, seats={"tools": cast.tools_of}) as swarm:
            assert (await swarm.ask("seated", "tools")).text == "tools of seated"
            with pytest.raises(HandlerFailed, match=r"this swarm has no memory. Give one in the plan"):
                await swarm.ask("seated", "memory")

    asyncio.run(check())
    with pytest.raises(ConfigurationError, match="there is no seat 'tool'"):
        Swarm.local(Plan(ROLES, seats={"tool": cast.tools_of}))

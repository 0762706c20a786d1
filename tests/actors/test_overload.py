"""Under more than it can serve, a swarm's memory stays bounded, nothing is lost, and it still answers."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from actors import Agent, Context, Limits, Message, Plan, Role, RunResult, Swarm
from actors.link import OUTSIDE_SOURCE
from tests.actors import cast
from tests.actors.ray_here import RAY_OPTIONS

if TYPE_CHECKING:
    from actors.status import Status

LIMITS = Limits(inbox_messages=500, outbox_messages=500, packet_bytes=4000, packets_in_flight=4)
PACKET_MESSAGES = 160
"""More than fit into one packet of these sizes."""
FLOOD = 40_000


class Flooder(Agent):
    """Told [to, n], sends n numbers as fast as it can."""

    async def on_message(self, message: Message, context: Context) -> None:
        to, count = message.data
        for number in range(count):
            await context.send(to, number)


class Slow(cast.Counter):
    """Takes its time for every hundredth message, in one of the ways in which agents do."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    async def on_message(self, message: Message, context: Context) -> None:
        await super().on_message(message, context)
        if self.count % 100 == 99:
            if self.how == "sleep":
                await context.sleep(0.001)
            elif self.how == "effect":
                await context.effect(pause)
            elif self.how == "asyncio":
                await asyncio.sleep(0.001)
            elif self.how == "ask":
                await context.ask("echo/1", 1)
            else:
                burn(0.0005)


def burn(seconds: float) -> None:
    """Computes, as a handler that must not be disturbed would."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def pause() -> None:
    await asyncio.sleep(0.001)


class Watcher:
    """Looks at all cells while a run goes on, and keeps the most that it saw."""

    def __init__(self, swarm: Swarm) -> None:
        self.queued = self.outboxes = self.unanswered = 0
        self._swarm = swarm

    async def watch(self) -> None:
        while True:
            statuses: list[Status] = await self._swarm._all("status")
            self.queued = max(self.queued, *(status.queued for status in statuses))
            self.outboxes = max(self.outboxes, *(status.outboxes for status in statuses))
            self.unanswered = max(self.unanswered, *(status.unanswered for status in statuses))
            await asyncio.sleep(0.001)


async def flooded(
    swarm: Swarm, sends: list[tuple[str, Any]], read: list[str]
) -> tuple[RunResult, Watcher, list[Any]]:
    watcher = Watcher(swarm)
    for to, content in sends:
        await swarm.send(to, content)
    watching = asyncio.ensure_future(watcher.watch())
    try:
        result = await swarm.run()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return result, watcher, [(await swarm.ask(address, "total")).data for address in read]


@pytest.mark.parametrize("how", ["burn", "sleep", "effect", "asyncio"])
def test_producers_wait_for_a_slow_consumer_and_nothing_is_lost(how: str) -> None:
    async def main() -> None:
        roles = {"flooder": Role(Flooder, 9), "slow": Role(Slow, 1, {"how": how})}
        async with Swarm.local(Plan(roles, schedule="free", cells=3, limits=LIMITS)) as swarm:
            sends = [(f"flooder/{n}", ["slow/0", FLOOD // 6]) for n in range(9) if n % 3]
            result, most, totals = await flooded(swarm, sends, ["slow/0"])
            count = FLOOD // 6
            assert totals == [[6 * count, 6 * sum(range(count)), 0]]
            assert not [name for name in result.counts if name.startswith("dead_letters")]
            # What its two senders may have under way, each, over the limit at which it stops to answer.
            assert most.queued <= 500 + 2 * 4 * PACKET_MESSAGES + 10
            assert most.outboxes <= 500 + 10 * 3
            assert most.unanswered <= 2 * 4 + 4

    asyncio.run(asyncio.wait_for(main(), 60))


def test_two_cells_that_flood_one_another_go_on() -> None:
    async def main() -> None:
        roles = {"flooder": Role(Flooder, 8), "counter": Role(cast.Counter, 2)}
        async with Swarm.local(Plan(roles, schedule="free", cells=2, limits=LIMITS)) as swarm:
            sends = [(f"flooder/{n}", [f"counter/{1 - n % 2}", 5000]) for n in range(8)]
            _, most, totals = await flooded(swarm, sends, ["counter/0", "counter/1"])
            assert totals == [[20_000, 4 * sum(range(5000)), 0]] * 2
            assert most.queued <= 500 + 4 * PACKET_MESSAGES + 10
            assert most.outboxes <= 500 + 10 * 4

    asyncio.run(asyncio.wait_for(main(), 60))


class Chain(Agent):
    """Passes every message on, twice as often until there are enough: all cells are full of senders that wait."""

    def __init__(self, peers: int) -> None:
        self.peers = peers
        self.got = 0

    async def on_message(self, message: Message, context: Context) -> None:
        if message.text == "total":
            context.reply(self.got)
            return
        self.got += 1
        for _ in range(2):
            if message.data > 0:
                await context.send(f"chain/{context.rng.randrange(self.peers)}", message.data - 1)


def test_agents_that_all_send_and_all_wait_do_not_wait_for_ever() -> None:
    async def main() -> None:
        tight = Limits(inbox_messages=10, outbox_messages=2, packet_bytes=200, packets_in_flight=1)
        async with Swarm.local(
            Plan({"chain": Role(Chain, 30, {"peers": 30})}, schedule="free", cells=3, limits=tight)
        ) as swarm:
            await swarm.send("chain/0", 13)
            result = await swarm.run()
            assert result.quiet
            assert result.counts["taken"] == 2**14 - 1

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize("outbox", [1, 2, 3])
def test_the_smallest_limits_only_slow_things_down(outbox: int) -> None:
    async def main() -> None:
        tight = Limits(inbox_messages=1, outbox_messages=outbox, packet_bytes=1, packets_in_flight=1)
        roles = {"flooder": Role(Flooder, 2), "counter": Role(cast.Counter, 2)}
        async with Swarm.local(Plan(roles, schedule="free", cells=2, limits=tight)) as swarm:
            sends = [(f"flooder/{n}", [f"counter/{1 - n}", 300]) for n in range(2)]
            assert (await flooded(swarm, sends, ["counter/0", "counter/1"]))[2] == [
                [300, sum(range(300)), 0]
            ] * 2

    asyncio.run(asyncio.wait_for(main(), 60))


def test_agents_that_ask_while_they_are_flooded_get_their_answers() -> None:
    async def main() -> None:
        roles = {
            "flooder": Role(Flooder, 4),
            "slow": Role(Slow, 1, {"how": "ask"}),
            "echo": Role(cast.Echo, 2),
        }
        roles["echo"] = Role(cast.Echo)
        async with Swarm.local(Plan(roles, schedule="free", cells=2, limits=LIMITS)) as swarm:
            sends = [(f"flooder/{n}", ["slow/0", 5000]) for n in (1, 3)]  # from the cell of echo/1
            assert (await flooded(swarm, sends, ["slow/0"]))[2] == [[10_000, 2 * sum(range(5000)), 0]]

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.slow
def test_a_loop_of_a_million_sends_holds_few_of_them_at_a_time() -> None:
    async def main() -> None:
        roles = {"flooder": Role(Flooder, 1), "counter": Role(cast.Counter, 2)}
        limits = Limits(inbox_messages=2000, outbox_messages=2000)
        async with Swarm.local(Plan(roles, schedule="free", cells=2, limits=limits)) as swarm:
            _, most, totals = await flooded(swarm, [("flooder/0", ["counter/1", 1_000_000])], ["counter/1"])
            assert totals == [[1_000_000, sum(range(1_000_000)), 0]]
            assert most.queued + most.outboxes < 60_000

    asyncio.run(asyncio.wait_for(main(), 200))


def test_what_is_sent_from_outside_at_once_or_given_up_comes_once_and_in_order() -> None:
    async def main() -> None:
        roles = {"counter": Role(cast.Counter, 2)}
        async with Swarm.local(Plan(roles, schedule="free", cells=2, limits=LIMITS)) as swarm:
            sends = [asyncio.ensure_future(swarm.send("counter/1", number)) for number in range(300)]
            await asyncio.sleep(0)
            for given_up in sends[100:150]:
                given_up.cancel()
            await asyncio.gather(*sends, return_exceptions=True)
            await swarm.send("counter/1", 1000)
            await swarm.run()
            count, _, disorder = (await swarm.ask("counter/1", "total")).data
            assert 251 <= count <= 301
            assert disorder == 0
            assert swarm._links[1].confirmed == (await swarm._all("status"))[1].received[OUTSIDE_SOURCE]

    asyncio.run(asyncio.wait_for(main(), 60))


class Burning(cast.Counter):
    """Computes for a while for every hundredth of its messages: ten times as slow as they come."""

    async def on_message(self, message: Message, context: Context) -> None:
        await super().on_message(message, context)
        if self.count % 100 == 0:
            burn(0.01)


@pytest.mark.ray
def test_on_ray_status_answers_within_a_second_while_cells_are_flooded() -> None:
    async def main() -> float:
        roles = {"flooder": Role(Flooder, 4), "counter": Role(Burning, 2)}
        plan = Plan(roles, schedule="free", cells=2, limits=LIMITS, run_id="overload")
        slowest = 0.0
        async with Swarm.on_ray(plan, "local", **RAY_OPTIONS) as swarm:
            for n in range(4):
                await swarm.send(f"flooder/{n}", [f"counter/{1 - n % 2}", 20_000])
            work = asyncio.ensure_future(swarm.run())
            while not work.done():
                began = time.monotonic()
                await swarm._all("status")
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(0.02)
            assert (await work).quiet
            for number in range(2):
                assert (await swarm.ask(f"counter/{number}", "total")).data == [
                    40_000,
                    2 * sum(range(20_000)),
                    0,
                ]
        return slowest

    slowest = asyncio.run(asyncio.wait_for(main(), 200))
    assert slowest < 1.0

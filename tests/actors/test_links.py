"""Links between cells: how many calls messages take, and what becomes of what rode on a call that was lost."""

import asyncio

import pytest

from actors import Message, Plan, Role, Swarm
from actors.agent import Agent
from actors.context import Context
from actors.link import Answer, Credit, Packet
from actors.runtime import LocalRuntime, LocalTransport


class Asker(Agent):
    """Asks its peer so many times, one after another, and tells what it heard."""

    async def on_message(self, message: Message, context: Context) -> None:
        peer, questions = message.data
        heard = [(await context.ask(peer, number, timeout_s=60)).data for number in range(questions)]
        context.reply(heard)


class Echo(Agent):
    """Answers with what it was sent."""

    async def on_message(self, message: Message, context: Context) -> None:
        context.reply(message.data)


class Counted:
    """A transport that counts its calls, and loses some answers."""

    def __init__(self, lose_every: int | None = None) -> None:
        self.inner: LocalTransport
        self.calls = 0
        self.brought = 0
        self._lose_every = lose_every

    async def send(self, cell: int, source: int, epoch: int, packet: Packet, credit: Credit) -> Answer:
        self.calls += 1
        answer = await self.inner.send(cell, source, epoch, packet, credit)
        self.brought += answer.packet is not None
        if self._lose_every is not None and self.calls % self._lose_every == 0:
            raise ConnectionError("the answer was lost")
        return answer


async def heard_through(transport: Counted, schedule: str, questions: int) -> list[int]:
    """What the asker in one cell heard from the peer in another."""
    plan = Plan(
        {"asker": Role(Asker), "echo": Role(Echo, count=8)}, schedule=schedule, run_id="links", cells=2
    )
    runtime = LocalRuntime(plan, transport)
    transport.inner = LocalTransport(runtime.hosts)
    async with Swarm(plan, runtime) as swarm:
        place = runtime.placement
        far = next(
            to for to in (f"echo/{n}" for n in range(8)) if place.cell_of(to) != place.cell_of("asker")
        )
        return list((await swarm.ask("asker", [far, questions], timeout_s=60)).data)


def test_a_question_and_its_reply_are_one_call_between_cells() -> None:
    transport = Counted()
    assert asyncio.run(heard_through(transport, "free", 100)) == list(range(100))
    assert transport.brought == 100
    assert transport.calls < 110


def test_in_rounds_nothing_rides_on_an_answer() -> None:
    transport = Counted()
    assert asyncio.run(heard_through(transport, "rounds", 20)) == list(range(20))
    assert transport.brought == 0


@pytest.mark.parametrize("lose_every", [1, 2, 3])
def test_a_reply_whose_call_was_lost_is_sent_on_its_own(lose_every: int) -> None:
    # Every answer lost: each reply comes by a call of its own cell, whose fate is unknown as well, and once.
    transport = Counted(lose_every)
    assert asyncio.run(heard_through(transport, "free", 12)) == list(range(12))
    assert transport.brought >= 12

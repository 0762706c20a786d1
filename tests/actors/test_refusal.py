"""A send that the way has no room for at all is refused, and refused again when the journal is played."""

import asyncio
from pathlib import Path

import pytest

from actors import Agent, Context, JournalSettings, Limits, MailboxFull, Message, Plan, Role, Swarm
from actors.replay import replay_agent, replay_run
from actors.virtual_clock import VirtualClockLoop
from tests.actors import cast


class Careless(Agent):
    """Sends without waiting for room, and counts what was refused."""

    def __init__(self) -> None:
        self.sent = 0
        self.refused = 0

    async def on_message(self, message: Message, context: Context) -> None:
        if message.text == "total":
            context.reply([self.sent, self.refused])
            return
        for number in range(message.data):
            try:
                context.send("counter/*" if number % 5 == 4 else "counter/1", number)
                self.sent += 1
            except MailboxFull:
                self.refused += 1


def plan_of(folder: Path) -> Plan:
    roles = {"careless": Role(Careless, 3), "counter": Role(cast.Counter, 2)}
    limits = Limits(outbox_messages=2, packet_bytes=100, packets_in_flight=1)
    journal = JournalSettings(folder, checkpoint_every=None)
    return Plan(roles, schedule="free", cells=2, limits=limits, journal=journal)


async def flooded(plan: Plan) -> list[list[int]]:
    async with Swarm.local(plan) as swarm:
        for _ in range(3):
            await swarm.broadcast("careless", 70)
            await asyncio.sleep(0)
        await swarm.run()
        totals = [(await swarm.ask(f"careless/{n}", "total")).data for n in range(3)]
        totals.append((await swarm.ask("counter/1", "total")).data[:1])
        return totals


async def totals_again(plan: Plan) -> list[list[int]]:
    async with Swarm.local(plan) as swarm:
        await swarm.run()
        totals = [(await swarm.ask(f"careless/{n}", "total")).data for n in range(3)]
        return [*totals, (await swarm.ask("counter/1", "total")).data[:1]]


@pytest.fixture
def runner() -> asyncio.Runner:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        yield runner


def test_a_refused_send_did_not_happen_and_all_others_did(tmp_path: Path, runner: asyncio.Runner) -> None:
    careless = runner.run(flooded(plan_of(tmp_path)))
    *senders, (got,) = careless
    assert all(sent + refused == 210 for sent, refused in senders)
    assert sum(refused for _, refused in senders) > 0
    assert got == sum(sent for sent, _ in senders)


def test_recovery_and_replay_refuse_the_same_sends(tmp_path: Path, runner: asyncio.Runner) -> None:
    plan = plan_of(tmp_path)
    before = runner.run(flooded(plan))
    assert runner.run(totals_again(plan)) == before
    assert runner.run(replay_run(tmp_path, plan)).turns > 0
    for number in range(3):
        again = runner.run(replay_agent(tmp_path, plan, f"careless/{number}"))
        assert [again.state["sent"], again.state["refused"]] == before[number]

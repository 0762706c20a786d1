"""A cell made from its checkpoint is the cell that it was."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import Agent, Context, JournalSettings, Limits, Message, Plan, Role, Swarm, SwarmError, checkpoint
from actors.cell import Cell
from actors.faults import FaultPlan, fault_from
from actors.host import Host
from actors.message import parts_of
from actors.replay import Unattended
from actors.resident import Resident
from actors.status import Status
from actors.store import CheckpointStore
from tests.actors import cast


class Busy(Agent):
    """Sets timers, spawns, stops, records, draws; counts what happens to it."""

    def __init__(self, child: bool = False) -> None:
        self.child = child
        self.starts = 0
        self.log: list[Any] = []

    async def on_start(self, context: Context) -> None:
        self.starts += 1

    async def on_message(self, message: Message, context: Context) -> None:
        self.log.append(message.text or message.data)
        if message.text == "all":
            context.after(3, "later")
            context.every(2, "again")
            context.stop(context.spawn("busy", "short-lived", child=True))
            context.send(context.spawn("busy", "child", child=True), "hello")
            context.record("draw", context.rng.random())
            context.result("last", [context.address])
            context.send("nobody", "lost")
        elif message.text == "sleep":
            await context.sleep(5)


def plan_of(folder: Path | None = None, **settings: Any) -> Plan:
    journal = None if folder is None else JournalSettings(folder, checkpoint_every=1)
    return Plan(
        **{"roles": {"busy": Role(Busy, 4), "echo": Role(cast.Echo)}, "journal": journal, "seed": 5}
        | settings
    )


def made(plan: Plan) -> tuple[Cell, Any]:
    hooks = Unattended()
    cell = Cell(plan, plan.placement(1), 0, hooks)
    return cell, hooks


def picture(cell: Cell) -> dict[str, Any]:
    """What a cell is, as far as anybody could tell."""
    agents = {}
    for address in sorted(cell.mail.residents.keys() | cell.waiting.resting):
        resident = cell.mail.residents.get(address) or cell.mail.lodge(address)
        waiting = [m.text or m.data for m in checkpoint._inbox(resident)]
        state = None if resident.agent is None else vars(resident.agent)
        agents[address] = (resident.sequence, resident.turns, resident.draws, waiting, state)
    return {
        "agents": agents,
        "now": cell.now,
        "turns": cell.turns,
        "sent": cell.sent,
        "queued": cell.mail.queued,
        "next": [m.message_id for m in cell.mail.next_local],
        "arrived": {source: list(queue) for source, queue in cell.mail.arrived.items() if queue},
        "spawned": cell.mail.spawned,
        "stopped": cell.mail.stopped,
        "timers": cell.waiting.timers.pending(),
        "counts": cell.all_counts(),
        "traffic": cell.traffic(),
        "measures": cell.measures.latest(),
        "results": cell.results,
        "answers": cell.mail.answers,
        "fingerprint": None if cell.fingerprint is None else cell.fingerprint.total,
        "failures": cell.failures,
    }


def played(plan: Plan, rounds: int) -> Cell:
    cell, _ = made(plan)
    cell.start()
    for number in range(4):
        cell.mail.next_local.append(Message("@outside", f"busy/{number}", number + 1, parts_of("all")))
    cell.mail.next_local.append(Message("@outside", "echo", 9, parts_of("hello"), 1))
    for number in range(1, rounds + 1):
        cell.begin_round(number, {})
        while cell.burst(10):
            pass
    return cell


def saved_and_loaded(cell: Cell, plan: Plan) -> Cell:
    with CheckpointStore(None) as store:
        checkpoint.save(cell, store, (3, 99), outgoing={}, incoming={}, sent_before={1: 7})
        fresh, hooks = made(plan)

        def load_agent(resident: Resident) -> None:
            fresh.waiting.resting.discard(resident.address)
            checkpoint.wake(resident, store)

        hooks.load_agent = load_agent
        state = checkpoint.load(fresh, store, {}, {})
        assert state is not None
        assert (state.journal, state.sent_before) == ((3, 99), {1: 7})
        for address in list(fresh.waiting.resting):
            fresh.mail.lodge(address)
    return fresh


FAULTS = FaultPlan(
    (
        fault_from({"delay": {"constant": 2}, "recipients": "echo"}),
        fault_from({"crash": "busy/1", "at": 2, "for": 4}),
    )
)


@pytest.mark.parametrize("rounds", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("faults", [None, FAULTS])
def test_a_cell_with_mail_timers_spawned_and_stopped_agents_is_the_same_again(
    rounds: int, faults: FaultPlan | None
) -> None:
    plan = plan_of(faults=faults)
    cell = played(plan, rounds)
    again = saved_and_loaded(cell, plan)
    assert picture(again) == picture(cell)
    assert again.started is cell.started


def test_and_goes_on_in_the_same_way() -> None:
    plan = plan_of(faults=FAULTS)
    cell = played(plan, 3)
    again = saved_and_loaded(cell, plan)
    for one in (cell, again):
        for number in range(4, 12):
            one.begin_round(number, {})
            while one.burst(10):
                pass
    assert picture(again) == picture(cell)


def test_a_cell_in_which_somebody_waits_is_not_saved() -> None:
    plan = plan_of()
    cell, _ = made(plan)
    cell.mail.next_local.append(Message("@outside", "busy/1", 1, parts_of("sleep")))
    cell.begin_round(1, {})
    while cell.burst(10):
        pass
    with CheckpointStore(None) as store, pytest.raises(SwarmError, match="1 suspended turns"):
        checkpoint.save(cell, store, None, outgoing={}, incoming={}, sent_before={})
    cell.close()


def test_mail_that_waits_for_agents_that_were_never_made_is_counted_once() -> None:
    plan = plan_of()
    cell, _ = made(plan)
    cell.start()
    cell.mail.deliver(Message("@outside", "busy/1", 1, parts_of("hello")))
    again = saved_and_loaded(cell, plan)
    assert again.mail.queued == cell.mail.queued == 5
    while again.burst(10):
        pass
    assert again.mail.queued == 0
    assert [vars(r.agent)["starts"] for r in again.mail.residents.values()] == [1] * 4


def test_a_crash_of_the_experiment_does_not_come_again_after_a_recovery(tmp_path: Path) -> None:
    async def main(folder: Path | None, *, broken: bool) -> tuple[Any, ...]:
        faults = FaultPlan((fault_from({"crash": "busy/1", "at": 2, "for": 2}), fault_from({"drop": 0.5})))
        plan = plan_of(folder, faults=faults)
        swarm = Swarm.local(plan)
        await swarm.start()
        await swarm.broadcast("busy", "all")
        for until in (5, 9):
            await swarm.run(rounds=until - int(swarm.now))
            if broken:
                await swarm.stop(in_good_order=False)
                swarm = Swarm.local(plan)
                await swarm.start()
        result = await swarm.run(rounds=11)
        await swarm.stop(in_good_order=False)
        return result.fingerprint, result.counts, result.measures

    assert asyncio.run(main(tmp_path, broken=True)) == asyncio.run(main(None, broken=False))


def test_an_answer_that_nobody_had_fetched_is_still_there_after_a_recovery(tmp_path: Path) -> None:
    async def main() -> str:
        plan = plan_of(tmp_path)
        swarm = Swarm.local(plan)
        await swarm.start()
        asking = asyncio.ensure_future(swarm.ask("echo", "hello"))
        await asyncio.sleep(0)
        await asking
        await swarm._tell(Message("@outside", "echo", 2, parts_of("again"), 1))
        await swarm.run()
        await swarm.stop(in_good_order=True)
        swarm = Swarm.local(plan)
        await swarm.start()
        answer = swarm.runtime.hosts[0].take_answer(2)  # type: ignore[attr-defined]  # the cell is here
        await swarm.stop(in_good_order=False)
        return answer.text

    assert asyncio.run(main()) == "again"


def test_an_agent_that_crashes_at_rest_loses_its_state_like_any_other() -> None:
    async def main(resting: int | None) -> tuple[Any, ...]:
        faults = FaultPlan((fault_from({"crash": "busy", "at": 3, "for": 2}),))
        plan = plan_of(faults=faults, limits=Limits(resident_agents=resting))
        async with Swarm.local(plan) as swarm:
            await swarm.broadcast("busy", "hello")
            await swarm.run(rounds=2)
            result = await swarm.run(rounds=20)
            return result.fingerprint, result.counts

    assert asyncio.run(main(1)) == asyncio.run(main(None))


def test_a_host_that_ends_takes_no_more_packets(tmp_path: Path) -> None:
    async def main() -> Status:
        plan = plan_of(tmp_path)
        host = Host(plan, plan.placement(1), 0, None)  # type: ignore[arg-type]  # it has no peers to send to
        with pytest.raises(SwarmError, match="not ready"):
            await host.deliver(-1, 1, None)  # type: ignore[arg-type]  # it is not looked at
        status = await host.open()
        await host.close()
        with pytest.raises(SwarmError, match="not ready"):
            await host.deliver(-1, 1, None)  # type: ignore[arg-type]  # as above
        return status

    assert asyncio.run(main()).epoch == 1

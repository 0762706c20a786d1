"""Whatever the network does and whoever dies, nothing is lost, doubled or out of order.

A failing seed says how to replay it. `python -m tests.simulate --seeds 10000` runs more than these.
"""

import asyncio
import time
from pathlib import Path

import pytest

from actors.chaos import Chaos, ChaosTransport, PacketLost
from actors.link import Answer, Credit, Packet
from actors.virtual_clock import Deadlock, VirtualClockLoop
from tests.actors.simulation import scenario_of, simulate

SEEDS = 700


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["rounds", "free"])
def test_no_seed_finds_a_message_lost_doubled_or_out_of_order(schedule: str) -> None:
    deaths = [line for seed in range(SEEDS) for line in simulate(seed, schedule)]
    assert len(deaths) > SEEDS / 2
    for kind in ("all die", "before a commit", "within a commit", "after a commit", "after a packet"):
        assert any(kind in line for line in deaths), f"no seed tries it: {kind}"


def test_a_seed_is_the_same_world_every_time() -> None:
    for schedule in ("rounds", "free"):
        assert scenario_of(3, schedule, Path("x")) == scenario_of(3, schedule, Path("x"))
        assert simulate(3, schedule) == simulate(3, schedule)


class Recorder:
    """A transport that only keeps what it is given."""

    def __init__(self) -> None:
        self.got: list[int] = []

    async def send(self, cell: int, source: int, epoch: int, packet: Packet, credit: Credit) -> Answer:
        self.got.append(packet.first)
        return Answer(packet.first + 1)


def sent_through(seed: int, chaos: Chaos) -> tuple[list[int], int, float]:
    async def send(transport: ChaosTransport, number: int) -> bool:
        try:
            answer = await transport.send(1, 0, 1, Packet(number, 1, b""), Credit())
            return answer.taken == number + 1
        except PacketLost:
            return False

    async def main() -> tuple[list[int], int, float]:
        inner = Recorder()
        transport = ChaosTransport(inner, seed, chaos)
        answers = await asyncio.gather(*(send(transport, number) for number in range(400)))
        await asyncio.sleep(60)
        await transport.close()
        return inner.got, sum(answers), asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main())


def test_chaos_loses_repeats_and_disorders_by_its_seed() -> None:
    got, answers, _ = sent_through(1, Chaos(drop=0.2, duplicate=0.2, delay_s=0.1))
    assert 0 < 400 - len(set(got)) < 200
    assert answers < len(set(got))
    assert len(got) > len(set(got))
    assert got != sorted(got)
    assert sent_through(1, Chaos(0.2, 0.2, 0.1)) == sent_through(1, Chaos(0.2, 0.2, 0.1))
    assert sent_through(2, Chaos(0.2, 0.2, 0.1))[0] != got


def test_without_chaos_a_transport_is_what_is_within() -> None:
    assert sent_through(1, Chaos(0.0, 0.0, 0.0))[:2] == (list(range(400)), 400)


def test_hours_pass_in_no_time_and_in_order_on_a_clock_that_jumps() -> None:
    async def main() -> tuple[list[str], float]:
        order: list[str] = []

        async def wait(hours: float) -> None:
            await asyncio.sleep(hours * 3600)
            order.append(f"{hours} h")

        async with asyncio.timeout(100 * 3600):
            await asyncio.gather(wait(5), wait(0.5), wait(24))
        assert await asyncio.to_thread(time.sleep, 0.01) is None
        return order, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        assert runner.run(main()) == (["0.5 h", "5 h", "24 h"], 24 * 3600)


def test_a_program_that_waits_for_nobody_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    loop = VirtualClockLoop(patience_s=0.01)
    try:
        with pytest.raises(Deadlock, match="awaits what nobody will do"):
            loop.run_until_complete(main())
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                loop.run_until_complete(task)
    finally:
        loop.close()

"""A transport that misbehaves as networks do, by a seed: for tests of what must mask it.

It acts on packets between cells, one level below the faults of an experiment (`actors/faults.py`): agents must not
notice. On an event loop with a virtual clock (`actors/virtual_clock.py`) the same seed gives the same run.

Rules:
* A packet, or its answer, may be lost: its sender gets an error, and cannot know which of the two it was.
* A packet may come again, later: even after its sender, or its receiver, has been replaced.
* Every packet takes its own time, so packets overtake one another.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from actors.link import Answer, Credit, Packet
from actors.links import Transport
from actors.rng import Rng, stream_key


class PacketLost(ConnectionError):
    """The packet, or its answer, did not come through."""


@dataclass(frozen=True)
class Chaos:
    """How badly a transport behaves. The default is a bad day."""

    drop: float = 0.1
    """Probability that a packet is lost; the same again for its answer."""
    duplicate: float = 0.1
    """Probability that it comes once more."""
    delay_s: float = 0.02
    """Mean time that it takes, exponentially distributed: from none to several times as long."""

    def draw_delay_s(self, rng: Random) -> float:
        """The time that one packet takes."""
        return rng.expovariate(1.0 / self.delay_s) if self.delay_s > 0.0 else 0.0


class ChaosTransport:
    """Hands packets to another transport; some of them, some time."""

    def __init__(self, inner: Transport, seed: int, chaos: Chaos | None = None) -> None:
        self.lost = 0
        self.repeated = 0
        self._inner = inner
        self._chaos = Chaos() if chaos is None else chaos
        self._rng = Rng(stream_key(seed, "chaos"))
        self._late: set[asyncio.Task[None]] = set()

    async def send(self, cell: int, source: int, epoch: int, packet: Packet, credit: Credit) -> Answer:
        """Delivers a packet, if all goes well. Raises `PacketLost`, and whatever the receiver raises."""
        rng, chaos = self._rng, self._chaos
        lost, answer_lost = rng.random() < chaos.drop, rng.random() < chaos.drop
        if rng.random() < chaos.duplicate:
            self.repeated += 1
            copy = self._again((cell, source, epoch, packet, credit), 4 * chaos.draw_delay_s(rng))
            task = asyncio.get_running_loop().create_task(copy)
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        await asyncio.sleep(chaos.draw_delay_s(rng))
        if lost:
            self.lost += 1
            raise PacketLost(f"packet {packet.first} from cell {source} to cell {cell} was lost")
        answer = await self._inner.send(cell, source, epoch, packet, credit)
        if answer_lost:
            self.lost += 1
            raise PacketLost(f"the answer of cell {cell} to packet {packet.first} of cell {source} was lost")
        return answer

    async def close(self) -> None:
        """Lets go of what is still under way."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _again(self, call: tuple[int, int, int, Packet, Credit], after_s: float) -> None:
        await asyncio.sleep(after_s)
        with suppress(Exception):  # Nobody waits for the answer to a copy, and its sender may be gone.
            await self._inner.send(*call)

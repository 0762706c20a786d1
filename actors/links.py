"""A cell's links to all other cells: packs what is in the outboxes, sends it until it is answered, takes what comes.

Rules:
* Nothing is sent before the entries that it follows from are committed.
* A full packet leaves as soon as the peer's credit allows; a small one only when the cell has nothing else to do and
  little is in flight, so that packets grow with the load.
* At most `packets_in_flight` calls to a peer are open at a time, also at the end of a round and after a recovery, when
  many packets are due: the transport holds a copy of each.
* A packet whose fate is unknown is sent again, under the same numbers, until it is answered or the cell ends.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol

from actors.link import Incoming, Outgoing, Packet, StaleEpoch

if TYPE_CHECKING:
    from actors.host import Host

_COMMIT_ENTRIES = 20_000
_SMALL_IN_FLIGHT = 2
_RETRY_S = (0.01, 1.0)


class Transport(Protocol):
    """How packets reach other cells. May lose, repeat and disorder them; may raise."""

    async def send(self, cell: int, source: int, epoch: int, packet: Packet) -> int:
        """Delivers a packet; returns the receiver's answer, the number of the first message that it has not."""


class Links:
    """The links of one host."""

    def __init__(self, host: "Host", transport: Transport) -> None:
        self._host = host
        self._transport = transport
        cell, limits = host.cell, host.plan.limits
        peers = [peer for peer in range(cell.placement.cells) if peer != cell.number]
        self.outgoing = {peer: Outgoing(limits.packet_bytes) for peer in peers}
        self.incoming: dict[int, Incoming] = {}
        self._in_flight = dict.fromkeys(peers, 0)
        self._window = {peer: asyncio.Semaphore(limits.packets_in_flight) for peer in peers}

    def source(self, number: int) -> Incoming:
        """The link from a cell, or from outside."""
        return self.incoming.setdefault(number, Incoming())

    def take(self, source: int, epoch: int, packet: Packet) -> int:
        """Takes a packet; returns the number of the first message that has not come. Raises `StaleEpoch`."""
        link = self.source(source)
        for part in link.accept(epoch, packet):
            self._host.cell.mail.arrive(source, epoch, part.first, part.count, part.data)
        return link.expected

    def flush(self, *, everything: bool) -> None:
        """Sends what is in the outboxes as far as the peers' credit goes; in `rounds`, all of it at the end of one."""
        cell, limits = self._host.cell, self._host.plan.limits
        if cell.log is not None and len(cell.log) > _COMMIT_ENTRIES:
            self._host.commit()
        for peer, link in self.outgoing.items():
            outbox = cell.mail.outboxes[peer]
            while outbox:
                full = len(outbox) >= link.full_packet
                if cell.rounds:
                    if not (everything or full):
                        break
                elif self._in_flight[peer] >= (
                    limits.packets_in_flight if full else _SMALL_IN_FLIGHT * everything
                ):
                    break
                self._host.commit()
                self._send(peer, link.pack(outbox))
            if cell.waiting.holds() and len(outbox) <= limits.outbox_messages // 2:
                cell.waiting.make_room(peer)

    def pack_all(self) -> None:
        """Packs what is in the outboxes without sending it: a journal is being played."""
        for peer, link in self.outgoing.items():
            outbox = self._host.cell.mail.outboxes[peer]
            while outbox:
                link.pack(outbox)

    def send_again(self) -> None:
        """Sends what had not been answered when the cell died."""
        for peer, link in self.outgoing.items():
            for packet in list(link.unanswered):
                self._send(peer, packet)

    def _send(self, peer: int, packet: Packet) -> None:
        self._in_flight[peer] += 1
        self._host.spawn(self._send_until_answered(peer, packet))

    async def _send_until_answered(self, peer: int, packet: Packet) -> None:
        host, link, pause = self._host, self.outgoing[peer], _RETRY_S[0]
        try:
            while not host.closing:
                try:
                    async with self._window[peer]:
                        answer = await self._transport.send(peer, host.cell.number, host.epoch, packet)
                    link.answered(answer)
                except StaleEpoch as error:
                    host.fail(error)
                except Exception:  # noqa: S110 - whatever went wrong, the packet may have arrived: sent again, it is dropped
                    pass
                # An answer that does not cover it: it came early, and what is missing before it is on its way.
                if packet not in link.unanswered:
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RETRY_S[1])
        finally:
            self._in_flight[peer] -= 1
            host.packet_answered()

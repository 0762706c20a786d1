"""A cell's links to all other cells: packs what is in the outboxes, sends it until it is answered, takes what comes.

Rules:
* Nothing is sent before the entries that it follows from are committed.
* A full packet leaves as soon as the peer's credit allows; a small one only when the cell has nothing else to do and
  little is in flight, so that packets grow with the load.
* At most `packets_in_flight` calls to a peer are open at a time, also at the end of a round and after a recovery, when
  many packets are due: the transport holds a copy of each.
* A packet whose fate is unknown is sent again, under the same numbers, until it is answered or the cell ends.
* In `free`, what the cell has for a peer rides on the answer to that peer's call, if there is one and the peer has
  room: a question and its reply are then one call, not two. If nothing tells in time that it came, it is sent.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from actors.errors import SwarmError
from actors.link import Answer, Credit, Incoming, Outgoing, Packet, StaleEpoch

if TYPE_CHECKING:
    from actors.host import Host

_COMMIT_ENTRIES = 20_000
_SMALL_IN_FLIGHT = 2
_RETRY_S = (0.01, 1.0)
_RIDE_S = 0.02
"""How long what rode on an answer waits for a call that tells that it came."""


class Transport(Protocol):
    """How packets reach other cells. May lose, repeat and disorder them; may raise."""

    async def send(self, cell: int, source: int, epoch: int, packet: Packet, credit: Credit) -> Answer:
        """Delivers a packet to a cell's `Links.exchange`; returns its answer."""


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
        self._rides: dict[int, deque[asyncio.Future[Packet | None]]] = {peer: deque() for peer in peers}
        """Calls of the peers that may bring something back."""

    @property
    def has_room(self) -> bool:
        """Whether no more messages wait in the cell than it may hold."""
        return self._host.cell.mail.queued <= self._host.plan.limits.inbox_messages

    def state(self) -> dict[str, Any]:
        """What a `Status` tells of the links."""
        return {
            "sent": {peer: link.next_number for peer, link in self.outgoing.items()},
            "received": {source: link.expected for source, link in self.incoming.items()},
            "unanswered": sum(len(link.unanswered) for link in self.outgoing.values()),
        }

    def source(self, number: int) -> Incoming:
        """The link from a cell, or from outside."""
        return self.incoming.setdefault(number, Incoming())

    def take(self, source: int, epoch: int, packet: Packet) -> int:
        """Takes a packet; returns the number of the first message that has not come. Raises `StaleEpoch`."""
        link = self.source(source)
        for part in link.accept(epoch, packet):
            self._host.cell.mail.arrive(source, epoch, part.first, part.count, part.data)
        return link.expected

    async def exchange(self, source: int, epoch: int, packet: Packet, credit: Credit) -> Answer:
        """Takes a packet of a cell's; the answer brings what this cell has for it once it has seen to the packet."""
        host = self._host
        taken = await host.deliver(source, epoch, packet)
        self.outgoing[source].answered(credit.taken)
        host.packet_answered()
        if not credit.room or not host.running_freely:
            return Answer(taken)
        ride: asyncio.Future[Packet | None] = asyncio.get_running_loop().create_future()
        self._rides[source].append(ride)
        return Answer(taken, host.epoch, await ride)

    def flush(self, *, everything: bool) -> None:
        """Sends what is in the outboxes as far as the peers' credit goes; in `rounds`, all of it at the end of one."""
        cell, limits = self._host.cell, self._host.plan.limits
        if cell.log is not None and len(cell.log) > _COMMIT_ENTRIES:
            self._host.commit()
        for peer, link in self.outgoing.items():
            outbox = cell.mail.outboxes[peer]
            self._give_rides(peer, everything)
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

    def _give_rides(self, peer: int, everything: bool) -> None:
        """Answers the peer's calls, with what the cell has for it."""
        rides, link, limit = self._rides[peer], self.outgoing[peer], self._host.plan.limits.packets_in_flight
        outbox = self._host.cell.mail.outboxes[peer]
        while rides:
            packet = None
            full = len(outbox) >= link.full_packet
            if outbox and (everything or full) and not rides[0].done() and len(link.unanswered) < limit:
                self._host.commit()
                packet = link.pack(outbox)
                self._host.spawn(self._sent_unless_told(peer, packet))
            ride = rides.popleft()
            if not ride.done():  # else its caller went away
                ride.set_result(packet)

    def let_rides_go(self) -> None:
        """Answers all calls: the cell ends."""
        for rides in self._rides.values():
            while rides:
                ride = rides.popleft()
                if not ride.done():
                    ride.set_result(None)

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

    async def _sent_unless_told(self, peer: int, packet: Packet) -> None:
        """Sends what rode on an answer, if no call tells in time that it came."""
        await asyncio.sleep(_RIDE_S)
        if self.outgoing[peer].confirmed <= packet.first:
            self._in_flight[peer] += 1
            await self._send_until_answered(peer, packet)

    def _take_ride(self, peer: int, answer: Answer) -> None:
        """Takes what an answer brought. If it cannot, its sender keeps it."""
        host = self._host
        if answer.packet is None or not host.running_freely:
            return
        try:
            self.take(peer, answer.epoch, answer.packet)
            host.taken()
        except SwarmError:  # of a sender that was replaced; or the journal failed, and the cell says so
            pass

    async def _send_until_answered(self, peer: int, packet: Packet) -> None:
        host, link, pause = self._host, self.outgoing[peer], _RETRY_S[0]
        try:
            while not host.closing:
                try:
                    async with self._window[peer]:
                        credit = Credit(self.source(peer).expected, self.has_room)
                        answer = await self._transport.send(
                            peer, host.cell.number, host.epoch, packet, credit
                        )
                    link.answered(answer.taken)
                    self._take_ride(peer, answer)
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

"""A reliable, ordered stream of messages from one cell to another, over a transport that loses, repeats and disorders.

A pure state machine on each side; no clock, no I/O.

Rules:
* Messages of a stream are numbered from 0. A packet carries consecutive ones: the number of the first, how many, and
  their encoding.
* The receiver takes messages in order, each once: it keeps packets that come early, drops what it has, and cuts a
  packet of which it has a part. It answers with the number of the first message that it has not.
* The sender keeps a packet until the answer covers it, and sends it again if none comes. At most `window` packets are
  unanswered: the credit. A receiver that is behind withholds its answer, and the sender waits.
* A call tells what its sender has of the receiver's messages, and its answer may bring some of them: a question and its
  reply are one call. What rode on an answer is unanswered until a later call tells that it came.
* A sender that starts again has the next epoch. Packets of an older epoch than the latest are refused: their sender has
  been replaced, even if it does not know (a process may outlive its node's connection by seconds).
* A restarted sender makes the same messages again under the same numbers, so the receiver knows what it has, however
  they are cut into packets.
"""

from collections import deque
from collections.abc import Iterator

import msgspec

from actors.errors import SwarmError
from actors.message import Message, decode_batch, encode

OUTSIDE_SOURCE = -1
"""The source of what is sent into the swarm from outside."""


class StaleEpoch(SwarmError):
    """A packet came from a sender that has been replaced. It was not taken."""

    reason = "stale epoch"


class Packet(msgspec.Struct):
    """Consecutive messages of a stream."""

    first: int
    count: int
    data: bytes

    @property
    def end(self) -> int:
        """The number after the last message."""
        return self.first + self.count


class Credit(msgspec.Struct):
    """What a call tells beside its packet: about the stream in the other direction."""

    taken: int = 0
    """The number of the first message of the receiver's that the caller has not."""
    room: bool = False
    """Whether the caller takes more of them with the answer."""


class Answer(msgspec.Struct):
    """What a call brings back."""

    taken: int
    """The number of the first message of the caller's that the receiver has not."""
    epoch: int = 0
    """The receiver's, of the packet."""
    packet: Packet | None = None
    """What the receiver had for the caller."""


class Outgoing:
    """The sending side."""

    def __init__(self, packet_bytes: int, next_number: int = 0) -> None:
        self.next_number = next_number
        """The number of the next message to be packed."""
        self.unanswered: deque[Packet] = deque()
        self._packet_bytes = packet_bytes
        self._guess = 256

    @property
    def confirmed(self) -> int:
        """The number of the first message that the receiver is not known to have."""
        return self.unanswered[0].first if self.unanswered else self.next_number

    @property
    def full_packet(self) -> int:
        """About how many messages fill a packet."""
        return self._guess

    def pack(self, messages: list[Message]) -> Packet:
        """Takes messages off the front of the list, as many as fit into a packet, at least one."""
        count = min(self._guess, len(messages))
        while True:
            data = encode(messages[:count])
            if len(data) <= self._packet_bytes or count == 1:
                break
            count = max(1, min(count - 1, count * self._packet_bytes // len(data)))
        if count == self._guess or len(data) > self._packet_bytes // 2:
            self._guess = max(1, min(20_000, int(count * 0.95 * self._packet_bytes / len(data))))
        del messages[:count]
        packet = Packet(self.next_number, count, data)
        self.next_number += count
        self.unanswered.append(packet)
        return packet

    def answered(self, received: int) -> None:
        """The receiver has all messages before number `received`."""
        while self.unanswered and self.unanswered[0].end <= received:
            self.unanswered.popleft()


class Incoming:
    """The receiving side."""

    def __init__(self, expected: int = 0, epoch: int = 0) -> None:
        self.expected = expected
        """The number of the first message that has not come."""
        self.epoch = epoch
        self._early: dict[int, Packet] = {}

    def accept(self, epoch: int, packet: Packet) -> Iterator[Packet]:
        """Takes a packet; gives what is now in order. Raises `StaleEpoch` for one of a replaced sender."""
        if epoch < self.epoch:
            raise StaleEpoch(
                f"a packet of epoch {epoch} came after one of epoch {self.epoch}: its sender was replaced"
            )
        self.epoch = epoch
        if packet.first > self.expected:
            kept = self._early.get(packet.first)
            if kept is None or kept.count < packet.count:
                self._early[packet.first] = packet
            return
        yield from self._take(packet)
        while self._early and (first := min(self._early)) <= self.expected:
            yield from self._take(self._early.pop(first))

    def _take(self, packet: Packet) -> Iterator[Packet]:
        known = self.expected - packet.first
        if known >= packet.count:
            return
        if known > 0:
            rest = decode_batch(packet.data)[known:]
            packet = Packet(self.expected, len(rest), encode(rest))
        self.expected = packet.end
        yield packet

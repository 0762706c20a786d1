"""Over a transport that loses, repeats and disorders, every message comes once, in order."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Message
from actors.link import Incoming, Outgoing, Packet, StaleEpoch
from actors.message import decode_batch, encode, parts_of


def message(number: int) -> Message:
    return Message("sender", "recipient", number, parts_of("x" * (number * 7 % 40)))


class Receiver:
    """A cell at the end of a link: keeps what is in order, and may lose all that it has not yet answered for."""

    def __init__(self) -> None:
        self.link = Incoming()
        self.got: list[int] = []

    def take(self, epoch: int, packet: Packet) -> int:
        for part in self.link.accept(epoch, packet):
            assert part.first == len(self.got)
            self.got.extend(m.sequence for m in decode_batch(part.data))
            assert part.end == len(self.got) == self.link.expected
        return self.link.expected

    def restart(self) -> None:
        """What it has taken is in its journal; what came early was only in its memory."""
        self.link = Incoming(self.link.expected, self.link.epoch)


class Sender:
    """A cell at the beginning of a link; restarted it makes the same messages again, cut otherwise."""

    def __init__(self, total: int, packet_bytes: int, epoch: int = 1) -> None:
        self.epoch = epoch
        self.link = Outgoing(packet_bytes)
        self.outbox = [message(number) for number in range(total)]

    def restart(self, total: int, packet_bytes: int) -> "Sender":
        return Sender(total, packet_bytes, self.epoch + 1)


@given(st.integers(0, 2**32), st.integers(0, 60), st.sampled_from([1, 60, 200, 5000]))
def test_every_message_comes_once_and_in_order(seed: int, total: int, packet_bytes: int) -> None:
    rng = Random(seed)
    sender, receiver = Sender(total, packet_bytes), Receiver()
    flying: list[tuple[int, Packet]] = []
    for _ in range(400):
        match rng.randrange(8):
            case 0 | 1 if sender.outbox:
                flying.append((sender.epoch, sender.link.pack(sender.outbox)))
            case 2 if sender.link.unanswered:
                flying.append((sender.epoch, rng.choice(sender.link.unanswered)))
            case 3 if flying:
                flying.pop(rng.randrange(len(flying)))
            case 4 | 5 if flying:
                epoch, packet = flying[rng.randrange(len(flying))]  # It may come again.
                deliver(sender, receiver, epoch, packet, answer_lost=rng.random() < 0.3)
            case 6 if rng.random() < 0.1:
                receiver.restart()
            case 7 if rng.random() < 0.1:
                sender = sender.restart(total, rng.choice([1, 60, 200, 5000]))
    while sender.outbox:
        sender.link.pack(sender.outbox)
    while sender.link.unanswered:
        deliver(sender, receiver, sender.epoch, sender.link.unanswered[0], answer_lost=False)
    assert receiver.got == list(range(total))


def deliver(sender: Sender, receiver: Receiver, epoch: int, packet: Packet, *, answer_lost: bool) -> None:
    if epoch < receiver.link.epoch:
        with pytest.raises(StaleEpoch):
            receiver.take(epoch, packet)
        return
    answer = receiver.take(epoch, packet)
    if not answer_lost and epoch == sender.epoch:
        sender.link.answered(answer)


def packet(first: int, count: int) -> Packet:
    return Packet(first, count, encode([message(number) for number in range(first, first + count)]))


def test_a_packet_that_comes_early_waits_for_those_before() -> None:
    receiver = Receiver()
    assert receiver.take(1, packet(3, 2)) == 0
    assert receiver.take(1, packet(1, 2)) == 0
    assert receiver.take(1, packet(0, 1)) == 5
    assert receiver.got == [0, 1, 2, 3, 4]


def test_a_packet_that_overlaps_is_cut() -> None:
    receiver = Receiver()
    receiver.take(1, packet(0, 3))
    assert receiver.take(2, packet(1, 4)) == 5
    assert receiver.take(2, packet(0, 5)) == 5
    assert receiver.got == [0, 1, 2, 3, 4]


def test_of_two_early_packets_from_one_place_the_longer_is_kept() -> None:
    for sizes in ((1, 3), (3, 1)):
        receiver = Receiver()
        for size in sizes:
            receiver.take(1, packet(2, size))
        assert receiver.take(1, packet(0, 2)) == 5


def test_a_sender_that_was_replaced_is_refused_and_told() -> None:
    receiver = Receiver()
    receiver.take(2, packet(0, 1))
    with pytest.raises(StaleEpoch, match="epoch 1 came after one of epoch 2"):
        receiver.take(1, packet(1, 1))
    assert receiver.take(2, packet(1, 1)) == 2


def test_a_packet_is_full_but_not_over_its_size_and_holds_at_least_one_message() -> None:
    sender = Sender(500, 300)
    packets = []
    while sender.outbox:
        packets.append(sender.link.pack(sender.outbox))
    assert all(len(p.data) <= 300 or p.count == 1 for p in packets)
    assert [p.first for p in packets] == [sum(q.count for q in packets[:n]) for n in range(len(packets))]
    assert len(packets) < 500 / 3
    huge = Outgoing(10)
    assert huge.pack([message(39), message(39)]).count == 1


def test_an_answer_frees_only_what_it_covers() -> None:
    link = Outgoing(1)
    outbox = [message(number) for number in range(3)]
    while outbox:
        link.pack(outbox)
    link.answered(2)
    assert [p.first for p in link.unanswered] == [2]
    link.answered(1)  # an old answer that comes late
    assert [p.first for p in link.unanswered] == [2]

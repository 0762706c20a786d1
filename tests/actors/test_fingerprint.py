"""A fingerprint is the same for the same run in any layout, and another for anything else."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Message
from actors.fingerprint import Fingerprint, combined
from actors.message import parts_of

MESSAGES = [Message(f"a/{n % 3}", f"b/{n % 4}", n, parts_of(n)) for n in range(20)]


def whole() -> Fingerprint:
    total = Fingerprint()
    for turn, message in enumerate(MESSAGES, 1):
        total.send(message)
        total.delivery(message.recipient, turn, message)
    total.state("a/0", 20, 20, 3, b"state")
    return total


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_it_does_not_depend_on_order_or_cells(seed: int, cells: int) -> None:
    rng = Random(seed)
    parts = [Fingerprint() for _ in range(cells)]
    events = [("send", turn) for turn in range(20)] + [("take", turn) for turn in range(20)] + [("state", 0)]
    rng.shuffle(events)
    for kind, turn in events:
        part, message = rng.choice(parts), MESSAGES[turn]
        if kind == "send":
            part.send(message)
        elif kind == "take":
            part.delivery(message.recipient, turn + 1, message)
        else:
            part.state("a/0", 20, 20, 3, b"state")
    assert combined([part.total for part in parts]) == combined([whole().total])


@pytest.mark.parametrize(
    "change",
    [
        lambda total: total.send(Message("a", "b", 1)),
        lambda total: total.delivery("b", 1, Message("a", "b", 1)),
        lambda total: total.delivery("b", 2, Message("a", "b", 1)),
        lambda total: total.delivery("c", 1, Message("a", "b", 1)),
        lambda total: total.delivery("b", 1, Message("a", "b", 1, parts_of(0))),
        lambda total: total.state("b", 0, 0, 0, b""),
        lambda total: total.state("b", 1, 0, 0, b""),
        lambda total: total.state("b", 0, 1, 0, b""),
        lambda total: total.state("b", 0, 0, 1, b""),
        lambda total: total.state("b", 0, 0, 0, b"x"),
    ],
)
def test_every_event_changes_it_in_its_own_way(change: object) -> None:
    seen = Fingerprint()
    change(seen)  # type: ignore[operator]  # a function
    assert seen.total not in _SEEN
    _SEEN.add(seen.total)


_SEEN: set[int] = {0}


def test_it_goes_on_from_a_kept_total() -> None:
    first = Fingerprint()
    first.send(MESSAGES[0])
    second = Fingerprint(first.total)
    second.send(MESSAGES[1])
    both = Fingerprint()
    both.send(MESSAGES[1])
    both.send(MESSAGES[0])
    assert second.total == both.total


def test_it_is_written_as_32_digits_and_is_the_same_in_every_version() -> None:
    assert combined([]) == "0" * 32
    assert combined([1, (1 << 128) - 1]) == "0" * 32
    assert combined([whole().total]) == "42c1bf2878f537cf031644af79e33187"

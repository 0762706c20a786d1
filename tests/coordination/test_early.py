"""Messages before their time."""

from coordination.early import Early


def test_each_sender_keeps_its_latest_and_strangers_nothing() -> None:
    early = Early((1, 2), 3)
    for count in range(10):
        early.put(1, count)
    early.put(2, "x")
    early.put(9, "y")
    assert len(early) == 4
    assert list(early.take()) == [(1, 7), (1, 8), (1, 9), (2, "x")]
    assert len(early) == 0

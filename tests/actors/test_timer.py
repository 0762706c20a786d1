"""Timers fire at their tick, in the order in which they were set, unless they were removed."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.timer import TimerQueue

TICKS = st.integers(0, 20)
KEYS = st.integers(0, 6)


class TimersBesideAList(RuleBasedStateMachine):
    """The queue does what a plain list would."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: TimerQueue[str] = TimerQueue()
        self.listed: list[tuple[int, int, str]] = []
        self.made = 0

    def place(self, tick: int, key: int) -> int | None:
        return next((n for n, (at, k, _) in enumerate(self.listed) if (at, k) == (tick, key)), None)

    @rule(tick=TICKS, key=KEYS)
    def add(self, tick: int, key: int) -> None:
        self.made += 1
        item = f"item {self.made}"
        self.queue.add(tick, key, item)
        place = self.place(tick, key)
        if place is None:
            self.listed.append((tick, key, item))
        else:
            self.listed[place] = (tick, key, item)

    @rule(tick=TICKS, key=KEYS)
    def remove(self, tick: int, key: int) -> None:
        place = self.place(tick, key)
        expected = None if place is None else self.listed.pop(place)[2]
        assert self.queue.remove(tick, key) == expected

    @rule(tick=TICKS)
    def fire(self, tick: int) -> None:
        expected = sorted((line for line in self.listed if line[0] <= tick), key=lambda line: line[0])
        self.listed = [line for line in self.listed if line[0] > tick]
        assert list(self.queue.due(tick)) == [(at, item) for at, _, item in expected]

    @rule(tick=TICKS, key=KEYS)
    def look(self, tick: int, key: int) -> None:
        place = self.place(tick, key)
        assert self.queue.get(tick, key) == (None if place is None else self.listed[place][2])

    @invariant()
    def it_knows_what_is_next_and_what_is_pending(self) -> None:
        assert self.queue.next_tick() == min((tick for tick, _, _ in self.listed), default=None)
        assert self.queue.pending() == sorted(self.listed, key=lambda line: line[0])


test_timers_do_what_a_list_would = TimersBesideAList.TestCase


def test_a_million_timers_of_one_tick_share_a_bucket() -> None:
    queue: TimerQueue[int] = TimerQueue()
    for number in range(1000):
        queue.add(5, number, number)
    assert [item for _, item in queue.due(5)] == list(range(1000))
    assert queue.next_tick() is None


def test_a_timer_removed_and_set_again_fires_after_those_set_meanwhile() -> None:
    queue: TimerQueue[str] = TimerQueue()
    queue.add(1, "a", "first")
    queue.add(1, "b", "second")
    queue.remove(1, "a")
    queue.add(1, "a", "again")
    assert [item for _, item in queue.due(1)] == ["second", "again"]

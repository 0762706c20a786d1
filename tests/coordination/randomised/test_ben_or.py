"""Ben-Or's agreement on a bit, instance by instance."""

from collections.abc import Callable, Iterable
from random import Random

import pytest

from coordination.randomised.ben_or import NOTHING, PROPOSE, REPORT, BenOr


class Room:
    """Instances that hear one another in a random order; liars and the dead are left out."""

    def __init__(
        self,
        inputs: list[int | None],
        f: int,
        seed: int,
        *,
        liars: bool,
        lie: Callable[[Random], int] | None = None,
    ) -> None:
        self.rng = Random(seed)
        self.n = len(inputs)
        self.mail: list[tuple[int, int, int, int, int]] = []
        self.instances: dict[int, BenOr] = {}
        self.lie = lie
        self.liars = [one for one, value in enumerate(inputs) if value is None]
        self.asked: set[int] = set()
        for one, value in enumerate(inputs):
            if value is not None:
                self.instances[one] = BenOr(
                    self.n, f, self.said(one), lambda: self.rng.getrandbits(1), liars=liars
                )
        for one, value in enumerate(inputs):
            if value is not None:
                self.instances[one].begin(value)

    def said(self, one: int) -> Callable[[int, int, int], None]:
        def say(number: int, phase: int, value: int) -> None:
            for to in self.instances or range(self.n):
                self.mail.append((to, one, number, phase, value))
            stage = 2 * number + phase
            if self.lie is not None and stage not in self.asked:
                self.asked.add(stage)
                for liar in self.liars:
                    for to in range(self.n):
                        self.mail.append((to, liar, number, phase, self.lie(self.rng)))

        return say

    def run(self, rounds: int) -> bool:
        """Until all have decided, or all undecided are beyond so many rounds. Whether all have decided."""
        told: set[int] = set()
        while self.mail:
            at = self.rng.randrange(len(self.mail))
            self.mail[at], self.mail[-1] = self.mail[-1], self.mail[at]
            to, source, number, phase, value = self.mail.pop()
            if to not in self.instances:
                continue
            self.instances[to].receive(source, number, phase, value)
            for one, instance in self.instances.items():
                if instance.decision is not None and one not in told:
                    told.add(one)
                    for other in self.instances.values():
                        other.done(one, instance.decision, instance.stage)
            undecided = [one for one in self.instances.values() if one.decision is None]
            if not undecided:
                return True
            if all(one.round > rounds for one in undecided):
                return False
        return all(one.decision is not None for one in self.instances.values())

    def decisions(self) -> set[int | None]:
        return {one.decision for one in self.instances.values()}


def shares(rooms: Iterable[bool]) -> float:
    ended = list(rooms)
    return ended.count(False) / len(ended)


@pytest.mark.parametrize(("n", "f", "liars"), [(3, 1, False), (5, 2, False), (6, 1, True), (11, 2, True)])
@pytest.mark.parametrize("value", [0, 1])
def test_equal_inputs_are_decided_in_the_first_round(n: int, f: int, liars: bool, value: int) -> None:
    for seed in range(20):
        inputs: list[int | None] = [value] * n
        if liars:
            inputs[:f] = [None] * f
        room = Room(inputs, f, seed, liars=liars, lie=lambda rng: 1 - value)
        assert room.run(1)
        assert room.decisions() == {value}


@pytest.mark.parametrize(("n", "f", "liars"), [(4, 1, False), (5, 2, False), (6, 1, True)])
def test_the_share_undecided_after_r_rounds_stays_below_its_bound(n: int, f: int, liars: bool) -> None:
    tossing = n - f if liars else n
    for rounds in (2, 5, 20):
        rooms = []
        for seed in range(150):
            inputs: list[int | None] = [seed >> one & 1 for one in range(n)]
            if liars:
                inputs[0] = None
            room = Room(inputs, f, seed, liars=liars, lie=lambda rng: rng.getrandbits(1))
            rooms.append(room.run(rounds))
            assert len(room.decisions() - {None}) <= 1, f"seed {seed}"
        bound: float = (1 - 2.0**-tossing) ** (rounds - 1)
        assert shares(rooms) <= bound, f"after {rounds} rounds"
    assert shares(rooms) < 0.1


@pytest.mark.parametrize(("n", "f"), [(3, 1), (5, 2), (7, 3)])
def test_the_dead_do_not_stop_the_living(n: int, f: int) -> None:
    for seed in range(20):
        inputs: list[int | None] = [seed >> one & 1 for one in range(n)]
        inputs[:f] = [None] * f
        room = Room(inputs, f, seed, liars=False)
        assert room.run(400), f"seed {seed}"
        assert len(room.decisions()) == 1


def test_who_decided_stands_for_its_value_only_after_the_stage_where_it_last_spoke() -> None:
    said: list[tuple[int, int, int]] = []
    one = BenOr(3, 1, lambda *vote: said.append(vote), lambda: 0, liars=False)
    one.begin(0)
    one.receive(0, 1, REPORT, 0)
    one.done(1, 1, stage=3)  # it spoke at both stages of round 1, and that is still to come
    assert said == [(1, REPORT, 0)]
    one.receive(1, 1, REPORT, 1)
    assert said == [(1, REPORT, 0), (1, PROPOSE, NOTHING)]


def test_one_liar_too_many_splits_the_others() -> None:
    """Six replicas, two liars: each half hears the liars its own way, and one of the other half."""
    instances = [BenOr(6, 1, lambda *vote: None, lambda: 0, liars=True) for _ in range(4)]
    for one, instance in enumerate(instances):
        instance.begin(one // 2)
    for phase in (REPORT, PROPOSE):
        for one, instance in enumerate(instances):
            mine = one // 2
            instance.receive(2 * mine, 1, phase, mine)
            instance.receive(2 * mine + 1, 1, phase, mine)
            for liar in (4, 5):
                instance.receive(liar, 1, phase, mine)
            instance.receive(2 - 2 * mine, 1, phase, 1 - mine)
    assert [instance.decision for instance in instances] == [0, 0, 1, 1]

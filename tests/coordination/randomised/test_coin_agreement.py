"""Agreement with a common coin, instance by instance, and why the coin must wait for one exchange more."""

from collections.abc import Callable
from random import Random

import pytest

from coordination.randomised.coin_agreement import AUX, BVAL, CONF, CoinAgreement, _Round, common_coin

N, F = 4, 1


class Room:
    """Three honest instances and a liar (3), whose mail waits until somebody delivers it."""

    def __init__(
        self, inputs: list[int], coin: Callable[[int], int], kind: type[CoinAgreement] = CoinAgreement
    ) -> None:
        self.mail: list[tuple[int, int, int, int, int]] = []
        self.coins: set[int] = set()

        def asked(number: int) -> int:
            self.coins.add(number)
            return coin(number)

        self.instances = [kind(N, F, self.said(one), asked) for one in range(len(inputs))]
        for instance, value in zip(self.instances, inputs, strict=True):
            instance.begin(value)

    def said(self, one: int) -> Callable[[int, int, int], None]:
        return lambda number, phase, value: self.mail.extend(
            (to, one, number, phase, value) for to in range(3)
        )

    def lie(self, to: int, number: int, phase: int, value: int) -> None:
        self.instances[to].receive(3, number, phase, value)

    def deliver(self, wanted: Callable[[int, int, int, int, int], bool]) -> None:
        """Delivers all mail, also what follows of it, that somebody lets through."""
        while True:
            found = [mail for mail in self.mail if wanted(*mail)]
            if not found:
                return
            for mail in found:
                self.mail.remove(mail)
                to, source, number, phase, value = mail
                self.instances[to].receive(source, number, phase, value)

    def shuffle(self, rng: Random, rounds: int) -> bool:
        """Delivers at random, the liar's random votes too. Whether all decide in so many rounds."""
        while self.mail:
            to, source, number, phase, value = self.mail.pop(rng.randrange(len(self.mail)))
            self.instances[to].receive(source, number, phase, value)
            if rng.random() < 0.3:
                self.lie(to, number, phase, rng.randint(1, 3) if phase == CONF else rng.getrandbits(1))
            for one, instance in enumerate(self.instances):
                if instance.decision is not None:
                    for other in self.instances:
                        other.done(one, instance.decision, instance.stage)
            undecided = [one for one in self.instances if one.decision is None]
            if not undecided:
                return True
            if all(one.round > rounds for one in undecided):
                return False
        raise AssertionError("no mail, and no decision")


@pytest.mark.parametrize("value", [0, 1])
def test_equal_inputs_are_decided_whatever_the_liar_says(value: int) -> None:
    for seed in range(60):
        room = Room([value] * 3, lambda r, s=seed: common_coin(s, 0)(1, r))  # type: ignore[misc]  # bound now
        assert room.shuffle(Random(seed), 60), f"seed {seed}"
        assert {one.decision for one in room.instances} == {value}


def test_the_share_undecided_after_r_rounds_stays_below_its_bound() -> None:
    for rounds in (2, 4, 7):
        undecided = 0
        for seed in range(300):
            room = Room([seed & 1, seed >> 1 & 1, seed >> 2 & 1], lambda r, s=seed: common_coin(s, 0)(1, r))  # type: ignore[misc]  # bound now
            undecided += not room.shuffle(Random(seed), rounds)
            assert len({one.decision for one in room.instances} - {None}) <= 1, f"seed {seed}"
        assert undecided / 300 <= (rounds + 1) / 2**rounds, f"after {rounds} rounds"


def test_the_coin_is_fair_and_the_same_for_all_and_its_first_rounds_may_be_fixed() -> None:
    tossed = [common_coin(7, 2)(slot, number) for slot in range(100) for number in range(3, 23)]
    assert 900 < sum(tossed) < 1100
    assert [common_coin(7, 2)(5, number) for number in (1, 2)] == [1, 0]
    assert tossed == [common_coin(7, 2)(slot, number) for slot in range(100) for number in range(3, 23)]


# --- A scheduler that sees the coin -------------------------------------------------------------------------------


class Printed(CoinAgreement):
    """As MMR was printed in 2014: it asks for the coin after AUX, without CONF."""

    def _conclude(self, number: int, place: _Round) -> bool:
        if place.accepted and not any(phase == AUX for phase, _ in place.said):
            self._speak(number, AUX, 1 if place.accepted == 2 else 0)
        backed = [value for value in place.aux.values() if place.accepted >> value & 1]
        if len(backed) < self._n - self._f:
            return False
        place.conf = {
            source: 1 << value for source, value in place.aux.items() if place.accepted >> value & 1
        }
        place.said.add((CONF, 0))
        return super()._conclude(number, place)


def attack(kind: type[CoinAgreement], rounds: int) -> Room:
    """Two of three honest replicas are brought to take the coin, the third to take the other value, each round.

    Of the first two, one has 0 and one has 1; each accepts and backs its own value first, and so sees both: it asks for
    the coin. The third has heard nothing yet. Now that the coin is known, the scheduler lets it accept the other value
    first, so that it backs that one, and shows it only those who back it too.
    """
    coin = common_coin(11, 0)
    room = Room([0, 1, 1], lambda number: coin(1, number), kind)
    values = [0, 1, 1]
    for number in range(1, rounds + 1):
        first = values.index(0 if values.count(0) == 1 else 1)
        second, third = [one for one in range(3) if one != first]
        split(room, number, (first, second), values)
        if number not in room.coins:
            return room
        other = 1 - coin(1, number)
        room.lie(third, number, BVAL, other)
        room.deliver(matching(to=(third,), number=number, phase=BVAL, value=other))
        room.lie(third, number, AUX, other)
        room.deliver(matching(to=(third,), number=number, phase=AUX, value=other))
        room.lie(third, number, CONF, 1 << other)
        room.deliver(matching(to=(0, 1, 2), number=number))
        values = [entered(room, one, number + 1) for one in range(3)]
        if len(set(values)) == 1:
            return room
    return room


def split(room: Room, number: int, pair: tuple[int, int], values: list[int]) -> None:
    """Two replicas of different values each back their own, and see both."""
    for one, fellow in (pair, pair[::-1]):
        room.lie(one, number, BVAL, 0)
        room.lie(one, number, BVAL, 1)
        room.deliver(matching(to=(one,), source=fellow, number=number, phase=BVAL, value=values[fellow]))
    for one in pair:
        room.deliver(matching(to=(one,), number=number, phase=BVAL, value=values[one]))
    room.deliver(matching(to=pair, number=number, phase=BVAL))
    for one in pair:
        room.lie(one, number, AUX, 0)
        room.lie(one, number, CONF, 3)
    for phase in (AUX, CONF):
        for source in pair:
            room.deliver(matching(to=pair, source=source, number=number, phase=phase))


def matching(
    *,
    to: tuple[int, ...],
    number: int,
    source: int | None = None,
    phase: int | None = None,
    value: int | None = None,
) -> Callable[[int, int, int, int, int], bool]:
    def wanted(at: int, by: int, when: int, what: int, found: int) -> bool:
        return (
            at in to
            and when == number
            and source in (None, by)
            and phase in (None, what)
            and value in (None, found)
        )

    return wanted


def entered(room: Room, one: int, number: int) -> int:
    """The value with which a replica entered a round: its first BVAL there."""
    return next(value for _, by, when, phase, value in room.mail if (by, when, phase) == (one, number, BVAL))


def test_a_scheduler_that_sees_the_coin_keeps_the_printed_protocol_apart_and_the_mended_one_not() -> None:
    printed = attack(Printed, 40)
    assert [one.decision for one in printed.instances] == [None] * 3
    assert [one.round for one in printed.instances] == [41] * 3
    mended = attack(CoinAgreement, 40)
    assert max(one.round for one in mended.instances) < 5
    mended.deliver(lambda *mail: True)
    assert len({one.decision for one in mended.instances}) == 1
    assert mended.instances[0].decision is not None

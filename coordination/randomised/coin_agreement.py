"""Binary agreement with a common coin, without signatures: expected constant rounds, all to all, n > 3f.

Papers: Mostefaoui, Moumen, Raynal, PODC 2014 (MMR). As printed there, a scheduler that sees the coin early can keep
replicas apart for ever (Cachin, Zanolini, arXiv 2005.08795). Mended here by one more exchange before the coin is asked
for, CONF of MacBrough, "Cobalt", 2018 (arXiv 1802.07240).

Rules, round r at a replica with estimate e:
* Send BVAL e. Send BVAL v too once f+1 have sent it; accept v once 2f+1 have: a value of liars alone is never accepted.
* Send AUX v for the first v accepted. Wait for n - f AUX of accepted values, and send CONF with the set of these.
* Wait for n - f CONF whose sets hold accepted values only; let V be their union. Only then ask for the coin c of r.
* If V = {v}: take v, and decide it if v = c. If V = {0, 1}: take c.
* Of two replicas with V = {v} and V = {w}, v = w, since two quorums share a correct CONF; and for which v any correct
  replica can have V = {v} is settled by n - f CONFs before the first of them asks for the coin.
* Who has decided stands for its value in all later rounds (`Done`).

Termination: each round all take one value with probability 1/2 at least, and after that decide with probability 1/2 a
round. So the share undecided after r rounds of fair coins is at most (r + 1) / 2**r.

The coin here is an oracle, a hash of a shared seed, slot and round: it stands for a threshold signature (Cachin,
Kursawe, Shoup 2000), which would cost one more message to all. Its adversary: liars and the scheduler learn a coin when
the first correct replica asks for it, no sooner, and cannot bias it. With `fixed` the first coins are 1 and 0, in turn,
and known to everybody: a slot whose batch came in time then ends in round 1 without luck; the bound counts the rounds
after them.
"""

from collections.abc import Callable
from hashlib import sha256

BVAL, AUX, CONF = 0, 1, 2

WINDOW = 64
"""How many rounds ahead messages are kept."""

KEPT = 16
"""How many rounds behind: those who are slow may need this replica's BVAL there."""

Coin = Callable[[int, int], int]
"""The coin of a slot and round: 0 or 1, the same for all replicas."""


def common_coin(seed: int, fixed: int = 2) -> Coin:
    """The oracle. `fixed`: how many rounds have coins known beforehand, 1 first."""

    def coin(slot: int, number: int) -> int:
        if number <= fixed:
            return number % 2
        return sha256(f"{seed}/{slot}/{number}".encode()).digest()[0] & 1

    return coin


class _Round:
    """What one round has heard."""

    __slots__ = ("accepted", "aux", "bvals", "conf", "said")

    def __init__(self) -> None:
        self.bvals: tuple[set[int], set[int]] = (set(), set())
        self.aux: dict[int, int] = {}
        self.conf: dict[int, int] = {}
        self.accepted = 0
        """Accepted values, as bits."""
        self.said: set[tuple[int, int]] = set()


class CoinAgreement:
    """One instance at one replica. A vote's value is 0 or 1; of CONF, a set of them as bits, 1 to 3."""

    phases = 3

    def __init__(
        self, n: int, f: int, say: Callable[[int, int, int], None], coin: Callable[[int], int]
    ) -> None:
        self.round = 0
        """0 before it begins; rounds count from 1."""
        self.decision: int | None = None
        self.stage = -1
        """The last stage at which this replica spoke: a round's number times three, and its phase."""
        self._n = n
        self._f = f
        self._say = say
        self._coin = coin
        self._rounds: dict[int, _Round] = {}
        self._done: dict[int, tuple[int, int]] = {}

    def begin(self, value: int) -> None:
        """Enters with a value, 0 or 1."""
        if self.round == 0:
            self._enter(1, value)
            self._advance()

    def _at(self, number: int) -> _Round:
        found = self._rounds.get(number)
        if found is None:
            found = self._rounds[number] = _Round()
            for source, (value, stage) in self._done.items():
                self._stand(number, source, value, stage)
        return found

    def _enter(self, number: int, value: int) -> None:
        self.round = number
        for old in [old for old in self._rounds if old < number - KEPT]:
            del self._rounds[old]
        self._speak(number, BVAL, value)

    def _speak(self, number: int, phase: int, value: int) -> None:
        said = self._at(number).said
        if (phase, value) not in said:
            said.add((phase, value))
            self.stage = max(self.stage, 3 * number + phase)
            self._say(number, phase, value)

    def receive(self, source: int, number: int, phase: int, value: int) -> None:
        """A vote of a replica, or its own once it is durable."""
        if not max(1, self.round - KEPT) <= number <= self.round + WINDOW:
            return
        place = self._at(number)
        if phase == BVAL and value in (0, 1):
            place.bvals[value].add(source)
        elif phase == AUX and value in (0, 1):
            place.aux.setdefault(source, value)
        elif phase == CONF and value in (1, 2, 3):
            place.conf.setdefault(source, value)
        else:
            return
        if number < self.round or self.decision is not None:
            self._relay(number, place)
        elif number == self.round:
            self._advance()

    def done(self, source: int, value: int, stage: int) -> None:
        """A replica has decided and stands for a value at later stages."""
        if value not in (0, 1) or source in self._done:
            return
        self._done[source] = (value, stage)
        for number in sorted(self._rounds):
            self._stand(number, source, value, stage)
        self._advance()

    def _stand(self, number: int, source: int, value: int, stage: int) -> None:
        """Counts who has decided at the stages of a round after it last spoke."""
        place = self._rounds[number]
        if stage < 3 * number:
            place.bvals[value].add(source)
        if stage < 3 * number + AUX:
            place.aux.setdefault(source, value)
        if stage < 3 * number + CONF:
            place.conf.setdefault(source, 1 << value)

    def recall(self, number: int, phase: int, value: int) -> None:
        """After a restart: this replica had said this."""
        self._at(number).said.add((phase, value))
        self.round = max(self.round, number)
        self.stage = max(self.stage, 3 * number + phase)

    def _advance(self) -> None:
        """Goes on as long as enough has been heard."""
        while self.decision is None and self.round:
            at = self.round
            place = self._at(at)
            self._relay(at, place)
            if not self._conclude(at, place):
                return

    def _relay(self, number: int, place: _Round) -> None:
        """BVAL goes on in rounds that are over here, and after the decision: slower replicas may need it."""
        for value in (0, 1):
            count = len(place.bvals[value])
            if count > self._f:
                self._speak(number, BVAL, value)
            if count > 2 * self._f and not place.accepted >> value & 1:
                place.accepted |= 1 << value

    def _conclude(self, number: int, place: _Round) -> bool:
        """The rest of a round. True: the next one has begun."""
        needed, accepted = self._n - self._f, place.accepted
        if not accepted:
            return False
        if not any(phase == AUX for phase, _ in place.said):
            self._speak(number, AUX, 1 if accepted == 2 else 0)
        if not any(phase == CONF for phase, _ in place.said):
            backed = [value for value in place.aux.values() if accepted >> value & 1]
            if len(backed) < needed:
                return False
            self._speak(number, CONF, (0 in backed) | (1 in backed) << 1)
        sets = [found for found in place.conf.values() if not found & ~accepted]
        if len(sets) < needed:
            return False
        union = 0
        for found in sets:
            union |= found
        coin = self._coin(number)
        if union == 3:
            self._enter(number + 1, coin)
            return True
        value = union >> 1
        if value == coin:
            self.decision = value
            return False
        self._enter(number + 1, value)
        return True

"""Ben-Or's binary agreement: two phases a round, and a coin of one's own when the votes say nothing.

Paper: Ben-Or, "Another advantage of free choice: completely asynchronous agreement protocols", PODC 1983.

Rules, for n replicas of which f crash (n > 2f) or lie (n > 5f); m counts are of messages of this round and phase:
* Report your value to all and wait for n - f reports. If more than n/2 (with liars: (n + f)/2) report v, propose v;
  else propose nothing.
* Wait for n - f proposals. If one (with liars: f+1) proposes v, take v; if f+1 (with liars: more than (n + f)/2) do,
  decide v. If none does, toss a coin of your own.
* Two majorities meet, so one value at most is proposed in a round (by correct replicas); where one replica decides v,
  all others take v, and decide it a round later. Who has decided stands for v from then on (`Done`).
* Validity: if all correct replicas begin with v, they decide v in round 1.

Termination: with m replicas that toss, each round all of them come to one value with probability 2**-m at least, and
then decide in the next round. So the share undecided after r rounds is at most (1 - 2**-m) ** (r - 1), whatever a
scheduler does that cannot foresee coins. The expected number of rounds is exponential in n unless f is O(sqrt n).
"""

from collections.abc import Callable

REPORT, PROPOSE = 0, 1
NOTHING = 2
"""A proposal of no value."""

WINDOW = 64
"""How many rounds ahead messages are kept."""


class BenOr:
    """One instance at one replica."""

    phases = 2

    def __init__(
        self, n: int, f: int, say: Callable[[int, int, int], None], toss: Callable[[], int], *, liars: bool
    ) -> None:
        self.round = 0
        """0 before it begins; rounds count from 1."""
        self.decision: int | None = None
        self.stage = -1
        """The last stage at which this replica spoke: a round's number times two, and its phase."""
        self._n = n
        self._f = f
        self._say = say
        self._toss = toss
        self._liars = liars
        self._votes: dict[int, dict[int, int]] = {}
        """By stage, what each replica said."""
        self._done: dict[int, tuple[int, int]] = {}

    def begin(self, value: int) -> None:
        """Enters with a value, 0 or 1."""
        if self.round == 0:
            self._enter(1, value)

    def _enter(self, number: int, value: int) -> None:
        self.round = number
        for stage in [stage for stage in self._votes if stage < 2 * (number - 1)]:
            del self._votes[stage]
        self._speak(REPORT, value)

    def _speak(self, phase: int, value: int) -> None:
        self.stage = 2 * self.round + phase
        self._say(self.round, phase, value)

    def receive(self, source: int, number: int, phase: int, value: int) -> None:
        """A vote of a replica, or its own once it is durable."""
        if phase not in (REPORT, PROPOSE) or not 0 <= value <= (NOTHING if phase == PROPOSE else 1):
            return
        if max(1, self.round - 1) <= number <= self.round + WINDOW:
            self._votes.setdefault(2 * number + phase, {}).setdefault(source, value)
            self._advance()

    def done(self, source: int, value: int, stage: int) -> None:
        """A replica has decided and stands for a value at later stages."""
        if value in (0, 1):
            self._done.setdefault(source, (value, stage))
            self._advance()

    def recall(self, number: int, phase: int, value: int) -> None:
        """After a restart: this replica had said this."""
        stage = 2 * number + phase
        if stage > self.stage:
            self.round, self.stage = number, stage

    def _heard(self, stage: int) -> dict[int, int]:
        """What was said at a stage, by those too who stand for a value there."""
        votes = self._votes.get(stage, {})
        if not self._done:
            return votes
        standing = {source: value for source, (value, last) in self._done.items() if last < stage}
        return {**standing, **votes}

    def _advance(self) -> None:
        """Goes on as long as enough has been heard at the stage where this replica waits."""
        while self.decision is None and self.round:
            heard = list(self._heard(self.stage).values())
            if len(heard) < self._n - self._f:
                return
            counts = (heard.count(0), heard.count(1))
            top = 0 if counts[0] >= counts[1] else 1
            before = self.stage
            if self.stage % 2 == REPORT:
                majority = counts[top] * 2 > self._n + (self._f if self._liars else 0)
                self._speak(PROPOSE, top if majority else NOTHING)
            else:
                self._conclude(top, counts[top])
            if self.stage == before:
                return

    def _conclude(self, top: int, count: int) -> None:
        f = self._f
        if count * 2 > self._n + f if self._liars else count > f:
            self.decision = top
        else:
            seen = count > (f if self._liars else 0)
            self._enter(self.round + 1, top if seen else self._toss())

"""Views: who leads which, how long a replica waits in one, and when a quorum gives one up.

Rules:
* `span` views in a row have one leader, then the next replica in order leads. A certified block ends its view, and the
  next begins. So a span of 1 rotates with every block, and a large one keeps a stable leader until it fails.
* A replica gives up a whole span: its timeout names the last view, and it votes in none up to that one any more. (To
  give up a view in the middle and go to the next span would be unsafe: the views between may yet be certified, and
  commit something that a block after the timeout certificate does not rest on.)
* Nobody enters a view without a certificate that the one before it ended: so correct replicas are never further apart
  than what one message can mend.
* A replica waits only while there is work. The wait is `patience` delays; it doubles after every f + 1 views in a row
  that ended without a commit (f leaders may be faulty with a network that is well), up to 2 ** `doublings` times, and
  a commit resets it.

A span of 1 has a price. HotStuff commits at 3 certified blocks in consecutive views, so it needs 4 correct leaders in a
row (the last collects the votes), and with n = 4 a single silent one stops all commits; a span of chain + 1 lets every
correct leader commit by itself. See Giridharan, Suri-Payer, Ding, Howard, Abraham, Crooks, "BeeGees: stayin' alive in
chained BFT", PODC 2023.
"""

from coordination.chain.block import TC, Timeout, timeout_statement
from coordination.chain.tally import Tally
from coordination.protocol import NEVER
from coordination.quorum import Threshold
from coordination.signature import Scheme, certificate


class Pacemaker:
    """The view that a replica is in. The first is 1."""

    def __init__(self, quorum: Threshold, *, span: int, wait_s: float, doublings: int) -> None:
        self.members = quorum.members
        self.span = span
        self.view = 1
        self.deadline = NEVER
        self.attempts = 0
        """How often the wait has ended in this view."""
        self.tc: TC | None = None
        """The latest timeout certificate."""
        self._quorum = quorum
        self._f = len(quorum.members) - quorum.needed
        self._wait_s = wait_s
        self._doublings = doublings
        self._strikes = 0
        self._timeouts: Tally[int, Timeout] = Tally()

    def leader(self, view: int) -> int:
        """Who leads a view."""
        return self.members[(view // self.span) % len(self.members)]

    def last(self, view: int) -> int:
        """The last view of the span that this one is in."""
        return (view // self.span + 1) * self.span - 1

    @property
    def entry(self) -> TC | None:
        """The timeout certificate by which this view began, if it began by one."""
        tc = self.tc
        return tc if tc is not None and tc.view + 1 == self.view else None

    def enter(self, view: int) -> None:
        """Goes to a later view."""
        self.view = view
        self.attempts = 0
        self.deadline = NEVER

    def wait_s(self) -> float:
        """How long to wait now."""
        return self._wait_s * 2.0 ** min(self._doublings, self._strikes // (self._f + 1))

    def attend(self, now: float, busy: bool) -> float:
        """Starts the wait if there is work and none runs, ends it if there is none. The deadline."""
        if not busy:
            self.deadline = NEVER
        elif self.deadline == NEVER:
            self.deadline = now + self.wait_s()
        return self.deadline

    def strike(self, now: float) -> None:
        """The wait ended in vain."""
        if self.attempts == 0:
            self._strikes += 1
        self.attempts += 1
        self.deadline = now + self.wait_s()

    def progress(self) -> None:
        """Something was committed: the network is well."""
        self._strikes = 0

    def knows(self, signer: int, view: int) -> bool:
        """Whether this signer's timeout of this view or a later one is counted."""
        return self._timeouts.has(signer, view)

    def count(self, timeout: Timeout) -> int:
        """Counts a timeout that was checked. How many replicas gave up that view."""
        return len(self._timeouts.add(timeout.signature.signer, timeout.view, timeout.view, timeout))

    def certify(self, view: int, scheme: Scheme) -> TC | None:
        """The certificate that a quorum gave a view up, if one did."""
        timeouts = self._timeouts.of(view)
        if len(timeouts) < self._quorum.needed:
            return None
        by_high: dict[int, list[Timeout]] = {}
        for signer in sorted(timeouts):
            by_high.setdefault(timeouts[signer].high.view, []).append(timeouts[signer])
        return TC(
            view,
            tuple(
                (high, certificate(scheme, [timeout.signature for timeout in by_high[high]]))
                for high in sorted(by_high)
            ),
        )


def is_signed(timeout: Timeout, scheme: Scheme) -> bool:
    """Whether its signature holds."""
    return scheme.verify(timeout_statement(timeout.view, timeout.high.view), timeout.signature)

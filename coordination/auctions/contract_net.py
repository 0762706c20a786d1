"""The contract net: one call for proposals, one award.

Smith, "The contract net protocol", IEEE Trans. Computers C-29 (1980), in the acts of FIPA's Contract Net Interaction
Protocol (SC00029H): the initiator calls; each participant proposes or refuses until a deadline; the best proposal is
accepted and the others are rejected; the winner informs of the result, or tells its failure.

Rules:
* Events in, acts out: `handle` takes what was said, `tick` the time; both return what to say. No clock in here.
* A proposal after the deadline is rejected at once. A repeated act changes nothing.
* The award passes to the next best proposal when the winner fails, or has not reported by `until`; a winner is told by
  REJECT that it lost the award. With nobody left the contract has failed.
* One participant at a time holds the award, and only its report ends the contract. The winner gives the contract up by
  itself at `until`; so does the initiator, not before.
* Cost with n participants that all propose: n calls, n proposals, n - 1 rejections, 1 acceptance, 1 report: 3n + 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Act(StrEnum):
    """FIPA's communicative acts (SC00037J), as far as the protocol has them."""

    CALL = "cfp"
    PROPOSE = "propose"
    REFUSE = "refuse"
    ACCEPT = "accept-proposal"
    REJECT = "reject-proposal"
    INFORM = "inform"
    FAILURE = "failure"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Said:
    """One act, to one participant (from the initiator) or of one (to it)."""

    whom: str
    act: Act
    body: Any = None


class Phase(StrEnum):
    """Where a contract stands."""

    CALLING = "calling"
    AWARDED = "awarded"
    DONE = "done"
    FAILED = "failed"


Rank = Callable[[Mapping[str, Any]], list[str]]
"""From the proposals, by participant, to the participants, best first; those left out are rejected."""


@dataclass
class Initiator:
    """Has one task done. Times are in any one unit."""

    participants: list[str]
    deadline: float
    """Until when proposals are taken; earlier if all have answered."""
    patience: float
    """From an award to its loss."""
    rank: Rank
    phase: Phase = Phase.CALLING
    proposals: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    """Who would get the award next."""
    winner: str | None = None
    until: float = 0.0
    result: Any = None
    _called: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._called = frozenset(self.participants)

    def call(self) -> list[Said]:
        """The calls for proposals."""
        return [Said(participant, Act.CALL, self.deadline) for participant in self.participants]

    def handle(self, said: Said, now: float) -> list[Said]:
        """What a participant said."""
        who = said.whom
        if said.act == Act.PROPOSE:
            return self._propose(who, said.body, now)
        if said.act == Act.REFUSE and self.phase == Phase.CALLING:
            if who not in self.refused and who not in self.proposals:
                self.refused[who] = None
            return self._close(now) if self._all_answered() else []
        if self.phase != Phase.AWARDED or who != self.winner:
            return []
        if said.act == Act.INFORM and now < self.until:
            self.phase, self.result = Phase.DONE, said.body
            return [Said(other, Act.REJECT) for other in self._dismissed()]
        return self._award(now) if said.act in (Act.FAILURE, Act.REFUSE) else []

    def tick(self, now: float) -> list[Said]:
        """Time has passed."""
        if self.phase == Phase.CALLING and now >= self.deadline:
            return self._close(now)
        if self.phase == Phase.AWARDED and now >= self.until:
            assert self.winner is not None
            return [Said(self.winner, Act.REJECT), *self._award(now)]
        return []

    def _propose(self, who: str, body: Any, now: float) -> list[Said]:
        if self.phase != Phase.CALLING or now >= self.deadline or who not in self._called:
            # The same proposal again, of somebody who waits for our answer, is no late one.
            return [] if who in self.proposals else [Said(who, Act.REJECT)]
        self.proposals.setdefault(who, body)
        return self._close(now) if self._all_answered() else []

    def _all_answered(self) -> bool:
        return len(self.proposals) + len(self.refused) == len(self.participants)

    def _close(self, now: float) -> list[Said]:
        self.waiting = self.rank(self.proposals)
        hopeful = dict.fromkeys(self.waiting)
        hopeless = [who for who in self.proposals if who not in hopeful]
        return [*(Said(who, Act.REJECT) for who in hopeless), *self._award(now)]

    def _award(self, now: float) -> list[Said]:
        if not self.waiting:
            self.phase, self.winner = Phase.FAILED, None
            return []
        self.phase, self.winner, self.until = Phase.AWARDED, self.waiting.pop(0), now + self.patience
        return [Said(self.winner, Act.ACCEPT, self.until)]

    def _dismissed(self) -> list[str]:
        losers, self.waiting = self.waiting, []
        return losers


@dataclass
class Participant:
    """Proposes, and does what it is awarded."""

    holding_until: float | None = None
    """Until when it holds the award; None if it does not."""
    reported: bool = False

    def call(self, proposal: Any) -> Act:
        """Answers a call: None for a proposal is a refusal."""
        return Act.REFUSE if proposal is None else Act.PROPOSE

    def handle(self, said: Said, now: float) -> Act | None:
        """What the initiator said. An acceptance that came too late is refused."""
        if said.act == Act.ACCEPT:
            if self.reported or self.holding_until is not None:
                return None
            if now >= said.body:
                return Act.REFUSE
            self.holding_until = said.body
        elif said.act in (Act.REJECT, Act.CANCEL):
            self.holding_until = None
        return None

    def holds(self, now: float) -> bool:
        """True while the award is its own."""
        return self.holding_until is not None and now < self.holding_until

    def report(self, now: float, *, done: bool) -> Act | None:
        """The work ended; None if the award is no longer held, and then nothing is to be said."""
        if not self.holds(now) or self.reported:
            return None
        self.reported, self.holding_until = True, None
        return Act.INFORM if done else Act.FAILURE

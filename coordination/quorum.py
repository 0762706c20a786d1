"""Quorum systems: which sets of members may decide, shared by all protocols and by votes.

Rules:
* A quorum system answers three questions: is this set a quorum; is a vote won, lost or still open; which index have the
  members of some quorum all reached.
* Any superset of a quorum is one. Every two quorums that must meet do: `Majority`, `Byzantine` and `Weighted` by
  themselves, `Joint` in both halves, `Flexible` between its two phases.
* An empty system agrees to everything, so that half of a joint configuration may be empty (as in etcd).

Sources: Gifford 1979 (weights), Malkhi and Reiter 1998 (Byzantine quorums), Howard, Malkhi, Spiegelman 2016 (flexible),
Ongaro 2014, section 4.3 (joint).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from actors.errors import ConfigurationError

UNBOUNDED = 2**63 - 1
"""What an empty system has reached: it holds nobody back."""


class VoteResult(Enum):
    """How a vote stands."""

    WON = "VoteWon"
    LOST = "VoteLost"
    PENDING = "VotePending"


class QuorumSystem(Protocol):
    """Which sets of members may decide."""

    @property
    def members(self) -> tuple[int, ...]:
        """Everybody who has a say, in rising order."""

    def is_quorum(self, ids: Collection[int]) -> bool:
        """Whether these members together may decide. Strangers among them have no say."""

    def vote_result(self, votes: Mapping[int, bool]) -> VoteResult:
        """How a vote stands when these members have said yes or no."""

    def committed(self, reached: Mapping[int, int]) -> int:
        """The greatest index that all members of some quorum have reached; who is missing has reached 0."""


def _sorted(members: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(members)))


@dataclass(frozen=True)
class Threshold:
    """Any `needed` of the members."""

    members: tuple[int, ...]
    needed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", _sorted(self.members))
        if self.members and not 1 <= self.needed <= len(self.members):
            raise ConfigurationError(
                f"quorum: {self.needed} of {len(self.members)} members. Give a number from 1 to {len(self.members)}."
            )

    def is_quorum(self, ids: Collection[int]) -> bool:
        """Whether enough of them are members."""
        return not self.members or sum(1 for member in self.members if member in ids) >= self.needed

    def vote_result(self, votes: Mapping[int, bool]) -> VoteResult:
        """Lost as soon as those who have not said no are too few."""
        if not self.members:
            return VoteResult.WON
        yes = sum(1 for member in self.members if votes.get(member) is True)
        no = sum(1 for member in self.members if votes.get(member) is False)
        if yes >= self.needed:
            return VoteResult.WON
        return VoteResult.LOST if len(self.members) - no < self.needed else VoteResult.PENDING

    def committed(self, reached: Mapping[int, int]) -> int:
        """The needed-th greatest."""
        members = self.members
        if not members:
            return UNBOUNDED
        get = reached.get
        return sorted([get(member, 0) for member in members], reverse=True)[self.needed - 1]


def majority(members: Iterable[int]) -> Threshold:
    """More than half: any two meet. Of n = 2f + 1, f may crash."""
    voters = _sorted(members)
    return Threshold(voters, len(voters) // 2 + 1)


def byzantine(members: Iterable[int], f: int | None = None) -> Threshold:
    """n - f of n, where n > 3f: any two share a correct member. f by default the most possible: 2f + 1 of 3f + 1.

    Raises `ConfigurationError` if n is too small for f.
    """
    voters = _sorted(members)
    n = len(voters)
    most = (n - 1) // 3
    faulty = most if f is None else f
    if faulty > most or faulty < 0:
        raise ConfigurationError(
            f"quorum: {n} members cannot withstand {faulty} that lie. Give at least {3 * faulty + 1} members."
        )
    return Threshold(voters, n - faulty)


@dataclass(frozen=True)
class Weighted:
    """Members whose weights together pass a bound: more than half of the whole by default."""

    weights: Mapping[int, int]
    needed: int = 0
    """The least weight of a quorum. 0: more than half."""
    members: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        if any(weight < 0 for weight in self.weights.values()):
            raise ConfigurationError("quorum: a weight is negative. Give whole numbers of 0 or more.")
        total = sum(self.weights.values())
        object.__setattr__(self, "members", _sorted(self.weights))
        object.__setattr__(self, "needed", self.needed or total // 2 + 1)
        if self.members and not 0 < self.needed <= total:
            raise ConfigurationError(
                f"quorum: a weight of {self.needed} is needed of {total} in all. Give 1 to {total}."
            )

    def is_quorum(self, ids: Collection[int]) -> bool:
        """Whether their weights suffice."""
        return (
            not self.members
            or sum(self.weights[member] for member in self.members if member in ids) >= self.needed
        )

    def vote_result(self, votes: Mapping[int, bool]) -> VoteResult:
        """Lost as soon as the weight of those who have not said no is too little."""
        if self.is_quorum([member for member in self.members if votes.get(member) is True]):
            return VoteResult.WON
        open_or_yes = [member for member in self.members if votes.get(member) is not False]
        return VoteResult.PENDING if self.is_quorum(open_or_yes) else VoteResult.LOST

    def committed(self, reached: Mapping[int, int]) -> int:
        """The greatest index whose reachers weigh enough."""
        weight = 0
        for index, member in sorted(((reached.get(m, 0), m) for m in self.members), reverse=True):
            weight += self.weights[member]
            if weight >= self.needed:
                return index
        return UNBOUNDED


@dataclass(frozen=True)
class Joint:
    """Two systems at once, while membership changes: a quorum is one in each half."""

    incoming: QuorumSystem
    outgoing: QuorumSystem

    @property
    def members(self) -> tuple[int, ...]:
        """Those of either half."""
        return _sorted((*self.incoming.members, *self.outgoing.members))

    def is_quorum(self, ids: Collection[int]) -> bool:
        """Whether it is one in both halves."""
        return self.incoming.is_quorum(ids) and self.outgoing.is_quorum(ids)

    def vote_result(self, votes: Mapping[int, bool]) -> VoteResult:
        """Won if both halves have won, lost if one has lost."""
        results = (self.incoming.vote_result(votes), self.outgoing.vote_result(votes))
        if VoteResult.LOST in results:
            return VoteResult.LOST
        return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON

    def committed(self, reached: Mapping[int, int]) -> int:
        """The lesser of both halves."""
        return min(self.incoming.committed(reached), self.outgoing.committed(reached))


@dataclass(frozen=True)
class Flexible:
    """Two sizes that must meet, not each itself: `first` to be elected, `second` to decide; first + second > n."""

    first: Threshold
    second: Threshold

    def __post_init__(self) -> None:
        n = len(self.first.members)
        if self.first.members != self.second.members or self.first.needed + self.second.needed <= n:
            raise ConfigurationError(
                f"quorum: {self.first.needed} and {self.second.needed} of {n} need not meet. "
                f"Their sum must be over {n}."
            )


def flexible(members: Iterable[int], second: int) -> Flexible:
    """Decisions by any `second` members, elections by as many as then must be."""
    voters = _sorted(members)
    if not 1 <= second <= len(voters):
        raise ConfigurationError(f"quorum: {second} of {len(voters)} members. Give 1 to {len(voters)}.")
    return Flexible(Threshold(voters, len(voters) - second + 1), Threshold(voters, second))

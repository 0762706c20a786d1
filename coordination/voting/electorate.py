"""Who may vote, how much each ballot counts, and whether enough took part.

Rules:
* `eligible` are the voters by name. Member i of the quorum system is eligible[i], so the quorum objects of the
  protocols (majority, weighted, joint ...) serve votes too: `quorum=majority(range(5))`.
* Whoever is present counts for the quorum, abstainers too, unless `present` says that only those who voted do.
* If the quorum is missed nobody wins, and the scores are shown all the same.
* A weighting stands in for the ballots' own weights; the ballots are kept as they were cast, and its weights beside
  them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec

from actors.errors import ConfigurationError
from coordination.quorum import QuorumSystem
from coordination.voting.ballot import Ballot, check_names
from coordination.voting.confidence import Weighting


@dataclass(frozen=True)
class Electorate:
    """Who may vote and what it takes."""

    eligible: tuple[str, ...] | None = None
    """None: everybody."""
    quorum: QuorumSystem | None = None
    """None: any ballot is enough."""
    weighting: Weighting | None = None
    """None: the ballots' own weights."""
    present: Literal["all", "voted"] = "all"

    def __post_init__(self) -> None:
        if self.eligible is not None:
            check_names(self.eligible, "eligible")
        if self.quorum is not None:
            size = len(self.eligible or ())
            if self.eligible is None or any(not 0 <= member < size for member in self.quorum.members):
                raise ConfigurationError(
                    f"quorum: its members are {list(self.quorum.members)[:10]}, and {size} voters are eligible. Give "
                    "`eligible`, and a quorum system over their numbers, from 0: majority(range(5)) for five voters."
                )

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.eligible or ())

    def may_vote(self, voter: str) -> bool:
        """Whether this voter is eligible."""
        return self.eligible is None or voter in self._known

    def check(self, ballots: Sequence[Ballot]) -> None:
        """Raises `ConfigurationError` if somebody who is not eligible voted."""
        for ballot in ballots:
            if not self.may_vote(ballot.voter):
                raise ConfigurationError(
                    f"{ballot.voter[:40]!r} may not vote. Leave the ballot out, or name the voter in `eligible`."
                )

    def weighted(self, ballots: Sequence[Ballot]) -> tuple[Ballot, ...]:
        """The ballots with the weights that they are to be counted with."""
        weighting = self.weighting
        if weighting is None:
            return tuple(ballots)
        return tuple(msgspec.structs.replace(ballot, weight=weighting(ballot)) for ballot in ballots)

    def has_quorum(self, ballots: Sequence[Ballot]) -> bool:
        """Whether those who took part are a quorum."""
        if self.quorum is None or self.eligible is None:
            return True
        there = {b.voter for b in ballots if self.present == "all" or not b.abstains}
        return self.quorum.is_quorum([i for i, voter in enumerate(self.eligible) if voter in there])

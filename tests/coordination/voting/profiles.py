"""Random profiles for the tests of rules: small ones, so that ties abound, fixed by their number alone."""

from dataclasses import dataclass
from random import Random

from coordination.voting import Approval, Ballot, Ranking, Scores, Vote

KINDS = ("linear", "weak", "grades", "approvals")


@dataclass(frozen=True)
class Profile:
    """What is voted: for each kind of voter how many there are, and what they say about candidates 0 to size - 1."""

    kind: str
    size: int
    counts: tuple[int, ...]
    tiers: tuple[tuple[tuple[int, ...], ...], ...] = ()
    """For linear and weak profiles: rankings, best first."""
    grades: tuple[dict[int, int], ...] = ()
    """For grades and approvals (where they are all 1)."""

    @property
    def candidates(self) -> list[str]:
        return [f"c{index}" for index in range(self.size)]

    def ballots(self, divisor: int = 1) -> list[Ballot]:
        """A ballot for each kind of voter, with its count, divided, for a weight."""
        return [
            Ballot(f"v{number}", vote, count / divisor)
            for number, (vote, count) in enumerate(zip(self.votes(), self.counts, strict=True))
        ]

    def single_ballots(self) -> list[Ballot]:
        """A ballot of weight 1 for each voter."""
        votes = [v for v, count in zip(self.votes(), self.counts, strict=True) for _ in range(count)]
        return [Ballot(f"v{number}", vote) for number, vote in enumerate(votes)]

    def votes(self) -> list[Vote]:
        if self.kind == "grades":
            return [Scores({f"c{c}": g for c, g in grades.items()}) for grades in self.grades]
        if self.kind == "approvals":
            return [Approval(tuple(f"c{c}" for c in grades)) for grades in self.grades]
        return [ranking_of(tiers) for tiers in self.tiers]


def ranking_of(tiers: tuple[tuple[int, ...], ...]) -> Ranking:
    return Ranking(tuple(tuple(f"c{c}" for c in tier) for tier in tiers))


def profile(kind: str, number: int) -> Profile:
    """The profile with this number."""
    rng = Random(f"{kind}/{number}")
    size = rng.choice((1, 2, 3, 3, 4, 4, 5)) if number % 10 else 5
    voters = rng.choice((1, 2, 3, 4, 5, 6, 7)) if number % 3 else rng.randrange(8, 25)
    counts = tuple(rng.choice((1, 1, 2, 3)) for _ in range(voters))
    if kind == "linear":
        return Profile(kind, size, counts, tuple(_linear(size, rng) for _ in range(voters)))
    if kind == "weak":
        return Profile(kind, size, counts, tuple(_weak(size, rng) for _ in range(voters)))
    top = 5 if kind == "grades" else 1
    marks = tuple(
        {c: rng.randint(min(1, top - 1), top) if top > 1 else 1 for c in range(size) if rng.random() < 0.7}
        for _ in range(voters)
    )
    return Profile(kind, size, counts, grades=marks)


def _linear(size: int, rng: Random) -> tuple[tuple[int, ...], ...]:
    return tuple((c,) for c in rng.sample(range(size), size))


def _weak(size: int, rng: Random) -> tuple[tuple[int, ...], ...]:
    named = rng.sample(range(size), rng.randint(1, size))
    tiers: list[list[int]] = []
    for c in named:
        if tiers and rng.random() < 0.3:
            tiers[-1].append(c)
        else:
            tiers.append([c])
    return tuple(map(tuple, tiers))

"""Ballots: who votes, what for, with what weight and how sure.

Rules:
* A ballot is immutable plain data with a wire form, so that a count can be kept, sent, redone and audited.
* It is checked when it is made: names are text, no candidate stands twice on it, numbers are finite. What comes from
  another agent goes through `ballot_from`, which raises `ConfigurationError` and nothing else.
* A candidate that a ranking leaves out stands below all that it names, level with the others left out. A candidate
  without a score has the score 0. Both are as in pref_voting's "extended" preferences.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from actors.errors import ConfigurationError

NAME_LENGTH = 10_000
"""Characters in the name of a candidate or voter. Candidates may be whole answers of a model."""
CANDIDATES_LIMIT = 100_000
BALLOTS_LIMIT = 1_000_000
DIMENSIONS_LIMIT = 100_000
NUMBER_LIMIT = 1e150
"""The greatest number a ballot may hold: squares of distances between such numbers are still finite."""
WEIGHT_LIMIT = 1e15


def check_name(name: Any, what: str) -> None:
    """Raises `ConfigurationError` unless it is text of a sensible length."""
    if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH:
        raise ConfigurationError(
            f"{what} is {name if not isinstance(name, str) else name[:40]!r}. "
            f"Give text of 1 to {NAME_LENGTH:,} characters."
        )


def check_number(value: Any, what: str, limit: float = NUMBER_LIMIT) -> None:
    """Raises `ConfigurationError` unless it is a finite number within the limit."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= limit:
        raise ConfigurationError(
            f"{what} is {value!r}. Give a finite number between {-limit:g} and {limit:g}."
        )


def check_names(names: Sequence[str], what: str) -> None:
    """Raises `ConfigurationError` unless all are names, and no two are the same."""
    if len(names) > CANDIDATES_LIMIT:
        raise ConfigurationError(
            f"{what}: there are {len(names):,} names. Give at most {CANDIDATES_LIMIT:,}."
        )
    for name in names:
        check_name(name, what)
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # add gives None: not yet seen
        raise ConfigurationError(f"{what}: {twice!r} stands there twice. Name each candidate once.")


class Choice(msgspec.Struct, frozen=True, tag="choice"):
    """One candidate."""

    candidate: str

    def __post_init__(self) -> None:
        check_name(self.candidate, "a choice")


class Approval(msgspec.Struct, frozen=True, tag="approval"):
    """All candidates that the voter finds good enough; possibly none."""

    candidates: tuple[str, ...]

    def __post_init__(self) -> None:
        check_names(self.candidates, "an approval")


class Scores(msgspec.Struct, frozen=True, tag="scores"):
    """A number for each candidate, the greater the better."""

    values: dict[str, float]

    def __post_init__(self) -> None:
        check_names(tuple(self.values), "scores")
        for name, value in self.values.items():
            check_number(value, f"the score of {name[:40]!r}")


class Ranking(msgspec.Struct, frozen=True, tag="ranking"):
    """Candidates from best to worst in tiers; those of one tier are level. See `ranking`."""

    tiers: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        check_names([name for tier in self.tiers for name in tier], "a ranking")
        if not all(self.tiers):
            raise ConfigurationError("a ranking has an empty tier. Leave it out.")


class Number(msgspec.Struct, frozen=True, tag="number"):
    """A number, for the rules that estimate."""

    value: float

    def __post_init__(self) -> None:
        check_number(self.value, "a number")


class Vector(msgspec.Struct, frozen=True, tag="vector"):
    """A point, for the rules that estimate; all ballots of a count have the same dimension."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.values) <= DIMENSIONS_LIMIT:
            raise ConfigurationError(
                f"a vector has {len(self.values):,} coordinates. Give 1 to {DIMENSIONS_LIMIT:,}."
            )
        for value in self.values:
            check_number(value, "a coordinate of a vector")


class Abstention(msgspec.Struct, frozen=True, tag="abstention"):
    """Present, and without a preference: counts for the quorum and for nobody."""


Vote = Choice | Approval | Scores | Ranking | Number | Vector | Abstention
"""What a ballot says."""


class Ballot(msgspec.Struct, frozen=True):
    """One voter's vote."""

    voter: str
    vote: Vote
    weight: float = 1.0
    """How much it counts: 0 or more."""
    confidence: float = 1.0
    """The voter's own probability that the vote is right, 0 to 1. It counts only where a count is told to heed it."""

    def __post_init__(self) -> None:
        check_name(self.voter, "a voter")
        check_number(self.weight, f"the weight of {self.voter[:40]!r}", WEIGHT_LIMIT)
        if self.weight < 0:
            raise ConfigurationError(f"the weight of {self.voter[:40]!r} is {self.weight}. Give 0 or more.")
        check_number(self.confidence, f"the confidence of {self.voter[:40]!r}", 1.0)
        if self.confidence < 0:
            raise ConfigurationError(
                f"the confidence of {self.voter[:40]!r} is {self.confidence}. Give 0 to 1."
            )

    @property
    def abstains(self) -> bool:
        """Whether it has no say in the result."""
        return isinstance(self.vote, Abstention)


def ranking(*tiers: str | Sequence[str]) -> Ranking:
    """The ranking with these tiers, best first: `ranking("tea", ("milk", "water"))`."""
    return Ranking(tuple((tier,) if isinstance(tier, str) else tuple(tier) for tier in tiers))


def ballots_of(votes: Iterable[Vote]) -> tuple[Ballot, ...]:
    """A ballot for each vote, from voters `1`, `2` and so on, each of weight 1."""
    return tuple(Ballot(str(number), vote) for number, vote in enumerate(votes, start=1))


def ballot_data(ballot: Ballot) -> dict[str, Any]:
    """The ballot as JSON-like data."""
    data: dict[str, Any] = msgspec.to_builtins(ballot)
    return data


def ballot_from(data: Any) -> Ballot:
    """The ballot in data of `ballot_data`. Raises `ConfigurationError` for anything else."""
    try:
        return msgspec.convert(data, Ballot)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"this is no ballot: {error}. Give what `ballot_data` makes.") from None


def check_ballots(ballots: Sequence[Ballot]) -> None:
    """Raises `ConfigurationError` for too many ballots, or two of one voter."""
    if len(ballots) > BALLOTS_LIMIT:
        raise ConfigurationError(f"there are {len(ballots):,} ballots. Give at most {BALLOTS_LIMIT:,}.")
    voters: set[str] = set()
    for ballot in ballots:
        if ballot.voter in voters:
            raise ConfigurationError(
                f"{ballot.voter[:40]!r} has voted twice. Count one ballot of each voter; a `Poll` sees to it."
            )
        voters.add(ballot.voter)

"""What an auction came to, and what it cost to find.

Rules:
* An outcome is checked against its instance when it is settled: no task twice, no capacity broken.
* `messages` counts what agents would have to say to one another, one to each recipient; `bytes` eight for each number
  said (a task, a bidder, an amount), envelopes not counted. `rounds` counts the times that everybody waits for answers.
* The gap is relative to the optimum and never negative: 0.05 is 5% less value, or 5% more cost, than could be.
"""

from dataclasses import dataclass, field

from coordination.auctions.instance import Instance

NUMBER_BYTES = 8


class Traffic:
    """Counts what is said."""

    def __init__(self) -> None:
        self.rounds = 0
        self.messages = 0
        self.numbers = 0

    @property
    def bytes(self) -> int:
        """Of all that was said."""
        return self.numbers * NUMBER_BYTES

    def say(self, messages: int, numbers_each: int = 1) -> None:
        """So many messages of so many numbers each."""
        self.messages += messages
        self.numbers += messages * numbers_each


@dataclass(frozen=True)
class Outcome:
    """The awards of one market."""

    awards: dict[int, int]
    """The bidder of each task; tasks that nobody got are left out."""
    payments: dict[int, float]
    """What each bidder pays in all, in units of gain; empty where the mechanism knows no money."""
    value: float
    """In the terms of the instance: the total gain, or the total cost."""
    rounds: int
    messages: int
    bytes: int
    notes: tuple[str, ...] = field(default=())
    """What a reader of the figures must know, such as a limit that was reached."""


def settled(
    instance: Instance,
    awards: dict[int, int],
    traffic: Traffic,
    payments: dict[int, float] | None = None,
    notes: tuple[str, ...] = (),
) -> Outcome:
    """The outcome, checked."""
    instance.check(awards)
    return Outcome(
        dict(sorted(awards.items())),
        dict(sorted((payments or {}).items())),
        instance.told(awards),
        traffic.rounds,
        traffic.messages,
        traffic.bytes,
        notes,
    )


def gap(instance: Instance, outcome: Outcome, optimum: float) -> float:
    """How far from the optimum, as a share of it.

    A cost is compared only if as many tasks were awarded as can be; a task left out counts as the ceiling.
    """
    if instance.ceiling is None:
        return (optimum - outcome.value) / optimum if optimum else 0.0
    missing = min(instance.bidders, instance.tasks) - len(outcome.awards)
    cost = outcome.value + missing * instance.ceiling
    return (cost - optimum) / optimum if optimum else float(cost > 0)

"""What a replica of the randomised protocols knows, and how the protocols differ.

Rules:
* The parts change this state only while an event is handled, and what must survive a crash goes through `out.persist`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from actors.errors import ConfigurationError
from coordination.decision_log import DecisionLog
from coordination.early import Early
from coordination.outbox import Outbox
from coordination.protocol import Setting, options_from
from coordination.randomised.coin_agreement import Coin, common_coin
from coordination.request import RequestPool

EARLY = 256
"""How many messages of later slots are kept of each replica."""

DOUBLINGS = 4
"""How often the wait for a batch doubles at most."""


class Binary(Protocol):
    """One instance of binary agreement at one replica."""

    phases: int
    round: int
    decision: int | None
    stage: int

    def begin(self, value: int) -> None:
        """Enters with a value, 0 or 1."""

    def receive(self, source: int, number: int, phase: int, value: int) -> None:
        """A vote of a replica, or its own once it is durable."""

    def done(self, source: int, value: int, stage: int) -> None:
        """A replica has decided and stands for a value at later stages."""

    def recall(self, number: int, phase: int, value: int) -> None:
        """After a restart: this replica had said this."""


@dataclass(frozen=True)
class RandomisedOptions:
    """Settings of the randomised protocols. Times are in message delays (`Setting.delay_s`)."""

    binary: bool = False
    """True: commands are 0 and 1, and slot s decides one bit, on the s-th proposal of each replica as its input.
    False: commands are anything, and the bit says whether the candidate's batch fills the slot."""
    wait: float = 8
    """How long a replica waits for a batch before it votes for none; twice as long after each slot without one."""
    patience: float = 10
    """After so long, a request is told to everybody."""
    backlog: int = 100_000
    """How many commands wait at their origin at most."""
    resend: float = 4
    """How often a replica says what it has, while something is missing."""
    idle: float = 20
    """How often it tells one of the others, while nothing is."""
    coin_seed: int = 0
    """Of the common coin; all replicas have the same."""
    fixed_coins: int = 2
    """How many first rounds of each slot have a coin known beforehand: 1, then 0."""
    coin: Coin | None = field(default=None, compare=False)
    """A coin in place of the oracle; the same function at all replicas."""

    def __post_init__(self) -> None:
        for name in ("wait", "patience", "backlog", "resend", "idle"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"options: {name} is {getattr(self, name)}. Give more than 0.")


@dataclass(frozen=True)
class Flavour:
    """How a randomised protocol differs from the others."""

    name: str
    liars: bool
    """Whether faulty replicas may lie; else they only crash."""
    faults: Callable[[int], int]
    """The most faulty replicas of n."""
    instance: "Callable[[State, int, Callable[[int, int, int], None]], Binary]"
    """Makes the instance of a slot, given how it speaks: round, phase, value."""


class State:
    """One replica's knowledge, but for the slots under way."""

    def __init__(self, setting: Setting, flavour: Flavour) -> None:
        self.id = setting.id
        self.flavour = flavour
        self.options: RandomisedOptions = options_from(RandomisedOptions, setting)
        self.members = setting.members
        self.known = frozenset(setting.members)
        self.rng = setting.rng
        self.delay_s = setting.delay_s
        self.batch = setting.batch
        self.n = len(setting.members)
        self.f = flavour.faults(self.n)
        self.believed = self.f + 1 if flavour.liars else 1
        """How many must say the same to be believed: one of them is then correct."""
        self.coin = self.options.coin or common_coin(self.options.coin_seed, self.options.fixed_coins)
        self.out = Outbox(setting)
        self.decisions = DecisionLog()
        patience_s = self.options.patience * setting.delay_s
        self.pool = RequestPool(setting, lambda: self.decisions.executed, patience_s, self.options.backlog)
        self.inputs: list[int] = []
        """Bits to be proposed, in the binary form."""
        self.early = Early(self.out.others, EARLY)
        self.now = 0.0
        self.life = 0
        """The token of this life's record: what names a request may leave after it."""
        self.empty = 0
        """How many of the last slots in a row were empty."""

    def candidate(self, slot: int) -> int:
        """Whose batch may fill a slot."""
        return self.members[slot % self.n]

    @property
    def wait_s(self) -> float:
        """How long to wait for a candidate's batch."""
        return self.options.wait * self.delay_s * float(1 << min(self.empty, DOUBLINGS))

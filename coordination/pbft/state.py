"""What a replica of PBFT knows: shared by the parts that order, execute, change views and keep up.

Rules:
* The parts change this state only while an event is handled, and what must survive a crash goes through `out.persist`.
"""

from dataclasses import dataclass

from actors.errors import ConfigurationError
from coordination.decision_log import DecisionLog
from coordination.early import Early
from coordination.outbox import Outbox
from coordination.pbft.log import Log
from coordination.pbft.message import NewView, Stable
from coordination.pbft.view_change import Judge
from coordination.protocol import NEVER, Setting, options_from
from coordination.quorum import byzantine
from coordination.request import RequestPool
from coordination.signature import Signature

DOUBLINGS = 3
"""How often a time-out doubles at most."""


@dataclass(frozen=True)
class PbftOptions:
    """Settings of PBFT. Times are in message delays (`Setting.delay_s`)."""

    checkpoint: int = 64
    """Slots from one checkpoint to the next; every replica must have the same."""
    pipeline: int = 16
    """How many slots the primary has under way at most; what comes meanwhile goes into larger batches."""
    backlog: int = 100_000
    """How many commands wait at their origin at most."""
    patience: float = 6
    """After so long, a request is told to everybody."""
    view_timeout: float = 8
    """After so long without progress, the first time, replicas leave a view."""
    resend: float = 4
    """How often a replica says what it has, while something is missing."""
    idle: float = 20
    """How often it tells one of the others, while nothing is."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"options: PBFT's {name} is {getattr(self, name)}. Give more than 0."
                )


class State:
    """One replica's knowledge."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.id = setting.id
        self.options: PbftOptions = options_from(PbftOptions, setting)
        self.members = setting.members
        self.known = frozenset(setting.members)
        self.scheme = setting.scheme
        self.delay_s = setting.delay_s
        self.batch = setting.batch
        self.quorum = byzantine(setting.members)
        self.needed = self.quorum.needed
        self.f = (len(setting.members) - 1) // 3
        self.out = Outbox(setting)
        self.decisions = DecisionLog()
        self.log = Log(2 * self.options.checkpoint)
        self.judge = Judge(setting.scheme, self.quorum, self.log.window)
        patience_s = self.options.patience * setting.delay_s
        self.pool = RequestPool(setting, lambda: self.decisions.executed, patience_s, self.options.backlog)
        self.early = Early(self.out.others, 4 * self.log.window)
        self.now = 0.0
        self.life = 0
        """The token of this life's record: what names a request may leave after it."""
        self.view = 0
        self.active = True
        """False from leaving a view until the next begins."""
        self.new_view: NewView | None = None
        """What began the latest view that this replica was in."""
        self.stable = Stable()
        self.heard = 0
        """A slot that f+1 others commit or have executed: if it is not executed here, this replica lags."""
        self.attempts = 0
        """Views left since the last slot was executed."""
        self.deadline = NEVER
        """When to leave the view."""
        self.neglected = False
        """The primary passes a request over: to be left at the end of this event."""

    def primary(self, view: int) -> int:
        """Who leads a view."""
        return self.members[view % len(self.members)]

    @property
    def leads(self) -> bool:
        """Whether this replica is the primary of the present view, which has begun."""
        return self.active and self.members[self.view % len(self.members)] == self.id

    def is_other(self, word: Signature) -> bool:
        """Whether a word is said to be another member's."""
        return word.signer in self.known and word.signer != self.id

    @property
    def patience_s(self) -> float:
        """How long to wait for progress in this view."""
        return self.options.view_timeout * self.delay_s * float(1 << min(self.attempts, DOUBLINGS))

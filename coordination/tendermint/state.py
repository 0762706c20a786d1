"""What a replica of Tendermint knows: shared by the part that votes and the one that deals with the world.

Rules:
* The parts change this state only while an event is handled, and what must survive a crash goes through `out.persist`.
"""

from dataclasses import dataclass

from actors.errors import ConfigurationError
from coordination.decision_log import DecisionLog
from coordination.early import Early
from coordination.outbox import Outbox
from coordination.protocol import Setting, options_from
from coordination.quorum import byzantine
from coordination.request import RequestPool
from coordination.signature import Certificate, Signature, Statement, certifies
from coordination.tendermint.height import Height, Step

GROWTH = 10
"""How many rounds' growth a time-out has at most."""

EARLY = 64
"""How many messages of later heights are kept of each replica."""


@dataclass(frozen=True)
class TendermintOptions:
    """Settings of Tendermint. Times are in message delays (`Setting.delay_s`)."""

    propose_timeout: float = 4
    """How long a replica waits for a proposal in round 0; each round it waits one delay longer."""
    vote_timeout: float = 3
    """How long it waits for more votes once it has a quorum of different ones."""
    patience: float = 8
    """After so long, a request is told to everybody."""
    backlog: int = 100_000
    """How many commands wait at their origin at most."""
    resend: float = 4
    """How often a replica says what it has, while something is missing."""
    idle: float = 20
    """How often it tells one of the others, while nothing is."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"options: Tendermint's {name} is {getattr(self, name)}. Give more than 0."
                )


class State:
    """One replica's knowledge."""

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self.options: TendermintOptions = options_from(TendermintOptions, setting)
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
        self.height = Height(1)
        patience_s = self.options.patience * setting.delay_s
        self.pool = RequestPool(setting, lambda: self.decisions.executed, patience_s, self.options.backlog)
        self.early = Early(self.out.others, EARLY)
        self.timeouts: dict[Step, float] = {}
        """When each step of the present round is given up, for those that run."""
        self.now = 0.0
        self.life = 0
        """The token of this life's record: what names a request may leave after it."""

    def proposer(self, height: int, number: int) -> int:
        """Whose turn a round is."""
        return self.members[(height + number) % len(self.members)]

    def is_other(self, word: Signature) -> bool:
        """Whether a word is said to be another member's."""
        return word.signer in self.known and word.signer != self.id

    def certified(self, statement: Statement, found: Certificate | None) -> bool:
        """Whether a quorum signed it."""
        if found is None or len(found.signatures) > len(self.members):
            return False
        return self.quorum.is_quorum(set(certifies(self.scheme, statement, found)))

    def start_timeout(self, step: Step) -> None:
        """Gives a step of this round its time, if that does not run yet."""
        if step not in self.timeouts:
            base = self.options.propose_timeout if step is Step.PROPOSE else self.options.vote_timeout
            self.timeouts[step] = self.now + (base + min(self.height.round, GROWTH)) * self.delay_s

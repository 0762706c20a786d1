"""The contract of a protocol: a pure state machine, events in, effects out.

Rules:
* A protocol holds no clock, socket, file, thread or randomness of its own. Each event says what time it is on the
  replica's own clock; random draws come from the generator in its `Setting`. So the same code runs in the simulator,
  as an agent on Ray, and from a script, and a failure is a list of events.
* Persist before send: records of one call to `handle` become durable under one token, in the order given. A message
  marked with a token may leave only after them; the protocol is told by `Persisted`. Votes, promises and
  acknowledgements are marked. A driver that ignores the marks breaks safety, and tests show that it does.
* No tick gates a decision: ticks serve timeouts alone.
* What the network brings is not trusted: a message that a correct replica cannot have sent is dropped, never raised.

Form: the events and the one `Ready` of etcd's Raft library, with explicit tokens as in its asynchronous storage writes;
`Restore` in place of a constructor that reads a disk.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Literal

import msgspec

from actors.errors import ConfigurationError
from coordination.quorum import QuorumSystem
from coordination.signature import Scheme, TokenScheme
from coordination.testimony import Reader

NEVER = math.inf

Command = Any
"""What clients want decided: plain data that MessagePack can carry (numbers, text, bytes, tuples, dicts)."""


class Wire(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Extend this for a message or a record: frozen, compared by value, MessagePack on the wire."""

    @property
    def authenticators(self) -> int:
        """How many signatures it carries; a certificate of a scheme that combines them counts as one."""
        return 0


# --- Events -----------------------------------------------------------------------------------------------------


class Receive(msgspec.Struct, frozen=True, gc=False):
    """A message came in. `source` is who sent it, as the channel vouches for it."""

    now: float
    source: int
    message: Any


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Time has passed. Comes at `Effects.wake_at` or soon after; more often does no harm."""

    now: float


class Propose(msgspec.Struct, frozen=True, gc=False):
    """Clients of this replica want commands decided, in this order if they can be."""

    now: float
    commands: tuple[Command, ...]


class Persisted(msgspec.Struct, frozen=True, gc=False):
    """All records up to this token are durable."""

    now: float
    token: int


class Read(msgspec.Struct, frozen=True, gc=False):
    """A client wants to read: `Effects.reads` will say from which slot on the answer is linearizable."""

    now: float
    context: Any


class ChangeMembers(msgspec.Struct, frozen=True, gc=False):
    """Somebody in charge wants other members; `change` is of a type that the protocol names."""

    now: float
    change: Any


class Compact(msgspec.Struct, frozen=True, gc=False):
    """The application's state, with all slots up to this one applied: what lies before it may be forgotten."""

    now: float
    slot: int
    state: Any


class Restore(msgspec.Struct, frozen=True, gc=False):
    """The first event of every life: the records that are durable, in order; none at the first start."""

    now: float
    records: Sequence[Any] = ()


class Instruct(msgspec.Struct, frozen=True, gc=False):
    """An order by hand that only this protocol knows (campaign, transfer leadership ...)."""

    now: float
    order: Any


Event = Receive | Tick | Propose | Persisted | Read | ChangeMembers | Compact | Restore | Instruct


# --- Effects ----------------------------------------------------------------------------------------------------

Send = tuple[int, Any, int]
"""To whom, the message, and the token after which it may leave (0: at once)."""


class Decided(msgspec.Struct, frozen=True, gc=False):
    """A slot is decided, for ever: these commands, in this order. Slots come in order and without gaps.

    `proof` is what convinces others: a certificate of a Byzantine protocol, the term of Raft, a ballot of Paxos.
    """

    slot: int
    commands: tuple[Command, ...]
    proof: Any = None


class ReadAt(msgspec.Struct, frozen=True, gc=False):
    """The read with this context is linearizable from a state with all slots up to this one applied."""

    context: Any
    slot: int


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """Commands that will not be decided unless they are proposed again (a definite error), and who might take them."""

    commands: tuple[Command, ...]
    leader: int | None = None


class Installed(msgspec.Struct, frozen=True, gc=False):
    """Another replica's state, in place of all slots up to this one: the application takes it over."""

    slot: int
    state: Any


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """Two signed statements of one replica that no correct replica makes both: proof that it lies."""

    culprit: int
    first: Any
    second: Any


class Trace(msgspec.Struct, frozen=True, gc=False):
    """Something worth showing to who looks on; only if `Setting.trace`."""

    name: str
    details: dict[str, Any]


class Effects(msgspec.Struct, gc=False):
    """All that one event caused. The driver carries it out: records first, then what is not marked, and so on."""

    sends: list[Send] = []
    records: list[Any] = []
    token: int = 0
    """Of `records`; tokens of one life rise. 0 if there are no records."""
    checkpoint: bool = False
    """True: the first of `records` stands for all earlier ones, which may be deleted once it is durable."""
    decided: list[Decided] = []
    reads: list[ReadAt] = []
    rejected: list[Rejected] = []
    installed: Installed | None = None
    """Comes before `decided`."""
    evidence: list[Evidence] = []
    trace: list[Trace] = []
    wake_at: float = NEVER
    """The replica's next deadline by its own clock, as it stands now: replaces every earlier one."""


# --- Protocols --------------------------------------------------------------------------------------------------


def everything(commands: tuple[Command, ...]) -> bool:
    """The validity of those who have no objections."""
    return True


@dataclass(frozen=True)
class Setting:
    """What a replica is told when it is made."""

    id: int
    members: tuple[int, ...]
    """All replicas, its own id among them (unless it will join later), in rising order."""
    rng: Random
    delay_s: float = 0.1
    """How long a message takes at most when all is well (Delta): the protocol's time-outs are multiples of it."""
    scheme: Scheme = field(default_factory=TokenScheme)
    """Signs for this replica alone and checks the others; only Byzantine protocols use it."""
    valid: Callable[[tuple[Command, ...]], bool] = everything
    """External validity: may this batch be decided? Pure, and the same everywhere."""
    batch: int = 1000
    """Most commands in one message or block."""
    trace: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """The protocol's own settings; see its options class."""


class Protocol(ABC):
    """A replica's part in a protocol. The first event must be `Restore`."""

    wire: ClassVar[tuple[type[Wire], ...]] = ()
    """All types of its messages: what `Codec` can decode."""
    records: ClassVar[tuple[type[Wire], ...]] = ()
    """All types of its records; `Codec` can decode them too."""

    id: int

    @abstractmethod
    def handle(self, event: Event) -> Effects:
        """Takes an event and says what it causes. Never raises for what came over the network."""

    @property
    def leader(self) -> int | None:
        """Who leads as far as this replica knows; None if nobody does, or nobody ever does."""
        return None


@dataclass(frozen=True)
class Costs:
    """What one decision costs on a quiet network with correct replicas, as the paper counts; n is their number.

    A test holds each protocol to its own line for n = 4 to 31.
    """

    messages: Callable[[int], int]
    """Messages between different replicas for one decision (in a pipeline: for one more block)."""
    delays: int
    """Message delays from the proposal at the leader until the leader knows the decision."""
    authenticators: Callable[[int], int] = lambda n: 0
    """Signatures in those messages, a combined certificate counted as one."""
    told: int = 0
    """Message delays more until every replica knows."""
    text: str = ""
    """The formulas as people write them."""


def no_options(rng: Random, members: tuple[int, ...], steady: bool) -> Mapping[str, Any]:
    """The settings of a protocol that has none worth varying."""
    return {}


@dataclass(frozen=True)
class Upkeep:
    """What those in charge of a running protocol may do to it, for searches that are to leave nothing out."""

    reads: bool = False
    """Whether it answers `Read`."""
    options: Callable[[Random, tuple[int, ...], bool], Mapping[str, Any]] = no_options
    """Draws settings for these members; the last argument says whether all clocks run at one rate and never jump."""
    order: Callable[[Random, tuple[int, ...]], Callable[[float], Event]] | None = None
    """Draws an order to a replica among these members; what it gives takes the time."""
    mend: Callable[[Protocol, tuple[int, ...]], Callable[[float], Event] | None] | None = None
    """What to tell this replica, which leads, so that all these members take part again; None: nothing now."""


@dataclass(frozen=True)
class ProtocolKind:
    """A protocol as the laboratory lists it."""

    name: str
    title: str
    make: Callable[[Setting], Protocol]
    faults: Literal["crash", "byzantine", "none"]
    """What its f faulty replicas may do."""
    replicas: Callable[[int], int]
    """The fewest replicas that withstand f faulty ones."""
    source: str
    """The paper."""
    costs: Costs | None = None
    quorums: Callable[[tuple[int, ...]], QuorumSystem] | None = None
    """Which of its members decide."""
    recovery_delays: int = 1000
    """When everything has healed and at most f are faulty, a command is decided within so many times `delay_s`."""
    reader: Callable[[], Reader] | None = None
    """Of a Byzantine protocol: what its messages testify, for the checker (`coordination.byzantine_checker`)."""
    upkeep: Upkeep = Upkeep()

    def withstands(self, n: int) -> int:
        """The most faulty replicas that n can have."""
        f = 0
        while self.replicas(f + 1) <= n:
            f += 1
        return f

    def check(self, n: int, f: int) -> None:
        """Raises `ConfigurationError` if n replicas are too few for f faulty ones."""
        if n < self.replicas(f):
            raise ConfigurationError(
                f"{self.name}: {n} replicas cannot withstand {f} faulty ones. "
                f"Give at least {self.replicas(f)} replicas, or at most {self.withstands(n)} faults."
            )


class Codec:
    """The wire form of a protocol's messages: MessagePack of a tagged array; it travels as one part of an A2A message.

    `decode` raises `msgspec.DecodeError` (a `ValueError`) for anything else, and never runs what it reads.
    """

    def __init__(self, protocol: type[Protocol]) -> None:
        if not protocol.wire:
            raise ConfigurationError(f"{protocol.__name__} names no messages. List them in its `wire`.")
        union: Any = protocol.wire[0]
        for other in (*protocol.wire[1:], *protocol.records):
            union = union | other
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(union)

    def encode(self, message: Wire) -> bytes:
        """The message as bytes."""
        return self._encoder.encode(message)

    def decode(self, data: bytes) -> Any:
        """The message that bytes stand for."""
        return self._decoder.decode(data)


def options_from(kind: type[Any], setting: Setting) -> Any:
    """The protocol's own settings, a frozen dataclass, from `Setting.options`. Raises `ConfigurationError`."""
    known = list(kind.__dataclass_fields__)
    unknown = [name for name in setting.options if name not in known]
    if unknown:
        raise ConfigurationError(
            f"options: {kind.__name__} has no {', '.join(map(repr, unknown))}. It has: {', '.join(known)}."
        )
    return kind(**setting.options)

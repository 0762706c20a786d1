"""What clients want, on its way into a slot: requests that survive a bad leader and are executed once.

Rules:
* A request is named by its origin (the replica that a client asked), the origin's life and a serial number. It is
  signed by its origin, unless its origin is the one who proposes it and so signs the whole proposal.
* A replica executes a request at most once. Which were executed follows from the decided slots alone, so all replicas
  agree on it, and it is a window a replica wide: memory is bounded.
* The origin first asks the leader alone; a request that is late goes to everybody, and then everybody watches that it
  is executed (Castro and Liskov 1999, section 4.1, where the client does both).
* A command that equals one that waits at the same origin is that one, asked for again: it is not queued twice. Clients
  number their commands to tell them apart.
* Who waits is bounded by the window of each origin and by `backlog` commands at the origin; beyond that, they are
  refused, which is a definite error.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from coordination.protocol import NEVER, Command, Setting, Wire
from coordination.signature import Scheme, Signature, Statement, digest

_encoder = msgspec.msgpack.Encoder(order="deterministic")

WINDOW = 1024
"""How many requests of one origin may be under way at once."""

Key = tuple[int, int, int]
"""Origin, life, serial number."""


class Request(Wire, frozen=True):
    """Commands that one replica's clients want decided together."""

    origin: int
    life: int
    serial: int
    commands: tuple[Command, ...]
    signature: Signature | None = None

    @property
    def key(self) -> Key:
        """Its name."""
        return self.origin, self.life, self.serial

    @property
    def statement(self) -> Statement:
        """What its origin signs."""
        return "request", self.origin, self.life, self.serial, digest(self.commands)

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return self.signature is not None


Batch = tuple[Request, ...]

EMPTY = digest(())
"""The digest of a batch of no requests: what fills a slot when nothing else may."""


class Forward(Wire, frozen=True):
    """Requests, for who leads or for everybody."""

    requests: tuple[Request, ...]

    @property
    def authenticators(self) -> int:
        """See `Wire`."""
        return sum(request.authenticators for request in self.requests)


class Executed:
    """Which requests were executed: for each origin its latest life, the serial below which all were, and the rest."""

    __slots__ = ("_by_origin",)

    def __init__(self, plain: Iterable[Any] = ()) -> None:
        self._by_origin: dict[int, tuple[int, int, set[int]]] = {
            origin: (life, floor, set(above)) for origin, life, floor, above in plain
        }

    def plain(self) -> tuple[Any, ...]:
        """As plain data, in order: part of the state that replicas sign and hand on."""
        return tuple(
            (origin, life, floor, tuple(sorted(above)))
            for origin, (life, floor, above) in sorted(self._by_origin.items())
        )

    def is_open(self, key: Key) -> bool:
        """Whether it may still be executed: not yet done, not of a past life, not too far ahead."""
        origin, life, serial = key
        known = self._by_origin.get(origin)
        if known is None or life > known[0]:
            return 0 <= serial < WINDOW
        _, floor, above = known
        return life == known[0] and floor <= serial < floor + WINDOW and serial not in above

    def add(self, key: Key) -> bool:
        """Executes it, if that is still open."""
        if not self.is_open(key):
            return False
        origin, life, serial = key
        known = self._by_origin.get(origin)
        _, floor, above = known if known is not None and known[0] == life else (life, 0, set())
        above.add(serial)
        while floor in above:
            above.remove(floor)
            floor += 1
        self._by_origin[origin] = (life, floor, above)
        return True

    def execute(self, batch: Batch) -> tuple[Command, ...]:
        """The commands of those of a batch that were not executed before."""
        if len(batch) == 1:
            return batch[0].commands if self.add(batch[0].key) else ()
        commands: list[Command] = []
        for request in batch:
            if self.add(request.key):
                commands.extend(request.commands)
        return tuple(commands)


class _Waiting(msgspec.Struct):
    """A request that is not executed yet."""

    request: Request
    slot: int
    """How many slots were decided when it came."""
    urgent: bool
    """Everybody was told, so a leader that does not propose it is at fault."""


class RequestPool:
    """The requests that a replica knows and that are not executed: its own and those of others."""

    def __init__(
        self, setting: Setting, executed: Callable[[], Executed], patience_s: float, backlog: int
    ) -> None:
        self.life = 0
        self.waiting: dict[Key, _Waiting] = {}
        self.urgent = 0
        """How many of them everybody was told of."""
        self._id = setting.id
        self._members = frozenset(setting.members)
        self._valid = setting.valid
        self._batch = setting.batch
        self._scheme: Scheme = setting.scheme
        self._executed = executed
        self._patience_s = patience_s
        self._limit = backlog
        self._backlog: deque[Command] = deque()
        self._own: set[bytes] = set()
        """The commands that wait here, encoded."""
        self._serial = 0
        self._fresh: deque[Key] = deque()
        self._due: deque[tuple[float, Key]] = deque()

    def submit(
        self, now: float, slot: int, commands: tuple[Command, ...]
    ) -> tuple[Batch, tuple[Command, ...]]:
        """Takes commands of this replica's clients: the requests made of them, and the commands refused."""
        if not self._valid(commands):
            return (), commands
        refused: list[Command] = []
        for command in commands:
            encoded = _encoder.encode(command)
            if encoded in self._own:
                continue
            if len(self._backlog) < self._limit:
                self._own.add(encoded)
                self._backlog.append(command)
            else:
                refused.append(command)
        return self.release(now, slot), tuple(refused)

    def release(self, now: float, slot: int) -> Batch:
        """Makes requests of what waits, as far as the window goes."""
        made = []
        executed = self._executed()
        while self._backlog and executed.is_open((self._id, self.life, self._serial)):
            count = min(self._batch, len(self._backlog))
            commands = tuple([self._backlog.popleft() for _ in range(count)])
            request = Request(self._id, self.life, self._serial, commands)
            self._serial += 1
            self.waiting[request.key] = _Waiting(request, slot, False)
            self._fresh.append(request.key)
            self._due.append((now + self._patience_s, request.key))
            made.append(request)
        return tuple(made)

    def admit_all(self, slot: int, requests: Batch) -> Batch:
        """Those of requests handed on that are taken, `WINDOW` of them at most."""
        return tuple([request for request in requests[:WINDOW] if self.admit(slot, request)])

    def admit(self, slot: int, request: Request) -> bool:
        """Takes a request of another replica, if it is new, right and signed."""
        key = request.key
        if key in self.waiting or request.origin == self._id or not self._executed().is_open(key):
            return False
        if not self.vouched(request, None):
            return False
        self.waiting[key] = _Waiting(request, slot, True)
        self.urgent += 1
        self._fresh.append(key)
        return True

    def vouched(self, request: Request, proposer: int | None) -> bool:
        """Whether a request may stand in a batch of this proposer: its origin's, valid, and not too big."""
        known = self.waiting.get(request.key)
        if known is not None and known.request == request:
            return True
        if request.origin not in self._members or not 0 < len(request.commands) <= self._batch:
            return False
        if request.life < 0 or not self._valid(request.commands):
            return False
        if request.signature is None:
            return request.origin == proposer
        return request.signature.signer == request.origin and self._scheme.verify(
            request.statement, request.signature
        )

    def signed(self, keys: Iterable[Key]) -> Batch:
        """These requests as they may be handed on: with the signatures of their origins."""
        found = []
        for key in keys:
            waiting = self.waiting.get(key)
            if waiting is None:
                continue
            if waiting.request.signature is None:
                word = self._scheme.sign(self._id, waiting.request.statement)
                waiting.request = msgspec.structs.replace(waiting.request, signature=word)
            found.append(waiting.request)
        return tuple(found)

    def take(self) -> Batch:
        """The next batch to propose: what has waited longest, as much as fits. Each is taken once until `restock`."""
        taken: list[Request] = []
        count = 0
        fresh = self._fresh
        while fresh:
            waiting = self.waiting.get(fresh[0])
            if waiting is not None:
                count += len(waiting.request.commands)
                if taken and count > self._batch:
                    break
                taken.append(waiting.request)
            fresh.popleft()
        return tuple(taken)

    def first(self) -> Batch:
        """What has waited longest, as much as fits in a batch, for who proposes one batch at a time."""
        found: list[Request] = []
        count = 0
        for waiting in self.waiting.values():
            count += len(waiting.request.commands)
            if found and count > self._batch:
                break
            found.append(waiting.request)
        return tuple(found)

    def restock(self, besides: Iterable[Batch] = ()) -> None:
        """All that waits may be taken again, except what stands in these batches."""
        taken = {request.key for batch in besides for request in batch}
        self._fresh = deque(key for key in self.waiting if key not in taken)

    def remove(self, batch: Batch) -> None:
        """Forgets what was executed."""
        for request in batch:
            waiting = self.waiting.pop(request.key, None)
            if waiting is None:
                continue
            self.urgent -= waiting.urgent
            if request.origin == self._id:
                self._own.difference_update([_encoder.encode(one) for one in waiting.request.commands])

    def prune(self) -> None:
        """Forgets all that can no longer be executed, after many slots were skipped at once."""
        executed = self._executed()
        for key in [key for key in self.waiting if not executed.is_open(key)]:
            self.remove((self.waiting[key].request,))

    def overdue(self, now: float) -> Batch:
        """Requests of its own that are late for the first time; from now on they are urgent."""
        keys = []
        while self._due and self._due[0][0] <= now:
            _, key = self._due.popleft()
            waiting = self.waiting.get(key)
            if waiting is not None and not waiting.urgent:
                waiting.urgent = True
                self.urgent += 1
                keys.append(key)
        return self.signed(keys)

    def neglected(self, before: int) -> bool:
        """Whether an urgent request came before this many slots were decided, and is still waiting."""
        return any(waiting.urgent and waiting.slot < before for waiting in self.waiting.values())

    @property
    def due_at(self) -> float:
        """When the next of its own requests will be late."""
        due = self._due
        while due and due[0][1] not in self.waiting:
            due.popleft()
        return due[0][0] if due else NEVER

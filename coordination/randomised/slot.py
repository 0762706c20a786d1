"""One slot of a randomised protocol: the candidate's batch is spread, and a binary agreement says whether it counts.

Rules:
* Many values from one bit: the candidate of slot s is replica s in turn. Its batch is broadcast so that all correct
  replicas that deliver one deliver the same, and if one does, all do. Who delivers it enters the agreement with 1, who
  has waited too long with 0. The slot holds the batch if 1 is decided, and nothing if 0 is (one candidate of the common
  subset of Ben-Or, Kelmer, Rabin 1994).
* With liars the broadcast is Bracha's (1987): INIT; ECHO of the first INIT; READY at more than (n + f)/2 ECHOs or at
  f+1 READYs; delivery at n - f READYs, which are 2f+1 at least. With crashes alone: INIT, ECHO, delivery at n - f
  ECHOs, so that a batch that counts is on the disk of a replica that does not fail for good.
* If 1 is decided, some correct replica had delivered the batch, so every correct one will; who lacks its body asks.
* In the binary form there is no batch: the value is the replica's own bit.
* Time-outs decide what a slot holds, never whether replicas agree on it.
"""

from collections.abc import Callable
from typing import Any

from coordination.protocol import NEVER, Wire
from coordination.randomised.message import Body, Done, Echo, Init, Ready, Status, Vote
from coordination.randomised.state import State
from coordination.request import EMPTY, Batch, Request
from coordination.signature import digest

KEPT = 64
"""Of how many rounds behind votes can be said again; who lags further waits for `Done`."""

NOBODY = -1
"""The origin of a decided bit."""

AGAIN = 8
"""Of how many rounds votes are said again in answer to one status."""

BODIES = 4
"""How many different batches of one slot are kept: a lying candidate could send any number."""


class Slot:
    """A slot under way."""

    def __init__(self, state: State, number: int) -> None:
        self.number = number
        self.awake = False
        """Somebody wants a decision."""
        self.wait_until = NEVER
        """When to vote for no batch."""
        self.said: dict[tuple[Any, ...], Wire] = {}
        """What this replica said, in order."""
        self.binary = state.flavour.instance(state, number, self._say_vote)
        self.delivered: bytes | None = None
        """The digest of the batch, once the broadcast delivers it."""
        self.bodies: dict[bytes, Batch] = {}
        self.closed = False
        """Decided and executed here; what others still need of it is said all the same."""
        self._state = state
        self._out = state.out
        self._echoes: dict[int, bytes] = {}
        self._readies: dict[int, bytes] = {}
        self._done: dict[int, int] = {}
        self._decision: int | None = None

    @property
    def proposed(self) -> bool:
        """Whether the candidate has put a batch forward, as far as this replica knows."""
        return bool(self.bodies)

    # --- Speaking ---------------------------------------------------------------------------------------------

    def _say(self, key: tuple[Any, ...], message: Wire, then: Callable[..., None], *arguments: Any) -> None:
        """Says something once, and hears it itself when it is durable."""
        if key in self.said:
            return
        self.said[key] = message
        token = self._out.persist(message)
        self._out.broadcast(message, token)
        self._out.hold(token, then, self._state.id, *arguments)

    def _say_vote(self, number: int, phase: int, value: int) -> None:
        self.awake = True
        message = Vote(self.number, number, phase, value)
        self._say(("vote", number, phase, value), message, self._hear_vote, number, phase, value)
        if number > KEPT and phase == 0:
            for key in [key for key in self.said if key[0] == "vote" and key[1] < number - KEPT]:
                del self.said[key]

    # --- The broadcast ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Somebody wants a decision: the candidate puts a batch forward, and the others wait for it."""
        state = self._state
        if self.closed:
            return
        if state.options.binary:
            if state.inputs and not self.binary.round:
                self.awake = True
                self.binary.begin(state.inputs[0])
                self.check()
            return
        if not self.awake:
            self.awake = True
            self.wait_until = state.now + state.wait_s
        if state.candidate(self.number) == state.id and ("init",) not in self.said and state.pool.waiting:
            batch = state.pool.first()
            self._say(("init",), Init(self.number, batch), self._hear_init, batch)

    def on_init(self, source: int, message: Init) -> None:
        """The candidate's batch."""
        state = self._state
        if state.options.binary or source != state.candidate(self.number) or ("echo",) in self.said:
            return
        size = sum([len(request.commands) for request in message.batch])
        if size <= state.batch and all(state.pool.vouched(request, source) for request in message.batch):
            self.wake()
            self._hear_init(source, message.batch)

    def _hear_init(self, source: int, batch: Batch) -> None:
        found = digest(batch)
        self._keep(found, batch)
        self._out.persist(Body(self.number, batch))
        self._say(("echo",), Echo(self.number, found), self._hear_echo, found)

    def _keep(self, found: bytes, batch: Batch) -> None:
        if found in (self.delivered, EMPTY) or len(self.bodies) < BODIES:
            self.bodies[found] = batch

    def on_echo(self, source: int, message: Echo) -> None:
        """Another replica holds a batch."""
        if not self._state.options.binary:
            self.wake()
            self._hear_echo(source, message.digest)

    def _hear_echo(self, source: int, found: bytes) -> None:
        state = self._state
        self._echoes.setdefault(source, found)
        count = list(self._echoes.values()).count(found)
        if not state.flavour.liars:
            if count >= state.n - state.f:
                self._deliver(found)
        elif count * 2 > state.n + state.f:
            self._say(("ready",), Ready(self.number, found), self._hear_ready, found)

    def on_ready(self, source: int, message: Ready) -> None:
        """Another replica is ready to deliver a batch."""
        if not self._state.options.binary and self._state.flavour.liars:
            self.wake()
            self._hear_ready(source, message.digest)

    def _hear_ready(self, source: int, found: bytes) -> None:
        state = self._state
        self._readies.setdefault(source, found)
        count = list(self._readies.values()).count(found)
        if count > state.f:
            self._say(("ready",), Ready(self.number, found), self._hear_ready, found)
        if count >= state.n - state.f:
            self._deliver(found)

    def _deliver(self, found: bytes) -> None:
        if self.delivered is None:
            self.delivered = found
            self.wait_until = NEVER
            if not self.closed:
                self.binary.begin(1)
            self.check()

    def on_body(self, source: int, message: Body) -> None:
        """A batch that this replica lacks: believed for its digest, or, where nobody lies, at once."""
        found = digest(message.batch)
        if self.delivered is None and not self._state.flavour.liars and self._decision == 1:
            self.delivered = found
        if found == self.delivered and found not in self.bodies:
            self.bodies[found] = message.batch
            self.check()

    # --- The agreement ----------------------------------------------------------------------------------------

    def expire(self) -> None:
        """The candidate's batch has not come."""
        self.wait_until = NEVER
        self.binary.begin(0)
        self.check()

    def on_vote(self, source: int, message: Vote) -> None:
        """Another replica's vote."""
        self.wake()
        self._hear_vote(source, message.round, message.phase, message.value)

    def _hear_vote(self, source: int, number: int, phase: int, value: int) -> None:
        self.binary.receive(source, number, phase, value)
        self.check()

    def on_done(self, source: int, message: Done) -> None:
        """Another replica has decided."""
        self.wake()
        self._hear_done(source, message.value, message.stage)

    def _hear_done(self, source: int, value: int, stage: int) -> None:
        if source not in self._done and value in (0, 1):
            self._done[source] = value
            self.binary.done(source, value, stage)
            self.check()

    def check(self) -> None:
        """Takes note of a decision: of the agreement here, or one that enough others have."""
        if self._decision is not None:
            return
        decision = self.binary.decision
        if decision is None:
            said = list(self._done.values())
            decision = next((bit for bit in (0, 1) if said.count(bit) >= self._state.believed), None)
        if decision is not None:
            self._decision = decision
            self.binary.decision = decision
            self.wait_until = NEVER
            self.awake = True
            message = Done(self.number, decision, self.binary.stage)
            self._say(("done",), message, self._hear_done, decision, self.binary.stage)

    @property
    def outcome(self) -> tuple[Batch, bytes] | None:
        """What the slot holds and its digest, if that is decided and at hand."""
        if self._decision is None:
            return None
        if self._state.options.binary:
            bit = (Request(NOBODY, self.number, 0, (self._decision,)),)
            return bit, digest(bit)
        if self._decision == 0:
            return (), EMPTY
        found = self.delivered
        return (self.bodies[found], found) if found is not None and found in self.bodies else None

    def repeat(self, to: int, status: Status) -> None:
        """Says again what another replica may have missed, and gives it the batch."""
        for key, message in self.said.items():
            if key[0] != "vote" or status.round <= key[1] <= status.round + AGAIN:
                self._out.send(to, message, self._out.token)
        if status.ask and not status.held and self.delivered in self.bodies:
            self._out.send(to, Body(self.number, self.bodies[self.delivered]))

    # --- Restart ----------------------------------------------------------------------------------------------

    def remember(self, record: Wire) -> None:
        """Takes one record of an earlier life."""
        me = self._state.id
        self.awake = True
        match record:
            case Init():
                self.said["init",] = record
            case Body():
                self._keep(digest(record.batch), record.batch)
            case Echo():
                self.said["echo",] = record
                self._echoes[me] = record.digest
            case Ready():
                self.said["ready",] = record
                self._readies[me] = record.digest
            case Vote():
                self.said["vote", record.round, record.phase, record.value] = record
                self.binary.recall(record.round, record.phase, record.value)
            case Done():
                self.said["done",] = record
                self._done[me] = self._decision = self.binary.decision = record.value

    def resume(self) -> None:
        """After a restart: what it said counts again, and it goes on where it was."""
        state = self._state
        for message in list(self.said.values()):
            if isinstance(message, Init) and ("echo",) not in self.said:
                self._hear_init(state.id, message.batch)
            elif isinstance(message, Vote):
                self.binary.receive(state.id, message.round, message.phase, message.value)
            elif isinstance(message, Done):
                self.binary.done(state.id, message.value, message.stage)
        if self.awake and not self.binary.round and not state.options.binary and self.delivered is None:
            self.wait_until = state.now + state.wait_s
        self.check()

    @property
    def records(self) -> list[Any]:
        """What must survive of this slot."""
        return [*[Body(self.number, batch) for batch in self.bodies.values()], *self.said.values()]

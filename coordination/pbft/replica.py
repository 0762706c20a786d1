"""PBFT: a primary orders batches in three phases; n - f of n replicas back each step; a silent primary is replaced.

Paper: Castro, Liskov, "Practical Byzantine Fault Tolerance", OSDI 1999, with signatures in place of MACs.

Rules:
* n > 3f, quorums of n - f. A slot goes to the batch that the primary pre-prepares and a quorum prepares; a quorum of
  commits decides it (`ordering`). Two quorums share a correct replica, so a view prepares one batch a slot at most.
* Every vote, a pre-prepare too, is durable before it leaves, and counts at home only then: a replica votes once at each
  (view, slot, phase) in all its lives.
* Replicas leave a view (`departure`) when nothing is executed for `view_timeout` delays while something is asked for,
  when f+1 others left, or when a request that everybody knows is passed over for 4 checkpoints. Time-outs double, three
  times at most, until a slot is executed.
* Slots above the stable checkpoint form a window of two checkpoint intervals (`execution`). Messages of later views
  wait in a bounded place for each sender.
* Messages may be lost: who misses something says what it has (`Status`), and who has more sends it. The slots
  themselves come from f+1 of the others, each time the next ones, so that one of them is correct.
* Requests may be of any replica; the others forward to the primary. External validity is asked for each request.

Costs of a decision whose request is the primary's own (else one message, one signature and one delay more, and a
signature in each pre-prepare):

    phase         messages          signatures       known after
    pre-prepare   n - 1             n - 1            1 delay
    prepare       (n - 1)^2         (n - 1)^2        2 delays
    commit        n (n - 1)         n (n - 1)        3 delays, by everybody
    in all        2 n (n - 1)       2 n (n - 1)      3 delays
    checkpoint    n (n - 1)         n (n - 1)        every `checkpoint` slots
    view change   (n - 1)(n + 1)    O(n^2) for each prepared slot; O(n^3) if certificates do not combine

Liveness: once messages take at most Delta and at most f replicas are faulty, a request is executed at all correct
replicas within (f + 1) * 100 * Delta: each primary may use up the longest time-out, 64 Delta, and what was lost comes
with the next `Status`, every 4 Delta.
"""

from typing import Any

from actors.errors import ConfigurationError
from coordination.decision_log import Entry, Past, StateVote
from coordination.pbft.departure import Departure
from coordination.pbft.execution import Execution
from coordination.pbft.message import (
    MESSAGES,
    RECORDS,
    Accepted,
    Checkpoint,
    Commit,
    Committing,
    Compacted,
    Entered,
    Left,
    Life,
    NewView,
    Prepare,
    PrePrepare,
    Stable,
    Status,
    ViewChange,
    commit_statement,
    prepare_statement,
)
from coordination.pbft.ordering import Ordering
from coordination.pbft.reader import PbftReader
from coordination.pbft.state import State
from coordination.protocol import (
    NEVER,
    Compact,
    Costs,
    Effects,
    Event,
    Installed,
    Persisted,
    Propose,
    Protocol,
    ProtocolKind,
    Receive,
    Rejected,
    Restore,
    Setting,
    Tick,
    Upkeep,
)
from coordination.request import Forward
from coordination.signature import digest

VOTES_A_STATUS = 32
"""For how many slots votes are sent again in answer to one status."""


class Pbft(Protocol):
    """A replica of PBFT."""

    wire = MESSAGES
    records = RECORDS
    """All types of its records."""

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self._state = state = State(setting)
        self._out = state.out
        self._execution = Execution(state)
        self._ordering = Ordering(state, self._execution)
        self._departure = Departure(state, self._execution, self._ordering, self._dispatch)
        self._lives = 0
        self._status_at = NEVER
        self._busy = False
        self._told_slot = -1
        self._turn = 0
        self._answered: dict[int, tuple[float, int]] = {}
        self._events: dict[type, Any] = {
            Receive: self._receive,
            Persisted: self._persisted,
            Propose: self._propose,
            Tick: self._tick,
            Compact: self._execution.catch_up.on_compact,
            Restore: self._restore,
        }
        self._messages: dict[type, Any] = {
            PrePrepare: self._ordering.on_pre_prepare,
            Prepare: self._ordering.on_prepare,
            Commit: self._ordering.on_commit,
            Forward: self._ordering.on_forward,
            Checkpoint: self._execution.on_checkpoint,
            Stable: self._execution.on_stable,
            StateVote: self._execution.catch_up.on_state_vote,
            Past: self._on_past,
            ViewChange: self._departure.on_view_change,
            NewView: self._departure.on_new_view,
            Status: self._on_status,
        }

    @property
    def leader(self) -> int | None:
        """The primary of the view that this replica is in, or wants."""
        return self._state.primary(self._state.view)

    @property
    def view(self) -> int:
        """The view that it is in, or wants."""
        return self._state.view

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        on_event = self._events.get(type(event))
        if on_event is None:
            raise ConfigurationError(
                f"pbft: replica {self.id} knows no {type(event).__name__}. Its members are fixed, and a read is a "
                "command: propose it."
            )
        state = self._state
        state.now = event.now
        self._out.open()
        on_event(event)
        if state.neglected:
            state.neglected = False
            self._departure.leave(state.view + 1)
        if self._execution.catch_up.saving:
            self._execution.catch_up.saving = False
            self._out.checkpoint(self._execution.compacted(self._lives))
        return self._out.close(self._wake_at())

    def _receive(self, event: Receive) -> None:
        if event.source in self._state.known:
            self._dispatch(event.source, event.message)

    def _dispatch(self, source: int, message: object) -> None:
        on_message = self._messages.get(type(message))
        if on_message is not None:
            on_message(source, message)

    def _persisted(self, event: Persisted) -> None:
        self._out.persisted(event.token)

    def _propose(self, event: Propose) -> None:
        state = self._state
        made, refused = state.pool.submit(event.now, state.decisions.slot, event.commands)
        if refused:
            self._out.effects.rejected.append(Rejected(refused, self.leader))
        self._ordering.route(made)

    # --- Time -------------------------------------------------------------------------------------------------

    def _tick(self, event: Tick) -> None:
        state = self._state
        late = state.pool.overdue(event.now)
        if late:
            self._out.broadcast(Forward(late), state.life)
        if event.now >= state.deadline:
            self._departure.leave(state.view + 1)
        if event.now >= self._status_at:
            self._tell()

    def _wake_at(self) -> float:
        state = self._state
        waiting = state.pool.urgent > 0 or state.log.top > state.decisions.slot
        if state.active:
            if not waiting:
                state.deadline = NEVER
            elif state.deadline == NEVER:
                state.deadline = state.now + state.patience_s
        busy = waiting or not state.active or state.heard > state.decisions.slot
        if busy is not self._busy:
            self._busy = busy
            self._status_at = NEVER
        if self._status_at == NEVER:
            pause = state.options.resend if busy else state.options.idle
            self._status_at = state.now + pause * state.delay_s
        return min(state.pool.due_at, state.deadline, self._status_at)

    def _tell(self) -> None:
        """Says what this replica has: to everybody while something is missing, else to the next one in turn."""
        self._status_at = NEVER
        others = self._out.others
        progressed = self._state.decisions.slot > self._told_slot
        self._told_slot = self._state.decisions.slot
        if not others or (self._busy and progressed):
            return  # what is under way comes by itself
        count = min(self._state.f + 1, len(others)) if self._busy else 1
        asked = {others[(self._turn + i) % len(others)] for i in range(count)}
        self._turn = (self._turn + count) % len(others)
        for to in others:
            if self._busy or to in asked:
                self._out.send(to, self._status(to in asked))

    def _status(self, ask: bool) -> Status:
        state = self._state
        batches = [
            at for at, slot in state.log.slots.items() if slot.batch is not None and at > state.decisions.slot
        ]
        return Status(
            state.view, state.active, state.decisions.slot, state.stable.slot, ask, tuple(sorted(batches))
        )

    def _on_status(self, source: int, message: Status) -> None:
        state = self._state
        since, slot = self._answered.get(source, (-NEVER, -1))
        if message.slot <= slot and state.now < since + state.delay_s:
            return
        self._answered[source] = (state.now, message.slot)
        if message.ask:
            past = state.decisions.since(message.slot)
            if past is not None:
                self._out.send(source, past)
            if message.stable < state.stable.slot:
                self._out.send(source, state.stable, self._out.token)
            self._execution.remind(source)
        if message.view <= state.view and not (message.view == state.view and message.active):
            self._help_along(source, message)
        elif message.view == state.view and state.active:
            self._repeat(source, message)

    def _help_along(self, source: int, message: Status) -> None:
        """Helps a replica that is not in this view into it."""
        state = self._state
        change = self._departure.change
        if state.active and state.new_view is not None and (message.ask or state.leads):
            self._out.send(source, state.new_view, self._out.token)
        elif not state.active and change is not None:
            self._out.send(source, change, self._out.token)

    def _repeat(self, source: int, message: Status) -> None:
        """Sends own votes again, and what the primary said to who lacks it."""
        state = self._state
        sign, view, token = state.scheme.sign, state.view, self._out.token
        held = set(message.batches)
        for at in range(message.slot + 1, min(state.log.top, message.slot + VOTES_A_STATUS) + 1):
            slot = state.log.slots.get(at)
            if slot is None or slot.digest is None or slot.batch is None or slot.signature is None:
                continue
            if at not in held and (message.ask or state.leads):
                self._out.send(source, PrePrepare(view, at, slot.batch, slot.signature), token)
            if slot.voted and not state.leads:
                word = sign(self.id, prepare_statement(view, at, slot.digest))
                self._out.send(source, Prepare(view, at, slot.digest, word), token)
            if slot.committing:
                word = sign(self.id, commit_statement(view, at, slot.digest))
                self._out.send(source, Commit(view, at, slot.digest, word), token)

    def _on_past(self, source: int, message: Past) -> None:
        """Takes slots from another replica, and asks it for more while there are any."""
        if self._execution.on_past(source, message):
            self._ordering.execute()
            if message.entries:
                self._out.send(source, self._status(True))

    # --- Restart ----------------------------------------------------------------------------------------------

    def _restore(self, event: Restore) -> None:
        state = self._state
        for record in event.records:
            if isinstance(record, Compacted):
                state.decisions.install(record.summary, record.proof)
                self._out.effects.installed = Installed(record.summary.slot, record.summary.state)
                self._out.effects.decided.clear()
                for one in record.records:
                    self._remember(one)
            else:
                self._remember(record)
        self._lives += 1
        state.pool.life = self._lives
        state.life = self._out.persist(Life(self._lives))
        if not state.active:
            self._departure.resume()
        for _, slot in sorted(state.log.slots.items()):
            self._ordering.resume(slot)
        if self._lives > 1:
            self._busy = True
            self._tell()

    def _remember(self, record: Any) -> None:
        """Takes one record of an earlier life."""
        state = self._state
        log = state.log
        match record:
            case Life():
                self._lives = record.number
            case Left():
                state.view, state.active = record.view, False
                log.begin()
            case Entered():
                self._departure.adopt(record.new_view)
            case Stable():
                state.stable = record
                log.advance(record.slot)
            case Entry() if (
                record.slot == state.decisions.slot + 1
            ):  # what does not follow is asked for again
                commands = state.decisions.append(record, digest(record.batch))
                self._out.decide(record.slot, commands, record)
            case Accepted() if log.covers(record.slot):
                slot = log.slot(record.slot)
                found = digest(record.batch)
                slot.known[found] = record.batch
                if record.view == state.view and state.active:
                    slot.propose(found, record.signature, record.batch)
                    slot.voted = True
                    log.top = max(log.top, record.slot)
            case Committing() if log.covers(record.prepared.slot):
                slot = log.slot(record.prepared.slot)
                slot.prepared = record.prepared
                slot.committing = record.prepared.view == state.view and state.active


PBFT = ProtocolKind(
    name="pbft",
    title="PBFT",
    make=Pbft,
    faults="byzantine",
    replicas=lambda f: 3 * f + 1,
    source="Castro, Liskov: Practical Byzantine Fault Tolerance, OSDI 1999",
    costs=Costs(
        messages=lambda n: 2 * n * (n - 1),
        delays=3,
        authenticators=lambda n: 2 * n * (n - 1),
        text="2n(n-1) messages, each with one signature; 3 delays",
    ),
    recovery_delays=400,
    reader=PbftReader,
    upkeep=Upkeep(options=lambda rng, _members, _steady: {"checkpoint": rng.choice((4, 16, 64))}),
)

"""Ben-Or's protocol and agreement with a common coin, as logs: slots one after another, each with its bit.

Papers: see `ben_or` and `coin_agreement` for the bit, `slot` for how it comes to hold a batch.

Rules:
* Slots are decided one after another. The slot before is kept: who is in it may need what was said there. Those further
  behind are at most f, and take decided slots from others, believing what f+1 say (one, where nobody lies).
* A request goes to the candidate that can take it next; one that is late goes to everybody. Candidates change with each
  slot, in turn.
* Everything said in a slot is durable before it leaves, and counts at home only then.
* Messages may be lost: who makes no progress says what it has (`Status`), and others say again what they said.

Costs of a slot whose candidate's batch comes in time and whose votes agree (with a fair coin, and equal coins where
fixed coins are used), no faults; "bit" is the binary form:

    protocol                  batch                  bit                       done       in all             delays
    ben-or (crash)            n-1 + n(n-1)           2n(n-1)                   n(n-1)     (n-1)(4n+1)        4; bit: 2
    ben-or-byzantine          n-1 + 2n(n-1)          2n(n-1)                   n(n-1)     (n-1)(5n+1)        5; bit: 2
    coin-agreement            n-1 + 2n(n-1)          3n(n-1) a round           n(n-1)     (n-1)(6n+1)        6; bit: 3

None of these messages is signed. Everybody knows at the same time as the candidate.

Liveness: agreement and validity hold always. Termination has the probability bounds that `ben_or` and `coin_agreement`
state, by rounds, without time-outs. A slot's batch counts if its candidate is correct and comes within the wait; so
once messages take at most Delta, a request is executed at all correct replicas within (f + 2) * 200 * Delta: the wait
is 128 Delta at most, f candidates in a row may be faulty, and the agreement itself takes a few Delta a round.
"""

from typing import Any

from actors.errors import ConfigurationError
from coordination.decision_log import PAGE, Entry, Past, StateVote
from coordination.protocol import (
    NEVER,
    Compact,
    Effects,
    Event,
    Installed,
    Persisted,
    Propose,
    Protocol,
    Receive,
    Rejected,
    Restore,
    Setting,
    Tick,
)
from coordination.randomised.message import (
    MESSAGES,
    RECORDS,
    Body,
    Compacted,
    Done,
    Echo,
    Init,
    Life,
    Ready,
    Status,
    Vote,
)
from coordination.randomised.slot import Slot
from coordination.randomised.state import Flavour, State
from coordination.request import Batch, Forward, Key
from coordination.signature import digest


class Randomised(Protocol):
    """A replica of a randomised protocol."""

    wire = MESSAGES
    records = RECORDS

    def __init__(self, setting: Setting, flavour: Flavour) -> None:
        self.id = setting.id
        self._state = state = State(setting, flavour)
        self._out = state.out
        self._slot = Slot(state, 1)
        self._before: Slot | None = None
        self._pages: dict[int, Past] = {}
        """What each other replica last said was decided."""
        self._handed_on: set[Key] = set()
        self._saving = False
        self._lives = 0
        self._status_at = NEVER
        self._busy = False
        self._since = (0, 0)
        self._turn = 0
        self._answered: dict[int, tuple[float, tuple[int, int]]] = {}
        self._events: dict[type, Any] = {
            Receive: self._receive,
            Persisted: self._persisted,
            Propose: self._propose,
            Tick: self._tick,
            Compact: self._compact,
            Restore: self._restore,
        }
        self._messages: dict[type, Any] = {
            Forward: self._on_forward,
            Status: self._on_status,
            Past: self._on_past,
            StateVote: self._on_state_vote,
        }
        self._slotted: dict[type, Any] = {
            Vote: Slot.on_vote,
            Done: Slot.on_done,
            Init: Slot.on_init,
            Echo: Slot.on_echo,
            Ready: Slot.on_ready,
            Body: Slot.on_body,
        }

    @property
    def leader(self) -> int | None:
        """The candidate that can next take a request; in the binary form there is none."""
        state, slot = self._state, self._slot
        if state.options.binary:
            return None
        return state.candidate(slot.number + 1 if slot.said or slot.proposed else slot.number)

    @property
    def round(self) -> int:
        """The round of its present slot; 0 before it began."""
        return self._slot.binary.round

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        on_event = self._events.get(type(event))
        if on_event is None:
            raise ConfigurationError(
                f"{self._state.flavour.name}: replica {self.id} knows no {type(event).__name__}. Its members are "
                "fixed, and a read is a command: propose it."
            )
        self._state.now = event.now
        self._out.open()
        on_event(event)
        self._close()
        if self._saving:
            self._saving = False
            self._out.checkpoint(self._compacted())
        return self._out.close(self._wake_at())

    def _receive(self, event: Receive) -> None:
        if event.source in self._state.known:
            self._dispatch(event.source, event.message)

    def _dispatch(self, source: int, message: Any) -> None:
        on_slot = self._slotted.get(type(message))
        if on_slot is None:
            on_message = self._messages.get(type(message))
            if on_message is not None:
                on_message(source, message)
        elif message.slot == self._slot.number:
            on_slot(self._slot, source, message)
        elif self._slot.number < message.slot:
            self._state.early.put(source, message)
        elif self._before is not None and message.slot == self._before.number:
            on_slot(self._before, source, message)

    def _persisted(self, event: Persisted) -> None:
        self._out.persisted(event.token)

    # --- Requests ---------------------------------------------------------------------------------------------

    def _propose(self, event: Propose) -> None:
        state = self._state
        if state.options.binary:
            self._propose_bits(event)
            return
        made, refused = state.pool.submit(event.now, state.decisions.slot, event.commands)
        if refused:
            self._out.effects.rejected.append(Rejected(refused, self.leader))
        if made:
            self._route(made)
            self._slot.wake()

    def _propose_bits(self, event: Propose) -> None:
        state = self._state
        refused = []
        for one in event.commands:
            if type(one) is int and one in (0, 1) and len(state.inputs) < state.options.backlog:
                state.inputs.append(one)
            else:
                refused.append(one)
        if refused:
            self._out.effects.rejected.append(Rejected(tuple(refused)))
        self._slot.wake()

    def _on_forward(self, source: int, message: Forward) -> None:
        state = self._state
        if state.pool.admit_all(state.decisions.slot, message.requests):
            self._slot.wake()

    def _route(self, requests: Batch) -> None:
        """To the candidate that can take them next, unless that is this replica or was told by it before."""
        leader = self.leader
        keys = [request.key for request in requests if request.key not in self._handed_on]
        if keys and leader is not None and leader != self.id:
            self._handed_on.update(keys)
            self._out.send(leader, Forward(self._state.pool.signed(keys)), self._state.life)

    # --- Decisions --------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Executes the present slot if it is decided, and begins the next: as often as that goes."""
        while (outcome := self._slot.outcome) is not None:
            batch, found = outcome
            state = self._state
            if state.options.binary and state.inputs and self._slot.binary.round:
                state.inputs.pop(0)
            self._append(Entry(self._slot.number, self._slot.binary.round, batch), found)
            self._slot.closed = True
            self._next_slot()

    def _append(self, entry: Entry, found: bytes) -> None:
        state = self._state
        commands = state.decisions.append(entry, found)
        self._out.persist(entry)
        self._out.decide(entry.slot, commands, None)
        state.pool.remove(entry.batch)
        state.empty = 0 if entry.batch else state.empty + 1
        self._handed_on.difference_update([request.key for request in entry.batch])

    def _next_slot(self) -> None:
        """The next slot begins, with what waits and what came early."""
        state = self._state
        self._before = self._slot if self._slot.number == state.decisions.slot else None
        self._slot = Slot(state, state.decisions.slot + 1)
        if state.options.binary:
            self._slot.wake()
        else:
            state.pool.release(state.now, state.decisions.slot)
            self._route(tuple([one.request for one in state.pool.waiting.values()]))
            if state.pool.waiting:
                self._slot.wake()
        for source, message in state.early.take():
            self._dispatch(source, message)

    # --- Time -------------------------------------------------------------------------------------------------

    def _tick(self, event: Tick) -> None:
        slot = self._slot
        self._tell_all(event.now)
        if event.now >= slot.wait_until:
            self._tell_all(NEVER)
            slot.expire()
        if event.now >= self._status_at:
            self._tell()

    def _tell_all(self, now: float) -> None:
        late = self._state.pool.overdue(now)
        if late:
            self._out.broadcast(Forward(late), self._state.life)

    def _wake_at(self) -> float:
        state, slot = self._state, self._slot
        busy = slot.awake or len(state.early) > 0
        here = (slot.number, slot.binary.round)
        if busy is not self._busy or here != self._since:
            self._busy, self._since = busy, here
            self._status_at = NEVER
        if self._status_at == NEVER:
            pause = state.options.resend if busy else state.options.idle
            self._status_at = state.now + pause * state.delay_s
        return min(state.pool.due_at, self._status_at, slot.wait_until)

    # --- Catching up ------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Says what this replica has: to everybody while something is missing, else to the next ones in turn.

        It takes f+1 that say the same to be believed, so 2f+1 are asked where some may lie.
        """
        self._status_at = NEVER
        state, others = self._state, self._out.others
        if not others:
            return
        count = min(2 * state.f + 1 if state.flavour.liars else state.f + 1, len(others))
        asked = {others[(self._turn + i) % len(others)] for i in range(count)}
        self._turn = (self._turn + count) % len(others)
        for to in others:
            if self._busy or to in asked:
                self._out.send(to, self._status(to in asked))

    def _status(self, ask: bool) -> Status:
        slot = self._slot
        return Status(slot.number, slot.binary.round, slot.delivered in slot.bodies, ask)

    def _on_status(self, source: int, message: Status) -> None:
        state = self._state
        since, place = self._answered.get(source, (-NEVER, (-1, -1)))
        if (message.slot, message.round) <= place and state.now < since + state.delay_s:
            return
        self._answered[source] = (state.now, (message.slot, message.round))
        past = state.decisions.since(message.slot - 1) if message.ask and message.slot > 0 else None
        if past is not None:
            self._out.send(source, past, self._out.token)
        for slot in (self._before, self._slot):
            if slot is not None and slot.number == message.slot:
                slot.repeat(source, message)

    def _on_past(self, source: int, message: Past) -> None:
        """Takes slots that enough others say were decided, and asks for more while there are any."""
        state = self._state
        if len(message.entries) > PAGE:
            return
        self._pages[source] = message
        before = state.decisions.slot
        self._install()
        while (entry := self._believed()) is not None:
            self._append(entry, digest(entry.batch))
        if state.decisions.slot > before:
            self._next_slot()
            for other in sorted(self._pages):
                self._out.send(other, self._status(True))
            self._pages.clear()

    def _install(self) -> None:
        state = self._state
        found: dict[bytes, int] = {}
        for _, page in sorted(self._pages.items()):
            summary = page.summary
            if summary is not None and summary.slot > state.decisions.slot:
                what = digest(summary)
                found[what] = found.get(what, 0) + 1
                if found[what] >= state.believed:
                    state.decisions.install(summary, None)
                    self._out.effects.installed = Installed(summary.slot, summary.state)
                    state.pool.prune()
                    self._saving = True
                    return

    def _believed(self) -> Entry | None:
        """The next slot, if enough others say the same of it."""
        number = self._state.decisions.slot + 1
        found: dict[bytes, int] = {}
        for _, page in sorted(self._pages.items()):
            entry = next((one for one in page.entries if one.slot == number), None)
            if entry is not None:
                what = digest(entry.batch)
                found[what] = found.get(what, 0) + 1
                if found[what] >= self._state.believed:
                    return entry
        return None

    # --- Compaction -------------------------------------------------------------------------------------------

    def _compact(self, event: Compact) -> None:
        vote = self._state.decisions.compact(event.slot, event.state)
        if vote is not None:
            self._out.broadcast(vote, self._out.token)
            self._out.hold(self._out.token, self._on_state_vote, self.id, vote)

    def _on_state_vote(self, source: int, message: StateVote) -> None:
        """A replica's word for a state: the channel vouches for it."""
        if self._state.decisions.vote(source, message, self._state.believed, None):
            self._saving = True

    def _compacted(self) -> Compacted:
        """All that must survive, in one record."""
        decisions = self._state.decisions
        assert decisions.summary is not None, "compacts only on a summary"
        slots = [slot for slot in (self._before, self._slot) if slot is not None]
        said = [record for slot in slots for record in slot.records]
        return Compacted(decisions.summary, (Life(self._lives), *said, *decisions.entries))

    # --- Restart ----------------------------------------------------------------------------------------------

    def _restore(self, event: Restore) -> None:
        state = self._state
        said: dict[int, list[Any]] = {}
        for record in event.records:
            if isinstance(record, Compacted):
                state.decisions.install(record.summary, None)
                self._out.effects.installed = Installed(record.summary.slot, record.summary.state)
                self._out.effects.decided.clear()
                for one in record.records:
                    self._remember(one, said)
            else:
                self._remember(record, said)
        last = state.decisions.slot
        self._slot = self._remade(last + 1, said)
        if last in said:
            self._before = self._remade(last, said)
            self._before.closed = True
        self._lives += 1
        state.pool.life = self._lives
        state.life = self._out.persist(Life(self._lives))
        self._slot.resume()
        if self._lives > 1:
            self._busy = True
            self._tell()

    def _remade(self, number: int, said: dict[int, list[Any]]) -> Slot:
        slot = Slot(self._state, number)
        for record in said.get(number, ()):
            slot.remember(record)
        return slot

    def _remember(self, record: Any, said: dict[int, list[Any]]) -> None:
        """Takes one record of an earlier life."""
        state = self._state
        if isinstance(record, Life):
            self._lives = record.number
        elif isinstance(record, Entry):
            if record.slot == state.decisions.slot + 1:  # what does not follow is asked for again
                commands = state.decisions.append(record, digest(record.batch))
                self._out.decide(record.slot, commands, None)
                said.pop(record.slot - 1, None)
        else:
            said.setdefault(record.slot, []).append(record)

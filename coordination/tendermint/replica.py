"""Tendermint: a proposer for each round, two rounds of votes of all to all, and locks that outlive a round.

Paper: Buchman, Kwon, Milosevic, "The latest gossip on BFT consensus", 2018 (arXiv 1807.04938), algorithm 1, whose lines
the comments name. Messages go from each replica to each other one instead of by gossip.

Rules:
* n > 3f, quorums of n - f. Heights are slots, one after another; each has rounds, and round r of height h has the
  proposer number h + r in turn.
* A replica prevotes a proposal that is valid, if it has no lock, or is locked on the same batch, or the proposal had a
  polka (a quorum of prevotes) in a round no earlier than the lock. Else it prevotes nil.
* At a polka in its round it locks the batch and precommits it. A quorum of precommits of any round decides.
* Each vote and proposal is durable before it leaves, and counts at home only then; so is the polka that locks.
* A value proposed again carries its polka (see `message`), which replaces gossip for liveness.
* Time-outs grow by one delay with each round, ten at most: 4 + r delays for a proposal, 3 + r for votes. They run only
  while somebody wants a decision.
* A request goes to the proposer that can take it next; one that is late, or whose proposer is, goes to everybody. What
  a proposer could not fit goes on to the next proposer, once.
* Messages may be lost: who makes no progress says what it has (`Status`), and others send their votes again, or the
  slots it lacks with their certificates.

Costs of a decision whose request is the proposer's own:

    phase         messages           signatures         known after
    proposal      n - 1              n - 1              1 delay
    prevote       n (n - 1)          n (n - 1)          2 delays
    precommit     n (n - 1)          n (n - 1)          3 delays, by everybody
    in all        (n - 1)(2n + 1)    (n - 1)(2n + 1)    3 delays
    a bad round   as many, and its time-outs: 10 + 3r delays

Liveness: once messages take at most Delta and at most f replicas are faulty, a request is executed at all correct
replicas within (2f + 3) * 60 * Delta: a round takes 40 Delta at most, and a few rounds of `Status` every 4 Delta; of
f + 1 proposers in turn one is correct, and after a value is locked late, of another f + 1.
"""

from typing import Any

from actors.errors import ConfigurationError
from coordination.catch_up import CatchUp
from coordination.decision_log import Entry, Past, StateVote
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
)
from coordination.request import Batch, Forward, Key
from coordination.signature import digest
from coordination.tendermint.height import WINDOW, Height, Step
from coordination.tendermint.message import (
    MESSAGES,
    PRECOMMIT,
    RECORDS,
    Compacted,
    Life,
    Precommit,
    Prevote,
    Proposal,
    Status,
    vote_statement,
)
from coordination.tendermint.reader import TendermintReader
from coordination.tendermint.state import State
from coordination.tendermint.voting import Voting, records_of


class Tendermint(Protocol):
    """A replica of Tendermint."""

    wire = MESSAGES
    records = RECORDS

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        self._state = state = State(setting)
        self._out = state.out
        self._catch_up = CatchUp(
            setting, state.out, state.decisions, state.pool, append=self._append, certified=self._is_decided
        )
        self._voting = Voting(state, self._decide)
        self._handed_on: set[Key] = set()
        """Requests that this replica has given to one later proposer already."""
        self._lives = 0
        self._status_at = NEVER
        self._busy = False
        self._since = (0, 0, Step.PROPOSE)
        self._turn = 0
        self._answered: dict[int, tuple[float, tuple[int, int]]] = {}
        self._events: dict[type, Any] = {
            Receive: self._receive,
            Persisted: self._persisted,
            Propose: self._propose,
            Tick: self._tick,
            Compact: self._catch_up.on_compact,
            Restore: self._restore,
        }
        self._messages: dict[type, Any] = {
            Proposal: self._voting.on_proposal,
            Prevote: self._voting.on_vote,
            Precommit: self._voting.on_vote,
            Forward: self._on_forward,
            Status: self._on_status,
            Past: self._on_past,
            StateVote: self._catch_up.on_state_vote,
        }

    @property
    def leader(self) -> int | None:
        """The proposer that can next take a request."""
        state, height = self._state, self._state.height
        if height.step is Step.PROPOSE and state.proposer(height.number, height.round) != self.id:
            return state.proposer(height.number, height.round)
        if height.step is Step.PROPOSE and not height.said:
            return self.id
        return state.proposer(height.number + 1, 0)

    @property
    def height(self) -> Height:
        """What it knows of the height that it works on."""
        return self._state.height

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        on_event = self._events.get(type(event))
        if on_event is None:
            raise ConfigurationError(
                f"tendermint: replica {self.id} knows no {type(event).__name__}. Its members are fixed, and a read "
                "is a command: propose it."
            )
        self._state.now = event.now
        self._out.open()
        on_event(event)
        if self._catch_up.saving:
            self._catch_up.saving = False
            self._out.checkpoint(self._compacted())
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

    # --- Requests ---------------------------------------------------------------------------------------------

    def _propose(self, event: Propose) -> None:
        state = self._state
        made, refused = state.pool.submit(event.now, state.decisions.slot, event.commands)
        if refused:
            self._out.effects.rejected.append(Rejected(refused, self.leader))
        if made:
            self._route(made)
            self._voting.begin()

    def _on_forward(self, source: int, message: Forward) -> None:
        state = self._state
        if state.pool.admit_all(state.decisions.slot, message.requests):
            self._voting.begin()

    def _route(self, requests: Batch) -> None:
        """To the proposer that can take them next, unless that is this replica or was told by it before."""
        leader = self.leader
        keys = [request.key for request in requests if request.key not in self._handed_on]
        if keys and leader is not None and leader != self.id:
            self._handed_on.update(keys)
            self._out.send(leader, Forward(self._state.pool.signed(keys)), self._state.life)

    # --- Decisions --------------------------------------------------------------------------------------------

    def _is_decided(self, entry: Entry, found: bytes) -> bool:
        statement = vote_statement(PRECOMMIT, entry.slot, entry.view, found)
        return self._state.certified(statement, entry.certificate)

    def _append(self, entry: Entry, found: bytes) -> None:
        state = self._state
        commands = state.decisions.append(entry, found)
        self._out.persist(entry)
        self._out.decide(entry.slot, commands, entry)
        state.pool.remove(entry.batch)
        self._handed_on.difference_update([request.key for request in entry.batch])

    def _decide(self, entry: Entry, found: bytes) -> None:
        self._append(entry, found)
        self._next_height()

    def _next_height(self) -> None:
        """Lines 50 to 54: the next height begins, with what waits and what came early."""
        state = self._state
        state.height = Height(state.decisions.slot + 1)
        state.timeouts.clear()
        state.pool.release(state.now, state.decisions.slot)
        self._route(tuple([one.request for one in state.pool.waiting.values()]))
        self._voting.begin()
        for source, message in state.early.take():
            self._dispatch(source, message)

    # --- Time -------------------------------------------------------------------------------------------------

    def _tick(self, event: Tick) -> None:
        state = self._state
        self._tell_all(event.now)
        for step in Step:
            if state.timeouts.get(step, NEVER) <= event.now:
                state.timeouts[step] = NEVER
                if step is Step.PROPOSE and state.height.step is step:
                    self._tell_all(NEVER)
                self._voting.expire(step)
        if event.now >= self._status_at:
            self._tell()

    def _tell_all(self, now: float) -> None:
        late = self._state.pool.overdue(now)
        if late:
            self._out.broadcast(Forward(late), self._state.life)

    def _wake_at(self) -> float:
        state, height = self._state, self._state.height
        busy = height.awake or len(state.early) > 0
        here = (height.number, height.round, height.step)
        if busy is not self._busy or here != self._since:
            self._busy, self._since = busy, here
            self._status_at = NEVER
        if self._status_at == NEVER:
            pause = state.options.resend if busy else state.options.idle
            self._status_at = state.now + pause * state.delay_s
        return min(state.pool.due_at, self._status_at, *state.timeouts.values())

    # --- Catching up ------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Says what this replica has: to everybody while something is missing, else to the next one in turn."""
        self._status_at = NEVER
        others = self._out.others
        if not others:
            return
        count = min(self._state.f + 1, len(others)) if self._busy else 1
        asked = {others[(self._turn + i) % len(others)] for i in range(count)}
        self._turn = (self._turn + count) % len(others)
        for to in others:
            if self._busy or to in asked:
                self._out.send(to, self._status(to in asked))

    def _status(self, ask: bool) -> Status:
        height = self._state.height
        place = height.rounds.get(height.round)
        return Status(height.number, height.round, place is not None and place.proposal is not None, ask)

    def _on_status(self, source: int, message: Status) -> None:
        state, height = self._state, self._state.height
        since, place = self._answered.get(source, (-NEVER, (-1, -1)))
        if (message.height, message.round) <= place and state.now < since + state.delay_s:
            return
        self._answered[source] = (state.now, (message.height, message.round))
        if message.height < height.number:
            past = state.decisions.since(message.height - 1) if message.ask else None
            if past is not None:
                self._out.send(source, past)
        elif message.height == height.number:
            self._repeat(source, message)

    def _repeat(self, source: int, message: Status) -> None:
        """Sends again what this replica said, from the other's round on, and the proposal that it lacks."""
        height = self._state.height
        for (number, _), said in height.said.items():
            if message.round <= number <= message.round + WINDOW:
                self._out.send(source, said, self._out.token)
        place = height.rounds.get(message.round)
        proposal = None if place is None or message.proposed or not message.ask else place.proposal
        if proposal is not None and proposal.signature.signer != self.id:
            self._out.send(source, proposal)

    def _on_past(self, source: int, message: Past) -> None:
        """Takes slots from another replica, and asks it for more while there are any."""
        if self._catch_up.on_past(message):
            self._next_height()
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
                state.height = Height(record.summary.slot + 1)
                for one in record.records:
                    self._remember(one)
            else:
                self._remember(record)
        self._lives += 1
        state.pool.life = self._lives
        state.life = self._out.persist(Life(self._lives))
        self._voting.resume()
        if self._lives > 1:
            self._busy = True
            self._tell()

    def _remember(self, record: Any) -> None:
        """Takes one record of an earlier life."""
        state = self._state
        if isinstance(record, Life):
            self._lives = record.number
        elif isinstance(record, Entry):
            if record.slot == state.decisions.slot + 1:  # what does not follow is asked for again
                commands = state.decisions.append(record, digest(record.batch))
                self._out.decide(record.slot, commands, record)
                state.height = Height(record.slot + 1)
        else:
            self._voting.remember(record)

    def _compacted(self) -> Compacted:
        """All that must survive, in one record."""
        decisions = self._state.decisions
        assert decisions.summary is not None, "compacts only on a summary"
        assert decisions.proof is not None, "a summary has a proof"
        records = (Life(self._lives), *decisions.entries, *records_of(self._state.height))
        return Compacted(decisions.summary, decisions.proof, records)


TENDERMINT = ProtocolKind(
    name="tendermint",
    title="Tendermint",
    make=Tendermint,
    faults="byzantine",
    replicas=lambda f: 3 * f + 1,
    source="Buchman, Kwon, Milosevic: The latest gossip on BFT consensus, 2018 (arXiv 1807.04938)",
    costs=Costs(
        messages=lambda n: (n - 1) * (2 * n + 1),
        delays=3,
        authenticators=lambda n: (n - 1) * (2 * n + 1),
        text="(n-1)(2n+1) messages, each with one signature; 3 delays",
    ),
    recovery_delays=500,
    reader=TendermintReader,
)

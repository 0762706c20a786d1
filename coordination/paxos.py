"""Multi-Paxos: a log of slots, each decided by Paxos, under a leader that has asked for promises once for all of them.

Rules:
* Ballots are numbered so that no two replicas share one. An acceptor promises a ballot, and from then on accepts
  nothing under a lower one. Promises and accepted values are durable before they are told to anybody, to oneself too.
* A leader has the promises of a first quorum. It proposes, in each slot that any of them accepted something in, the
  value of the highest ballot; in a gap below that nothing (a slot without commands); then what clients ask for.
* A value is decided when a second quorum has accepted it under one ballot. Every first quorum meets every second one:
  that is all that safety needs (Howard et al. 2016). Sizes other than majorities make decisions cheaper than elections.
* A replica that knows of fewer decisions than an acceptor is told them before it is promised anything: so a promise
  carries open slots alone, and is bounded.
* Slots are decided in any order and handed to the application in order. The commit index rides on accepts and
  heartbeats; who lacks a value asks for it.

Costs: 2 delays, 2(n-1) messages a decision; thrifty, the leader asks only the second quorum that it needs, 2(Q2-1), and
all again when that is late. Others learn of a decision with the next one, or a heartbeat later.

Sources: Lamport 1998 and 2001; van Renesse, Altinbuken 2015 (multi-decree); Howard, Malkhi, Spiegelman 2016 (flexible).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import ConfigurationError
from coordination.paxos_log import AcceptorLog
from coordination.paxos_messages import (
    Accept,
    Accepted,
    Alive,
    Beat,
    CatchUp,
    Commands,
    Forward,
    Kept,
    Learn,
    Learned,
    Prepare,
    Promise,
    Promised,
    Refuse,
    Took,
)
from coordination.protocol import (
    Compact,
    Costs,
    Effects,
    Event,
    Installed,
    Persisted,
    Propose,
    Protocol,
    ProtocolKind,
    Read,
    ReadAt,
    Receive,
    Rejected,
    Restore,
    Setting,
    Tick,
    Upkeep,
    options_from,
)
from coordination.quorum import Flexible, flexible

_IDS = 2**20
"""Ballots are a round times this, plus the id of who began it."""


@dataclass(frozen=True)
class PaxosOptions:
    """Settings (`Setting.options`). Times of 0 follow from `Setting.delay_s`."""

    second: int = 0
    """How many decide; n - second + 1 then elect. 0: a majority."""
    thrifty: bool = False
    """Ask only as many acceptors as are needed; all again when they are late."""
    election_s: float = 0.0
    """0: ten delays; up to twice that."""
    heartbeat_s: float = 0.0
    """0: two delays."""
    forward: bool = True
    """Send proposals on to the leader; else they are rejected with its name."""
    most_open: int = 10_000
    """Slots that are proposed and not decided, at most: beyond, proposals are rejected."""
    most_reads: int = 10_000


_FOLLOWER, _CANDIDATE, _LEADER = range(3)


class MultiPaxos(Protocol):
    """A replica: proposer, acceptor and learner."""

    wire = (Prepare, Promise, Refuse, Accept, Accepted, Beat, Alive, CatchUp, Learn, Forward)
    records = (Promised, Took, Learned, Kept)

    def __init__(self, setting: Setting) -> None:
        options: PaxosOptions = options_from(PaxosOptions, setting)
        self.id = setting.id
        self.options = options
        members = sorted(setting.members)
        self.quorums: Flexible = flexible(members, options.second or len(members) // 2 + 1)
        self.first_quorum = self.quorums.first.needed
        self.second_quorum = self.quorums.second.needed
        self._others = tuple(one for one in members if one != setting.id)
        begin = sum(1 for one in self._others if one < setting.id)
        turned = self._others[begin:] + self._others[:begin]
        self._asked = turned[: self.second_quorum - 1] if options.thrifty else self._others
        self._bit = {one: 1 << place for place, one in enumerate(members)}
        self._rng = setting.rng
        self._batch = setting.batch
        self.election_s = options.election_s or 10 * setting.delay_s
        self.heartbeat_s = options.heartbeat_s or 2 * setting.delay_s
        if not 0 < self.heartbeat_s < self.election_s or options.most_open < 1 or options.most_reads < 1:
            raise ConfigurationError(
                "multi-paxos: give 0 < heartbeat_s < election_s, and most_open and most_reads of 1 or more."
            )
        self.now = 0.0
        self.role = _FOLLOWER
        self.ballot = 0
        """The ballot that it leads, asks for, or follows."""
        self.log = AcceptorLog()
        self.open: dict[int, list[Any]] = {}
        """A leader's proposals: slot to [who accepted, as bits; when it was sent last]."""
        self.next = 1
        """The slot that a leader proposes in next."""
        self.recovered = 0
        """A leader knows all that was decided before it once all slots up to here are."""
        self.promises: dict[int, Promise] = {}
        self._heard_at: dict[int, float] = {}
        self._due = 0.0
        self._timeout = self.election_s
        self._beat_at = 0.0
        self._leader = 0
        self._round = 0
        self._acked_round: dict[int, int] = {}
        self._reads: deque[tuple[int, int, Any]] = deque()
        self._asked_up_to = 0
        self._token = 0
        self._durable = 0
        self._own: deque[tuple[int, Any]] = deque()
        self._sends: list[tuple[int, Any, int]] = []
        self._after: list[tuple[int, Any]] = []
        self._records: list[Any] = []
        self._answers: list[ReadAt] = []
        self._installed: Installed | None = None

    @property
    def leader(self) -> int | None:
        """Who leads as far as this replica knows."""
        return self._leader or None

    def handle(self, event: Event) -> Effects:
        """See `Protocol`."""
        self.now = event.now
        effects = Effects()
        if isinstance(event, Receive):
            self._hear(event.source, event.message)
        elif isinstance(event, Persisted):
            self._durable = max(self._durable, event.token)
            while self._own and self._own[0][0] <= event.token:
                self._hear(self.id, self._own.popleft()[1])
        elif isinstance(event, Propose):
            self._propose(event.commands, effects)
        elif isinstance(event, Tick):
            self._tick()
        elif isinstance(event, Read):
            self._read(event.context)
        elif isinstance(event, Compact):
            self._compact(event.slot, event.state, effects)
        elif isinstance(event, Restore):
            self._restore(event.records)
        return self._effects(effects)

    def _hear(self, source: int, message: Any) -> None:
        match message:
            case Accept():
                self._on_accept(source, message)
            case Accepted():
                self._on_accepted(source, message)
            case Beat():
                self._on_beat(source, message)
            case Alive():
                self._on_alive(source, message)
            case Prepare():
                self._on_prepare(source, message)
            case Promise():
                self._on_promise(source, message)
            case Refuse():
                if message.ballot > max(self.ballot, self.log.promised):
                    self._follow(message.ballot, 0)
            case CatchUp():
                self._teach(source, message.slot)
            case Learn():
                self._on_learn(source, message)
            case Forward():
                if self.role == _LEADER:
                    self._lead(message.commands)
            case _:
                pass

    # --- Acceptor -----------------------------------------------------------------------------------------------

    def _on_prepare(self, source: int, message: Prepare) -> None:
        log = self.log
        if message.ballot < log.promised:
            self._sends.append((source, Refuse(log.promised), 0))
            return
        if message.slot <= log.chosen:
            self._teach(source, message.slot)
            return
        if message.ballot > log.promised:
            log.promised = message.ballot
            self._records.append(Promised(message.ballot))
        if source != self.id:
            self._follow(message.ballot, 0)
        # Whatever was accepted beyond: the slots that are open, which are bounded.
        self._after.append((source, Promise(message.ballot, message.slot, log.open_from(message.slot))))

    def _on_accept(self, source: int, message: Accept) -> None:
        ballot = message.ballot
        if ballot < self.log.promised:
            self._sends.append((source, Refuse(self.log.promised), 0))
            return
        if source != self.id:
            self._hear_leader(source, ballot)
        self._records.append(self.log.accept(ballot, message.slot, message.values))
        self._after.append((source, Accepted(ballot, message.slot, len(message.values))))
        if source != self.id:
            self._choose(source, ballot, message.chosen)

    def _hear_leader(self, source: int, ballot: int) -> None:
        if ballot != self.ballot or self.role != _FOLLOWER:
            self._follow(ballot, source)
        self._leader = source
        self._due = self.now + self._timeout

    def _choose(self, source: int, ballot: int, chosen: int) -> None:
        self.log.choose(ballot, chosen)
        if self.log.chosen < chosen and self._asked_up_to < chosen:
            self._asked_up_to = chosen
            self._sends.append((source, CatchUp(self.log.chosen + 1), 0))

    def _on_beat(self, source: int, message: Beat) -> None:
        if message.ballot < self.log.promised:
            self._sends.append((source, Refuse(self.log.promised), 0))
            return
        self._hear_leader(source, message.ballot)
        self._asked_up_to = 0  # what was asked for and did not come is asked for again
        self._choose(source, message.ballot, message.chosen)
        self._sends.append((source, Alive(message.ballot, message.round), 0))

    # --- Learner ------------------------------------------------------------------------------------------------

    def _teach(self, to: int, slot: int) -> None:
        lesson = self.log.lesson(slot, self._batch)
        if lesson is not None:
            self._sends.append((to, lesson, 0))

    def _on_learn(self, source: int, message: Learn) -> None:
        log = self.log
        if message.state and message.state[0] > log.chosen:
            slot, state = message.state
            self._records = [log.install(slot, state)]
            self._installed = Installed(slot, state)
        learned = log.learn(message.slot, message.values)
        if learned is not None:
            self._records.append(learned)
        elif self._installed is None:
            return
        if self.role == _CANDIDATE:
            self._ask()  # who had more to tell than to promise can promise now
        elif self._asked_up_to > log.chosen:
            self._sends.append((source, CatchUp(log.chosen + 1), 0))

    def _compact(self, slot: int, state: Any, effects: Effects) -> None:
        kept = self.log.compact(slot, state)
        if kept is not None:
            self._records = [kept]
            effects.checkpoint = True

    # --- Proposer -----------------------------------------------------------------------------------------------

    def _follow(self, ballot: int, leader: int) -> None:
        self.role = _FOLLOWER
        self.ballot = max(self.ballot, ballot)
        self._leader = leader
        self.open = {}
        self.promises = {}
        self._reads.clear()
        self._due = self.now + self._draw()

    def _draw(self) -> float:
        self._timeout = self.election_s * (1 + self._rng.random())
        return self._timeout

    def _campaign(self) -> None:
        self._follow(0, 0)
        self.role = _CANDIDATE
        self.ballot = (max(self.ballot, self.log.promised) // _IDS + 1) * _IDS + self.id
        self._ask()

    def _ask(self) -> None:
        """Asks all who have not promised yet; itself too, since a promise counts when it is durable."""
        message = Prepare(self.ballot, self.log.chosen + 1)
        if self.id not in self.promises and self.log.promised < self.ballot:
            self._on_prepare(self.id, message)
        # Its own promise first: who forgets a ballot in a crash would use it twice.
        self._after += [(one, message) for one in self._others if one not in self.promises]

    def _on_promise(self, source: int, message: Promise) -> None:
        if self.role != _CANDIDATE or message.ballot != self.ballot:
            return
        self.promises[source] = message
        if len(self.promises) < self.first_quorum:
            return
        highest: dict[int, tuple[int, Commands]] = {}
        for promise in self.promises.values():
            for slot, ballot, value in promise.accepted:
                if slot not in highest or ballot > highest[slot][0]:
                    highest[slot] = (ballot, value)
        self.role = _LEADER
        self._leader = self.id
        self.recovered = max(highest, default=self.log.chosen)
        self.next = self.log.chosen + 1
        self._heard_at = dict.fromkeys(self._others, self.now)
        self._acked_round = {}
        self._due = self.now + self.election_s
        values = [highest.get(slot, (0, ()))[1] for slot in range(self.log.chosen + 1, self.recovered + 1)]
        for begin in range(0, len(values), self._batch):
            self._offer(tuple(values[begin : begin + self._batch]))
        self._beat()

    def _propose(self, commands: Commands, effects: Effects) -> None:
        if self.role == _FOLLOWER and self._leader and self.options.forward:
            self._sends.append((self._leader, Forward(commands), 0))
            return
        for begin in range(0, len(commands), self._batch):
            part = commands[begin : begin + self._batch]
            if not self._lead(part):
                effects.rejected.append(Rejected(part, self.leader))

    def _lead(self, commands: Commands) -> bool:
        if self.role != _LEADER or self.next - self.log.chosen > self.options.most_open:
            return False
        self._offer((commands,))
        return True

    def _offer(self, values: tuple[Commands, ...]) -> None:
        slot = self.next
        self.next += len(values)
        for one in range(slot, self.next):
            self.open[one] = [0, self.now]
        message = Accept(self.ballot, slot, values, self.log.chosen)
        self._sends += [(one, message, 0) for one in self._asked]
        self._on_accept(self.id, message)

    def _on_accepted(self, source: int, message: Accepted) -> None:
        if self.role != _LEADER or message.ballot != self.ballot:
            return
        self._heard_at[source] = self.now
        bit, needed, opened = self._bit.get(source, 0), self.second_quorum, self.open
        for slot in range(message.slot, message.slot + message.count):
            found = opened.get(slot)
            if found is not None:
                found[0] |= bit
        slot = self.log.chosen + 1
        while slot in opened and opened[slot][0].bit_count() >= needed:
            del opened[slot]
            slot += 1
        self.log.chosen = slot - 1

    # --- Time ---------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        # A driver that turns deadlines into true time and back may be early by a rounding error.
        now = self.now + 1e-12 * abs(self.now)
        if self.role != _LEADER:
            if now >= self._due:
                self._campaign()
            return
        if now >= self._due:
            recent = sum(1 for at in self._heard_at.values() if at > self.now - self.election_s)
            if recent + 1 < self.second_quorum:
                self._follow(self.ballot, 0)
                return
            self._due = self.now + self.election_s
        if now >= self._beat_at:
            self._retry()
            self._beat()

    def _beat(self) -> None:
        self._beat_at = self.now + self.heartbeat_s
        number = self._reads[-1][0] if self._reads else 0
        self._sends += [(one, Beat(self.ballot, self.log.chosen, number), 0) for one in self._others]

    def _retry(self) -> None:
        """Asks again, and everybody, for what is late: at most a batch of slots at a time."""
        late = self.now - self.heartbeat_s
        for slot in range(self.log.chosen + 1, min(self.next, self.log.chosen + 1 + self._batch)):
            found = self.open.get(slot)
            if found is not None and found[1] <= late:
                found[1] = self.now
                message = Accept(self.ballot, slot, (self.log.accepted[slot][1],), self.log.chosen)
                self._sends += [(one, message, 0) for one in self._others if not found[0] & self._bit[one]]

    # --- Reads --------------------------------------------------------------------------------------------------

    def _read(self, context: Any) -> None:
        """At the leader alone: it answers when a second quorum has promised nobody else since the read came."""
        if self.role != _LEADER or len(self._reads) >= self.options.most_reads:
            return
        self._round += 1
        self._reads.append((self._round, max(self.log.chosen, self.recovered), context))
        self._beat()
        self._count_round()

    def _on_alive(self, source: int, message: Alive) -> None:
        if self.role != _LEADER or message.ballot != self.ballot:
            return
        self._heard_at[source] = self.now
        if message.round > self._acked_round.get(source, 0):
            self._acked_round[source] = message.round
            self._count_round()

    def _count_round(self) -> None:
        while self._reads:
            number, slot, context = self._reads[0]
            acked = 1 + sum(1 for one in self._others if self._acked_round.get(one, 0) >= number)
            if acked < self.second_quorum:
                return
            self._reads.popleft()
            self._answers.append(ReadAt(context, slot))

    # --- Effects ------------------------------------------------------------------------------------------------

    def _restore(self, records: Sequence[Any]) -> None:
        self._installed = self.log.restore(records)
        self._follow(self.log.promised, 0)

    def _effects(self, effects: Effects) -> Effects:
        if self._installed is not None:
            effects.installed, self._installed = self._installed, None
            effects.checkpoint = bool(self._records) and isinstance(self._records[0], Kept)
        while True:
            if self._records:
                effects.records += self._records
                self._records = []
                if not effects.token:
                    self._token += 1
                    effects.token = self._token
            if not self._after:
                break
            token = self._token if self._token > self._durable else 0
            after, self._after = self._after, []
            for to, message in after:
                if to != self.id:
                    self._sends.append((to, message, token))
                elif token:
                    self._own.append((token, message))
                else:
                    self._hear(self.id, message)
        if self.log.chosen > self.log.applied:
            effects.decided = self.log.hand_over()
        effects.sends, self._sends = self._sends, []
        if self._answers:
            effects.reads, self._answers = self._answers, []
        effects.wake_at = min(self._due, self._beat_at) if self.role == _LEADER else self._due
        return effects


COSTS = Costs(
    messages=lambda n: 2 * (n - 1),
    delays=2,
    text="2(n-1) messages: accept, accepted; thrifty 2(Q2-1). The commit index rides on the next.",
)

MULTI_PAXOS = ProtocolKind(
    name="multi-paxos",
    title="Multi-Paxos",
    make=MultiPaxos,
    faults="crash",
    replicas=lambda f: 2 * f + 1,
    source="Lamport 1998, 2001; Howard, Malkhi, Spiegelman 2016",
    costs=COSTS,
    upkeep=Upkeep(reads=True, options=lambda rng, _members, _steady: {"thrifty": rng.random() < 0.5}),
)

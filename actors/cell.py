"""A cell hosts agents: their mailboxes, turns and messages. Plain Python, without Ray, sockets or files.

Rules:
* An agent is made on its first message and takes one message at a time. While its turn waits, others run.
* Messages from one agent to another are taken in the order sent. In `rounds`, what is sent in a round is delivered in
  the next one, to each agent in the order of sender and sequence number.
* Nothing is dropped silently: what cannot be delivered goes back to its sender as a failure, and is counted.
* Whatever does not follow from the past is written to `log` as an entry (`actors/entry.py`) before its consequences
  leave the cell. Carrying out the same entries makes the same cell again (`actors/replay.py`).

The host (`actors/host.py`) calls `burst` while something is ready, sends what is in `outboxes`, and hands in what
arrives. The cell calls its host only through `Hooks`.
"""

import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from actors.address import Members, Placement
from actors.context import Context
from actors.entry import Began, Clock, Entry, Started, Took
from actors.errors import HandlerFailed, UnknownAddress
from actors.fingerprint import Fingerprint
from actors.mail import START_SENDER, Mail
from actors.measure import Measures
from actors.message import Kind, Message, check_text, copy_value, encode, frozen, printable
from actors.plan import Plan
from actors.resident import Resident, RoleInfo
from actors.rng import stream_key, unit
from actors.stepper import Stepper
from actors.turn import Turn, Wait
from actors.waiting import Waiting

_FAILURE, _START, _STOP = int(Kind.FAILURE), int(Kind.START), int(Kind.STOP)
_KEPT_FAILURES = 200


class Failure(msgspec.Struct, frozen=True):
    """A handler that raised."""

    address: str
    message_id: str
    error: str
    """The traceback."""


class TrafficRow(msgspec.Struct, frozen=True):
    """One delivery of the sampled traffic."""

    now: float
    sender: str
    recipient: str
    kind: str
    bytes: int


class Hooks(Protocol):
    """What a cell needs of its host."""

    def wake(self) -> None:
        """Something has become ready while no burst ran."""

    def answered(self, sequence: int) -> None:
        """A message from outside has its answer in `answers`."""

    def run_effect(self, wait: Wait) -> None:
        """Carry out `wait.effect` and report to `cell.waiting.effect_done`."""

    def held_next(self, address: str, sequence: int) -> bool | None:
        """While replaying: whether the agent was held at this point. None: not replaying."""

    def load_agent(self, resident: Resident) -> None:
        """Wakes a resting agent: fills in its state."""

    def round_begins(self) -> None:
        """A round begins; what is in the outboxes belongs to the one before."""


class Cell:
    """The agents of one cell. Not thread-safe: one thread, one event loop."""

    def __init__(self, plan: Plan, placement: Placement, number: int, hooks: Hooks) -> None:
        self._next_plan = plan
        self.plan = plan = plan.before or plan
        self.placement = placement
        self.number = number
        self.hooks = hooks
        self.roles = {name: RoleInfo(name, role) for name, role in plan.roles.items()}
        self.rounds = plan.schedule == "rounds"
        self.now = 0.0
        self.started = False
        self.log: list[Entry] | None = None
        """Entries since the last commit; None if there is no journal, or while one is played."""
        self.ready: deque[Resident | Wait | tuple[Any, ...]] = deque()
        """Whose turn it is: agents with mail, timers that rang, and waits that are over, with what to call."""
        self.mail = Mail(self)
        self.stepper = Stepper(self)
        self.waiting = Waiting(self)
        self.measures = Measures()
        self.results: dict[str, tuple[float, str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self.sent = 0
        """Messages that agents here sent."""
        self.turns = 0
        """Turns that agents here began."""
        self.failures: list[Failure] = []
        self.stop_error: str | None = None
        self.sample: list[TrafficRow] = []
        wanted = plan.fingerprint if plan.fingerprint is not None else self.rounds
        self.fingerprint = Fingerprint() if wanted else None
        self.dirty: set[str] | None = None
        """Agents whose state changed since the last checkpoint, if checkpoints are taken."""
        self._sample_key = stream_key(plan.seed, "traffic")
        self._sample_share = plan.traffic_sample
        if self.mail.injector is not None:
            self.waiting.schedule_crashes(self.mail.injector)

    def change_plan(self) -> None:
        """Follows the plan instead of the one before it: the run was forked here. Agents stay as they are."""
        plan = self.plan = self._next_plan
        for name, role in plan.roles.items():
            self.roles[name].parameters = role.parameters
        self._sample_share = plan.traffic_sample
        self.waiting.unschedule_crashes()
        self.mail.follow_plan()
        if self.mail.injector is not None:
            self.waiting.schedule_crashes(self.mail.injector)

    def start(self) -> None:
        """Makes the agents that act by themselves: those whose class defines `on_start`."""
        if self.log is not None:
            self.log.append(Started())
        self.started = True
        for role in self.roles.values():
            if role.starts:
                for address in self.placement.local_members(role.name, self.number):
                    if address not in self.mail.residents:
                        self.mail.settled(address, role)

    def burst(self, turns: int) -> bool:
        """Runs up to so many turns or parts of turns. True if more are ready."""
        ready = self.ready
        if not ready:
            return False
        with self.stepper.entered():
            for _ in range(turns):
                if not ready:
                    break
                item = ready.popleft()
                if type(item) is Resident:
                    inbox = item.inbox
                    if item.turn is not None or inbox is None:
                        continue
                    if type(inbox) is deque:
                        message = inbox.popleft()
                        if not inbox:
                            item.inbox = None
                    else:
                        message = inbox  # type: ignore[assignment]  # one message, not a deque of them
                        item.inbox = None
                    self.mail.queued -= 1
                    self.take(item, message)
                elif type(item) is Wait:
                    self.waiting.ring(item.tick, item)
                else:
                    item[0](*item[1:])  # type: ignore[index]  # a tuple: what to call, and with what
        return bool(ready)

    def take(self, resident: Resident, message: Message) -> None:
        """Begins a turn of an agent with a message."""
        if self.log is not None:
            self.log.append(Took(resident.address, frozen(message)))
        if self.dirty is not None:
            self.dirty.add(resident.address)
        self.turns += 1
        self.observe(resident, message)
        if message.kind >= _FAILURE:
            self._take_special(resident, message)
            return
        agent = resident.agent
        if agent is None and (agent := self._make(resident, message)) is None:
            return
        context = Context(self, resident, message)
        try:
            handler = agent.on_message(message, context)
        except Exception as error:  # It is no coroutine function, or does not take what it should.
            self.failed(resident, message, error)
            self.end(resident, context)
            return
        self.stepper.begin(resident, context, handler)

    def observe(self, resident: Resident, message: Message) -> None:
        """Counts a delivery, for the report and the fingerprint."""
        resident.turns += 1
        resident.role.traffic[message.sender.partition("/")[0]] += 1
        if self.fingerprint is not None:
            self.fingerprint.delivery(resident.address, resident.turns, message)
        share = self._sample_share
        if share and (share >= 1.0 or unit(self._sample_key, message.sender, message.sequence) < share):
            size = len(encode(message))
            kind = Kind(message.kind).name.lower()
            self.sample.append(TrafficRow(self.now, message.sender, resident.address, kind, size))

    def _take_special(self, resident: Resident, message: Message) -> None:
        role = resident.role
        if resident.agent is None and self._make(resident, message) is None:
            return
        assert resident.agent is not None
        context = Context(self, resident, message)
        handler: Any = None
        try:
            if message.kind == _START and role.starts:
                handler = resident.agent.on_start(context)
            elif message.kind == _STOP and role.stops:
                handler = resident.agent.on_stop(context)
            elif message.kind == _FAILURE and role.handles_failure:
                error = self.waiting.error_in(message)
                handler = resident.agent.on_failure(error, message, context)
        except Exception as raised:
            self.failed(resident, message, raised)
        if handler is None:
            self.end(resident, context)
        else:
            self.stepper.begin(resident, context, handler)

    def _make(self, resident: Resident, message: Message) -> Any:
        """Makes the agent. None if its constructor raised, which fails this turn."""
        role = resident.role
        try:
            own = message.data if message.kind == _START else None
            resident.agent = role.agent(**{**role.parameters, **own} if own else role.parameters)
        except Exception as error:
            self.failed(resident, message, error)
            if resident.inbox is not None:
                self.ready.append(resident)
            return None
        return resident.agent

    def end(self, resident: Resident, context: Context) -> None:
        if context._stream is not None:
            resident.draws = context._stream.draws
        if context.message.kind == _STOP:
            self.mail.remove(resident)
            return
        if self.mail.congested is not None:
            self.waiting.hold_back(resident)
        if resident.inbox is not None and resident.turn is None:
            self.ready.append(resident)

    def failed(self, resident: Resident, message: Message, error: BaseException) -> None:
        text = printable("".join(traceback.format_exception(error, limit=-20)))
        failure = Failure(resident.address, message.message_id, text)
        self.counts["handler_failures"] += 1
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(failure)
        if message.kind == Kind.ASK:
            problem = f"{resident.address} failed on {message.message_id}\n{text}"
            self.mail.send_back(message, resident.address, HandlerFailed(problem))
        if self.plan.on_error == "stop" and self.stop_error is None:
            self.stop_error = f"{resident.address} failed on {message.message_id}\n{text}"

    def close(self) -> None:
        """Ends all turns where they are."""
        for resident in self.mail.residents.values():
            if isinstance(resident.turn, Turn):
                self.stepper.drop(resident.turn)
        if self.stepper.spare is not None:
            self.stepper.spare.end()

    def begin_round(
        self, number: int, boundaries: dict[int, int], fire: Callable[[int], list[Message]] | None = None
    ) -> None:
        """Begins a round: fires its timers (by `fire`, if a journal does) and delivers what the last one sent."""
        if self.log is not None:
            self.log.append(Began(number, boundaries))
        self.hooks.round_begins()
        self.measures.fold()
        self.now = float(number)
        messages, self.mail.next_local = self.mail.next_local, []
        messages += (fire or self.waiting.fire)(number)
        for source, boundary in boundaries.items():
            queue = self.mail.arrived.get(source, ())
            while queue and queue[0][0] < boundary:
                messages.append(queue.popleft()[1])
        messages.sort(key=_order)
        for message in messages:
            self.mail.deliver(message)

    def set_clock(self, now: float) -> None:
        """Turns from here on see this time."""
        if now > self.now:
            if self.log is not None:
                self.log.append(Clock(now))
            self.now = now

    def local_addresses(self) -> Iterator[str]:
        """All agents that live here, made or not."""
        for name in self.roles:
            yield from self.placement.local_members(name, self.number)
            yield from self.mail.spawned.get(name, ())

    def bring_down(self, address: str, *, keep_state: bool) -> None:
        """An agent crashes: its turn ends where it is and its messages are lost; so is its state, unless kept."""
        self.counts["crashes"] += 1
        resident = self._woken(address)
        if resident is None:
            return
        if self.dirty is not None:
            self.dirty.add(address)
        if isinstance(resident.turn, Turn):
            self.stepper.drop(resident.turn)
        lost = len(resident.emptied())
        self.mail.queued -= lost
        self.counts["dead_letters: crashed"] += lost
        if not keep_state:
            resident.agent = None
            self.waiting.resting.discard(address)

    def _woken(self, address: str) -> Resident | None:
        """An agent that lives here, woken if it rests; None if it was never made a place."""
        resident = self.mail.residents.get(address)
        return self.mail.lodge(address) if resident is None and self.waiting.is_resting(address) else resident

    def restart(self, address: str) -> None:
        """An agent that crashed comes back; if it acts by itself and lost its state, it starts again."""
        resident = self._woken(address)
        self.counts["restarts"] += 1
        if resident is not None and resident.agent is None and resident.role.starts:
            self.mail.deliver_to(resident, Message(START_SENDER, address, 0, (), _START))

    def checked_spawn(self, role: str, key: str) -> str:
        """The address of an agent to spawn. Raises `UnknownAddress` for an unknown role."""
        if role not in self.roles:
            raise UnknownAddress(
                f"there is no role {role!r} to spawn from; the plan has {', '.join(sorted(self.roles))}"
            )
        if not key or any(c in key for c in "/*@#"):
            raise UnknownAddress(
                f"{key!r} cannot be the key of an agent: give text without '/', '*', '@' and '#'"
            )
        return f"{role}/{key}"

    def leave_result(self, address: str, name: str, value: Any) -> None:
        """Keeps a result of the run; of several in one round that of the last address, wherever it lives."""
        check_text(name, "the name of a result")
        before = self.results.get(name)
        if before is None or before[:2] <= (self.now, address):
            self.results[name] = (self.now, address, copy_value(value))

    def traffic(self) -> dict[tuple[str, str], int]:
        """Messages that agents here took, by the roles of sender and recipient."""
        return {(sender, role.name): n for role in self.roles.values() for sender, n in role.traffic.items()}

    def all_counts(self) -> dict[str, int]:
        """Everything that is counted, by name."""
        faults = (
            {}
            if self.mail.injector is None
            else {f"faults: {name}": n for name, n in self.mail.injector.counts.items()}
        )
        return {"sent": self.sent, "taken": self.turns, **self.counts, **faults}

    def find(self, skill: str) -> Sequence[str]:
        """All declared agents whose card offers a skill."""
        found: list[Members] = []
        for name, role in self.roles.items():
            card = role.agent.card
            if card is not None and any(skill in (s.id, s.name, *s.tags) for s in card.skills):
                found.append(self.placement.members(name))
        return found[0] if len(found) == 1 else [address for members in found for address in members]


def _order(message: Message) -> tuple[str, int]:
    return (message.sender, message.sequence)

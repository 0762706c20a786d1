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

import asyncio
import traceback
from asyncio import CancelledError
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context as Variables
from sys import getrefcount
from typing import Any, Protocol

import msgspec

from actors.address import OUTSIDE, Members, Placement, role_of
from actors.context import Context
from actors.entry import Arrived, Began, Clock, Entry, Sent, Started, Took, Woke
from actors.errors import AgentStopped, HandlerFailed, MailboxFull, SwarmError, UnknownAddress
from actors.faults import FaultInjector
from actors.fingerprint import Fingerprint
from actors.measure import Measures
from actors.message import Kind, Message, Part, copy_value, decode_batch, encode
from actors.plan import Plan
from actors.resident import HELD, Resident, RoleInfo
from actors.rng import stream_key, unit
from actors.turn import Bridge, Turn, Wait
from actors.waiting import Waiting

_REPLY, _FAILURE, _START, _STOP = int(Kind.REPLY), int(Kind.FAILURE), int(Kind.START), int(Kind.STOP)
_KEPT_FAILURES = 200
_KEPT_ANSWERS = 10_000
_OUTBOX_HARD_FACTOR = 20
START_SENDER = "@start"
STOP_SENDER = "@stop"


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
        self.residents: dict[str, Resident] = {}
        self.spawned: dict[str, list[str]] = {}
        self.stopped: set[str] = set()
        self.outboxes: list[list[Message]] = [[] for _ in range(placement.cells)]
        self.log: list[Entry] | None = None
        """Entries since the last commit; None if there is no journal, or while one is replayed."""
        self.ready: deque[Resident | tuple[Any, ...]] = deque()
        self.waiting = Waiting(self)
        self.measures = Measures()
        self.results: dict[str, tuple[float, str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self.sent = 0
        """Messages that agents here sent."""
        self.failures: list[Failure] = []
        self.sample: list[TrafficRow] = []
        wanted = plan.fingerprint if plan.fingerprint is not None else self.rounds
        self.fingerprint = Fingerprint() if wanted else None
        self.queued = 0
        """Messages in mailboxes."""
        self.turns = 0
        self.suspended = 0
        """Turns that wait."""
        self.started = False
        self.stop_error: str | None = None
        self.dirty: set[str] | None = None
        """Agents whose state changed since the last checkpoint, if checkpoints are taken."""
        self.seats: dict[str, Any] = {}
        self.answers: dict[int, Message] = {}
        """Answers to messages from outside the swarm, until they are fetched."""
        self.arrived: dict[int, deque[tuple[int, Message]]] = {}
        """In `rounds`, what came from each source and waits for its round, with its stream number."""
        self.next_local: list[Message] = []
        self.foreign_sends: dict[tuple[str, int], Message] = {}
        """While a journal is played: what tasks of asyncio's own have sent, until the journal says that they do."""
        self.congested: int | None = None
        self.injector = self._injector_of(plan)
        if self.injector is not None:
            self.waiting.schedule_crashes(self.injector)
        self._sample_key = stream_key(plan.seed, "traffic")
        self._mailbox_limit = plan.limits.mailbox_messages
        self._outbox_limit = plan.limits.outbox_messages
        self.stepping = False
        self.spare: Bridge | None = None
        self.stepped_task: Any = object()
        self._references = 0
        self._variables = Variables()
        self._loop: asyncio.AbstractEventLoop | None = None

    def _injector_of(self, plan: Plan) -> FaultInjector | None:
        if plan.faults is None:
            return None
        return FaultInjector(plan.faults, plan.seed, self.placement.counts, rounds=self.rounds)

    def change_plan(self) -> None:
        """Follows the plan instead of the one before it: the run was forked here. Agents stay as they are."""
        plan = self.plan = self._next_plan
        for name, role in plan.roles.items():
            self.roles[name].parameters = role.parameters
        self._mailbox_limit = plan.limits.mailbox_messages
        self._outbox_limit = plan.limits.outbox_messages
        self.waiting.unschedule_crashes()
        self.injector = self._injector_of(plan)
        if self.injector is not None:
            self.waiting.schedule_crashes(self.injector)

    # --- running -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Makes the agents that act by themselves: those whose class defines `on_start`."""
        if self.log is not None:
            self.log.append(Started())
        self.started = True
        for role in self.roles.values():
            if role.starts:
                for address in self.placement.local_members(role.name, self.number):
                    if address not in self.residents:
                        self._settle(address, role)

    def burst(self, turns: int) -> bool:
        """Runs up to so many turns or parts of turns. True if more are ready."""
        ready = self.ready
        if not ready:
            return False
        with self.entered():
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
                    self.queued -= 1
                    self.take(item, message)
                else:
                    item[0](*item[1:])  # type: ignore[index]  # a tuple: what to call, and with what
        return bool(ready)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While handlers are stepped, the spare task is asyncio's current one."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        self.stepping = True
        if loop is None:
            self._references = getrefcount(self.stepped_task)
            try:
                yield
            finally:
                self.stepping = False
            return
        if self.spare is None or self._loop is not loop:
            self._loop = loop
            self.spare = Bridge(self, loop)
        outer = asyncio.current_task(loop)
        if outer is not None:
            asyncio.tasks._leave_task(loop, outer)
        self._enter_spare()
        try:
            yield
        finally:
            asyncio.tasks._leave_task(loop, self.stepped_task)
            if outer is not None:
                asyncio.tasks._enter_task(loop, outer)
            self.stepping = False

    def _enter_spare(self) -> None:
        assert self.spare is not None
        assert self._loop is not None
        self.stepped_task = self.spare.task
        asyncio.tasks._enter_task(self._loop, self.stepped_task)
        self.spare.note_references()
        self._references = getrefcount(self.stepped_task)

    def _replace_spare(self) -> None:
        """The spare now belongs to a turn, or has been kept by somebody: takes another."""
        self._variables = Variables()
        if self._loop is None or self.spare is None:
            return
        asyncio.tasks._leave_task(self._loop, self.stepped_task)
        if self.spare.turn is None:
            self.spare.end()
        self.spare = Bridge(self, self._loop)
        self._enter_spare()

    def take(self, resident: Resident, message: Message) -> None:
        """Begins a turn of an agent with a message."""
        if self.log is not None:
            self.log.append(Took(resident.address, message))
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
        self._run(resident, context, agent.on_message(message, context))

    def observe(self, resident: Resident, message: Message) -> None:
        """Counts a delivery, for the report and the fingerprint."""
        resident.turns += 1
        resident.role.traffic[message.sender.partition("/")[0]] += 1
        if self.fingerprint is not None:
            self.fingerprint.delivery(resident.address, resident.turns, message)
        share = self.plan.traffic_sample
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
        if message.kind == _START and role.starts:
            self._run(resident, context, resident.agent.on_start(context))
        elif message.kind == _STOP and role.stops:
            self._run(resident, context, resident.agent.on_stop(context))
        elif message.kind == _FAILURE and role.handles_failure:
            error = self.waiting.error_in(message)
            self._run(resident, context, resident.agent.on_failure(error, message, context))
        else:
            self._end(resident, context)

    def _make(self, resident: Resident, message: Message) -> Any:
        """Makes the agent. None if its constructor raised, which fails this turn."""
        role = resident.role
        try:
            own = message.data if message.kind == _START else None
            resident.agent = role.agent(**{**role.parameters, **own} if own else role.parameters)
        except Exception as error:
            self._failed(resident, message, error)
            self._requeue(resident)
            return None
        return resident.agent

    def _run(self, resident: Resident, context: Context, handler: Coroutine[Any, Any, None]) -> None:
        """The first step of a turn; most turns have no other."""
        try:
            waited = self._variables.run(handler.send, None)
        except StopIteration:
            pass
        except (Exception, CancelledError) as error:
            self._failed(resident, context.message, error)
        else:
            turn = Turn(resident, context, handler, self._variables)
            resident.turn = turn
            self.suspended += 1
            self._variables = Variables()
            self._suspended(turn, waited)
            return
        if getrefcount(self.stepped_task) != self._references or len(self._variables):
            self._replace_spare()
        self._end(resident, context)

    def step(self, turn: Turn, value: Any, error: BaseException | None) -> None:
        """A further step of a turn that waited: goes on with `value`, or with `error` raised where it waits."""
        if turn.resident.turn is not turn:
            return  # The agent crashed meanwhile.
        bridge = turn.bridge
        if bridge is not None:
            assert self._loop is not None
            if turn.wait is not None:
                turn.cell_waits -= 1
            asyncio.tasks._leave_task(self._loop, self.stepped_task)
            self.stepped_task = bridge.task
            asyncio.tasks._enter_task(self._loop, bridge.task)
        turn.wait = None
        ended = True
        try:
            if error is None:
                waited = turn.variables.run(turn.coroutine.send, value)
            else:
                waited = turn.variables.run(turn.coroutine.throw, error)
            ended = False
        except StopIteration:
            pass
        except (Exception, CancelledError) as raised:
            self._failed(turn.resident, turn.context.message, raised)
        if bridge is not None:
            assert self._loop is not None
            asyncio.tasks._leave_task(self._loop, bridge.task)
            self._enter_spare()
        elif ended and getrefcount(self.stepped_task) != self._references:
            self._replace_spare()
        if not ended:
            self._suspended(turn, waited)
            return
        if bridge is not None:
            self.waiting.bridged.discard(turn)
            bridge.end()
        self.suspended -= 1
        turn.resident.turn = None
        self._end(turn.resident, turn.context)

    def _suspended(self, turn: Turn, waited: Any) -> None:
        """A handler waits: for its context, which the cell sees to, or for something of asyncio, by a bridge."""
        bridge, spare = turn.bridge, self.spare
        awaited: Any = waited
        if isinstance(waited, Wait):
            turn.wait = waited
            if bridge is None and (spare is None or not spare.is_touched()):
                waited.turn = turn
                return
            assert self._loop is not None
            awaited = waited.future = self._loop.create_future()
            turn.cell_waits += 1
        elif waited is not None and not asyncio.isfuture(waited):
            problem = f"a handler awaited {waited!r}, which is neither of its context nor of asyncio"
            self.step(turn, None, RuntimeError(problem))
            return
        elif spare is None:
            self.step(
                turn, None, RuntimeError("a handler awaited something of asyncio, but no event loop runs")
            )
            return
        if bridge is None:
            assert spare is not None
            bridge = turn.bridge = spare
            bridge.turn = turn
            self.waiting.bridged.add(turn)
            self._replace_spare()
        bridge.await_for(turn, awaited)

    def woke(self, turn: Turn, value: Any, error: BaseException | None) -> None:
        """A bridge has what its turn waited for."""
        self.ready.append((self.go_on, turn, value, error))
        self.hooks.wake()

    def go_on(self, turn: Turn, value: Any, error: BaseException | None) -> None:
        """Steps a turn whose bridge has what it waited for."""
        if turn.resident.turn is turn and self.log is not None:
            self.log.append(Woke(turn.resident.address))
        self.step(turn, value, error)

    def _end(self, resident: Resident, context: Context) -> None:
        context.finish()
        if context.message.kind == _STOP:
            self._remove(resident)
            return
        if self.congested is not None:
            self.waiting.hold_back(resident)
        self._requeue(resident)

    def _requeue(self, resident: Resident) -> None:
        if resident.inbox is not None and resident.turn is None:
            self.ready.append(resident)

    def _failed(self, resident: Resident, message: Message, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error, limit=-20))
        failure = Failure(resident.address, message.message_id, text)
        self.counts["handler_failures"] += 1
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(failure)
        if message.kind == Kind.ASK:
            problem = f"{resident.address} failed on {message.message_id}\n{text}"
            self.send_back(message, resident.address, HandlerFailed(problem))
        if self.plan.on_error == "stop" and self.stop_error is None:
            self.stop_error = f"{resident.address} failed on {message.message_id}\n{text}"

    def close(self) -> None:
        """Ends all turns where they are."""
        for resident in self.residents.values():
            turn, resident.turn = resident.turn, None
            if isinstance(turn, Turn):
                self.suspended -= 1
                self.waiting.forget(turn)
                turn.coroutine.close()
        if self.spare is not None:
            self.spare.end()

    # --- messages ----------------------------------------------------------------------------------------------

    def route(self, message: Message) -> None:
        """Sends a message on its way."""
        self.sent += 1
        if self.fingerprint is not None:
            self.fingerprint.send(message)
        if self.stepping:
            self.pass_on(message)
        else:
            self._route_from_task(message)

    def _route_from_task(self, message: Message) -> None:
        """A task of asyncio's own sends for a handler: when it does, does not follow from the past."""
        if self.hooks.held_next(message.sender, 0) is not None:
            self.foreign_sends[message.sender, message.sequence] = message  # The journal says when.
            return
        if self.log is not None:
            self.log.append(Sent(message.sender, message.sequence))
        self.pass_on(message)
        self.hooks.wake()

    def pass_on(self, message: Message) -> None:
        """Sends on what the faults of the experiment leave of a message."""
        if self.injector is not None and self.injector.affects(message.sender):
            self._route_with_faults(message, self.injector)
        else:
            self.dispatch(message)

    def _route_with_faults(self, message: Message, injector: FaultInjector) -> None:
        # A broadcast meets each recipient's faults by itself, so that it does not matter where they live.
        to = message.recipient
        recipients: Sequence[str] = [to]
        if to.endswith("/*") and role_of(to) in self.roles:
            recipients = [a for a in self.placement.members(role_of(to)) if a != message.sender]
        for recipient in recipients:
            one = message if recipient == to else msgspec.structs.replace(message, recipient=recipient)
            for faulty, delay in injector.deliveries(one, recipient, self.now):
                if delay > 0.0:
                    self.waiting.delay(faulty, delay)
                else:
                    self.dispatch(faulty)

    def dispatch(self, message: Message) -> None:
        """Sends a message towards its recipient's cell, or into the mailbox if that is here."""
        to = message.recipient
        if to in self.residents:
            if self.rounds:
                self.next_local.append(message)
            else:
                self.deliver(message)
        elif to.endswith("/*"):
            for cell in range(len(self.outboxes)):
                self._dispatch_to(cell, message)
        elif to.startswith(OUTSIDE):
            self._answer_outside(message)
        else:
            self._dispatch_to(self.placement.cell_of(to), message)

    def _dispatch_to(self, cell: int, message: Message) -> None:
        if cell == self.number:
            if self.rounds:
                self.next_local.append(message)
            else:
                self.deliver(message)
            return
        outbox = self.outboxes[cell]
        outbox.append(message)
        if len(outbox) > self._outbox_limit and not self.rounds:
            if len(outbox) > _OUTBOX_HARD_FACTOR * self._outbox_limit:
                outbox.pop()
                raise MailboxFull(
                    f"{message.sender}: {len(outbox)} messages wait for cell {cell} already; message {message.message_id} was "
                    f"not sent. In a long loop, `await context.send(...)`: it waits for room."
                )
            self.congested = cell

    def deliver(self, message: Message) -> None:
        """Puts a message into the mailbox of its recipient, who lives here; of all that live here, for a broadcast."""
        to = message.recipient
        resident = self.residents.get(to)
        if resident is not None:
            self._deliver_to(resident, message)
        elif to.endswith("/*"):
            self._deliver_to_role(role_of(to), message)
        elif (resident := self._settled(message, to)) is not None:
            self._deliver_to(resident, message)

    def _deliver_to(self, resident: Resident, message: Message) -> None:
        if message.kind > 1:
            if message.kind in (_REPLY, _FAILURE) and self.waiting.answer(resident, message):
                return
            if message.kind == _REPLY:
                self.counts["dead_letters: late reply"] += 1
                return
            if message.kind == _START and message.sender != START_SENDER and resident.turns:
                return  # It exists already.
        if self.injector is not None and self.injector.crashed(resident.address, self.now):
            self.counts["dead_letters: crashed"] += 1
            return
        inbox = resident.inbox
        if inbox is None:
            resident.inbox = message
            if resident.turn is None:
                self.ready.append(resident)
        elif type(inbox) is deque:
            if len(inbox) >= self._mailbox_limit:
                problem = f"{resident.address} has {len(inbox)} messages waiting, its limit; it did not get {message.message_id}"
                self.send_back(message, resident.address, MailboxFull(problem))
                return
            inbox.append(message)
        else:
            resident.inbox = deque((inbox, message))  # type: ignore[arg-type]  # a message: not None, no deque
        self.queued += 1

    def _deliver_to_role(self, role: str, message: Message) -> None:
        info = self.roles.get(role)
        if info is None:
            if self.number == 0:  # One notice, not one from each cell.
                self._unknown(message, message.recipient)
            return
        residents, stopped, sender = self.residents, self.stopped, message.sender
        for address in self.placement.local_members(role, self.number):
            if address != sender and address not in stopped:
                self._deliver_to(residents.get(address) or self._settle(address, info), message)
        for address in self.spawned.get(role, ()):
            if address != sender and address not in stopped:
                self._deliver_to(residents.get(address) or self._settle(address, info), message)

    def _settled(self, message: Message, to: str) -> Resident | None:
        """A place for an agent that is not resident, if there may be one. Else its sender hears why not."""
        info = self.roles.get(role_of(to))
        if to in self.stopped:
            self.send_back(
                message, to, AgentStopped(f"{to} has stopped; it did not get {message.message_id}")
            )
            return None
        known = info is not None and (self.placement.declared(to) or to in self.spawned.get(info.name, ()))
        if not known and info is not None and message.kind == _START:
            self.spawned.setdefault(info.name, []).append(to)
            return self._settle(to, info, start=False)
        if not known or info is None:
            self._unknown(message, to)
            return None
        return self._settle(to, info)

    def _unknown(self, message: Message, to: str) -> None:
        roles = ", ".join(repr(self.placement.members(name)) for name in sorted(self.roles))
        self.send_back(message, to, UnknownAddress(f"there is no agent {to!r} here; the swarm has {roles}"))

    def settle(self, address: str) -> Resident:
        """A place for an agent that rests."""
        return self._settle(address, self.roles[role_of(address)])

    def lodge(self, address: str) -> Resident:
        """A place for an agent, without starting it."""
        return self._settle(address, self.roles[role_of(address)], start=False)

    def _settle(self, address: str, role: RoleInfo, *, start: bool = True) -> Resident:
        resident = self.residents[address] = Resident(address, role)
        if self.waiting.is_resting(address):
            self.hooks.load_agent(resident)
        elif start and role.starts:
            resident.inbox = Message(START_SENDER, address, 0, (), _START)
            self.queued += 1
            self.ready.append(resident)
        return resident

    def _remove(self, resident: Resident) -> None:
        self.stopped.add(resident.address)
        del self.residents[resident.address]
        inbox = resident.inbox
        resident.inbox = None
        left = [] if inbox is None else list(inbox) if type(inbox) is deque else [inbox]
        self.queued -= len(left)
        for message in left:
            self.send_back(
                message,
                resident.address,
                AgentStopped(f"{resident.address} stopped before {message.message_id}"),
            )  # type: ignore[arg-type, union-attr]  # messages

    def send_back(self, message: Message, at: str, error: SwarmError) -> None:
        """Tells the sender of a message that it failed, and why."""
        self.counts[f"dead_letters: {error.reason}"] += 1
        if message.kind in (_FAILURE, _REPLY) or message.sender.startswith(OUTSIDE + "start"):
            return
        parts = (Part("data", {"reason": error.reason, "text": str(error)}),)
        # Numbered as what failed, under a name of its own: the same notice in any layout of cells.
        self.dispatch(
            Message(f"{OUTSIDE}{at}", message.sender, message.sequence, parts, _FAILURE, message.sequence)
        )

    def _answer_outside(self, message: Message) -> None:
        if len(self.answers) >= _KEPT_ANSWERS:
            del self.answers[next(iter(self.answers))]
            self.counts["dead_letters: late reply"] += 1
        self.answers[message.reply_to] = message
        self.hooks.answered(message.reply_to)

    def arrive(self, source: int, epoch: int, first: int, count: int, data: bytes) -> None:
        """Takes in a batch from another cell; the link has put batches in order and dropped what came twice."""
        if self.log is not None:
            self.log.append(Arrived(source, epoch, first, count, data))
        messages = decode_batch(data)
        if self.rounds:
            queue = self.arrived.setdefault(source, deque())
            queue.extend(enumerate(messages, first))
        else:
            for message in messages:
                self.deliver(message)

    def begin_round(
        self, number: int, boundaries: dict[int, int], fire: Callable[[int], list[Message]] | None = None
    ) -> None:
        """Begins a round: fires its timers (by `fire`, if a journal does) and delivers what the last one sent."""
        if self.log is not None:
            self.log.append(Began(number, boundaries))
        self.measures.fold()
        self.now = float(number)
        messages, self.next_local = self.next_local, []
        messages += (fire or self.waiting.fire)(number)
        for source, boundary in boundaries.items():
            queue = self.arrived.get(source, ())
            while queue and queue[0][0] < boundary:
                messages.append(queue.popleft()[1])  # type: ignore[union-attr]  # not empty: a deque
        messages.sort(key=_order)
        for message in messages:
            self.deliver(message)

    def set_clock(self, now: float) -> None:
        """Turns from here on see this time."""
        if now > self.now:
            if self.log is not None:
                self.log.append(Clock(now))
            self.now = now

    # --- crashes -----------------------------------------------------------------------------------------------

    def local_addresses(self) -> Iterator[str]:
        """All agents that live here, made or not."""
        for name in self.roles:
            yield from self.placement.local_members(name, self.number)
            yield from self.spawned.get(name, ())

    def bring_down(self, address: str, *, keep_state: bool) -> None:
        """An agent crashes: its turn ends where it is and its messages are lost; so is its state, unless kept."""
        self.counts["crashes"] += 1
        resident = self.residents.get(address)
        if resident is None:
            return
        turn = resident.turn
        if isinstance(turn, Turn):
            resident.turn = None
            self.suspended -= 1
            self.waiting.forget(turn)
            turn.coroutine.close()
        inbox, resident.inbox = resident.inbox, None
        lost = 0 if inbox is None else len(inbox) if type(inbox) is deque else 1
        self.queued -= lost
        self.counts["dead_letters: crashed"] += lost
        if not keep_state:
            resident.agent = None
            self.waiting.resting.discard(address)

    def restart(self, address: str) -> None:
        """An agent that crashed comes back; if it acts by itself and lost its state, it starts again."""
        resident = self.residents.get(address)
        self.counts["restarts"] += 1
        if resident is not None and resident.agent is None and resident.role.starts:
            self._deliver_to(resident, Message(START_SENDER, address, 0, (), _START))

    # --- for contexts ------------------------------------------------------------------------------------------

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
        """Keeps a result of the run."""
        self.results[name] = (self.now, address, copy_value(value))

    def traffic(self) -> dict[tuple[str, str], int]:
        """Messages that agents here took, by the roles of sender and recipient."""
        return {(sender, role.name): n for role in self.roles.values() for sender, n in role.traffic.items()}

    def all_counts(self) -> dict[str, int]:
        """Everything that is counted, by name."""
        faults = (
            {}
            if self.injector is None
            else {f"faults: {name}": n for name, n in self.injector.counts.items()}
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

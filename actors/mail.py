"""The mail of a cell: mailboxes, the ways to other cells, and who lives here.

Rules:
* A message to an agent here goes into its mailbox; one to another cell into the outbox of that cell. In `rounds` both
  arrive in the next round.
* Mailboxes and outboxes are bounded. Nothing is dropped silently: what cannot be delivered goes back to its sender as a
  failure that names the reason, and is counted.
* An agent has a place here from its first message on; its place says nothing of whether it is in memory.
* The faults of an experiment strike between sender and mailbox, each recipient of a broadcast by itself.
"""

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from actors.address import OUTSIDE, role_of
from actors.entry import Arrived, Refused, Sent
from actors.errors import AgentStopped, MailboxFull, SwarmError, UnknownAddress
from actors.faults import FaultInjector
from actors.message import Kind, Message, Part, check_text, decode_batch, frozen
from actors.resident import Resident, RoleInfo

if TYPE_CHECKING:
    from actors.cell import Cell

_REPLY, _FAILURE, _START = int(Kind.REPLY), int(Kind.FAILURE), int(Kind.START)
_KEPT_ANSWERS = 10_000
_KEPT_FETCHED = 1000
_KEPT_PEERS = 65_536
_OUTBOX_HARD_FACTOR = 20
START_SENDER = "@start"
STOP_SENDER = "@stop"


class Mail:
    """All mailboxes and outboxes of a cell."""

    def __init__(self, cell: "Cell") -> None:
        self._cell = cell
        self._rounds = cell.rounds
        self.residents: dict[str, Resident] = {}
        self.spawned: dict[str, list[str]] = {}
        """Agents here that the plan does not declare, by role."""
        self.stopped: set[str] = set()
        self.outboxes: list[list[Message]] = [[] for _ in range(cell.placement.cells)]
        self.next_local: list[Message] = []
        """In `rounds`, what agents here sent to agents here in this round."""
        self.arrived: dict[int, deque[tuple[int, Message]]] = {}
        """In `rounds`, what came from each source and waits for its round, with its stream number."""
        self._peers: dict[str, int] = {}
        """The cells of agents elsewhere that were sent to lately: a tenth of the time that it takes to compute them."""
        self.queued = 0
        """Messages in mailboxes."""
        self.congested: int | None = None
        """The cell to which the present turn sent more than its outbox should hold."""
        self.answers: dict[int, Message] = {}
        """Answers to messages from outside the swarm, until they are fetched."""
        self._fetched: dict[int, Message] = {}
        """The last answers that were: if one is lost on its way out, it is asked for again."""
        self.foreign_sends: dict[tuple[str, int], Message] = {}
        """While a journal is played: what tasks of asyncio's own have sent, until the journal says that they do."""
        self._refusals: set[tuple[str, int]] | None = None
        self._may_refuse = False
        self.injector: FaultInjector | None = None
        self.follow_plan()

    def follow_plan(self) -> None:
        """Takes limits and faults from the cell's plan."""
        plan = self._cell.plan
        self._mailbox_limit = plan.limits.mailbox_messages
        self._outbox_limit = plan.limits.outbox_messages
        self.injector = None
        if plan.faults is not None:
            counts = self._cell.placement.counts
            self.injector = FaultInjector(plan.faults, plan.seed, counts, rounds=self._rounds)

    def route(self, message: Message) -> None:
        """Sends a message on its way. Raises `MailboxFull` if the way has no room at all: then nothing happened."""
        if self._may_refuse and self._refuses(message):
            raise MailboxFull(
                f"{message.sender}: too many messages wait for the cell of {message.recipient} already; message "
                f"{message.message_id} was not sent. In a long loop, `await context.send(...)`: it waits for room."
            )
        cell = self._cell
        cell.sent += 1
        if cell.fingerprint is not None:
            cell.fingerprint.send(message)
        if not cell.stepper.stepping:
            self._route_from_task(message)
        elif self.injector is None:
            self.dispatch(message)
        else:
            self.pass_on(message)

    def play(self, refusals: set[tuple[str, int]] | None) -> None:
        """From here on a journal says which messages are refused; None: none is played any more."""
        self._refusals = refusals
        self._may_refuse = refusals is not None

    def _refuses(self, message: Message) -> bool:
        if self._refusals is not None:
            return (message.sender, message.sequence) in self._refusals
        full = _OUTBOX_HARD_FACTOR * self._outbox_limit
        to = message.recipient
        if to.endswith("/*"):
            refused = any(len(outbox) >= full for outbox in self.outboxes)
        else:
            refused = not to.startswith(OUTSIDE) and len(self.outboxes[self._cell_of(to)]) >= full
        if refused and self._cell.log is not None:
            self._cell.log.append(Refused(message.sender, message.sequence))
        self._may_refuse = refused or any(len(outbox) >= full for outbox in self.outboxes)
        return refused

    def _route_from_task(self, message: Message) -> None:
        """A task of asyncio's own sends for a handler: when it does, does not follow from the past."""
        if self._cell.stepper.dropping:
            self._cell.counts["dead_letters: crashed"] += 1
            return
        if self._cell.hooks.held_next(message.sender, 0) is not None:
            self.foreign_sends[message.sender, message.sequence] = message  # The journal says when.
            return
        if self._cell.log is not None:
            self._cell.log.append(Sent(message.sender, message.sequence))
        self.pass_on(message)
        self._cell.hooks.wake()

    def pass_on(self, message: Message) -> None:
        """Sends on what the faults of the experiment leave of a message."""
        if self.injector is not None and self.injector.affects(message.sender):
            self._pass_on_with_faults(message, self.injector)
        else:
            self.dispatch(message)

    def _pass_on_with_faults(self, message: Message, injector: FaultInjector) -> None:
        if message.recipient.endswith("/*"):
            self.dispatch(
                message
            )  # Each recipient meets its own faults, where it lives: see `_deliver_to_role`.
            return
        for number, (faulty, delay) in enumerate(
            injector.deliveries(message, message.recipient, self._cell.now)
        ):
            if number:
                faulty = frozen(faulty)  # noqa: PLW2901 - a copy is a message of its own
            if delay > 0.0:
                self._cell.waiting.delay(faulty, delay)
            else:
                self.dispatch(faulty)

    def dispatch(self, message: Message) -> None:
        """Sends a message towards its recipient's cell, or into the mailbox if that is here."""
        to = message.recipient
        resident = self.residents.get(to)
        if resident is not None:
            if self._rounds:
                self.next_local.append(message)
            else:
                self.deliver_to(resident, message)
        elif (peer := self._peers.get(to)) is not None:
            self._dispatch_to(peer, message)
        elif to.endswith("/*"):
            if not to.isascii():
                check_text(to, "an address")
            for cell in range(len(self.outboxes)):
                self._dispatch_to(cell, message)
        elif to.startswith(OUTSIDE):
            self._answer_outside(message)
        else:
            self._dispatch_to(self._cell_of(to), message)

    def _cell_of(self, address: str) -> int:
        if not address.isascii():
            check_text(address, "an address")
        cell = self._cell.placement.cell_of(address)
        if cell != self._cell.number:
            if len(self._peers) >= _KEPT_PEERS:
                self._peers.clear()
            self._peers[address] = cell
        return cell

    def _dispatch_to(self, cell: int, message: Message) -> None:
        if cell == self._cell.number:
            if self._rounds:
                self.next_local.append(message)
            else:
                self.deliver(message)
            return
        outbox = self.outboxes[cell]
        outbox.append(message)
        if len(outbox) > self._outbox_limit and not self._rounds:
            self.congested = cell
            if len(outbox) >= _OUTBOX_HARD_FACTOR * self._outbox_limit:
                self._may_refuse = True

    def deliver(self, message: Message) -> None:
        """Puts a message into the mailbox of its recipient, who lives here; of all that live here, for a broadcast."""
        to = message.recipient
        resident = self.residents.get(to)
        if resident is not None:
            self.deliver_to(resident, message)
        elif to.endswith("/*"):
            self._deliver_to_role(role_of(to), message)
        elif (resident := self._place_for(message, to)) is not None:
            self.deliver_to(resident, message)

    def deliver_to(self, resident: Resident, message: Message) -> None:
        if message.kind > 1:
            if message.kind in (_REPLY, _FAILURE) and self._cell.waiting.answer(resident, message):
                return
            if message.kind == _REPLY:
                self._cell.counts["dead_letters: late reply"] += 1
                return
            if message.kind == _START and message.sender != START_SENDER and resident.is_settled:
                return  # It exists already.
        if self.injector is not None and self.injector.crashed(resident.address, self._cell.now):
            self._cell.counts["dead_letters: crashed"] += 1
            return
        inbox = resident.inbox
        if inbox is None:
            resident.inbox = message
            if resident.turn is None:
                self._cell.ready.append(resident)
        elif type(inbox) is deque:
            if len(inbox) >= self._mailbox_limit:
                full = f"{resident.address} has {len(inbox)} messages waiting, its limit"
                problem = f"{full}; it did not get {message.message_id}"
                self.send_back(message, resident.address, MailboxFull(problem))
                return
            inbox.append(message)
        else:
            resident.inbox = deque((inbox, message))  # type: ignore[arg-type]  # a message: not None, no deque
        self.queued += 1

    def _deliver_to_role(self, role: str, message: Message) -> None:
        info = self._cell.roles.get(role)
        if info is None:
            if self._cell.number == 0:  # One notice, not one from each cell.
                self._unknown(message, message.recipient)
            return
        residents, stopped, sender = self.residents, self.stopped, message.sender
        injector = self.injector
        faulty = injector is not None and injector.affects(sender)
        here = self._cell.placement.local_members(role, self._cell.number)
        shared = frozen(message) is message  # if it holds nothing that a recipient could change
        for address in (*here, *self.spawned.get(role, ())):
            if address == sender or address in stopped:
                continue
            if faulty and injector is not None:
                self._deliver_faulty(message, address, injector)
            else:
                own = message if shared else frozen(message)
                self.deliver_to(residents.get(address) or self.settled(address, info), own)

    def _deliver_faulty(self, broadcast: Message, address: str, injector: FaultInjector) -> None:
        """Delivers what faults leave of a broadcast to one recipient: the same as if it had been sent to it alone."""
        cell = self._cell
        # Broadcasts travel a round like any message; the faults are those of the round in which it was sent.
        sent_at = cell.now - 1.0 if cell.rounds else cell.now
        one = msgspec.structs.replace(broadcast, recipient=address)
        for copy, delay in injector.deliveries(one, address, sent_at):
            faulty = frozen(copy)
            if delay <= 0.0:
                self.deliver(faulty)
            elif cell.rounds and delay <= 1.0:
                self.dispatch(faulty)
            else:
                cell.waiting.delay(faulty, delay - 1.0 if cell.rounds else delay)

    def _place_for(self, message: Message, to: str) -> Resident | None:
        """A place for an agent that is not resident, if there may be one. Else its sender hears why not."""
        info = self._cell.roles.get(role_of(to))
        if to in self.stopped:
            self.send_back(
                message, to, AgentStopped(f"{to} has stopped; it did not get {message.message_id}")
            )
            return None
        known = info is not None and (
            self._cell.placement.declared(to) or to in self.spawned.get(info.name, ())
        )
        if not known and info is not None and message.kind == _START:
            self.spawned.setdefault(info.name, []).append(to)
            return self.settled(to, info, start=False)
        if not known or info is None:
            self._unknown(message, to)
            return None
        return self.settled(to, info, start=message.kind != _START)

    def _unknown(self, message: Message, to: str) -> None:
        roles = ", ".join(repr(self._cell.placement.members(name)) for name in sorted(self._cell.roles))
        self.send_back(message, to, UnknownAddress(f"there is no agent {to!r} here; the swarm has {roles}"))

    def settle(self, address: str) -> Resident:
        """A place for an agent that rests."""
        return self.settled(address, self._cell.roles[role_of(address)])

    def lodge(self, address: str) -> Resident:
        """A place for an agent, without starting it."""
        return self.settled(address, self._cell.roles[role_of(address)], start=False)

    def settled(self, address: str, role: RoleInfo, *, start: bool = True) -> Resident:
        resident = self.residents[address] = Resident(address, role)
        if self._cell.waiting.is_resting(address):
            self._cell.hooks.load_agent(resident)
        elif start and role.starts:
            resident.inbox = Message(START_SENDER, address, 0, (), _START)
            self.queued += 1
            self._cell.ready.append(resident)
        return resident

    def remove(self, resident: Resident) -> None:
        self.stopped.add(resident.address)
        del self.residents[resident.address]
        for message in resident.emptied():
            self.queued -= 1
            problem = f"{resident.address} stopped before {message.message_id}"
            self.send_back(message, resident.address, AgentStopped(problem))

    def send_back(self, message: Message, at: str, error: SwarmError) -> None:
        """Tells the sender of a message that it failed, and why."""
        self._cell.counts[f"dead_letters: {error.reason}"] += 1
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
            self._cell.counts["dead_letters: late reply"] += 1
        self.answers[message.reply_to] = message
        self._cell.hooks.answered(message.reply_to)

    def take_answer(self, sequence: int) -> Message | None:
        """The answer to message number `sequence` from outside, if it is there; the same if asked again."""
        answer = self.answers.pop(sequence, None)
        if answer is None:
            return self._fetched.get(sequence)
        if len(self._fetched) >= _KEPT_FETCHED:
            del self._fetched[next(iter(self._fetched))]
        self._fetched[sequence] = answer
        return answer

    def arrive(self, source: int, epoch: int, first: int, count: int, data: bytes) -> None:
        """Takes in a batch from another cell; the link has put batches in order and dropped what came twice."""
        messages = decode_batch(
            data
        )  # before it is written down: what cannot be read must not be played either
        if self._cell.log is not None:
            self._cell.log.append(Arrived(source, epoch, first, count, data))
        if self._rounds:
            queue = self.arrived.setdefault(source, deque())
            queue.extend(enumerate(messages, first))
        else:
            residents = self.residents
            for message in messages:
                resident = residents.get(message.recipient)
                if resident is not None:
                    self.deliver_to(resident, message)
                else:
                    self.deliver(message)

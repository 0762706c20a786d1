"""Carries out a journal: makes a cell what it was, without a model, a tool, a clock or a network.

Used by recovery (then the cell goes on from there) and by replay (then it is compared with what was written down). What
the agents do again must be what they did; the first difference stops it, named by agent and message.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from actors import entry
from actors.cell import Cell
from actors.errors import SwarmError
from actors.mail import STOP_SENDER
from actors.message import Message, is_same
from actors.resident import Resident
from actors.turn import Wait
from actors.waiting import ANYWHERE

_PATIENCE = 2000
_PAUSE_S = 0.005


class Diverged(SwarmError):
    """The agents did not do again what the journal says they did."""

    reason = "diverged"

    def __init__(
        self, text: str, address: str = "", message: str = "", expected: str = "", got: str = ""
    ) -> None:
        super().__init__(text)
        self.address = address
        self.message = message
        self.expected = expected
        self.got = got

    def __reduce__(self) -> tuple[Any, ...]:
        return (Diverged, (str(self), self.address, self.message, self.expected, self.got))


class Player:
    """Plays entries into a cell whose log is off."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._entries: deque[entry.AnyEntry] = deque()
        self._answers: dict[tuple[str, int], tuple[Any, ...]] = {}
        self._woken: dict[str, tuple[Any, ...]] = {}
        self.played = 0
        self._refusals: set[tuple[str, int]] = set()
        cell.mail.play(self._refusals)

    def held_next(self, address: str, sequence: int) -> bool:
        """Whether the journal says that the agent waited for room after this message."""
        following = self._entries[0] if self._entries else None
        return isinstance(following, entry.Held) and (following.address, following.sequence) == (
            address,
            sequence,
        )

    async def play(self, entries: Iterable[entry.AnyEntry]) -> None:
        """Carries out entries in order. Raises `Diverged` at the first that does not fit."""
        self._entries.extend(entries)
        self._refusals.update(
            (line.address, line.sequence) for line in self._entries if isinstance(line, entry.Refused)
        )
        patience = _PATIENCE
        while self._entries:
            before = self.played
            with self._cell.stepper.entered():
                self._play_on()
            if not self._entries:
                return
            # Tasks of asyncio's own, which agents made, must get on before the next line fits: a few steps do, but for
            # something awaited from outside.
            patience = patience - 1 if self.played == before else _PATIENCE
            if patience < 0:
                self._give_up()
            await asyncio.sleep(0 if patience > _PATIENCE // 2 else _PAUSE_S)

    def _play_on(self) -> None:
        """Plays until the end, or until a line must wait for tasks that agents made by themselves."""
        while self._entries:
            self._sort_ready()
            line = self._entries[0]
            if self._cell.waiting.bridged and not self._fits(line):
                return
            self._entries.popleft()
            self._carry_out(line)
            self.played += 1
        self._sort_ready()

    def _fits(self, line: entry.AnyEntry) -> bool:
        match line:
            case entry.Took(address, message):
                resident = self._cell.mail.residents.get(address)
                return message.sender == STOP_SENDER or (
                    resident is not None and _place_of(message, resident) is not None
                )
            case entry.Answered(address, message):
                return (address, message.reply_to) in self._answers
            case entry.Fired():
                return self._cell.waiting.timers.get(line.tick, _key_of(line)) is not None
            case entry.Finished(address, number):
                return (address, number) in self._cell.waiting.effects
            case entry.Woke(address):
                return address in self._woken
            case entry.Sent(address, sequence):
                return (address, sequence) in self._cell.mail.foreign_sends
            case _:
                return True

    def _give_up(self) -> None:
        line = self._entries.popleft()
        if isinstance(line, entry.Woke):
            raise Diverged(
                f"{line.address} awaits something outside its context that does not end. Reach the outside world by "
                f"`context.effect`.",
                line.address,
            )
        self._carry_out(line)

    def _carry_out(self, line: entry.AnyEntry) -> None:
        cell, waiting = self._cell, self._cell.waiting
        match line:
            case entry.Took(address, message):
                resident = cell.mail.residents.get(address)
                if message.sender == STOP_SENDER:
                    cell.mail.deliver(message)
                self._take_from_inbox(resident, address, message)
                assert resident is not None
                cell.take(resident, message)
            case entry.Answered(address, message):
                due = self._answers.pop((address, message.reply_to), None)
                if due is None:
                    raise self._missing(address, message)
                self._compare(address, message, due[2])
                waiting.answered(due[1], message)
            case entry.Fired():
                self._fire(line)
            case entry.Finished(address, number, value, error):
                wait = waiting.effects.get((address, number))
                if wait is None:
                    raise Diverged(
                        f"{address} made call {number} to the outside and now does not",
                        address,
                        f"{address}#{number}",
                        "a call",
                        "none",
                    )
                waiting.finish_effect(wait, value, error)
            case entry.Woke(address):
                due = self._woken.pop(address)
                due[0](*due[1:])
            case entry.Released(address):
                if not waiting.release_agent(address):
                    raise Diverged(
                        f"{address} waited for room and now does not", address, "", "waiting", "not waiting"
                    )
            case entry.Arrived(source, epoch, first, count, data):
                cell.mail.arrive(source, epoch, first, count, data)
            case entry.Clock(now):
                cell.now = now
            case entry.Began(number, boundaries):
                cell.begin_round(number, boundaries, self._fire_round)
            case entry.Sent(address, sequence):
                sent = cell.mail.foreign_sends.pop((address, sequence), None)
                if sent is None:
                    raise Diverged(
                        f"{address} sent {address}#{sequence} before and now has not",
                        address,
                        f"{address}#{sequence}",
                    )
                cell.mail.pass_on(sent)
            case entry.Changed():
                cell.change_plan()
            case entry.Started():
                cell.start()
            case entry.Held() | entry.Refused():
                pass  # That was when the agent sent.

    def _fire_round(self, _round: int) -> list[Message]:
        """What fired as a round began follows it in the journal."""
        messages: list[Message] = []
        timers = self._cell.waiting.timers
        while self._entries and isinstance(line := self._entries[0], entry.Fired):
            item = timers.get(line.tick, _key_of(line))
            if item is None or isinstance(item, Wait):
                break  # A wait ends in its own turn, later in the round.
            self._entries.popleft()
            timers.remove(line.tick, _key_of(line))
            message = self._cell.waiting.carry_out(line.tick, item)
            if message is not None:
                messages.append(message)
        return messages

    def _fire(self, line: entry.Fired) -> None:
        item = self._cell.waiting.timers.remove(line.tick, _key_of(line))
        if item is None:
            owner = line.address or "the cell"
            raise Diverged(
                f"{owner} had set timer {line.number} for {line.tick} and now has not",
                line.address,
                "",
                "a timer",
                "none",
            )
        if isinstance(item, Wait):
            self._cell.waiting.ring(line.tick, item)
        else:
            message = self._cell.waiting.carry_out(line.tick, item)
            if message is not None:
                self._cell.mail.deliver(message)

    def _sort_ready(self) -> None:
        # The journal, not the queue, says who is next; what is due waits here under its name.
        cell = self._cell
        while cell.ready:
            item = cell.ready.popleft()
            if not isinstance(item, tuple):
                continue
            if item[0] == cell.waiting.answered:
                self._answers[item[1].key] = item
            elif item[0] == cell.stepper.go_on:
                self._woken[item[1].resident.address] = item

    def _take_from_inbox(self, resident: Resident | None, address: str, message: Message) -> None:
        place = None if resident is None else _place_of(message, resident)
        if resident is None or place is None:
            raise self._missing(address, message)
        inbox = resident.inbox
        if isinstance(inbox, deque):
            self._compare(address, message, inbox[place])
            del inbox[place]
            resident.inbox = inbox or None
        else:
            assert inbox is not None
            self._compare(address, message, inbox)
            resident.inbox = None
        self._cell.mail.queued -= 1

    def _compare(self, address: str, expected: Message, got: Message) -> None:
        if not is_same(expected, got):
            raise Diverged(
                f"{expected.sender} sent {expected.message_id} to {address} with another content than before:\n"
                f"  expected {expected}\n  got      {got}",
                expected.sender,
                expected.message_id,
                repr(expected),
                repr(got),
            )

    def _missing(self, address: str, message: Message) -> Diverged:
        text = f"{message.sender} sent {message.message_id} to {address} before and now has not"
        return Diverged(text, message.sender, message.message_id, repr(message), "nothing")

    def finish(self) -> None:
        """The journal is at its end: the cell goes on by itself with what is left."""
        cell = self._cell
        for resident in cell.mail.residents.values():
            if resident.inbox is not None and resident.turn is None:
                cell.ready.append(resident)
        cell.ready.extend(self._answers.values())
        cell.ready.extend(self._woken.values())
        cell.waiting.make_room(ANYWHERE)
        cell.mail.play(None)


def _key_of(line: entry.Fired) -> tuple[str, int] | tuple[str, int, str]:
    return (line.address, line.number, line.recipient) if line.recipient else (line.address, line.number)


def _place_of(message: Message, resident: Resident) -> int | None:
    """Where in its mailbox an agent has the message of the same sender, number and kind."""
    inbox = resident.inbox
    waiting = () if inbox is None else inbox if isinstance(inbox, deque) else (inbox,)
    for place, candidate in enumerate(waiting):
        if (candidate.sender, candidate.sequence, candidate.kind) == (
            message.sender,
            message.sequence,
            message.kind,
        ):
            return place
    return None

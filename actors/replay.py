"""Runs a run again from its journal: without a model, a tool, a clock or a network, and compares.

`replay_run` carries out every cell's journal and stops at the first agent that does not send what it sent.
`replay_agent` does so for one agent alone, from its own lines of the journal, and can stop in the debugger where it
takes a message.

What is compared: each message when it is taken (against the sender in the same cell, made again), and each batch
between cells (against the sending cell, made again). A message that nobody took, since the run ended or a fault lost
it, is not in any journal and is not compared.
"""

import asyncio
import inspect
import pdb
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from actors import entry
from actors.address import Placement
from actors.cell import Cell
from actors.entry import AnyEntry, decode_entries
from actors.errors import ConfigurationError, SwarmError
from actors.fingerprint import combined
from actors.harvest import final_fingerprint
from actors.journal import read_journal
from actors.layout import cell_folder, layout_in
from actors.mail import Mail
from actors.message import Kind, Message, decode_batch, is_same
from actors.plan import Plan
from actors.player import Diverged, Player
from actors.resident import Resident
from actors.turn import Turn, Wait
from actors.waiting import Timer

_LOOP_TICKS = 8


class ReplayReport(msgspec.Struct, frozen=True):
    """A run that did again what it did."""

    cells: int
    entries: int
    turns: int
    compared: int
    """Messages between cells that were compared; those within a cell all are."""
    fingerprint: str
    seconds: float


class AgentReport(msgspec.Struct, frozen=True):
    """An agent that did again what it did."""

    address: str
    turns: int
    sends: int
    compared: int
    """Sends that some agent took, and so could be compared."""
    state: dict[str, Any]
    """Its attributes at the end."""


class Unattended:
    """The hooks of a cell that is only played."""

    def __init__(self) -> None:
        self.player: Player | None = None

    def wake(self) -> None: ...

    def run_effect(self, wait: Wait) -> None: ...

    def answered(self, sequence: int) -> None: ...

    def load_agent(self, resident: Resident) -> None: ...

    def round_begins(self) -> None: ...

    def held_next(self, address: str, sequence: int) -> bool | None:
        return None if self.player is None else self.player.held_next(address, sequence)


def placement_in(journal: Path, plan: Plan) -> Placement:
    """The layout that a journal was written with. Raises `ConfigurationError` if there is no journal."""
    placement = layout_in(journal, plan)
    if placement is None:
        raise ConfigurationError(
            f"{journal} holds no journal. Replay needs one: run with `swarm.journal` on (it is, unless set to false)."
        )
    return placement


def entries_of(journal: Path, cell: int) -> Iterator[AnyEntry]:
    """All entries of a cell, in order."""
    for _, payload in read_journal(cell_folder(journal, cell)):
        yield from decode_entries(payload)


async def replay_run(
    journal: Path, plan: Plan, progress: Callable[[int, int], None] | None = None
) -> ReplayReport:
    """Runs all cells again. Raises `Diverged` at the first difference. `progress` gets (cell, entries played)."""
    began = time.monotonic()
    placement = placement_in(journal, plan)
    totals: list[int] = []
    played = turns = compared = 0
    for number in range(placement.cells):
        cell, player = _cell_to_play(plan, placement, number)
        streams = {peer: _arrived(journal, peer, number) for peer in range(placement.cells) if peer != number}
        try:
            for _, payload in read_journal(cell_folder(journal, number)):
                await player.play(decode_entries(payload))
                for peer, stream in streams.items():
                    compared += _compare_outbox(cell, peer, stream)
                if progress is not None:
                    progress(number, player.played)
            if cell.fingerprint is not None:
                totals.append(final_fingerprint(cell, None))
        finally:
            await _end(cell)
        played += player.played
        turns += cell.turns
    fingerprint = combined(totals) if totals else ""
    return ReplayReport(placement.cells, played, turns, compared, fingerprint, time.monotonic() - began)


async def _end(cell: Cell) -> None:
    cell.close()
    for _ in range(3):
        await asyncio.sleep(0)  # Tasks that stood for turns end.


def _cell_to_play(plan: Plan, placement: Placement, number: int) -> tuple[Any, Player]:
    hooks = Unattended()
    cell = Cell(plan, placement, number, hooks)
    hooks.player = player = Player(cell)
    return cell, player


def _arrived(journal: Path, cell: int, source: int) -> Iterator[Message]:
    following = 0
    for line in entries_of(journal, cell):
        if isinstance(line, entry.Arrived) and line.source == source:
            messages = decode_batch(line.data)
            yield from messages[max(0, following - line.first) :]
            following = max(following, line.first + line.count)


def _compare_outbox(cell: Cell, peer: int, stream: Iterator[Message]) -> int:
    compared = 0
    for got in cell.mail.outboxes[peer]:
        expected = next(stream, None)
        if expected is None:
            break  # It was on its way when the run ended.
        if not is_same(got, expected):
            raise Diverged(
                f"{got.sender} now sends another message to {got.recipient} than before:\n"
                f"  expected {expected}\n  got      {got}",
                got.sender,
                expected.message_id,
                repr(expected),
                repr(got),
            )
        compared += 1
    cell.mail.outboxes[peer].clear()
    return compared


class _KeptMail(Mail):
    """The mail of a cell in which one agent lives: what it sends is kept, not delivered."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.sends: list[Message] = []

    def dispatch(self, message: Message) -> None:
        """Keeps what is sent."""
        self.sends.append(message)


async def replay_agent(
    journal: Path, plan: Plan, address: str, *, until: str | None = None, debug: bool = False
) -> AgentReport:
    """Runs one agent again, from its own lines in the journal, up to the message with id `until`, or to the end.

    With `debug`, the debugger stops at the first line of the handler that takes `until` (or each message). Raises
    `Diverged` at the first send that differs, `ConfigurationError` if the agent or the message is not in the journal.
    """
    placement = placement_in(journal, plan)
    number = placement.cell_of(address)
    cell, _ = _cell_to_play(plan, placement, number)
    cell.hooks.player = None
    cell.mail = mail = _KeptMail(cell)
    refused = (line for line in entries_of(journal, number) if isinstance(line, entry.Refused))
    mail.play({(line.address, line.sequence) for line in refused})
    expected = _sent_by(journal, placement, address)
    solo = _SoloPlayer(cell, mail, address)
    try:
        compared, sends = await _play_alone(solo, entries_of(journal, number), expected, until, debug=debug)
        resident = cell.mail.residents.get(address)
        if resident is None:
            raise ConfigurationError(f"{address} took no message in this run: there is nothing to replay.")
        if until is not None and not solo.met:
            raise ConfigurationError(
                f"{address} took no message {until!r} in this run. Ids look like `{address}#12` (sender#number)."
            )
        state = {} if resident.agent is None else dict(vars(resident.agent))
        return AgentReport(address, resident.turns, sends, compared, state)
    finally:
        await _end(cell)


async def _play_alone(
    solo: "_SoloPlayer",
    lines: Iterator[AnyEntry],
    expected: dict[int, list[Message]],
    until: str | None,
    *,
    debug: bool,
) -> tuple[int, int]:
    debugger = _Debugger() if debug else None
    compared = sends = 0
    for line in lines:
        watched = solo.begins_turn(line, until)
        if solo.cell.waiting.bridged and solo.is_about(line):
            for _ in range(_LOOP_TICKS):
                await asyncio.sleep(0)  # Tasks of asyncio's own, which the agent made, get on.
        with solo.cell.stepper.entered():
            if debugger is not None and watched is not None:
                debugger.watch(solo.handler_of(watched))
            solo.carry_out(line)
            if debugger is not None:
                debugger.rest()
        while solo.sleeping:
            await solo.until_woken()
        for message in solo.mail.sends:
            compared += _compare_send(message, expected, one_to_one=solo.cell.mail.injector is None)
        sends += len(solo.mail.sends)
        solo.mail.sends.clear()
        if solo.met:
            break
    return compared, sends


def _sent_by(journal: Path, placement: Placement, address: str) -> dict[int, list[Message]]:
    """What an agent sent, by number, as those who took it wrote it down."""
    found: dict[int, list[Message]] = {}
    for cell in range(placement.cells):
        for line in entries_of(journal, cell):
            if isinstance(line, entry.Took | entry.Answered) and line.message.sender == address:
                found.setdefault(line.message.sequence, []).append(line.message)
    return found


def _compare_send(got: Message, expected: dict[int, list[Message]], *, one_to_one: bool) -> int:
    """Compares a send with what was taken. `one_to_one`: no fault has made several messages of one."""
    known = expected.get(got.sequence, [])
    to_same = [message for message in known if message.recipient == got.recipient]
    if not known or (not to_same and not one_to_one):
        return 0
    if any(is_same(got, message) for message in to_same):
        return 1
    message = (to_same or known)[0]
    raise Diverged(
        f"{got.sender} now sends another message {got.message_id} than before:\n  expected {message}\n  got      {got}",
        got.sender,
        got.message_id,
        repr(message),
        repr(got),
    )


class _SoloPlayer:
    """Carries out the lines of one agent."""

    def __init__(self, cell: Cell, mail: _KeptMail, address: str) -> None:
        self.cell = cell
        self.mail = mail
        self.sleeping = False
        """True while the agent awaits something of asyncio that the journal says was over."""
        self.met = False
        """True once the message to stop at was met."""
        self._address = address
        self._woken: tuple[Any, ...] | None = None

    def is_about(self, line: AnyEntry) -> bool:
        """True if a line is the agent's."""
        return getattr(line, "address", None) == self._address

    def begins_turn(self, line: AnyEntry, until: str | None) -> Message | None:
        """The message with which a turn of the agent begins here, if it is one to stop at."""
        if not isinstance(line, entry.Took | entry.Answered) or line.address != self._address:
            return None
        if until is not None and line.message.message_id != until:
            return None
        self.met = until is not None
        return line.message if isinstance(line, entry.Took) else None

    def handler_of(self, message: Message) -> Callable[..., Any]:
        """The method that will take a message."""
        agent = self.cell.roles[self._address.partition("/")[0]].agent
        match Kind(message.kind):
            case Kind.START:
                return agent.on_start
            case Kind.STOP:
                return agent.on_stop
            case Kind.FAILURE:
                return agent.on_failure
            case _:
                return agent.on_message

    def carry_out(self, line: AnyEntry) -> None:
        """Carries out a line if it is about the agent, or about time."""
        cell, waiting, address = self.cell, self.cell.waiting, self._address
        match line:
            case entry.Took(who, message) if who == address:
                cell.take(cell.mail.residents.get(address) or cell.mail.lodge(address), message)
            case entry.Answered(who, message) if who == address:
                wait = waiting.asks.get((address, message.reply_to))
                if wait is None:
                    raise Diverged(
                        f"{address} asked #{message.reply_to} before and now has not",
                        address,
                        f"{address}#{message.reply_to}",
                        f"an ask, answered by {message}",
                        "none",
                    )
                waiting.asks.pop(wait.key)
                waiting.answered(wait, message)
            case entry.Fired(tick, who, number) if who == address and not line.recipient:
                self._fire(tick, number)
            case entry.Finished(who, number, value, error) if who == address:
                effect = waiting.effects.get((address, number))
                if effect is None:
                    raise Diverged(
                        f"{address} made call {number} to the outside before and now has not", address
                    )
                waiting.finish_effect(effect, value, error)
            case entry.Released(who) if who == address:
                waiting.release_agent(address)
            case entry.Woke(who) if who == address:
                self.sleeping = True
            case entry.Clock(now):
                cell.now = now
            case entry.Began(number, _):
                cell.measures.fold()
                cell.now = float(number)
            case entry.Changed():
                cell.change_plan()
            case _:
                pass
        self._sort_ready()

    def _fire(self, tick: int, number: int) -> None:
        waiting = self.cell.waiting
        item = waiting.timers.remove(tick, (self._address, number))
        if item is None:
            raise Diverged(
                f"{self._address} had set timer {number} for {tick} and now has not", self._address
            )
        if isinstance(item, Wait):
            waiting.ring(tick, item)
        elif isinstance(item, Timer):
            waiting.carry_out(tick, item)

    def _sort_ready(self) -> None:
        for item in self.cell.ready:
            if isinstance(item, tuple) and isinstance(item[1], Turn):
                self._woken = item
        self.cell.ready.clear()

    async def until_woken(self) -> None:
        """Lets asyncio run until what the agent awaited by itself is over; then the agent goes on."""
        async with asyncio.timeout(60):
            while self._woken is None:
                await asyncio.sleep(0.001)
                self._sort_ready()
        woken, self._woken, self.sleeping = self._woken, None, False
        with self.cell.stepper.entered():
            woken[0](*woken[1:])
        self._sort_ready()


class _Debugger:
    """Stops in pdb at the first line of a handler."""

    def __init__(self) -> None:
        self._pdb = pdb.Pdb(nosigint=True)

    def watch(self, handler: Callable[..., Any]) -> None:
        """Stops when the handler's body begins."""
        code = inspect.unwrap(handler).__code__
        lines = sorted(
            line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno
        )
        problem = self._pdb.set_break(
            code.co_filename, lines[0] if lines else code.co_firstlineno, temporary=True
        )
        if problem:
            raise SwarmError(f"cannot stop in {code.co_qualname}: {problem}")
        self._pdb.reset()
        self._pdb.botframe = sys._getframe()
        self._pdb.set_continue()
        sys.settrace(self._pdb.trace_dispatch)

    def rest(self) -> None:
        """Stops watching."""
        sys.settrace(None)

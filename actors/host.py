"""Runs a cell: its loop, its links to other cells, its journal, and its recovery.

One for each cell, in this process (`Swarm.local`) or in a Ray actor (`actors/ray_cell.py`). All of it runs on one event
loop.

Rules:
* Nothing leaves the cell before the entries that it follows from are committed to the journal.
* A packet is answered when it is committed. While more messages wait in the cell than it may hold, and it gets on with
  them, answers are withheld: that is what slows down its senders. A cell whose agents all wait for room answers at
  once, else two cells that are full could wait for one another for ever.
* The host of a restarted cell reads its checkpoint, plays its journal from there, and goes on.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec

from actors import checkpoint
from actors.address import Placement
from actors.cell import Cell
from actors.entry import Arrived, decode_entries, encode_entries
from actors.errors import InvalidContent, SwarmError
from actors.journal import JournalWriter, Position, TornTail, read_journal
from actors.link import Incoming, Packet
from actors.links import Links, Transport
from actors.mail import STOP_SENDER
from actors.message import Kind, Message
from actors.plan import Plan
from actors.player import Player
from actors.resident import Resident
from actors.state import capture, encode_state
from actors.status import Harvest, Status
from actors.store import CheckpointStore
from actors.turn import Wait
from actors.waiting import TICKS_PER_S

BURST_TURNS = 2000
_COMMIT_ENTRIES = 20_000
_SMALL_IN_FLIGHT = 2
_LOOP_TICKS = 5
_RETRY_S = (0.01, 1.0)


class Host:
    """Runs one cell."""

    def __init__(self, plan: Plan, placement: Placement, number: int, transport: Transport) -> None:
        self.plan = plan
        self.cell = Cell(plan, placement, number, self)
        self.epoch = 1
        self.busy_s = 0.0
        """Seconds spent in turns."""
        self._player: Player | None = None
        self.links = Links(self, transport)
        self._journal: JournalWriter | None = None
        self._store: CheckpointStore | None = None
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._listeners: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._closing = False
        self._error: BaseException | None = None
        self._started_at = time.monotonic()
        self._sent_before: dict[int, int] = {}
        self._checkpointed = 0
        self._recovered = 0
        self._recovery_s = 0.0
        self._torn: TornTail | None = None

    # --- life --------------------------------------------------------------------------------------------------

    async def open(self) -> Status:
        """Opens the journal, if there is to be one, and recovers what it holds. Call once, first."""
        settings = self.plan.journal
        if settings is not None:
            folder = cell_folder(settings.directory, self.cell.number)
            folder.mkdir(parents=True, exist_ok=True)
            self._journal = JournalWriter(
                folder, segment_bytes=settings.segment_bytes, compress=settings.compress, sync=settings.sync
            )
            self._torn = self._journal.torn
            self.epoch = _next_epoch(folder)
            self._store = CheckpointStore(folder / "checkpoint.db")
            await self._recover(folder)
            if settings.checkpoint_every is not None:
                self.cell.dirty = self.cell.dirty if self.cell.dirty is not None else set()
            self.cell.log = []
        elif self.plan.limits.resident_agents is not None:
            self._store = CheckpointStore(None)
        self._started_at = time.monotonic() - (0.0 if self.cell.rounds else self.cell.now)
        if self._player is not None:
            player, self._player = self._player, None
            player.finish()
            for wait in list(self.cell.waiting.effects.values()):
                self.run_effect(wait)
        self.links.send_again()
        return self.status()

    async def _recover(self, folder: Path) -> None:
        assert self._store is not None
        began = time.monotonic()
        self.cell.dirty = set()
        state = checkpoint.load(self.cell, self._store, self.links.outgoing, self.links.incoming)
        start = None
        if state is not None:
            start = None if state.journal is None else Position(*state.journal)
            self._sent_before = state.sent_before
        self._player = player = Player(self.cell)
        for _, payload in read_journal(folder, start):
            entries = decode_entries(payload)
            await player.play(entries)
            for line in entries:
                if isinstance(line, Arrived):
                    self.links.incoming[line.source] = Incoming(line.first + line.count, line.epoch)
            self.links.pack_all()
        self._recovered = player.played
        self._recovery_s = time.monotonic() - began

    def begin(self) -> None:
        """Starts the agents that act by themselves, once; in `free`, begins to run."""
        if not self.cell.started:
            self.cell.start()
        if not self.cell.rounds and self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run_freely())

    async def wind_down(self) -> None:
        """The swarm ends in good order: runs `on_stop` of the agents that are idle and define it."""
        cell = self.cell
        idle = [
            resident
            for resident in cell.mail.residents.values()
            if resident.role.stops and resident.agent is not None and resident.turn is None
        ]
        for resident in idle:
            cell.mail.deliver(Message(STOP_SENDER, resident.address, 0, (), Kind.STOP))
        # Others may be busy for ever, in a run that was ended by a limit: it is those told to stop that are waited for.
        while idle and cell.burst(BURST_TURNS):
            while idle and idle[-1].address not in cell.mail.residents:
                idle.pop()
            await asyncio.sleep(0)

    async def close(self, in_good_order: bool = True) -> None:
        """Ends the cell: a last commit, and in good order a last checkpoint."""
        self._closing = True
        self._wake.set()
        for task in [*self._tasks, *([self._pump] if self._pump else [])]:
            task.cancel()
        await asyncio.gather(*self._tasks, *([self._pump] if self._pump else []), return_exceptions=True)
        if self._journal is not None:
            self.commit()
            if in_good_order and self._error is None:
                self._checkpoint()
            self._journal.close()
        self.cell.log = None
        self.cell.close()
        for _ in range(_LOOP_TICKS):
            await asyncio.sleep(0)
        if self._store is not None:
            self._store.close()

    def status(self) -> Status:
        """How the cell does; safe to call from another thread."""
        cell = self.cell
        return Status(
            cell=cell.number,
            epoch=self.epoch,
            now=cell.now,
            ready=len(cell.ready),
            queued=cell.mail.queued,
            suspended=cell.stepper.suspended,
            agents=len(cell.mail.residents) + len(cell.waiting.resting),
            turns=cell.turns,
            sent={peer: link.next_number for peer, link in list(self.links.outgoing.items())},
            sent_before=dict(self._sent_before),
            received={source: link.expected for source, link in list(self.links.incoming.items())},
            outboxes=sum(map(len, cell.mail.outboxes)),
            unanswered=sum(len(link.unanswered) for link in self.links.outgoing.values()),
            next_tick=cell.waiting.timers.next_tick(),
            outside=cell.waiting.outside(),
            pending_local=len(cell.mail.next_local)
            + sum(len(queue) for queue in list(cell.mail.arrived.values())),
            counts=cell.all_counts(),
            measures=cell.measures.latest(),
            stop_error=cell.stop_error
            or (None if self._error is None else f"cell {cell.number}: {self._error}"),
            recovered_entries=self._recovered,
            recovery_s=self._recovery_s,
            torn_bytes=0 if self._torn is None else self._torn.bytes_cut,
        )

    def harvest(self) -> Harvest:
        """What the run leaves here; the final states enter the fingerprint."""
        cell = self.cell
        cell.measures.fold()
        total = None
        if cell.fingerprint is not None:
            total = self._final_fingerprint()
        return Harvest(
            agents=len(cell.mail.residents.keys() | cell.waiting.resting),
            turns=cell.turns,
            counts=cell.all_counts(),
            traffic=cell.traffic(),
            sums=cell.measures.sums,
            results=cell.results,
            failures=cell.failures,
            sample=cell.sample,
            fingerprint=total,
        )

    def _final_fingerprint(self) -> int:
        cell = self.cell
        assert cell.fingerprint is not None
        final = type(cell.fingerprint)(cell.fingerprint.total)
        for resident in cell.mail.residents.values():
            if resident.turns or resident.agent is not None:
                final.state(
                    resident.address, resident.sequence, resident.turns, resident.draws, _captured(resident)
                )
        for address in cell.waiting.resting - cell.mail.residents.keys():
            resident = Resident(address, cell.roles[address.partition("/")[0]])
            assert self._store is not None
            checkpoint.wake(resident, self._store)
            if resident.turns or resident.agent is not None:
                final.state(address, resident.sequence, resident.turns, resident.draws, _captured(resident))
        return final.total

    # --- hooks of the cell -------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something is ready."""
        self._wake.set()

    def held_next(self, address: str, sequence: int) -> bool | None:
        """Whether the journal that is being played says that an agent was held here; None if none is played."""
        return None if self._player is None else self._player.held_next(address, sequence)

    def round_begins(self) -> None:
        """Keeps how much had been sent to each peer before the round."""
        outboxes = self.cell.mail.outboxes
        self._sent_before = {
            peer: link.next_number + len(outboxes[peer]) for peer, link in self.links.outgoing.items()
        }

    def load_agent(self, resident: Resident) -> None:
        """Wakes a resting agent."""
        assert self._store is not None
        self.cell.waiting.resting.discard(resident.address)
        checkpoint.wake(resident, self._store)

    def run_effect(self, wait: Wait) -> None:
        """Calls the outside world for an agent; not while a journal is played, which has the result."""
        if self._player is None:
            self.spawn(self._run_effect(wait))

    async def _run_effect(self, wait: Wait) -> None:
        function, arguments = wait.effect
        try:
            if inspect.iscoroutinefunction(function):
                result = await function(*arguments)
            else:
                result = await asyncio.to_thread(function, *arguments)
            value, error = encode_state(result), ""
        except Exception as raised:
            name = getattr(function, "__qualname__", repr(function))
            value, error = b"", f"{name}: {type(raised).__name__}: {raised}"
        self.cell.waiting.effect_done(wait, value, error)

    # --- running -----------------------------------------------------------------------------------------------

    async def _run_freely(self) -> None:
        cell = self.cell
        try:
            while not self._closing:
                now = time.monotonic() - self._started_at
                tick = cell.waiting.timers.next_tick()
                if cell.ready or (tick is not None and tick <= now * TICKS_PER_S):
                    cell.set_clock(now)
                    for message in cell.waiting.fire(int(cell.now * TICKS_PER_S)):
                        cell.mail.deliver(message)
                more = self._burst()
                self.links.flush(everything=not more)
                self._progress.set()
                self._look_after()
                if more:
                    await asyncio.sleep(0)
                else:
                    await self._idle()
        except Exception as error:
            self._error = error
            raise

    def _burst(self) -> bool:
        began = time.perf_counter()
        more = self.cell.burst(BURST_TURNS)
        self.busy_s += time.perf_counter() - began
        return more

    async def _idle(self) -> None:
        if self.cell.ready:
            return
        tick = self.cell.waiting.timers.next_tick()
        timeout = None
        if tick is not None:
            timeout = max(0.0, tick / TICKS_PER_S - (time.monotonic() - self._started_at))
        self._wake.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def round(self, number: int, boundaries: dict[int, int]) -> Status:
        """Carries out a round, or what is left of it after a recovery. Asked again, answers again."""
        cell = self.cell
        if number < cell.now:
            return msgspec.structs.replace(self.status(), now=float(number), sent=dict(self._sent_before))
        while any(self.links.source(source).expected < boundary for source, boundary in boundaries.items()):
            self._raise_error()
            self._progress.clear()
            await self._progress.wait()
        if number > cell.now:
            cell.begin_round(number, boundaries)
        else:
            for message in cell.waiting.fire(number):
                cell.mail.deliver(message)
        await self._finish_round()
        self.links.flush(everything=True)
        self.commit()
        settings = self.plan.journal
        if settings is not None and settings.checkpoint_every and number % settings.checkpoint_every == 0:
            self._checkpoint()
        self._look_after()
        return self.status()

    async def _finish_round(self) -> None:
        cell = self.cell
        while True:
            while self._burst():
                self.links.flush(everything=False)
                await asyncio.sleep(0)
                self._raise_error()
            if cell.waiting.bridged:
                # Tasks of asyncio's own may have been given an answer: let them get to their next wait.
                for _ in range(_LOOP_TICKS):
                    await asyncio.sleep(0)
            if cell.ready:
                continue
            if not cell.waiting.outside():
                return
            self.links.flush(everything=False)
            self._wake.clear()
            await self._wake.wait()

    def _look_after(self) -> None:
        """Between bursts: checkpoints and resting agents."""
        settings, limit = self.plan.journal, self.plan.limits.resident_agents
        if settings is not None and settings.checkpoint_every and not self.cell.rounds:
            due = self._checkpointed + settings.checkpoint_every * 1000
            if self.cell.turns >= due and not self.cell.stepper.suspended:
                self._checkpoint()
        if limit is not None and len(self.cell.mail.residents) > limit + limit // 10:
            self._put_to_rest(len(self.cell.mail.residents) - limit)

    def _put_to_rest(self, count: int) -> None:
        assert self._store is not None
        cell = self.cell
        idle = [r for r in cell.mail.residents.values() if r.turn is None and r.inbox is None]
        for resident in idle[:count]:
            checkpoint.rest(resident, self._store)
            cell.waiting.resting.add(resident.address)
            del cell.mail.residents[resident.address]
            if cell.dirty is not None:
                cell.dirty.discard(resident.address)

    def _checkpoint(self) -> None:
        if self._store is None or self.cell.stepper.suspended or self._journal is None:
            return
        self.commit()
        # The checkpoint is on the disk at once; the journal that it points into must be there before.
        self._journal.sync()
        self._checkpointed = self.cell.turns
        at = self._journal.position
        checkpoint.save(
            self.cell,
            self._store,
            (at.segment, at.offset),
            outgoing=self.links.outgoing,
            incoming=self.links.incoming,
            sent_before=self._sent_before,
        )

    def commit(self) -> None:
        """Writes the entries since the last commit to the journal."""
        log = self.cell.log
        if log and self._journal is not None:
            try:
                self._journal.append(encode_entries(log))
            except SwarmError as error:
                self.fail(error)
                raise
            log.clear()

    # --- links -------------------------------------------------------------------------------------------------

    async def deliver(self, source: int, epoch: int, packet: Packet) -> int:
        """Takes a packet from another cell; answers when it is committed and the cell can take more."""
        self._raise_error()
        expected = self.links.take(source, epoch, packet)
        self.commit()
        self._wake.set()
        self._progress.set()
        cell, limit = self.cell, self.plan.limits.inbox_messages
        while cell.mail.queued > limit and not cell.rounds and cell.ready and not self._closing:
            self._progress.clear()
            await self._progress.wait()
        return expected

    def packet_answered(self) -> None:
        """A peer has answered a packet."""
        self._progress.set()
        self._wake.set()

    def fail(self, error: BaseException) -> None:
        """The cell cannot go on."""
        self._error = error
        self._closing = True
        self._progress.set()
        self._wake.set()

    @property
    def closing(self) -> bool:
        """True once the cell ends."""
        return self._closing

    def answered(self, sequence: int) -> None:
        """A message from outside has its answer."""
        for listener in self._listeners:
            listener.set()

    def take_answer(self, sequence: int) -> Message | None:
        """The answer to message number `sequence` from outside, if it is there. May be asked again."""
        return self.cell.mail.take_answer(sequence)

    async def answer_to(self, sequence: int) -> Message:
        """Waits for the answer to message number `sequence` from outside."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            while (answer := self.take_answer(sequence)) is None:
                listener.clear()
                await listener.wait()
            return answer
        finally:
            self._listeners.discard(listener)

    # --- small things ------------------------------------------------------------------------------------------

    def _raise_error(self) -> None:
        if self._error is not None:
            raise SwarmError(f"cell {self.cell.number}: {self._error}") from self._error

    def spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _captured(resident: Resident) -> bytes:
    if resident.agent is None:
        return b""
    try:
        return capture(resident.agent)
    except InvalidContent as error:
        raise InvalidContent(f"the state of {resident.address} cannot be saved: {error}") from error


def cell_folder(directory: Path, number: int) -> Path:
    """Where a cell keeps its journal and checkpoints."""
    return directory / f"cell-{number:04d}"


def _next_epoch(folder: Path) -> int:
    file = folder / "epoch"
    epoch = int(file.read_text()) + 1 if file.exists() else 1
    fresh = folder / "epoch.new"
    fresh.write_text(str(epoch))
    fresh.replace(file)
    return epoch

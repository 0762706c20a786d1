"""Runs a cell: its loop, its links to other cells, its journal, and its recovery.

One for each cell, in this process (`Swarm.local`) or in a Ray actor (`actors/ray_cell.py`). All of it runs on one event
loop.

Rules:
* Nothing leaves the cell before the entries that it follows from are committed to the journal.
* A packet is answered when it is committed. While more messages wait in the cell than it may hold, and it gets on with
  them, answers are withheld: that is what slows down its senders. A cell whose agents wait for room or for an answer,
  and do nothing else, answers at once, else two cells that are full could wait for one another for ever.
* The host of a restarted cell reads its checkpoint, plays its journal from there, and goes on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from actors import checkpoint
from actors.address import Placement
from actors.cell import Cell
from actors.entry import Arrived, decode_entries, encode_entries
from actors.errors import CellLost, SwarmError
from actors.harvest import harvest_of
from actors.journal import JournalWriter, Position, TornTail, read_journal
from actors.layout import cell_folder, crash_due, next_epoch
from actors.link import Incoming, Packet
from actors.links import Links, Transport
from actors.mail import STOP_SENDER
from actors.message import Kind, Message
from actors.outside import Listeners, outcome_of
from actors.plan import Plan
from actors.player import Player
from actors.resident import Resident
from actors.status import Harvest, Status, state_of
from actors.store import CheckpointStore
from actors.trace import tracer
from actors.turn import Wait
from actors.waiting import TICKS_PER_S

BURST_TURNS = 2000
_LOOP_TICKS = 5
_ROUNDING_TICKS = 1e-6


class Host:
    """Runs one cell."""

    def __init__(
        self,
        plan: Plan,
        placement: Placement,
        number: int,
        transport: Transport,
        die: Callable[[], None] | None = None,
    ) -> None:
        """`die` ends the cell's process, for an experiment that says so; None where a cell is not a process."""
        self.plan = plan
        self.dead = False
        """True once an experiment has killed the cell."""
        self._die = die
        self._opened = False
        self._allowance = None if plan.budget_messages is None else 0
        """The number of turns at which the cell must stop, of a budget; None without one."""
        self.latest: Status | None = None
        """How the cell did when its thread last came to tell: for other threads, while that one is busy."""
        crashes = () if plan.faults is None else plan.faults.cell_crashes
        mine = ((n, crash) for n, crash in enumerate(crashes) if crash.cell == number)
        self._crashes = sorted(mine, key=lambda crash: crash[1].at)
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
        self._listeners = Listeners()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._closing = False
        self._error: BaseException | None = None
        self._started_at = 0.0
        self._sent_before: dict[int, int] = {}
        self._checkpointed = 0
        self._recovered = 0
        self._recovery_s = 0.0
        self._torn: TornTail | None = None

    # --- life --------------------------------------------------------------------------------------------------

    async def open(self) -> Status:
        """Opens the journal, if there is to be one, and recovers what it holds. Again, it tells the status."""
        if self._opened:
            return self.status()
        self._opened = True
        settings = self.plan.journal
        if settings is not None:
            folder = cell_folder(settings.directory, self.cell.number)
            folder.mkdir(parents=True, exist_ok=True)
            self._journal = JournalWriter(
                folder, segment_bytes=settings.segment_bytes, compress=settings.compress, sync=settings.sync
            )
            self._torn = self._journal.torn
            self.epoch = next_epoch(folder)
            self._store = CheckpointStore(folder / "checkpoint.db")
            with tracer.start_as_current_span("recovery", attributes={"rayswarm.cell": self.cell.number}):
                await self._recover(folder)
            if settings.checkpoint_every is not None:
                self.cell.dirty = self.cell.dirty if self.cell.dirty is not None else set()
            self.cell.log = []
        elif self.plan.limits.resident_agents is not None:
            self._store = CheckpointStore(None)
        self._started_at = self._clock() - (0.0 if self.cell.rounds else self.cell.now)
        if self._player is not None:
            player, self._player = self._player, None
            player.finish()
            for wait in list(self.cell.waiting.effects.values()):
                self.run_effect(wait)
        self.links.send_again()
        self.latest = self.status()
        return self.latest

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
            self.commit()  # Whoever called knows that they are started; so must a host that recovers.
        if not self.cell.rounds and self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run_freely())
        self.latest = self.status()

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

    def _crash_if_due(self, now: float) -> None:
        """Kills the cell where the experiment says so, once: it comes back and passes the moment again."""
        journal = self.plan.journal
        if journal is None or not crash_due(
            self._crashes, now, cell_folder(journal.directory, self.cell.number)
        ):
            return
        self.dead = True
        if self._die is not None:
            self._die()
        raise CellLost(f"cell {self.cell.number} was killed by the experiment at {now:g}")

    async def abandon(self) -> None:
        """Leaves the cell as a kill would: nothing is written any more."""
        journal = self._journal
        self._journal = None  # so that nothing is committed
        try:
            await self.close(in_good_order=False)
        finally:
            if journal is not None:
                journal.close()

    async def close(self, in_good_order: bool = True) -> None:
        """Ends the cell: a last commit, and in good order a last checkpoint."""
        self._closing = True
        self._wake.set()
        for task in [*self._tasks, *([self._pump] if self._pump else [])]:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, *([self._pump] if self._pump else []), return_exceptions=True)
            self.commit()
            if in_good_order and self._error is None:
                self._checkpoint()
        finally:  # What holds files is let go, whatever happens: somebody may open them again in this process.
            if self._journal is not None:
                self._journal.close()
            self.cell.log = None
            self.cell.close()
            if self._store is not None:
                self._store.close()
        for _ in range(_LOOP_TICKS):
            await asyncio.sleep(0)

    def status(self) -> Status:
        """How the cell does. From its own thread; others read `latest`."""
        problem = None if self._error is None else f"cell {self.cell.number}: {self._error}"
        return Status(
            epoch=self.epoch,
            exhausted=self.exhausted,
            sent_before=dict(self._sent_before),
            **self.links.state(),
            stop_error=self.cell.stop_error or problem,
            recovered_entries=self._recovered,
            recovery_s=self._recovery_s,
            torn_bytes=0 if self._torn is None else self._torn.bytes_cut,
            **state_of(self.cell),
        )

    def harvest(self) -> Harvest:
        """What the run leaves here; the final states enter the fingerprint."""
        return harvest_of(self.cell, self._store)

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
        try:
            self.commit()  # What led to the call is known before the world outside notices it.
        except SwarmError:
            return  # The cell has failed, and says so.
        value, error = await outcome_of(*wait.effect, *wait.key)
        self.cell.waiting.effect_done(wait, value, error)

    # --- running -----------------------------------------------------------------------------------------------

    async def _run_freely(self) -> None:
        cell = self.cell
        try:
            while not self._closing:
                now = self._clock() - self._started_at
                tick = cell.waiting.timers.next_tick()
                due = int(now * TICKS_PER_S + _ROUNDING_TICKS)
                if cell.ready or (tick is not None and tick <= due):
                    self._crash_if_due(now)
                    cell.set_clock(now)
                    for message in cell.waiting.fire(due):
                        cell.mail.deliver(message)
                more = self._burst()
                self.links.flush(everything=not more)
                self._progress.set()
                self._look_after()
                self.latest = self.status()
                if more:
                    await asyncio.sleep(0)
                else:
                    await self._idle()
        except Exception as error:
            self._error = error
            raise
        finally:
            self.links.let_rides_go()

    def _burst(self) -> bool:
        turns = (
            BURST_TURNS if self._allowance is None else min(BURST_TURNS, self._allowance - self.cell.turns)
        )
        if turns <= 0:
            return False
        began = time.perf_counter()
        more = self.cell.burst(turns)
        self.busy_s += time.perf_counter() - began
        return more

    @property
    def exhausted(self) -> bool:
        """True if agents have mail and the budget does not let them take it."""
        return self._allowance is not None and self.cell.turns >= self._allowance and bool(self.cell.ready)

    def grant(self, turns: int) -> int:
        """Lets agents here take so many messages more, no longer what they had been granted. Returns those taken."""
        self._allowance = self.cell.turns + turns
        self._wake.set()
        return self.cell.turns

    async def _idle(self) -> None:
        if self.cell.ready and not self.exhausted:
            return
        tick = self.cell.waiting.timers.next_tick()
        timeout = None
        if tick is not None:
            timeout = max(0.0, tick / TICKS_PER_S - (self._clock() - self._started_at))
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
            self._crash_if_due(number)
            cell.begin_round(number, boundaries)
        else:
            for message in cell.waiting.fire(number):
                cell.mail.deliver(message)
        with tracer.start_as_current_span(f"round {number}", attributes={"rayswarm.cell": cell.number}):
            await self._finish_round()
        self.links.flush(everything=True)
        self.commit()
        settings = self.plan.journal
        if settings is not None and settings.checkpoint_every and number % settings.checkpoint_every == 0:
            self._checkpoint()
        self._look_after()
        self.latest = self.status()
        return self.latest

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
            if self.exhausted:
                return
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
            assert self._store is not None
            checkpoint.put_to_rest(self.cell, self._store, len(self.cell.mail.residents) - limit)

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
        if self._closing or self._player is not None or not self._opened:
            # What is taken now would not be written down: let the sender keep it.
            raise SwarmError(f"cell {self.cell.number} is not ready: send again")
        expected = self.links.take(source, epoch, packet)
        self.taken()
        cell = self.cell
        while not self.links.has_room and not cell.rounds and not self._closing:
            if not cell.ready and cell.waiting.needs_others():
                break
            self._progress.clear()
            await self._progress.wait()
        return expected

    def taken(self) -> None:
        """A packet was taken: it is committed, and the cell sees to it."""
        self.commit()
        self.latest = self.status()
        self._wake.set()
        self._progress.set()

    @property
    def running_freely(self) -> bool:
        """Whether agents here run as soon as they have a message."""
        return self._pump is not None and not self._pump.done() and not self._closing

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
        self._listeners.tell()

    def take_answer(self, sequence: int) -> Message | None:
        """The answer to message number `sequence` from outside, if it is there. May be asked again."""
        answer = self.cell.mail.take_answer(sequence)
        if answer is not None:
            self.commit()
        return answer

    async def answer_to(self, sequence: int) -> Message:
        """Waits for the answer to message number `sequence` from outside."""
        return await self._listeners.hear(lambda: self.take_answer(sequence))

    # --- small things ------------------------------------------------------------------------------------------

    @staticmethod
    def _clock() -> float:
        # The loop's own, so that a loop with a virtual clock runs the swarm on it.
        return asyncio.get_running_loop().time()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise SwarmError(f"cell {self.cell.number}: {self._error}") from self._error

    def spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

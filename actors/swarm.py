"""The user's handle on a swarm: start it, speak to it, run it, stop it.

    async with Swarm.local(Plan(roles={"greeter": Role(Greeter)})) as swarm:
        answer = await swarm.ask("greeter", "hello")

The same plan runs on `Swarm.local` (cells in this process) and `Swarm.on_ray` (each cell a Ray actor), with the same
results. In `rounds` the swarm conducts: it tells each cell to carry out a round and up to which message of each other
cell that round delivers, and goes on when all have done so. In `free` it only watches.

A run ends when it is quiet (no message under way, no timer set, nobody waiting), at a limit, or when `stop` says so.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from actors.errors import (
    FAILURES,
    AgentStopped,
    CellLost,
    DeadlinePassed,
    HandlerFailed,
    SwarmError,
)
from actors.layout import keep_layout
from actors.link import OUTSIDE_SOURCE, Outgoing
from actors.message import Content, Kind, Message, parts_of
from actors.plan import Plan
from actors.run import Progress, RunResult, Watch, result_of
from actors.runtime import CellDown, LocalRuntime, Runtime
from actors.status import Harvest, Status

OUTSIDE_ADDRESS = "@outside"
_POLL_S = (0.002, 0.1)
_LOOK_AFTER_S = 1.0


class Swarm:
    """A running swarm. Use as an asynchronous context manager."""

    def __init__(self, plan: Plan, runtime: Runtime) -> None:
        plan.check()
        self.plan = plan
        self.runtime = runtime
        self.placement = runtime.placement
        self._links: list[Outgoing] = []
        self._link_locks: list[asyncio.Lock] = []
        self._outboxes: list[list[Message]] = []
        self._revivals: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sequence = 0
        self._round = 0
        self._boundaries: list[dict[int, int]] = []
        self._unfinished = False
        """True after a recovery: the present round may not have been carried out by all cells to its end."""
        self._statuses: list[Status] = []
        self._recoveries: list[dict[str, Any]] = []
        self._started = False
        self._resumed = False
        self._seconds = 0.0

    @classmethod
    def local(cls, plan: Plan) -> "Swarm":
        """A swarm in this process."""
        plan.check()
        return cls(plan, LocalRuntime(plan))

    @classmethod
    def on_ray(cls, plan: Plan, address: str | None = None, **options: Any) -> "Swarm":
        """A swarm on Ray: the running cluster at `address`, or one found there, or one started here.

        `options` go to `ray.init` when a cluster is started here. Raises `ConfigurationError` if Ray is not usable.
        """
        # Ray is imported by who asks for it, not by everybody who imports a swarm: it takes a second.
        from actors.ray_runtime import RayRuntime  # noqa: PLC0415 - the reason is above

        plan.check()
        return cls(plan, RayRuntime(plan, address, options))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(in_good_order=kind is None)

    @property
    def dashboard(self) -> str | None:
        """The address of the Ray dashboard, if there is one."""
        return self.runtime.dashboard

    @property
    def resumed(self) -> bool:
        """True if the swarm went on from a journal."""
        return self._resumed

    @property
    def recoveries(self) -> list[dict[str, Any]]:
        """Cells that were brought back: {cell, epoch, entries, seconds, torn_bytes}."""
        return self._recoveries

    @property
    def now(self) -> float:
        """The last round, or seconds since the start."""
        return max((status.now for status in self._statuses), default=0.0)

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the cells; recovers what their journals hold."""
        await self.runtime.start()
        self.placement = self.runtime.placement
        cells = range(self.placement.cells)
        try:
            keep_layout(self.plan, self.placement)
            self._statuses = list(await asyncio.gather(*(self._call(cell, "open") for cell in cells)))
            for status in self._statuses:
                link = Outgoing(self.plan.limits.packet_bytes, status.received.get(OUTSIDE_SOURCE, 0))
                self._links.append(link)
                self._link_locks.append(asyncio.Lock())
                self._outboxes.append([])
                self._sequence += link.next_number
                self._note_recovery(status)
            self._resumed = any(s.epoch > 1 or s.recovered_entries for s in self._statuses)
            if self.plan.schedule == "rounds":
                self._continue_rounds()
            await asyncio.gather(*(self._call(cell, "begin") for cell in cells))
            self._statuses = list(await asyncio.gather(*(self._call(cell, "status") for cell in cells)))
        except BaseException:
            await self.stop(in_good_order=False)
            raise
        self._started = True

    async def stop(self, *, in_good_order: bool = True) -> None:
        """Ends the swarm; in good order, agents' `on_stop` runs first."""
        cells = range(self.placement.cells)
        try:
            if self._started and in_good_order:
                await asyncio.gather(*(self._call(cell, "wind_down") for cell in cells))
            await asyncio.gather(
                *(self.runtime.call(cell, "close", in_good_order) for cell in cells), return_exceptions=True
            )
        finally:
            self._started = False
            await self.runtime.stop()

    # --- speaking ----------------------------------------------------------------------------------------------

    async def begin(self, messages: Sequence[tuple[str, Content]]) -> None:
        """Sends what starts a run. In one that goes on from a journal, what it has already is not sent again."""
        known = [link.next_number for link in self._links]
        self._sequence = max(self._sequence, len(messages))
        for sequence, (to, content) in enumerate(messages, 1):
            message = Message(OUTSIDE_ADDRESS, to, sequence, parts_of(content))
            for cell in self._cells_of(to):
                if known[cell] > 0:
                    known[cell] -= 1
                else:
                    await self._tell_cell(cell, message)

    async def send(self, to: str, content: Content = None) -> None:
        """Sends a message from outside. In `rounds` it is delivered in the next round that runs."""
        self._sequence += 1
        await self._tell(Message(OUTSIDE_ADDRESS, to, self._sequence, parts_of(content)))

    async def broadcast(self, role: str, content: Content = None) -> None:
        """Sends a message to every agent of a role."""
        await self.send(f"{role}/*", content)

    async def ask(self, to: str, content: Content = None, timeout_s: float | None = None) -> Message:
        """Asks an agent and waits for its answer. In `rounds` it runs rounds until the answer is there.

        `timeout_s` is in seconds, or rounds in `rounds`. Raises as `Context.ask` does.
        """
        self._sequence += 1
        sequence, cell = self._sequence, self.placement.cell_of(to)
        limit = self.plan.limits.ask_timeout_s if timeout_s is None else timeout_s
        await self._tell(Message(OUTSIDE_ADDRESS, to, sequence, parts_of(content), Kind.ASK))
        try:
            if self.plan.schedule == "rounds":
                reply = await self._rounds_until_answered(cell, sequence, self._round + limit)
            else:
                reply = await asyncio.wait_for(self._call(cell, "answer_to", sequence), limit)
        except TimeoutError:
            raise DeadlinePassed(f"{to} did not answer within {limit:g} {self._unit()}") from None
        if reply.kind == Kind.FAILURE:
            raise FAILURES.get(reply.data["reason"], SwarmError)(reply.data["text"])
        return reply

    def _unit(self) -> str:
        return "rounds" if self.plan.schedule == "rounds" else "s"

    async def _tell(self, message: Message) -> None:
        if not self._started:
            raise AgentStopped("the swarm is not running: use it inside `async with`")
        await asyncio.gather(*(self._tell_cell(cell, message) for cell in self._cells_of(message.recipient)))

    def _cells_of(self, to: str) -> Sequence[int]:
        return range(self.placement.cells) if to.endswith("/*") else [self.placement.cell_of(to)]

    async def _tell_cell(self, cell: int, message: Message) -> None:
        link, outbox = self._links[cell], self._outboxes[cell]
        outbox.append(message)
        end = link.next_number + len(outbox)
        async with self._link_locks[cell]:
            # Whoever comes first takes along what others have brought, and what one left who was cancelled.
            while link.confirmed < end:
                packet = link.unanswered[0] if link.unanswered else link.pack(outbox)
                link.answered(await self._call(cell, "deliver", OUTSIDE_SOURCE, 1, packet))

    # --- running -----------------------------------------------------------------------------------------------

    async def run(
        self,
        rounds: int | None = None,
        timeout_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[Progress], bool] | None = None,
    ) -> RunResult:
        """Runs until it is quiet, for so many rounds more, so many seconds more, or until `stop` says so.

        Raises `HandlerFailed` if a handler raised and the plan says `on_error="stop"`, `CellLost` if a cell died and
        cannot be brought back.
        """
        began = time.monotonic()
        watch = Watch(began, self._seconds, timeout_s, progress, stop)
        if self.plan.schedule == "rounds":
            quiet = await self._run_rounds(None if rounds is None else self._round + rounds, watch)
        else:
            quiet = await self._run_freely(watch)
        self._seconds += time.monotonic() - began
        return await self.harvest(quiet=quiet)

    async def harvest(self, *, quiet: bool = False) -> RunResult:
        """What the swarm has left so far."""
        parts: list[Harvest] = await self._all("harvest")
        return result_of(parts, now=self.now, seconds=self._seconds, quiet=quiet, recoveries=self._recoveries)

    def _continue_rounds(self) -> None:
        """Where the rounds are, from the cells' statuses: some may be a round ahead, or in the middle of it."""
        self._round = int(max(status.now for status in self._statuses))
        self._boundaries = self._boundaries_after(
            {s.cell: s.sent_before if s.now == self._round else s.sent for s in self._statuses}
        )
        self._unfinished = self._round > 0

    def _next_boundaries(self) -> list[dict[int, int]]:
        """For each cell, how much of each source the next round delivers."""
        return self._boundaries_after({status.cell: status.sent for status in self._statuses})

    def _boundaries_after(self, sent: dict[int, dict[int, int]]) -> list[dict[int, int]]:
        return [
            {
                OUTSIDE_SOURCE: self._links[cell].confirmed,
                **{peer: numbers.get(cell, 0) for peer, numbers in sent.items() if peer != cell},
            }
            for cell in range(self.placement.cells)
        ]

    async def _run_rounds(self, last: int | None, watch: Watch) -> bool:
        while True:
            following = self._next_round()
            if following is None:
                return True
            if last is not None and following > last:
                await self._skip_to(last)
                return False
            await self._one_round(following)
            if watch.is_over(self._statuses) or (self._unfinished and self._is_spent()):
                return False

    async def _rounds_until_answered(self, cell: int, sequence: int, limit: float) -> Message:
        while True:
            answer: Message | None = await self._call(cell, "take_answer", sequence)
            if answer is not None:
                return answer
            following = self._next_round()
            if following is None or following > limit or (self._unfinished and self._is_spent()):
                raise TimeoutError
            await self._one_round(following)

    def _next_round(self) -> int | None:
        """The number of the next round with something to do; None if there is nothing left to do."""
        if self._unfinished:
            return self._round
        ticks = [status.next_tick for status in self._statuses if status.next_tick is not None]
        moving = any(status.pending_local or status.ready for status in self._statuses)
        if moving or self._next_boundaries() != self._boundaries:
            return self._round + 1
        return max(min(ticks), self._round + 1) if ticks else None

    def _is_spent(self) -> bool:
        """True if the budget of messages is used up."""
        budget = self.plan.budget_messages
        return budget is not None and sum(status.turns for status in self._statuses) >= budget

    async def _grant(self) -> None:
        """Shares out what is left of the budget: first stops all cells, then lets those go on that need it."""
        budget = self.plan.budget_messages
        if budget is None:
            return
        cells = range(self.placement.cells)
        taken = await asyncio.gather(*(self._call(cell, "grant", 0) for cell in cells))
        left = max(0, budget - sum(taken))
        needy = [status.cell for status in self._statuses if status.exhausted] or list(cells)
        share, rest = divmod(left, len(needy))
        await asyncio.gather(*(self._call(cell, "grant", share + (n < rest)) for n, cell in enumerate(needy)))

    async def _one_round(self, number: int) -> None:
        """Carries out a round; with a budget, as much of it as that allows."""
        await self._grant()
        if number > self._round:
            self._boundaries = self._next_boundaries()
        self._round = number
        calls = (
            self._call(cell, "round", number, self._boundaries[cell]) for cell in range(self.placement.cells)
        )
        work = asyncio.gather(*calls)
        try:
            # A cell that dies when its own part is done is called by nobody, while others wait for what it sent.
            while not (await asyncio.wait((work,), timeout=_LOOK_AFTER_S))[0]:
                await self._all("status")
            self._statuses = list(work.result())
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        self._note_recoveries()
        self._unfinished = any(status.exhausted for status in self._statuses)
        self._raise_stop_error()

    async def _skip_to(self, number: int) -> None:
        if number > self._round:
            await self._one_round(number)

    async def _run_freely(self, watch: Watch) -> bool:
        pause, before = _POLL_S[0], None
        while True:
            self._statuses = await self._all("status")
            self._note_recoveries()
            self._raise_stop_error()
            if any(status.exhausted for status in self._statuses):
                if self._is_spent():
                    watch.is_over(self._statuses)
                    return False
                await self._grant()
            picture = [(status.turns, status.sent, status.received) for status in self._statuses]
            if self._is_quiet() and picture == before:
                return True
            before = picture
            if watch.is_over(self._statuses):
                return False
            await asyncio.sleep(min(pause, watch.left_s()))
            pause = min(pause * 1.5, _POLL_S[1])

    def _is_quiet(self) -> bool:
        if not all(status.quiet for status in self._statuses):
            return False
        received = {status.cell: status.received for status in self._statuses}
        return all(
            number == received[peer].get(status.cell, 0)
            for status in self._statuses
            for peer, number in status.sent.items()
        )

    def _raise_stop_error(self) -> None:
        for status in self._statuses:
            if status.stop_error is not None:
                raise HandlerFailed(status.stop_error)

    # --- calling cells -----------------------------------------------------------------------------------------

    async def _all(self, method: str) -> list[Any]:
        return list(await asyncio.gather(*(self._call(cell, method) for cell in range(self.placement.cells))))

    async def _call(self, cell: int, method: str, *arguments: Any) -> Any:
        """Calls a cell, bringing it back if it died. Every method may be called again."""
        down: CellDown | None = None
        for _ in range(self.plan.limits.restarts + 1):
            try:
                if down is not None:
                    await self._bring_back(down)
                return await self.runtime.call(cell, method, *arguments)
            except CellDown as error:
                down = error
        raise CellLost(f"cell {cell} was lost {self.plan.limits.restarts + 1} times in one call: {down}")

    async def _bring_back(self, down: CellDown) -> None:
        """Waits for a cell that did not answer: it died and is restarted, or only a call was lost."""
        async with self._revivals[down.cell]:  # One at a time: others may have met the same death.
            try:
                await self.runtime.revive(down.cell)
            except CellLost as error:
                if self.plan.journal is not None:
                    raise
                raise CellLost(
                    f"cell {down.cell} died, and the agents' state with it: {down}. With a journal it would have been "
                    f"recovered: give the plan journal=JournalSettings(directory)."
                ) from error
            self._note_recovery(await self.runtime.call(down.cell, "open"))

    def _note_recoveries(self) -> None:
        """A cell may have come back with nobody having called it meanwhile."""
        for status in self._statuses:
            if status.epoch > 1:
                self._note_recovery(status)

    def _note_recovery(self, status: Status) -> None:
        known = any((r["cell"], r["epoch"]) == (status.cell, status.epoch) for r in self._recoveries)
        if status.epoch > 1 and not known:
            self._recoveries.append(
                {
                    "cell": status.cell,
                    "epoch": status.epoch,
                    "entries": status.recovered_entries,
                    "seconds": round(status.recovery_s, 6),
                    "torn_bytes": status.torn_bytes,
                }
            )

"""A chattering swarm in a world that goes wrong: one seed, one run, the same every time.

Cells are hosts in one process, on a clock that jumps; packets between them are lost, repeated and late
(`actors/chaos.py`); cells are killed at any commit, before, within or after its write, and come back from their
journals; now and then all die at once, with the process, and the same command goes on.

Agents number what they say to one another, so each can tell if anything was lost, came twice or out of order.

The idea is FoundationDB's and TigerBeetle's: production code in a simulated world.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from actors import (
    JournalSettings,
    Limits,
    Plan,
    Role,
    RunResult,
    Swarm,
    checkpoint,
)
from actors.chaos import Chaos, ChaosTransport
from actors.faults import FaultPlan, fault_from
from actors.host import Host
from actors.link import Answer, Credit, Packet
from actors.replay import replay_run
from actors.resident import Resident
from actors.runtime import CellDown, LocalRuntime
from actors.virtual_clock import VirtualClockLoop
from tests.actors.chatter import Chatterer, Oracle

ROUNDS_LIMIT, FAULTY_ROUNDS = 2000, 50
UNEQUAL: tuple[str, ...] = ()
LIFE_LIMIT_S = 600.0
MEMORY = Path("/dev/shm")  # noqa: S108 - a disk in memory where there is one: a seed flushes it dozens of times


class Killed(Exception):
    """The cell died in the middle of what it did."""


class Wire:
    """Hands packets to whichever host is a cell at present."""

    def __init__(self, runtime: "SimulatedRuntime") -> None:
        self._runtime = runtime

    async def send(self, cell: int, source: int, epoch: int, packet: Packet, credit: Credit) -> Answer:
        host = self._runtime.hosts[cell]
        if host.dead:
            raise CellDown(f"cell {cell} is dead", cell)
        answer = await host.links.exchange(source, epoch, packet, credit)
        self._runtime.packet_delivered(host)
        return answer


class SimulatedRuntime(LocalRuntime):
    """Cells that are killed as a seed says."""

    def __init__(self, plan: Plan, rng: Random, chaos: Chaos, kills: list[int], log: list[str]) -> None:
        self._chaos = ChaosTransport(Wire(self), rng.randrange(2**32), chaos)
        super().__init__(plan, self._chaos)
        self._random = rng
        self._kills = kills
        self._events_left = kills.pop() if kills else -1
        self._log = log
        self.blackout: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._deaths: dict[Host, asyncio.Future[None]] = {}
        self._made: list[Host] = []

    def _host(self, number: int) -> Host:
        host = super()._host(number)
        self._deaths[host] = asyncio.get_running_loop().create_future()
        self._made.append(host)
        return host

    # --- killing ---

    def _is_due(self) -> bool:
        if self._events_left < 0:
            return False
        self._events_left -= 1
        if self._events_left >= 0:
            return False
        self._events_left = self._kills.pop() if self._kills else -1
        return True

    def _doom(self, host: Host) -> None:
        """From here on the host's commits may kill it."""
        journal = host._journal
        assert journal is not None
        write = journal.append

        def append(payload: bytes) -> Any:
            if host.dead:
                raise Killed
            if not self._is_due():
                return write(payload)
            when = self._random.choice(["before", "within", "after"])
            if when == "within":
                cut = self._random.randrange(write(payload).offset, journal.position.offset)
                os.ftruncate(journal._file, cut)
            elif when == "after":
                write(payload)
            self._kill(host, f"{when} a commit")
            raise Killed

        journal.append = append  # type: ignore[method-assign]  # this is where the world goes wrong

    def packet_delivered(self, host: Host) -> None:
        if not host.dead and self._is_due():
            self._kill(host, "after a packet")
            raise Killed

    def _kill(self, host: Host, when: str) -> None:
        if self._random.random() < 0.25:
            self._log.append(f"all die, {when} of cell {host.cell.number}")
            for other in self.hosts:
                self._die(other)
            if not self.blackout.done():
                self.blackout.set_result(None)
        else:
            self._log.append(f"cell {host.cell.number} dies {when}")
            self._die(host)

    def _die(self, host: Host) -> None:
        if host.dead:
            return
        host.dead = True
        host._closing = True
        for task in [*host._tasks, *([host._pump] if host._pump else [])]:
            task.add_done_callback(_ignore)
            if task is not asyncio.current_task():
                task.cancel()
        host._progress.set()
        self._deaths.pop(host).set_result(None)

    # --- the runtime ---

    async def call(self, cell: int, method: str, *arguments: Any) -> Any:
        host = self.hosts[cell]
        await self._unless_all_died(method)
        if host.dead:
            raise CellDown(f"cell {cell} is dead", cell)
        if method not in ("open", "round", "deliver", "answer_to"):
            try:
                return await super().call(cell, method, *arguments)
            except Killed as error:
                raise CellDown(f"cell {cell} died", cell) from error
        work = asyncio.ensure_future(super().call(cell, method, *arguments))
        death = self._deaths[host]
        try:
            await asyncio.wait((work, death), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        if host.dead:
            _ignore(work)
            await self._unless_all_died(method)
            raise CellDown(f"cell {cell} died", cell)
        result = work.result()
        if method == "open":
            self._doom(host)
        return result

    async def _unless_all_died(self, method: str) -> None:
        """The process is dead: nothing returns to it, until its remains are cleared away."""
        if self.blackout.done() and method != "close":
            await asyncio.get_running_loop().create_future()

    async def revive(self, cell: int) -> None:
        await super().revive(cell)
        self._doom(self.hosts[cell])

    async def picture(self) -> str:
        """What each cell waits for."""
        return "\n".join(
            f"{host.dead=} {host.links._in_flight} {host.status()}"
            if not host.dead
            else f"{host.cell.number} dead"
            for host in self.hosts
        )

    async def end(self) -> None:
        """Leaves nothing behind."""
        await self._chaos.close()
        for host in self._made:
            self._die(host)
            await host.abandon()
        await self.stop()


def _ignore(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


@dataclass(frozen=True)
class Scenario:
    """What a seed stands for."""

    plan: Plan
    chaos: Chaos
    kills: list[int]
    kicks: list[tuple[str, int]]


def scenario_of(seed: int, schedule: str, folder: Path) -> Scenario:
    rng = Random(f"{schedule}/{seed}")
    peers = rng.randrange(2, 9)
    parameters = {"peers": peers, "asynchronous": rng.random() < 0.3}
    limits = Limits(
        outbox_messages=rng.choice([2, 5, 1000]),
        inbox_messages=rng.choice([1, 10, 1000]),
        packet_bytes=rng.choice([100, 400, 100_000]),
        packets_in_flight=rng.choice([1, 2, 8]),
        resident_agents=rng.choice([None, None, 2]),
        restarts=10_000,
    )
    plan = Plan(
        roles={
            "chatter": Role(Chatterer, peers, parameters),
            "oracle": Role(Oracle, None, parameters),
            "child": Role(Oracle, 0, parameters),
        },
        seed=seed,
        schedule=schedule,  # type: ignore[arg-type]  # one of the two
        cells=rng.randrange(1, 5),
        limits=limits,
        journal=JournalSettings(
            folder,
            checkpoint_every=rng.choice([None, 1, 3]),
            segment_bytes=rng.choice([500, 10_000, 2**20]),
            compress=rng.random() < 0.2,
        ),
    )
    calm = rng.random() < 0.2
    chaos = (
        Chaos(0.0, 0.0, 0.0) if calm else Chaos(rng.random() * 0.3, rng.random() * 0.3, 0.05 * rng.random())
    )
    kills = [rng.randrange(1, rng.choice([6, 30, 80])) for _ in range(rng.randrange(6))]
    kicks = [(f"chatter/{rng.randrange(peers)}", rng.randrange(1, 4)) for _ in range(rng.randrange(1, 4))]
    if rng.random() < 0.3:
        plan = replace(plan, faults=faults_of(rng, peers))
    return Scenario(plan, chaos, kills, kicks)


def faults_of(rng: Random, peers: int) -> FaultPlan:
    """Faults of the experiment, which agents do notice: the same ones, whatever happens below."""
    span = {"from": rng.randrange(4), "until": rng.randrange(4, 9)}
    crash = {"crash": f"chatter/{rng.randrange(peers)}", "at": rng.randrange(1, 6)}
    some = [
        {"drop": 0.1 * rng.random()},
        {"duplicate": 0.2 * rng.random(), **span},
        {"delay": {"uniform": {"low": 0, "high": 3}}, "probability": 0.3},
        {"reorder": 0.3, "window": 2},
        crash | {"for": rng.randrange(1, 5), "keep_state": rng.random() < 0.5},
        crash | {"crash": "oracle"} | {"for": 3},
        {"byzantine": "corrupt", "agents": "chatter/0", "probability": 0.2},
        {"partition": [["chatter/0"], ["chatter/1", "oracle"]], **span},
    ]
    return FaultPlan(tuple(fault_from(fault) for fault in rng.sample(some, rng.randrange(1, 4))))


def reports_of(host: Host) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the agents of a cell know at the end, those at rest too."""
    mail, waiting = host.cell.mail, host.cell.waiting
    for address in sorted(mail.residents.keys() | waiting.resting):
        resident = mail.residents.get(address)
        if resident is None:
            resident = Resident(address, host.cell.roles[address.partition("/")[0]])
            assert host._store is not None
            checkpoint.wake(resident, host._store)
        if resident.agent is not None:
            yield address, dict(vars(resident.agent))


async def run_on(swarm: Swarm) -> RunResult:
    """To the end; with faults of the experiment to a limit: a timer may have outlived who would have cancelled it."""
    limit = ROUNDS_LIMIT if swarm.plan.faults is None else FAULTY_ROUNDS
    if swarm.plan.schedule == "rounds":
        return await swarm.run(rounds=limit - int(swarm.now))
    return await swarm.run(stop=lambda state: state.now > limit)


async def drive(swarm: Swarm, scenario: Scenario) -> tuple[RunResult, dict[str, Any]]:
    """One life of the process: begins the run or goes on with it, to its end."""
    await swarm.start()
    await swarm.begin(scenario.kicks)
    result = await run_on(swarm)
    assert result.quiet or scenario.plan.faults is not None, "the run does not end"
    reports = {
        address: report
        for host in swarm.runtime.hosts  # type: ignore[attr-defined]  # all cells are here
        for address, report in reports_of(host)
    }
    return result, reports


async def disturbed(scenario: Scenario, rng: Random, log: list[str]) -> tuple[RunResult, dict[str, Any]]:
    while True:
        runtime = SimulatedRuntime(scenario.plan, rng, scenario.chaos, scenario.kills, log)
        swarm = Swarm(scenario.plan, runtime)
        life = asyncio.ensure_future(drive(swarm, scenario))
        try:
            ends = (life, runtime.blackout)
            await asyncio.wait(ends, timeout=LIFE_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            if not runtime.blackout.done():
                assert life.done(), f"the run hangs: {await runtime.picture()}"
                return life.result()
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await runtime.end()


async def undisturbed(scenario: Scenario) -> RunResult:
    plan = replace(scenario.plan, journal=None, cells=1, limits=Limits())
    async with Swarm.local(plan) as swarm:
        await swarm.begin(scenario.kicks)
        return await run_on(swarm)


def check(result: RunResult, reports: dict[str, Any]) -> None:
    """Raises AssertionError if anything was lost, doubled or out of order."""
    assert not result.failures, result.failures[0].error
    for address, report in reports.items():
        assert report["wrong"] == [], f"{address}: {report['wrong']}"
        assert report["set"] == report["fired"] or report["beat"], f"{address}: {report}"
        assert report["asked"] == report["answered"], f"{address}: {report}"
        for caller, other in reports.items():
            if caller != address and not address.startswith("child") and address != "oracle":
                assert report["calls"].get(caller, 0) == other["called"], f"{address} did not hear {caller}"
        for to, said in report["sent"].items():
            if to in reports or not to.startswith("child"):
                heard = reports.get(to, {"got": {}})["got"].get(address, 0)
                refused = (
                    report["refused"].get(to, 0) if to.startswith("child") else 0
                )  # spawning may be, too
                assert heard <= said <= heard + refused, f"{address} said {said} to {to}, which heard {heard}"


def simulate(seed: int, schedule: str) -> list[str]:
    """Runs a seed. Returns what went wrong in its world; raises for what should not have mattered and did."""
    folder = Path(tempfile.mkdtemp(prefix="simulation", dir=MEMORY if MEMORY.is_dir() else None))
    log: list[str] = []
    try:
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            scenario = scenario_of(seed, schedule, folder)
            result, reports = runner.run(disturbed(scenario, Random(f"world/{schedule}/{seed}"), log))
            again = runner.run(replay_run(folder, scenario.plan))
        if scenario.plan.faults is None:
            check(result, reports)
        assert again.fingerprint == result.fingerprint, "the replay's fingerprint differs"
        if schedule == "rounds":
            with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
                expected = runner.run(undisturbed(scenario))
            assert result.fingerprint == expected.fingerprint, "the fingerprint differs"
            assert result.measures == expected.measures, "the measures differ"
            assert result.results == expected.results, "the results differ"
            counts = [{k: v for k, v in r.counts.items() if k not in UNEQUAL} for r in (result, expected)]
            assert counts[0] == counts[1], "the counts differ"
            assert result.traffic == expected.traffic, "the traffic differs"
            assert result.messages == expected.messages, "the number of messages differs"
    except BaseException as error:
        error.add_note(
            f"Replay: python -m tests.simulate --schedule {schedule} --start {seed} --seeds 1 --verbose"
        )
        error.add_note("\n".join(log))
        raise
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    return log

"""A process that writes to a memory and is killed; and what must be true of the folder it leaves.

`python -m tests.memory.crash` reads one job a line (JSON) and forks a child for each: the child opens the memory,
writes with three threads, takes snapshots, and ends itself with SIGKILL at the n-th passing of a named point. What it
asks and what was acknowledged it writes to a pipe: that survives it. Forking is what makes hundreds of kills cheap.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memory.errors import MemoryFault
from memory.item import Draft, Kind
from memory.memory import Memory
from memory.probe import POINTS
from memory.scope import Scope
from memory.settings import MemorySettings
from tests.memory.embedding import TinyEmbedder

SETTINGS = MemorySettings(exact_items=60, snapshot_changes=40, candidates=500)
SCOPES = tuple(Scope("t", swarm="s", agent=name) for name in ("ann", "ben", "cat"))
THREADS = 3


@dataclass
class Job:
    """One life of the process."""

    folder: str
    seed: int
    point: str
    nth: int
    writes: int = 12


@dataclass
class Oracle:
    """What was asked and acknowledged, over all lives."""

    alive: dict[int, str] = field(default_factory=dict)
    """Texts that must be believed, by id."""
    past: dict[int, int] = field(default_factory=dict)
    """Superseded ids and their successors."""
    erased: set[int] = field(default_factory=set)
    open: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Requests by key that were asked and never answered: they happened whole, or not at all."""

    def hear(self, line: str) -> None:
        """Takes a line of the log."""
        entry = json.loads(line)
        if entry["what"] == "ask":
            self.open[entry["key"]] = entry
            return
        asked = self.open.pop(entry["key"])
        self._done(asked, entry["id"])

    def _done(self, asked: dict[str, Any], new: int) -> None:
        if asked["op"] == "add":
            self.alive[new] = asked["text"]
        elif asked["op"] == "correct":
            self.past[asked["id"]] = new
            self.alive.pop(asked["id"])
            self.alive[new] = asked["text"]
        else:
            self.erased.add(asked["id"])
            self.alive.pop(asked["id"])

    def settle(self, memory: Memory) -> None:
        """Repeats what was not answered, under its key: afterwards it has happened exactly once."""
        for key, asked in list(self.open.items()):
            self._done(asked, _do(memory, SCOPES[asked["scope"]], asked, key))
            del self.open[key]

    def compare(self, memory: Memory) -> None:
        """Holds the memory to what was acknowledged."""
        found = memory.shard.store.items([*self.alive, *self.past, *self.erased])
        for each, text in self.alive.items():
            assert each in found, f"{each} was acknowledged and is not there"
            assert found[each].current, f"{each} was acknowledged and is not believed"
            assert found[each].text == text, f"{each} says {found[each].text!r}, not {text!r}"
        for old, successor in self.past.items():
            if old not in self.erased:
                assert found[old].superseded_by == successor
        back = self.erased & found.keys()
        assert not back, f"{back} were erased and are back"
        findings = memory.check()
        assert findings.sound, findings
        assert findings.believed == len(self.alive), (findings, len(self.alive))


def _do(memory: Memory, scope: Scope, asked: dict[str, Any], key: str) -> int:
    if asked["op"] == "add":
        return memory.remember_all([Draft(scope, asked["text"], Kind.FACT)], scope=scope, key=key)[0].id
    if asked["op"] == "correct":
        return memory.correct(asked["id"], asked["text"], scope=scope, key=key).id
    return memory.forget(asked["id"], scope=scope, key=key).id


def live(job: Job, log: int) -> None:
    """The child's life: it ends by SIGKILL at its point, or when it has written enough."""
    passed = 0
    door = threading.Lock()

    def probe(point: str) -> None:
        nonlocal passed
        if point == job.point:
            with door:
                passed += 1
                if passed == job.nth:
                    os.kill(os.getpid(), signal.SIGKILL)

    memory = Memory.open(job.folder, TinyEmbedder(), settings=SETTINGS, probe=probe)
    threads = [threading.Thread(target=_write, args=(memory, job, number, log)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.close()


def _write(memory: Memory, job: Job, number: int, log: int) -> None:
    rng = random.Random(f"{job.seed}/{number}")
    scope = SCOPES[number]
    mine = [item.id for item in memory.items(scope=scope)]
    for count in range(job.writes):
        key = f"{job.seed}/{number}/{count}"
        asked: dict[str, Any] = {"what": "ask", "key": key, "scope": number}
        choice = rng.random() if mine else 0.0
        if choice < 0.6:
            asked |= {"op": "add", "text": f"fact {key} {rng.random()}"}
        elif choice < 0.8:
            asked |= {"op": "correct", "id": mine.pop(rng.randrange(len(mine))), "text": f"better {key}"}
        else:
            asked |= {"op": "forget", "id": mine.pop(rng.randrange(len(mine)))}
        os.write(log, (json.dumps(asked) + "\n").encode())
        done = _do(memory, scope, asked, key)
        os.write(log, (json.dumps({"what": "done", "key": key, "id": done}) + "\n").encode())
        if asked["op"] != "forget":
            mine.append(done)
        if number == 0 and count % 4 == 3:
            memory.snapshot()


class Zygote:
    """The process that forks the children."""

    def __enter__(self) -> "Zygote":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.memory.crash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def run(self, job: Job) -> tuple[bool, list[str]]:
        """Lives a life; gives whether it was killed, and its log."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(vars(job)) + "\n")
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline()) != "":
            if line.startswith("ended "):
                status = int(line.split()[1])
                assert status in (0, -signal.SIGKILL), f"the child ended with {status}"
                return status != 0, lines
            lines.append(line)
        raise AssertionError("the process that forks has ended")


def kill_all_over(folder: Path, seed: int, rounds: int, points: Sequence[str] = POINTS) -> int:
    """Kills a writing process at each of the points, `rounds` times, each time comparing what is left; the kills."""
    rng = random.Random(seed)
    kills = 0
    oracle = Oracle()
    with Zygote() as zygote:
        for number in range(rounds * len(points)):
            point = points[number % len(points)]
            nth = rng.randint(1, 2 if point.startswith("snapshot") else 15)
            job = Job(str(folder), seed * 1_000_000 + number, point, nth)
            killed, lines = zygote.run(job)
            kills += killed
            for line in lines:
                oracle.hear(line)
            with Memory.open(folder, TinyEmbedder(), settings=SETTINGS) as memory:
                oracle.settle(memory)
                oracle.compare(memory)
    return kills


def _serve() -> None:
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                live(Job(**json.loads(line)), writer)
                os._exit(0)
            except MemoryFault as error:
                os.write(2, f"{error!r}\n".encode())
                os._exit(3)
            finally:
                os._exit(4)
        os.close(writer)
        with os.fdopen(reader) as log:
            for entry in log:
                if entry.endswith("\n"):
                    sys.stdout.write(entry)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"ended {status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()

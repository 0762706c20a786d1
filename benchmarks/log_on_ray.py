"""A replicated log on Ray under load: replicas in actors of their own, a client in another.

What is counted is commands whose decision the client was told of, by the wall clock, after a warm-up; the latency is
the client's: from its request until the answer, four hops through Ray.
"""

import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Any

from actors import Agent, Context, Message, Plan, Role, Swarm
from coordination.replica import Replica

_OPTIONS: dict[str, dict[str, Any]] = {"raft": {"eager_commit": False}}
"""A client at the leader needs nobody else to know of a commit at once: it rides on the next message."""


class Counting(Replica):
    """Applies commands by counting them: what is measured is agreement, not an application.

    Told to `load`, it keeps a number of its own commands in flight, as a client in the leader's process does.
    """

    counted = 0
    window = 0
    decided = 0

    def apply(self, command: Any) -> Any:
        """One more."""
        self.counted += 1
        return None

    async def on_message(self, message: Message, context: Context) -> None:
        """`load` and `read` from outside; else as a replica."""
        content = message.data
        if isinstance(content, dict) and "load" in content:
            self.began: dict[int, float] = {}
            self.latencies_s: list[float] = []
            self.batch = min(content["batch"], content["load"])
            self.commands = ["x" * content["payload_bytes"]] * self.batch
            self.window = content["load"] // self.batch
            self._fill(context)
            await self._carry_out((), context)
        elif message.text == "read":
            context.reply(
                {"decided": self.decided, "now": context.now, "latencies_s": self.latencies_s[-10_000:]}
            )
        else:
            await super().on_message(message, context)

    def _fill(self, context: Context) -> None:
        while len(self.began) < self.window:
            self.began[self.submit(self.commands)] = time.perf_counter()

    def answered(self, serial: int, results: list[Any] | None, context: Context) -> None:
        """Counts what was decided, and proposes as much again."""
        began = self.began.pop(serial, None)
        if began is not None and results is not None:
            self.decided += len(results)
            self.latencies_s.append(time.perf_counter() - began)
        self._fill(context)


class Loader(Agent):
    """A client that keeps a number of commands in flight."""

    def __init__(self, role: str, replicas: int, window: int, batch: int, payload_bytes: int) -> None:
        self.role = role
        self.replicas = replicas
        self.requests = max(1, window // batch)
        self.batch = min(batch, window)
        self.commands = ["x" * payload_bytes] * self.batch
        self.leader = 0
        self.under_way: dict[int, float] = {}
        self.serial = 0
        self.latencies_s: list[float] = []
        self.decided = 0

    async def on_message(self, message: Message, context: Context) -> None:
        """`go`, `read` from outside; answers of replicas."""
        content = message.data
        if message.text == "go":
            for _ in range(self.requests):
                self._propose(context)
        elif message.text == "read":
            context.reply(
                {"decided": self.decided, "now": context.now, "latencies_s": self.latencies_s[-10_000:]}
            )
        elif isinstance(content, dict) and "results" in content:
            began = self.under_way.pop(int(message.task_id), None)
            if began is not None:
                self.decided += self.batch
                self.latencies_s.append(time.perf_counter() - began)
                self._propose(context)
        elif isinstance(content, dict) and int(message.task_id or 0) in self.under_way:
            del self.under_way[int(message.task_id)]
            leader = str(content.get("leader") or "").rpartition("/")[2]
            self.leader = int(leader) if leader.isdigit() else (self.leader + 1) % self.replicas
            context.after(0.01, "again")
        elif message.text == "again":
            self._propose(context)

    def _propose(self, context: Context) -> None:
        self.serial += 1
        self.under_way[self.serial] = time.perf_counter()
        content = {"propose": self.commands, "serial": self.serial}
        context.send(f"{self.role}/{self.leader}", content, task_id=str(self.serial))


@dataclass(frozen=True)
class Rate:
    """What one run came to."""

    commands_per_second: float
    latency_p50_s: float


def measure(
    protocol: str,
    *,
    replicas: int,
    window: int,
    batch: int,
    seconds: float,
    payload_bytes: int = 64,
    at_leader: bool = False,
) -> Rate:
    """Commits a second and the median latency of one protocol on Ray, which must be running.

    The client is an actor of its own, or with `at_leader` in the leader's process.
    """
    plan = plan_of(protocol, replicas=replicas, window=window, batch=batch, payload_bytes=payload_bytes)
    load = {"load": window, "batch": batch, "payload_bytes": payload_bytes} if at_leader else None
    return asyncio.run(_measured(Swarm.on_ray(plan), seconds, load))


def plan_of(protocol: str, *, replicas: int, window: int, batch: int, payload_bytes: int) -> Plan:
    """The swarm that is measured."""
    parameters: dict[str, Any] = {
        "protocol": protocol,
        "replicas": replicas,
        "delay": 0.05,
        "keep_events": False,
        "compact_every": 2_000,
        "options": _OPTIONS.get(protocol, {}),
    }
    load = {
        "role": "replica",
        "replicas": replicas,
        "window": window,
        "batch": batch,
        "payload_bytes": payload_bytes,
    }
    return Plan(
        roles={
            "replica": Role(Counting, count=replicas, parameters=parameters),
            "loader": Role(Loader, parameters=load),
        },
        schedule="free",
        run_id=f"log-{protocol}-{window}-{batch}",
    )


async def _measured(swarm: Swarm, seconds: float, load: dict[str, int] | None) -> Rate:
    """`load`: what the leader itself keeps in flight; None: the client does."""
    async with swarm:
        await swarm.run(timeout_s=2.0)
        to = "loader" if load is None else str((await swarm.ask("replica/0", {"status": 1})).data["leader"])
        await swarm.send(to, "go" if load is None else load)
        await swarm.run(timeout_s=1.0)
        before = (await swarm.ask(to, "read")).data
        await swarm.run(timeout_s=seconds)
        after = (await swarm.ask(to, "read")).data
    latencies = after["latencies_s"]
    took = after["now"] - before["now"]
    return Rate((after["decided"] - before["decided"]) / took, statistics.median(latencies))

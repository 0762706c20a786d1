"""A small network for tests: unit delays, a heap, and hooks to lose, delay and forge."""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from random import Random
from typing import Any

from coordination.protocol import (
    Decided,
    Effects,
    Event,
    Evidence,
    Persisted,
    Propose,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Tick,
)
from coordination.signature import TokenScheme

Route = Callable[[float, int, int, Any], Iterable[float]]
"""(now, from, to, message) to the delays of the copies that arrive."""


def unit_delay(now: float, source: int, to: int, message: Any) -> Iterable[float]:
    return (1.0,)


class Lane:
    """n replicas of one protocol, and what they sent, decided and stored."""

    def __init__(
        self,
        kind: ProtocolKind,
        n: int,
        *,
        seed: int = 0,
        delay_s: float = 1.0,
        batch: int = 100,
        route: Route = unit_delay,
        persist_s: float = 0.0,
        watch: Callable[[float, int, Protocol, Event, Effects], None] | None = None,
        make: dict[int, Callable[[Setting], Any]] | None = None,
        valid: Callable[[tuple[Any, ...]], bool] = lambda commands: True,
        **options: Any,
    ) -> None:
        self.kind = kind
        self.members = tuple(range(n))
        self.seed = seed
        self.now = 0.0
        self.route = route
        self.persist_s = persist_s
        self.watch = watch
        self.sent: list[tuple[float, int, int, Any]] = []
        self.decided: dict[int, list[Decided]] = {i: [] for i in self.members}
        self.decided_at: dict[int, dict[int, float]] = {i: {} for i in self.members}
        self.evidence: list[Evidence] = []
        self.rejected: list[Any] = []
        self.records: dict[int, list[Any]] = {i: [] for i in self.members}
        self.replicas: dict[int, Any] = {}
        self.lives: dict[int, int] = dict.fromkeys(self.members, 0)
        self.steps = 0
        self._sequence = 0
        self._heap: list[tuple[float, int, int, int, Event]] = []
        self._wake: dict[int, float] = {}
        self._marked: dict[int, list[tuple[int, Any, int]]] = {}
        self._setting = {
            "delay_s": delay_s,
            "batch": batch,
            "valid": valid,
            "options": options,
        }
        self._make = make or {}
        for i in self.members:
            self.start(i)

    def start(self, replica: int) -> None:
        """Makes a replica anew from what is durable."""
        self.lives[replica] += 1
        setting = Setting(
            id=replica,
            members=self.members,
            rng=Random(f"{self.seed}/{replica}/{self.lives[replica]}"),
            scheme=TokenScheme(replica),
            **self._setting,
        )
        self.replicas[replica] = self._make.get(replica, self.kind.make)(setting)
        self._marked[replica] = []
        self.decided[replica] = []
        self.handle(replica, Restore(self.now, tuple(self.records[replica])))

    def crash(self, replica: int) -> None:
        """It stops, and forgets what is not durable."""
        del self.replicas[replica]
        self.lives[replica] += 1

    def propose(self, replica: int, *commands: Any) -> None:
        self.handle(replica, Propose(self.now, commands))

    def handle(self, replica: int, event: Event) -> None:
        if replica not in self.replicas:
            return
        self.steps += 1
        effects = self.replicas[replica].handle(event)
        if self.watch is not None:
            self.watch(self.now, replica, self.replicas[replica], event, effects)
        self.decided[replica].extend(effects.decided)
        for one in effects.decided:
            self.decided_at[replica].setdefault(one.slot, self.now)
        self.evidence.extend(effects.evidence)
        self.rejected.extend(effects.rejected)
        for to, message, token in effects.sends:
            if (token and token >= (effects.token or 1 << 60)) or (
                token and any(token <= waiting for _, _, waiting in self._marked[replica])
            ):
                self._marked[replica].append((to, message, token))
            else:
                self._transmit(replica, to, message)
        if effects.token:
            records = tuple(effects.records)
            if self.persist_s:
                self._push(
                    self.now + self.persist_s, replica, _Stored(records, effects.token, effects.checkpoint)
                )
            else:
                self._store(replica, _Stored(records, effects.token, effects.checkpoint))
        if effects.wake_at != self._wake.get(replica):
            self._wake[replica] = effects.wake_at
            if effects.wake_at < 1e300:
                self._push(max(effects.wake_at, self.now), replica, Tick(effects.wake_at))

    def _store(self, replica: int, stored: "_Stored") -> None:
        if stored.checkpoint:
            self.records[replica] = []
        self.records[replica].extend(stored.records)
        ready = [send for send in self._marked[replica] if send[2] <= stored.token]
        self._marked[replica] = [send for send in self._marked[replica] if send[2] > stored.token]
        for to, message, _ in ready:
            self._transmit(replica, to, message)
        self.handle(replica, Persisted(self.now, stored.token))

    def _transmit(self, source: int, to: int, message: Any) -> None:
        self.sent.append((self.now, source, to, message))
        for delay in self.route(self.now, source, to, message):
            self._push(self.now + delay, to, Receive(self.now + delay, source, message))

    def _push(self, at: float, replica: int, event: Any) -> None:
        self._sequence += 1
        heappush(self._heap, (at, self._sequence, replica, self.lives[replica], event))

    def run(
        self, until: float = 1e9, *, steps: int = 200_000, stop: Callable[[], bool] | None = None
    ) -> bool:
        """Goes on until nothing is due, or the time or the stop. False if the limit of steps came first."""
        most = self.steps + steps
        while self._heap and self._heap[0][0] <= until:
            if self.steps >= most:
                return False
            at, _, replica, life, event = heappop(self._heap)
            self.now = max(self.now, at)
            if isinstance(event, Receive):
                self.handle(replica, event)
            elif life != self.lives[replica]:
                continue
            elif isinstance(event, _Stored):
                self._store(replica, event)
            elif event.now == self._wake.get(replica):
                self._wake[replica] = -1.0
                self.handle(replica, Tick(self.now))
            if stop is not None and stop():
                return True
        self.now = max(self.now, until) if until < 1e9 else self.now
        return True

    def commands(self, replica: int) -> list[Any]:
        """All decided commands of a replica, in order."""
        return [command for decided in self.decided[replica] for command in decided.commands]


class _Stored:
    def __init__(self, records: tuple[Any, ...], token: int, checkpoint: bool) -> None:
        self.records = records
        self.token = token
        self.checkpoint = checkpoint

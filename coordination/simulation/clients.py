"""Clients of a simulated log: each proposes, waits for its replica to know the decision, and proposes again.

Rules:
* A command is known by its first two elements, (client, serial). A client has one proposal of `batch` commands under
  way; a serial is never used for two commands.
* A client speaks to one replica: the leader where there is one, else one of its own. After a definite refusal it asks
  again soon; after a time-out, which says nothing, it proposes the same commands to another replica.
* A proposal's latency runs from its first sending until the replica that it was last given to knows that all its
  commands are decided.
* Whoever keeps stores, one at each honest replica, sees a store as it is after each slot: a snapshot is of one slot.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.errors import ConfigurationError
from coordination.machine import KeyValueStore
from coordination.protocol import Command, Effects, Event, Restore
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation

Key = tuple[int, int]


@dataclass
class _Proposal:
    """What one client waits for."""

    client: int
    began_s: float
    called: int
    commands: tuple[Command, ...]
    missing: set[Key]
    node: Node
    attempt: int = 0


@dataclass(frozen=True)
class Load:
    """What clients do."""

    clients: int = 1
    batch: int = 1
    """Commands in one proposal."""
    payload_bytes: int = 64
    total: int | None = None
    """Proposals in all; None: as many as time allows."""
    think_s: float = 0.0
    """From a decision to the client's next proposal, on average (exponential)."""
    patience_delays: float = 100.0
    """After how many times the replicas' `delay_s` a client asks another replica."""
    keys: int = 16
    reads: float = 0.0
    """Share of commands that only read."""
    spread: bool = False
    """Whether clients speak each to a replica of their own rather than to the leader."""


@dataclass(frozen=True)
class Operation:
    """One command as its client saw it, for a checker of histories."""

    client: int
    command: Command
    called_s: float
    returned_s: float
    """Infinity if the answer never came: it may have taken effect at any later time, or never."""
    result: Any = None
    called: int = 0
    """Its place among all calls and returns of the run: one thread carries them out, so their order is real."""
    returned: int = 0


@dataclass
class Clients:
    """A load on a simulation; `start` sets it going."""

    simulation: Simulation
    load: Load
    record: bool = False
    """Whether to keep the operations, with results from a store at each replica."""
    keep: bool = False
    """Whether to keep a store at each replica all the same."""
    store: Callable[[], KeyValueStore] = KeyValueStore
    """Makes a replica's store."""
    after_slot: Callable[[Node, int], None] | None = None
    """Called when an honest replica's store has applied a slot."""
    latencies_s: list[float] = field(default_factory=list)
    """Of each proposal that was answered, in the order of their answers."""
    answered: int = 0
    proposed: int = 0
    decided_at_s: list[float] = field(default_factory=list)
    """When each proposal was answered."""
    operations: list[Operation] = field(default_factory=list)
    closed: bool = False
    """Set it, and nothing new is proposed."""

    def __post_init__(self) -> None:
        if self.record and self.load.batch != 1:
            raise ConfigurationError("clients: a history is recorded of single commands. Give a batch of 1.")
        self._rng = self.simulation.stream("clients")
        self._under_way: dict[int, _Proposal] = {}
        self._serials = [0] * self.load.clients
        self.keep = self.keep or self.record
        # Replicas that run already were started before anybody watched.
        self._stores = {node.place: self.store() for node in self.simulation.nodes}
        self._applied = dict.fromkeys(self._stores, -1)
        self._payload = "x" * self.load.payload_bytes
        self._places = 0

    def start(self, at_s: float = 0.0) -> None:
        """The clients begin, one after another within a delay."""
        self.simulation.watchers.append(self._watch)
        step = self.simulation.delay_s / max(1, self.load.clients)
        for client in range(self.load.clients):
            self.simulation.at(at_s + client * step, lambda client=client: self._next(client))  # type: ignore[misc]  # bound now

    @property
    def waiting(self) -> int:
        """Proposals that are not yet answered."""
        return len(self._under_way)

    def state_at(self, node: Node) -> tuple[int, KeyValueStore]:
        """A replica's store, and the last slot in it; -1: none yet."""
        return self._applied[node.place], self._stores[node.place]

    def place(self) -> int:
        """The next place in the order of all calls and returns, these clients' and others'."""
        self._places += 1
        return self._places

    def finish(self) -> None:
        """Closes the record: what is under way has no answer."""
        if self.record:
            for proposal in self._under_way.values():
                for command in proposal.commands:
                    self.operations.append(
                        Operation(proposal.client, command, proposal.began_s, math.inf, None, proposal.called)
                    )

    def _command(self, client: int) -> Command:
        self._serials[client] += 1
        serial = self._serials[client]
        key = f"k{self._rng.randrange(self.load.keys)}"
        if self.load.reads and self._rng.random() < self.load.reads:
            return (client, serial, "get", key)
        if self.record and self._rng.random() < 0.3:
            return (client, serial, "append", key, f"{client}.{serial};")
        return (client, serial, "put", key, f"{client}.{serial}" if self.record else self._payload)

    def _next(self, client: int) -> None:
        if self.closed or (self.load.total is not None and self.proposed >= self.load.total):
            return
        self.proposed += 1
        commands = tuple(self._command(client) for _ in range(self.load.batch))
        now = self.simulation.now
        missing = {(command[0], command[1]) for command in commands}
        proposal = _Proposal(client, now, self.place(), commands, missing, self._node(client, 0))
        self._under_way[client] = proposal
        self._send(proposal)

    def _node(self, client: int, attempt: int) -> Node:
        nodes = self.simulation.honest or self.simulation.nodes
        leader = None if self.load.spread or attempt > 1 else self.simulation.leader()
        return leader or nodes[(client + attempt) % len(nodes)]

    def _send(self, proposal: _Proposal) -> None:
        simulation = self.simulation
        attempt = proposal.attempt
        simulation.propose(proposal.node, proposal.commands)
        patience_s = self.load.patience_delays * simulation.delay_s

        def hurry() -> None:
            if self._under_way.get(proposal.client) is proposal and proposal.attempt == attempt:
                self._again(proposal)

        simulation.at(simulation.now + patience_s * (1 + self._rng.random()), hurry)

    def _again(self, proposal: _Proposal) -> None:
        proposal.attempt += 1
        proposal.node = self._node(proposal.client, proposal.attempt)
        proposal.missing = {(command[0], command[1]) for command in proposal.commands}
        store = self._stores.get(proposal.node.place)
        done = None if store is None else store.sessions.get(proposal.client)
        if done is not None and done[0] >= proposal.commands[-1][1]:
            self._answer(proposal, done[1])  # a client's serials rise one by one: it has no later command
        else:
            self._send(proposal)

    def _watch(self, node: Node, event: Event, effects: Effects) -> None:
        if self.keep:
            if type(event) is Restore:
                self._stores[node.place], self._applied[node.place] = self.store(), -1
            if effects.installed is not None:
                self._stores[node.place].restore(effects.installed.state)
                self._applied[node.place] = effects.installed.slot
        if effects.rejected:
            for rejected in effects.rejected:
                self._refused(node, rejected.commands)
        if effects.decided and node.honest:
            for one in effects.decided:
                for command in one.commands:
                    result = self._stores[node.place].apply(command) if self.keep else None
                    proposal = self._under_way.get(command[0])
                    if proposal is not None and proposal.node is node:
                        proposal.missing.discard((command[0], command[1]))
                        if not proposal.missing:
                            self._answer(proposal, result)
                if self.keep:
                    self._applied[node.place] = one.slot
                    if self.after_slot is not None:
                        self.after_slot(node, one.slot)

    def _refused(self, node: Node, commands: tuple[Command, ...]) -> None:
        for client in dict.fromkeys(command[0] for command in commands):
            proposal = self._under_way.get(client)
            if proposal is None or proposal.node is not node:
                continue
            attempt = proposal.attempt

            def ask_again(proposal: _Proposal = proposal, attempt: int = attempt) -> None:
                if self._under_way.get(proposal.client) is proposal and proposal.attempt == attempt:
                    self._again(proposal)

            simulation = self.simulation
            simulation.at(simulation.now + simulation.delay_s * (0.5 + self._rng.random()), ask_again)

    def _answer(self, proposal: _Proposal, result: Any) -> None:
        now = self.simulation.now
        del self._under_way[proposal.client]
        self.answered += 1
        self.latencies_s.append(now - proposal.began_s)
        self.decided_at_s.append(now)
        if self.record:
            for command in proposal.commands:
                self.operations.append(
                    Operation(
                        proposal.client, command, proposal.began_s, now, result, proposal.called, self.place()
                    )
                )
        think_s = self._rng.expovariate(1.0 / self.load.think_s) if self.load.think_s else 0.0
        self.simulation.at(now + think_s, lambda: self._next(proposal.client))

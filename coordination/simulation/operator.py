"""The operator of a simulated log: compacts it, reads from it, and gives its replicas orders, at random times.

Rules:
* `Duties` say what is done; they, and each act, are drawn from streams of their own: the clients, the network and the
  faults of a seed stay what they are.
* Every honest replica is to compact at the same slots, with its own store as it is at that slot: Byzantine protocols
  need f+1 that say the same. Now and then one of them forgets to.
* A read asks a replica for a slot, and looks into that same replica's store once it has applied it. What it saw goes
  into the clients' history as one more client's get. A read that is never answered took no effect, and is left out.
* When chaos is over the operator gives no more orders, but brings all members back, until none is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from coordination.machine import KeyValueStore
from coordination.protocol import Compact, Effects, Event, ProtocolKind, Read, Restore
from coordination.simulation.clients import Clients, Operation
from coordination.simulation.node import Node
from coordination.simulation.simulation import Simulation

READERS = 1_000_000
"""The number of the first client that only reads; each read is a client of its own."""
_FORGETS = 0.1
_MEND_DELAYS = 20


@dataclass(frozen=True)
class Duties:
    """What is done in a run beside faults and load."""

    record: bool = False
    """Whether the clients' history is kept, and judged at the end."""
    compact_every: int = 0
    """Slots from one compaction to the next; 0: none."""
    reads: bool = False
    orders: bool = False

    @classmethod
    def drawn(cls, kind: ProtocolKind, rng: Random) -> "Duties":
        """Each is done in a share of the runs."""
        record, compact, orders = (rng.random() < 0.4 for _ in range(3))
        orders = orders and kind.upkeep.order is not None
        compact_every = rng.choice((2, 10, 40))
        return cls(
            record,
            compact_every if compact else 0,
            kind.upkeep.reads and (record or orders),
            orders,
        )

    def __str__(self) -> str:
        done = [name for name in ("record", "reads", "orders") if getattr(self, name)]
        if self.compact_every:
            done.append(f"compaction every {self.compact_every} slots")
        return ", ".join(done) or "none"


class Operator:
    """One run's operator. Make it before the clients start."""

    def __init__(self, simulation: Simulation, clients: Clients, duties: Duties) -> None:
        self.reads: list[Operation] = []
        """Those that were answered."""
        self._simulation = simulation
        self._clients = clients
        self._duties = duties
        self._upkeep = simulation.world.kind.upkeep
        self._members = simulation.world.members()
        self._rng = simulation.stream("operator")
        self._open = True
        self._asked: dict[int, tuple[str, float, int]] = {}
        """Reads that are not answered: the key, and when the read began."""
        self._due: dict[int, list[tuple[int, int]]] = {node.place: [] for node in simulation.nodes}
        """At each place, (slot, read) of reads whose slot is not applied there."""
        self._count = 0
        if duties.compact_every:
            clients.after_slot = self._after_slot

    def start(self) -> None:
        """Begins. The clients must watch already: their stores are looked into."""
        if self._duties.reads:
            self._simulation.watchers.append(self._watch)
            self._simulation.at(0.0, self._read)
        if self._duties.orders:
            self._simulation.at(0.0, self._order)

    def mend(self) -> None:
        """Chaos is over: from now on whoever leads is told to take all members back."""
        self._open = False
        if self._duties.orders:
            self._mend()

    # --- Compaction ---------------------------------------------------------------------------------------------

    def _after_slot(self, node: Node, slot: int) -> None:
        if slot > 0 and slot % self._duties.compact_every == 0 and self._rng.random() >= _FORGETS:
            _, store = self._clients.state_at(node)
            self._simulation.tell(node, partial(_compaction, slot=slot, state=store.snapshot()))

    # --- Reads --------------------------------------------------------------------------------------------------

    def _node(self) -> Node:
        leader = self._simulation.leader() if self._rng.random() < 0.7 else None
        return leader or self._rng.choice(self._simulation.honest)

    def _later(self, action: Callable[[], None], delays: float) -> None:
        simulation = self._simulation
        wait_s = simulation.delay_s * self._rng.expovariate(1.0 / delays)
        simulation.at(simulation.now + wait_s, action)

    def _read(self) -> None:
        node = self._node()
        if node.alive:
            self._count += 1
            key = f"k{self._rng.randrange(self._clients.load.keys)}"
            self._asked[self._count] = (key, self._simulation.now, self._clients.place())
            self._simulation.tell(node, partial(_reading, context=self._count))
        if self._open:
            self._later(self._read, 4.0)

    def _watch(self, node: Node, event: Event, effects: Effects) -> None:
        due = self._due[node.place]
        if type(event) is Restore:
            due.clear()
        for answer in effects.reads:
            # A message that came twice may bring an answer twice; the first one counts.
            if answer.context in self._asked:
                due.append((answer.slot, answer.context))
        if due and (effects.reads or effects.decided or effects.installed is not None):
            applied, store = self._clients.state_at(node)
            for slot, context in due:
                if slot <= applied and context in self._asked:
                    self._answered(context, store)
            self._due[node.place] = [one for one in due if one[0] > applied]

    def _answered(self, context: int, store: KeyValueStore) -> None:
        key, called_s, called = self._asked.pop(context)
        reader = READERS + context
        command = (reader, 1, "get", key)
        now, returned = self._simulation.now, self._clients.place()
        self.reads.append(Operation(reader, command, called_s, now, store.store.get(key), called, returned))

    # --- Orders -------------------------------------------------------------------------------------------------

    def _order(self) -> None:
        assert self._upkeep.order is not None, "orders are a duty only where there are some"
        if self._open:
            node = self._node()
            if node.alive:
                self._simulation.tell(node, self._upkeep.order(self._rng, self._members))
            self._later(self._order, 10.0)

    def _mend(self) -> None:
        simulation, mend = self._simulation, self._upkeep.mend
        if mend is None:
            return
        for node in simulation.honest:
            replica = node.protocol
            if node.alive and replica is not None and replica.leader == node.id:
                event = mend(replica, self._members)
                if event is not None:
                    simulation.tell(node, event)
        simulation.at(simulation.now + _MEND_DELAYS * simulation.delay_s, self._mend)


def _compaction(now: float, *, slot: int, state: object) -> Event:
    return Compact(now, slot, state)


def _reading(now: float, *, context: int) -> Event:
    return Read(now, context)

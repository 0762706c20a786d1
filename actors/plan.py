"""The description of a swarm: all that a cell must know to host its share, the same on every machine.

A plan is plain frozen data (but for the agents' classes) and is checked once, when a `Swarm` is made from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from actors.address import Placement
from actors.agent import Agent
from actors.errors import ConfigurationError
from actors.faults import FaultPlan
from actors.topology import Topology

if TYPE_CHECKING:
    from actors.context import Context

SEATS = ("llm", "tools", "memory")


@dataclass(frozen=True)
class Role:
    """Agents of one kind."""

    agent: type[Agent]
    count: int | None = None
    """How many: `role/0` to `role/count-1`. None: one agent, whose address is the bare name of the role."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the agent's constructor."""
    dedicated: bool | None = None
    """True: each agent is a Ray actor of its own. False: packed into cells. None: see `Limits.dedicated_agents`."""
    num_cpus: float = 0.0
    num_gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    """What Ray reserves for each dedicated agent."""


@dataclass(frozen=True)
class Limits:
    """A bound on everything that can grow."""

    mailbox_messages: int = 1_000_000
    """Messages that may wait for one agent; the next is refused with `MailboxFull`."""
    inbox_messages: int = 50_000
    """Messages that may wait in a cell before it stops acknowledging batches, so that their senders wait."""
    outbox_messages: int = 50_000
    """Messages that may wait in a cell for another before their senders' next turns are held back."""
    packet_bytes: int = 100_000
    """Size of a batch between cells; over 102,400 bytes Ray leaves its fast path."""
    packets_in_flight: int = 8
    """Batches from one cell to another that may be unacknowledged: the credit."""
    resident_agents: int | None = None
    """Agents that a cell keeps in memory; beyond it idle ones are put to rest in the checkpoint store."""
    ask_timeout_s: float = 60.0
    """Deadline of an ask without one (in `rounds`, this many rounds)."""
    dedicated_agents: int = 32
    """On Ray, swarms of at most this many agents get one actor for each agent."""
    start_timeout_s: float = 120.0
    """On Ray, how long a cell may wait for a place: for a node with what its role asks for, and for its process."""
    journal_wait_s: float = 120.0
    """On Ray, how long a restarted cell waits for the process that it replaces to let its journal go. An NFS server
    frees the locks of a host that died after 90 s."""
    restarts: int = 20
    """Times that Ray restarts a cell before the run fails."""


@dataclass(frozen=True)
class JournalSettings:
    """How a run is written down."""

    directory: Path
    """One folder for each cell is made in it."""
    compress: bool = False
    segment_bytes: int = 256 * 2**20
    """Size at which a new file is begun."""
    sync: Literal["process", "disk"] = "process"
    """What a commit survives: the death of the process, or (by fsync, some ms each) of the machine."""
    checkpoint_every: int | None = 1000
    """Rounds, or in `free` thousands of turns, between checkpoints of a cell. None: recovery replays everything."""


@dataclass(frozen=True)
class Plan:
    """A swarm, described."""

    roles: Mapping[str, Role]
    seed: int = 0
    schedule: Literal["rounds", "free"] = "rounds"
    cells: int | None = None
    """Cells for packed roles. None: one here, one for each CPU of the cluster on Ray."""
    run_id: str = "run"
    topology: Topology | None = None
    faults: FaultPlan | None = None
    limits: Limits = field(default_factory=Limits)
    journal: JournalSettings | None = None
    seats: Mapping[str, Callable[["Context"], Any]] = field(default_factory=dict)
    """What sits at `context.llm`, `context.tools` and `context.memory`: functions of the context, by these names."""
    fingerprint: bool | None = None
    """Whether to hash deliveries, sends and final states. None: in `rounds` only."""
    on_error: Literal["continue", "stop"] = "continue"
    """What the run does when a handler raises: goes on, or fails."""
    budget_messages: int | None = None
    """Messages that agents may take in all: the run ends at exactly so many, whatever is left to do."""
    traffic_sample: float = 0.0
    """Share of deliveries that are kept for `messages.parquet`, chosen by seed."""

    before: "Plan | None" = None
    """For a run that was forked: the plan that its past followed, up to the entry `Changed` of the journal."""

    def placement(self, cells: int, dedicated: frozenset[str] = frozenset()) -> Placement:
        """Where everybody lives, given the number of packed cells and the roles with an actor for each agent."""
        counts = {name: role.count for name, role in self.roles.items()}
        first = cells
        starts: dict[str, int] = {}
        for name in sorted(dedicated):
            starts[name] = first
            first += 1 if counts[name] is None else int(counts[name] or 0)
        return Placement(counts, cells, starts)

    def check(self) -> None:
        """Raises `ConfigurationError` naming the field, the fault and the mend."""
        if not self.roles:
            raise ConfigurationError(
                "roles: a swarm needs at least one role. Give roles={'worker': Role(Worker, count=10)}."
            )
        for name, role in self.roles.items():
            where = f"roles.{name}"
            if not name or any(c in name for c in "/*@#") or name != name.strip():
                raise ConfigurationError(
                    f"{where}: a role's name is text without '/', '*', '@' or '#'. Rename it."
                )
            if not (isinstance(role.agent, type) and issubclass(role.agent, Agent)):
                raise ConfigurationError(f"{where}.agent: {role.agent!r} is not a class that extends Agent.")
            if role.count is not None and role.count < 0:
                raise ConfigurationError(
                    f"{where}.count: {role.count} is negative. Give 0 or more, or leave it out for one agent."
                )
        if self.faults is not None and self.faults.cell_crashes and self.journal is None:
            raise ConfigurationError(
                "faults: a cell that crashes must come back from a journal. Give one, or leave out `cell_crash`."
            )
        for name in self.seats:
            if name not in SEATS:
                raise ConfigurationError(f"seats: there is no seat {name!r}. There are: {', '.join(SEATS)}.")
        if self.cells is not None and self.cells < 1:
            raise ConfigurationError(f"cells: {self.cells} is too few. Give 1 or more, or leave it out.")
        if self.budget_messages is not None and self.budget_messages < 0:
            raise ConfigurationError(
                f"budget_messages: {self.budget_messages} is negative. Give 0 or more, or leave it out."
            )
        if not 0.0 <= self.traffic_sample <= 1.0:
            raise ConfigurationError(f"traffic_sample: {self.traffic_sample} is not a share between 0 and 1.")

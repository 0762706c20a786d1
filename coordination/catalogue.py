"""The protocols of the laboratory, by name, each with what checks it.

Rules: a protocol that replicates a log is listed here once, and everything that takes `--protocol` or
`consensus.protocol` looks here: the simulator, the benchmark, the agents on Ray.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from actors.errors import ConfigurationError
from coordination.byzantine_checker import ByzantineChecker
from coordination.checker import Checker
from coordination.hotstuff import HOTSTUFF
from coordination.jolteon import JOLTEON
from coordination.paxos import MULTI_PAXOS
from coordination.paxos_checker import PaxosChecker
from coordination.pbft.replica import PBFT
from coordination.protocol import ProtocolKind
from coordination.raft.checker import RaftChecker
from coordination.raft.raft import RAFT
from coordination.randomised.kind import BEN_OR, BEN_OR_BYZANTINE, COIN_AGREEMENT
from coordination.simulation.simulation import World
from coordination.streamlet import STREAMLET
from coordination.tendermint.replica import TENDERMINT


@dataclass(frozen=True)
class Entry:
    """A protocol and the checkers of its own properties, made for each run."""

    kind: ProtocolKind
    checkers: Callable[[World], Sequence[Checker]]


def _byzantine(kind: ProtocolKind) -> Entry:
    return Entry(kind, lambda world: (ByzantineChecker.of(world),))


CATALOGUE: Mapping[str, Entry] = {
    entry.kind.name: entry
    for entry in (
        Entry(RAFT, lambda world: (RaftChecker(),)),
        Entry(MULTI_PAXOS, lambda world: (PaxosChecker(),)),
        _byzantine(PBFT),
        _byzantine(HOTSTUFF),
        _byzantine(JOLTEON),
        _byzantine(TENDERMINT),
        _byzantine(STREAMLET),
        Entry(BEN_OR, lambda world: ()),
        Entry(BEN_OR_BYZANTINE, lambda world: ()),
        Entry(COIN_AGREEMENT, lambda world: ()),
    )
}


def entry_named(name: str) -> Entry:
    """The protocol with a name. Raises `ConfigurationError` that lists all."""
    entry = CATALOGUE.get(name)
    if entry is None:
        close = get_close_matches(name, CATALOGUE, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"protocol: there is no {name!r}.{hint} There are: {', '.join(CATALOGUE)}.")
    return entry


def protocol_named(name: str) -> ProtocolKind:
    """The kind of the protocol with a name. Raises `ConfigurationError` that lists all."""
    return entry_named(name).kind

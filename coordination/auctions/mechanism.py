"""The mechanisms by name: one call for each, on one instance.

| name | guarantee | needs |
|---|---|---|
| `contract-net`, `first-price`, `vickrey`, `english`, `dutch` | none for several tasks (`sequence.py`) | |
| `sequential` | half of the optimum, unit loads | |
| `parallel` | none | |
| `vcg` | the optimum; truthful | |
| `combinatorial`, `combinatorial-greedy` | the best of the bids; none | |
| `cbaa` | half of the optimum | one task to a bidder; a network |
| `cbba` | half of the optimum, unit loads | a network |
| `epsilon`, `epsilon-sequential` | the optimum | one task to a bidder; integers |
| `epsilon-gossip` | the optimum | the same, and a network |
| `foraging` | none: no market | a random generator |

Rules: a name is known or an error; a mechanism that does not fit the instance is refused with those that do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from actors.description import nearest
from actors.errors import ConfigurationError
from coordination.auctions.cbaa import cbaa
from coordination.auctions.cbba import cbba
from coordination.auctions.combinatorial import combinatorial
from coordination.auctions.epsilon import epsilon_auction
from coordination.auctions.foraging import foraging
from coordination.auctions.gossip_epsilon import gossip_epsilon
from coordination.auctions.instance import Instance
from coordination.auctions.network import Network
from coordination.auctions.outcome import Outcome
from coordination.auctions.sequence import (
    contract_nets,
    dutch_sequence,
    english_sequence,
    first_price_sequence,
    vickrey_sequence,
)
from coordination.auctions.single_items import parallel, sequential
from coordination.auctions.vcg import vcg


@dataclass(frozen=True, eq=False)
class Setting:
    """What some mechanisms need beside the instance."""

    instance: Instance
    network: Network | None = None
    """Over the bidders; None for a complete one."""
    rng: Random = field(default_factory=lambda: Random(0))

    @property
    def links(self) -> Network:
        """The network."""
        return Network.complete(self.instance.bidders) if self.network is None else self.network


MECHANISMS: Mapping[str, Callable[[Setting], Outcome]] = {
    "contract-net": lambda setting: contract_nets(setting.instance),
    "first-price": lambda setting: first_price_sequence(setting.instance),
    "vickrey": lambda setting: vickrey_sequence(setting.instance),
    "english": lambda setting: english_sequence(setting.instance),
    "dutch": lambda setting: dutch_sequence(setting.instance),
    "sequential": lambda setting: sequential(setting.instance),
    "parallel": lambda setting: parallel(setting.instance),
    "vcg": lambda setting: vcg(setting.instance),
    "combinatorial": lambda setting: combinatorial(setting.instance),
    "combinatorial-greedy": lambda setting: combinatorial(setting.instance, exact=False),
    "cbaa": lambda setting: cbaa(setting.instance, setting.links),
    "cbba": lambda setting: cbba(setting.instance, setting.links),
    "epsilon": lambda setting: epsilon_auction(setting.instance),
    "epsilon-sequential": lambda setting: epsilon_auction(setting.instance, order="gauss-seidel"),
    "epsilon-gossip": lambda setting: gossip_epsilon(setting.instance, setting.links),
    "foraging": lambda setting: foraging(setting.instance, setting.rng),
}
ONE_TASK_EACH = ("cbaa", "epsilon", "epsilon-sequential", "epsilon-gossip")
"""They give a bidder one task."""


def named(name: str, known: Mapping[str, object] = MECHANISMS, where: str = "mechanism") -> str:
    """The name of a mechanism as `known` has it; underscores and capitals are of no matter.

    Raises `ConfigurationError`, with the names that there are.
    """
    found = name.strip().lower().replace("_", "-")
    if found not in known:
        raise ConfigurationError(f"{where}: there is no '{name}'.{nearest(found, known)}")
    return found


def allocate(name: str, setting: Setting) -> Outcome:
    """The outcome of a mechanism. Raises `ConfigurationError` where it does not fit the instance."""
    name = named(name)
    instance = setting.instance
    if not instance.is_matching and name in ONE_TASK_EACH:
        others = ", ".join(other for other in MECHANISMS if other not in ONE_TASK_EACH)
        raise ConfigurationError(
            f"mechanism: {name} gives one task to a bidder, and those of {instance.name} take several. Give one of "
            f"{others}."
        )
    if setting.network is not None and setting.network.size != instance.bidders:
        raise ConfigurationError(
            f"network: is over {setting.network.size} bidders, and {instance.name} has {instance.bidders}."
        )
    return MECHANISMS[name](setting)

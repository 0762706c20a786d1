"""The simulated network: delay, bandwidth, loss, duplication, disorder and partitions, per directed link.

Rules:
* A message may be lost, come twice, be overtaken and be late; it is never changed, and its sender is never mistaken.
* Without `reorder` or a random latency two messages on one link keep their order.
* Bandwidth is each node's own line out: messages leave it one after another, at their real encoded size plus a header.
* Randomness comes from one stream of its own, so that another workload moves no draw of the network.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from actors.errors import ConfigurationError
from coordination.simulation.latency import Constant, Latency

HEADER_BYTES = 40
"""TCP and IPv4 headers of a message, counted in its bytes."""


@dataclass(frozen=True)
class NetworkSettings:
    """The network when nobody has broken it."""

    latency: Latency = field(default_factory=lambda: Constant(0.001))
    bandwidth_bits_per_s: float | None = None
    """Of each node's line out. None: without bound."""
    loss: float = 0.0
    """Share of messages that never come."""
    duplicate: float = 0.0
    """Share of messages that come twice."""
    reorder: float = 0.0
    """Share of messages that are held back by up to ten times the typical delay."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise ConfigurationError(f"network.{name}: {share!r} is not a share. Give 0 to 1.")
        if self.bandwidth_bits_per_s is not None and not self.bandwidth_bits_per_s > 0:
            raise ConfigurationError(
                "network.bandwidth: must be above 0 bits a second. Leave it out for no bound."
            )


class Network:
    """What becomes of each message, at the present state of the links."""

    def __init__(self, settings: NetworkSettings, rng: Random, places: int) -> None:
        self.settings = settings
        self._rng = rng
        self.loss = settings.loss
        self.duplicate = settings.duplicate
        self.reorder = settings.reorder
        self.slowdown = 1.0
        """A factor on every delay."""
        self.blocked: set[tuple[int, int]] = set()
        """Directed links between places that let nothing through."""
        self._line_free_at = [0.0] * places
        self.lost = 0
        self.duplicated = 0

    @property
    def constant_delay_s(self) -> float | None:
        """The delay if it is the same for every message and nothing else can happen; None otherwise."""
        settings = self.settings
        plain = not (self.loss or self.duplicate or self.reorder or self.blocked) and self.slowdown == 1.0
        if plain and isinstance(settings.latency, Constant) and settings.bandwidth_bits_per_s is None:
            return settings.latency.delay_s
        return None

    def arrivals(self, now: float, source: int, to: int, size_bytes: int) -> tuple[float, ...]:
        """The times at which a message sent now comes: none if it is lost, two if it comes twice."""
        rng, settings = self._rng, self.settings
        leaves = now
        if settings.bandwidth_bits_per_s is not None:
            # The sender does not know what will be lost: it takes its time on the line all the same.
            begins = max(now, self._line_free_at[source])
            leaves = begins + 8 * (size_bytes + HEADER_BYTES) / settings.bandwidth_bits_per_s
            self._line_free_at[source] = leaves
        if (source, to) in self.blocked or (self.loss and rng.random() < self.loss):
            self.lost += 1
            return ()
        first = leaves + self._delay(source, to)
        if self.duplicate and rng.random() < self.duplicate:
            self.duplicated += 1
            return (first, leaves + self._delay(source, to))
        return (first,)

    def _delay(self, source: int, to: int) -> float:
        delay = self.settings.latency.sample(source, to, self._rng)
        if self.reorder and self._rng.random() < self.reorder:
            delay += self._rng.random() * 10 * self.settings.latency.typical_s
        return delay * self.slowdown

    def partition(self, groups: Iterable[Iterable[int]]) -> None:
        """Places in different groups hear nothing of one another; a place in no group hears all."""
        parts = [tuple(group) for group in groups]
        self.blocked = {
            (a, b)
            for i, one in enumerate(parts)
            for j, other in enumerate(parts)
            if i != j
            for a in one
            for b in other
        }

    def heal(self) -> None:
        """Every link is as the settings say again."""
        self.blocked = set()
        self.loss, self.duplicate, self.reorder = (
            self.settings.loss,
            self.settings.duplicate,
            self.settings.reorder,
        )
        self.slowdown = 1.0

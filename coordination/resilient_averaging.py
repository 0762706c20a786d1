"""W-MSR: averaging among liars, by leaving out what is extreme.

Source: LeBlanc, Zhang, Koutsoukos, Sundaram, "Resilient asymptotic consensus in robust networks", IEEE Journal on
Selected Areas in Communications 31(4), 2013.

Rules:
* In each round a replica sends its value to its neighbours. Of the values that came in the round, the last of each
  neighbour, it leaves out the `f` greatest that are above its own (all, if they are fewer) and the `f` smallest below,
  and moves to the mean of the rest and its own.
* With at most f liars among each replica's neighbours (f-local), an honest value never leaves the range of itself and
  the honest values that came, whatever liars say, to each something else if they like. So the honest range, values
  under way included, never grows, on any graph.
* The honest values meet if the graph is (2f + 1)-robust; if all speak to all, that takes 4f + 1 replicas. On another
  graph two groups may each keep their own value for ever.
* A round is one period of the replica's own clock, and its number means nothing to others but which value of two is
  the later one: who stood still, or whose clock runs askew, is heard again as soon as it speaks. (If only values of the
  same round counted, who fell two rounds behind would never be heard again.) Who is silent is left out of the round:
  that costs speed, not safety.

| cost | |
|---|---|
| messages a round | 2m on m edges |
| rounds | asymptotic: the range shrinks geometrically on a robust graph |
| faults | f liars near each replica; loss and delay of messages only slow it down |
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actors.errors import ConfigurationError
from coordination.neighbour import Edge, checked_values, neighbours
from coordination.protocol import (
    NEVER,
    Effects,
    Event,
    Protocol,
    ProtocolKind,
    Receive,
    Restore,
    Setting,
    Tick,
    Wire,
    options_from,
)


class Opinion(Wire, frozen=True, gc=False):
    """A replica's value in a round."""

    round: int
    value: float


@dataclass(frozen=True)
class WMSROptions:
    """What is averaged, where, and against how many liars."""

    values: Mapping[int, float] = field(default_factory=dict)
    """Of each member."""
    f: int = 1
    """Liars among the neighbours of each replica, at most."""
    edges: tuple[Edge, ...] = ()
    """Who speaks to whom; none for all to all."""
    period_delays: float = 2.0
    """A round, in `Setting.delay_s`."""
    rounds: int = 100


class WMSR(Protocol):
    """A replica that trims and averages."""

    wire = (Opinion,)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        options: WMSROptions = options_from(WMSROptions, setting)
        if options.f < 0 or options.rounds < 1 or not options.period_delays > 0:
            raise ConfigurationError(
                "w-msr: f must be 0 or more, rounds and period_delays above 0. Give larger numbers."
            )
        self._f = options.f
        self._rounds = options.rounds
        self._near = neighbours(options.edges, setting.members)[setting.id]
        self._period_s = options.period_delays * setting.delay_s
        self.estimate = checked_values(options.values, setting.members)[setting.id]
        self.round = 0
        """Rounds that are done."""
        self._heard: dict[int, Opinion] = {}
        """What came in this round: the last of each neighbour."""
        self._next_at = NEVER

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = Effects()
        if isinstance(event, Restore):
            self._begin(event.now, effects)
        elif isinstance(event, Tick) and event.now >= self._next_at:
            others = [opinion.value for opinion in self._heard.values()]
            self.estimate = trimmed_mean(self.estimate, others, self._f)
            self.round += 1
            self._heard.clear()
            self._begin(event.now, effects)
        elif isinstance(event, Receive) and isinstance(event.message, Opinion):
            opinion = event.message
            known = self._heard.get(event.source)
            later = known is None or opinion.round > known.round
            if later and event.source in self._near and math.isfinite(opinion.value):
                self._heard[event.source] = opinion
        effects.wake_at = self._next_at
        return effects

    def _begin(self, now: float, effects: Effects) -> None:
        if self.round >= self._rounds:
            self._next_at = NEVER
            return
        self._next_at = now + self._period_s
        effects.sends += [(other, Opinion(self.round, self.estimate), 0) for other in self._near]


def trimmed_mean(own: float, others: Sequence[float], f: int) -> float:
    """The mean of one's own value and the others', less the f greatest above one's own and the f smallest below."""
    above = sorted(value for value in others if value > own)
    below = sorted(value for value in others if value < own)
    equal = sum(1 for value in others if value == own)
    kept = [*above[: max(0, len(above) - f)], *below[f:]]
    used = [own, *kept]
    mean = own + math.fsum(value - own for value in kept) / (len(kept) + equal + 1)
    return min(max(mean, min(used)), max(used))  # rounding must not take it out of their range


W_MSR = ProtocolKind(
    "w-msr",
    "W-MSR resilient averaging",
    WMSR,
    "byzantine",
    lambda f: 4 * f + 1,
    "LeBlanc et al., Resilient asymptotic consensus in robust networks, IEEE JSAC 31(4), 2013",
)

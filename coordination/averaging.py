"""The average of all values, without a centre: Metropolis weights on a graph, and push-sum by random calls.

Sources: Xiao, Boyd, "Fast linear iterations for distributed averaging", Systems and Control Letters 53 (2004); Kempe,
Dobra, Gehrke, "Gossip-based computation of aggregate information", FOCS 2003, protocol 2.

Rules:
* Metropolis: in a round each replica sends its value to its neighbours and, when it has all of theirs of that round,
  moves to the weighted mean. No clock: who is ahead waits, so nobody is more than a round ahead of a neighbour.
* Push-sum: each holds a sum and a weight, at first its value and 1. In a round it keeps half of both and sends half to
  one drawn at random. Its estimate is the sum over the weight. Sums and weights, those under way included, never
  change in total: so a lost message biases the result for good, and a repeated one too. The network must be reliable.
* With `exact` push-sum counts in fractions: the totals are the same to the last digit, and tests say so at every step.

| n replicas, m edges | messages a round | rounds to an error of eps | needs |
|---|---|---|---|
| Metropolis | 2m | log(1/eps) / log(1/lambda2): each brings all nearer the mean by lambda2 | no loss, no crash |
| push-sum | n | O(log n + log 1/eps) with high probability | no loss, no repetition |

lambda2 is the second greatest absolute eigenvalue of the matrix of weights.
"""

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from actors.errors import ConfigurationError
from coordination.neighbour import Edge, checked_values, metropolis_weights, neighbours
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

_LONGEST_FRACTION = 100_000
"""Characters of a fraction in a message."""
_FRACTION = re.compile(r"-?[0-9a-f]+/0*[1-9a-f][0-9a-f]*")


class Share(Wire, frozen=True, gc=False):
    """A neighbour's value of a round."""

    round: int
    value: float


class Half(Wire, frozen=True, gc=False):
    """Half of a sum and of a weight; if they are exact, texts such as `3/1a`, in hexadecimal: decimal digits are dear,
    and Python refuses to read or write more than 4,300 of them."""

    sum: float | str
    weight: float | str


@dataclass(frozen=True)
class MetropolisOptions:
    """What is averaged, and where."""

    values: Mapping[int, float] = field(default_factory=dict)
    """Of each member."""
    edges: tuple[Edge, ...] = ()
    """Who speaks to whom; none for all to all."""
    rounds: int = 100


class Metropolis(Protocol):
    """A replica that averages over its neighbours."""

    wire = (Share,)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        options: MetropolisOptions = options_from(MetropolisOptions, setting)
        if options.rounds < 1:
            raise ConfigurationError(f"averaging: rounds is {options.rounds}. Give 1 or more.")
        near = neighbours(options.edges, setting.members)
        self.weights = metropolis_weights(near, setting.id)
        self.estimate = checked_values(options.values, setting.members)[setting.id]
        self.round = 0
        """Rounds that are done."""
        self._rounds = options.rounds
        self._heard: dict[int, dict[int, float]] = {}
        """Of this round and the next: the neighbours' values."""

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = Effects()
        if isinstance(event, Restore):
            self._send(effects)
        elif isinstance(event, Receive) and isinstance(event.message, Share):
            share = event.message
            if (
                event.source in self.weights
                and 0 <= share.round - self.round <= 1
                and math.isfinite(share.value)
            ):
                self._heard.setdefault(share.round, {}).setdefault(event.source, share.value)
                self._average(effects)
        return effects

    def _average(self, effects: Effects) -> None:
        while self.round < self._rounds and len(self._heard.get(self.round, ())) == len(self.weights):
            heard = self._heard.pop(self.round)
            moves = [weight * (heard[other] - self.estimate) for other, weight in self.weights.items()]
            self.estimate += math.fsum(moves)
            self.round += 1
            self._send(effects)

    def _send(self, effects: Effects) -> None:
        if self.round < self._rounds:
            effects.sends += [(other, Share(self.round, self.estimate), 0) for other in self.weights]


@dataclass(frozen=True)
class PushSumOptions:
    """What is averaged, and how."""

    values: Mapping[int, float] = field(default_factory=dict)
    """Of each member."""
    period_delays: float = 1.0
    """A round, in `Setting.delay_s`."""
    rounds: int = 100
    exact: bool = False
    """Whether to count in fractions; they grow by a bit or two a round."""


class PushSum(Protocol):
    """A replica that keeps half and sends half."""

    wire = (Half,)

    def __init__(self, setting: Setting) -> None:
        self.id = setting.id
        options: PushSumOptions = options_from(PushSumOptions, setting)
        if options.rounds < 1 or not options.period_delays > 0:
            raise ConfigurationError(
                "averaging: rounds and period_delays must be above 0. Give larger numbers."
            )
        value = checked_values(options.values, setting.members)[setting.id]
        self.sum: Fraction | float = Fraction(value) if options.exact else value
        self.weight: Fraction | float = Fraction(1) if options.exact else 1.0
        self.round = 0
        self._options = options
        self._rng = setting.rng
        self._others = tuple(member for member in setting.members if member != setting.id)
        self._period_s = options.period_delays * setting.delay_s
        self._next_at = NEVER

    @property
    def estimate(self) -> float:
        """The average as far as this replica knows."""
        return float(self.sum / self.weight)

    def handle(self, event: Event) -> Effects:
        """As `Protocol.handle`."""
        effects = Effects()
        if isinstance(event, Restore):
            self._next_at = event.now + self._period_s
        elif isinstance(event, Tick) and event.now >= self._next_at:
            self._halve(event.now, effects)
        elif isinstance(event, Receive) and event.source in self._others and isinstance(event.message, Half):
            added, weight = number_from(event.message.sum), number_from(event.message.weight)
            own = (
                Fraction if self._options.exact else float
            )  # a mixture is no longer exact, or too great for a float
            if isinstance(added, own) and isinstance(weight, own) and weight > 0:
                self.sum, self.weight = self.sum + added, self.weight + weight
        effects.wake_at = self._next_at
        return effects

    def _halve(self, now: float, effects: Effects) -> None:
        self.round += 1
        self._next_at = now + self._period_s if self.round < self._options.rounds else NEVER
        if self._others:
            self.sum, self.weight = self.sum / 2, self.weight / 2
            half = Half(_plain(self.sum), _plain(self.weight))
            effects.sends.append((self._rng.choice(self._others), half, 0))


def _plain(number: Fraction | float) -> float | str:
    """The number as it travels."""
    return f"{number.numerator:x}/{number.denominator:x}" if isinstance(number, Fraction) else number


def number_from(data: Any) -> Fraction | float | None:
    """The number in a message; None if there is none."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if not isinstance(data, str) or len(data) > _LONGEST_FRACTION or not _FRACTION.fullmatch(data):
        return None
    numerator, _, denominator = data.partition("/")
    return Fraction(int(numerator, 16), int(denominator, 16))


def _none_may_fail(f: int) -> int:
    """One replica is enough; more withstand no fault either."""
    return sys.maxsize if f else 1


METROPOLIS = ProtocolKind(
    "metropolis",
    "Metropolis averaging",
    Metropolis,
    "none",
    _none_may_fail,
    "Xiao, Boyd, Fast linear iterations for distributed averaging, SCL 53, 2004",
)
PUSH_SUM = ProtocolKind(
    "push-sum",
    "Push-sum averaging",
    PushSum,
    "none",
    _none_may_fail,
    "Kempe, Dobra, Gehrke, Gossip-based computation of aggregate information, FOCS 2003",
)

"""A fault of an experiment: one thing that goes wrong between agents, as a factor that a researcher sets.

Rules:
* Times are the schedule's: seconds in `free`, rounds in `rounds`. A window is `start <= now < end`, with
  `now` the time of sending. In a file the two are called `from` and `until`.
* A message that is delayed may be overtaken. A liar cannot forge another's name: channels are authenticated.
* `check` holds the values to their ranges; whether the roles exist is seen when a `FaultInjector` is made.

The fault model is that of Cachin, Guerraoui and Rodrigues, "Introduction to Reliable and Secure Distributed
Programming" (2011), chapter 2: fair-loss links, crash with and without recovery, arbitrary faults.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from actors.description import flag, nearest, number, whole
from actors.distribution import Distribution
from actors.errors import ConfigurationError
from actors.selector import Selector

Agents = tuple[Selector, ...]
"""Any of these; `selector.select("worker/0..9")` makes them. Empty: everyone."""

Behaviour = Literal["silent", "equivocate", "corrupt", "delay"]

MOST_COPIES = 100
"""Extra copies that one rule makes of a message."""


@dataclass(frozen=True, kw_only=True)
class MessageFault:
    """Which messages a rule is about: those that meet all of what is given."""

    senders: Agents = ()
    recipients: Agents = ()
    between: tuple[Agents, Agents] | None = None
    """From the first to the second, and back."""
    start: float = 0.0
    end: float = inf

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        _check_window(self.start, self.end, where)
        for name, agents in (("senders", self.senders), ("recipients", self.recipients)):
            _check_agents(agents, f"{where}.{name}", least=0)
        for side, agents in enumerate(self.between or ()):
            _check_agents(agents, f"{where}.between[{side}]")


@dataclass(frozen=True)
class Drop(MessageFault):
    """Messages get lost."""

    probability: float

    def check(self, where: str) -> None:
        """As `MessageFault.check`."""
        number(self.probability, f"{where}.probability", 0, 1)
        super().check(where)


@dataclass(frozen=True)
class Delay(MessageFault):
    """Messages take longer."""

    distribution: Distribution
    probability: float = 1.0

    def check(self, where: str) -> None:
        """As `MessageFault.check`."""
        _check_distribution(self.distribution, f"{where}.distribution")
        number(self.probability, f"{where}.probability", 0, 1)
        super().check(where)


@dataclass(frozen=True)
class Duplicate(MessageFault):
    """Messages arrive more than once: `copies` times more."""

    probability: float
    copies: int = 1

    def check(self, where: str) -> None:
        """As `MessageFault.check`."""
        number(self.probability, f"{where}.probability", 0, 1)
        whole(self.copies, f"{where}.copies", 1, MOST_COPIES)
        super().check(where)


@dataclass(frozen=True)
class Reorder(MessageFault):
    """Messages are held back for up to `window`, all lengths alike, so that later ones overtake them."""

    probability: float
    window: float

    def check(self, where: str) -> None:
        """As `MessageFault.check`."""
        number(self.probability, f"{where}.probability", 0, 1)
        _check_positive(self.window, f"{where}.window")
        super().check(where)


@dataclass(frozen=True)
class Partition:
    """The network falls apart: what is sent between groups is lost.

    Agents in no group are together in one more: they reach each other and no group. An agent that several
    groups name is in the first of them.
    """

    groups: tuple[Agents, ...]
    start: float = 0.0
    end: float = inf

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        if not self.groups:
            raise ConfigurationError(f"{where}.groups: there are none. Give one or more.")
        for place, agents in enumerate(self.groups):
            _check_agents(agents, f"{where}.groups[{place}]")
        _check_window(self.start, self.end, where)


@dataclass(frozen=True)
class Crash:
    """Agents stop: messages to them are lost, their timers silent. After `duration` they start again."""

    agents: Agents
    at: float
    duration: float | None = None
    """None: for ever."""
    keep_state: bool = False
    """Whether they start again with the state they had, or as new."""

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        _check_agents(self.agents, f"{where}.agents")
        number(self.at, f"{where}.at", 0)
        if self.duration is not None:
            _check_positive(self.duration, f"{where}.duration")
        flag(self.keep_state, f"{where}.keep_state")


@dataclass(frozen=True)
class CellCrash:
    """The host kills the process of a cell, which recovers: agents must not notice."""

    cell: int
    at: float

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        whole(self.cell, f"{where}.cell", 0)
        number(self.at, f"{where}.at", 0)


@dataclass(frozen=True)
class Byzantine:
    """Agents that do not keep to the protocol, in what they send. See `actors/byzantine.py` for the lies."""

    behaviour: Behaviour
    """`silent`: nothing leaves. `equivocate`: another lie for each recipient. `corrupt`: one lie for all.
    `delay`: held back."""
    agents: Agents
    probability: float = 1.0
    """Of each message to each recipient; for `corrupt` of each message, whoever gets it."""
    distribution: Distribution | None = None
    """How long `delay` holds a message back."""
    values: tuple[str | int | float | bool, ...] = ()
    """The only values that are altered, each into another of them. Empty: all values are."""
    recipients: Agents = ()
    start: float = 0.0
    end: float = inf

    def check(self, where: str) -> None:
        """Raises `ConfigurationError` naming the field, the value and the mend."""
        known = get_args(Behaviour)
        if self.behaviour not in known:
            raise ConfigurationError(
                f"{where}.behaviour: unknown {self.behaviour!r}.{nearest(str(self.behaviour), known)}"
            )
        _check_agents(self.agents, f"{where}.agents")
        _check_agents(self.recipients, f"{where}.recipients", least=0)
        number(self.probability, f"{where}.probability", 0, 1)
        if self.behaviour == "delay":
            _check_distribution(self.distribution, f"{where}.distribution")
        elif self.distribution is not None:
            raise ConfigurationError(f"{where}.distribution: only behaviour 'delay' has one. Leave it out.")
        if self.values and (len(self.values) == 1 or self.behaviour not in ("equivocate", "corrupt")):
            raise ConfigurationError(
                f"{where}.values: {list(self.values)} is of no use. "
                f"Give two or more, to 'equivocate' or 'corrupt'; or leave it out."
            )
        _check_window(self.start, self.end, where)


Fault = Drop | Delay | Duplicate | Reorder | Partition | Crash | CellCrash | Byzantine


def _check_window(start: float, end: float, where: str) -> None:
    number(start, f"{where}.start", 0)
    number(end, f"{where}.end")
    if end <= start:
        raise ConfigurationError(
            f"{where}.end: {end:g} is not after the start at {start:g}. Give a later end (`until` in a "
            f"file), or leave it out."
        )


def _check_agents(agents: object, where: str, least: int = 1) -> None:
    if not isinstance(agents, tuple) or not all(isinstance(agent, Selector) for agent in agents):
        raise ConfigurationError(f"{where}: {agents!r} are not selectors. Give select('worker/0..9').")
    if len(agents) < least:
        raise ConfigurationError(f"{where}: nobody is named. Give select('worker/0..9').")
    for agent in agents:
        agent.check(where)


def _check_distribution(distribution: object, where: str) -> None:
    if not isinstance(distribution, Distribution):
        raise ConfigurationError(
            f"{where}: {distribution!r} is not a distribution. Give e.g. Exponential(2.0)."
        )
    distribution.check(where)


def _check_positive(value: object, where: str) -> None:
    if number(value, where, 0) == 0:
        raise ConfigurationError(f"{where}: 0 changes nothing. Give more, or leave the rule out.")

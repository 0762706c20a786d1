"""The limits of serving: how much may run and wait, how fast, and how much may be spent. Plain data, checked.

Every limit has a default but those of rate and budget, which are nobody's guess: without them there are none.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from inference.errors import ConfigurationError


@dataclass(frozen=True)
class Rate:
    """What an endpoint allows in a minute. In any window of w seconds at most `w + burst_s` seconds' worth is sent."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Of prompts and completions together."""
    burst_s: float = 6.0
    """How many seconds' worth may be sent at once after a pause."""

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigurationError(f"{name} is {value!r}: give a number above 0, or None for no limit")
        if not 0 <= self.burst_s <= 60:
            raise ConfigurationError(f"burst_s is {self.burst_s!r}: give 0 to 60 seconds")


@dataclass(frozen=True)
class Ceiling:
    """The most that may be spent. None is no ceiling."""

    tokens: int | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "usd"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ConfigurationError(f"a ceiling's {name} is {value!r}: give 0 or more, or None for none")


@dataclass(frozen=True)
class BudgetLimits:
    """Ceilings of a run, of its roles and of its agents. All that apply to a call hold."""

    run: Ceiling = Ceiling()
    each_role: Ceiling = Ceiling()
    roles: Mapping[str, Ceiling] = field(default_factory=dict)
    """Of single roles, in place of `each_role`."""
    each_agent: Ceiling = Ceiling()
    agents: Mapping[str, Ceiling] = field(default_factory=dict)
    """Of single agents, in place of `each_agent`."""


@dataclass(frozen=True)
class ServingLimits:
    """What may run and wait at one model."""

    running_requests: int = 256
    """Sent and not yet answered. An engine that batches wants many."""
    queued_requests: int = 10_000
    """Waiting in all; the next gets `QueueFull`, and its cell holds back."""
    queued_tokens: int = 100_000_000
    """The same in tokens, of prompts and of the answers that may come."""
    agent_requests: int = 1_000
    """Waiting of one agent, so that one cannot take all the room."""
    attempts: int = 8
    """Times that a call is sent again after the endpoint said to slow down."""
    longest_hold_s: float = 120.0
    """A longer `Retry-After` is not waited for: the call fails with it."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not 0 < getattr(self, limit.name) < math.inf:
                raise ConfigurationError(f"{limit.name} is {getattr(self, limit.name)!r}: give more than 0")

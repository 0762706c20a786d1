"""Prices of tokens. A price that is not known is None, never zero: a model of one's own says `FREE` if it is free.

Providers quote US dollars a million tokens, so a token costs as many millionths of a dollar.
"""

import math

import msgspec

from inference.completion import Usage
from inference.errors import ConfigurationError


class Price(msgspec.Struct, frozen=True):
    """US dollars for a million tokens."""

    prompt_usd: float
    completion_usd: float
    cached_usd: float | None = None
    """Of a prompt's tokens that were cached; None if they cost as the others."""

    def __post_init__(self) -> None:
        for name in ("prompt_usd", "completion_usd", "cached_usd"):
            value = getattr(self, name)
            if value is None and name == "cached_usd":
                continue
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ConfigurationError(
                    f"{name} is {value!r}: give US dollars for a million tokens, 0 or more"
                )

    def cost_usd(self, usage: Usage) -> float:
        """What a call cost. Tokens not told to be cached are paid in full."""
        cached = usage.cached_tokens or 0
        cached_usd = self.prompt_usd if self.cached_usd is None else self.cached_usd
        millionths = (
            (usage.prompt_tokens - cached) * self.prompt_usd
            + cached * cached_usd
            + usage.completion_tokens * self.completion_usd
        )
        return millionths / 1e6

    def ceiling_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The most that a call of so many tokens can cost."""
        prompt_usd = max(self.prompt_usd, self.cached_usd or 0.0)
        return (prompt_tokens * prompt_usd + completion_tokens * self.completion_usd) / 1e6


FREE = Price(0.0, 0.0)
"""A model whose tokens cost nothing, which is something else than a price that is not known."""

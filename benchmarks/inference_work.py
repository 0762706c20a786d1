"""What both sides of the inference benchmark are asked: the same conversations, seeds and lengths, from one rule.

The prompts are of a swarm's kind: a persona, which is shared by all or each agent's own, and a short question.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

TOKENS = 64
"""Of each answer, unless the model ends it earlier; with one seed both sides answer alike."""
_PERSONA = "You are a brief judge of motions on budgets. "


@dataclass(frozen=True)
class Work:
    """Requests from so many callers at once; each asks anew when it is answered."""

    callers: int
    requests: int
    first: int = 0
    """Number of the first request: another number is another prompt and seed."""
    persona_times: int = 1
    """Length of the persona, in sentences."""
    shared: bool = True
    """One persona for all; else each request's own, of the same length."""
    max_tokens: int = TOKENS

    def prompt(self, number: int) -> tuple[str, str]:
        """(system, user) of a request."""
        own = "" if self.shared else f"{number} "
        return own + _PERSONA * self.persona_times, f"Vote on motion {number}."

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Done:
    """What came of it."""

    seconds: float
    tokens: int
    texts: int
    """A sum over the answers' texts, to compare sides: equal work has equal sums."""
    cached: int
    """Prompt tokens from the cache."""

    @property
    def tokens_per_second(self) -> float:
        """Generated, by the wall clock."""
        return self.tokens / self.seconds


Ask = Callable[[int, str, str], Awaitable[tuple[str, int, int]]]
"""(number, system, user) -> (text, tokens, cached tokens)."""


async def run(work: Work, ask: Ask) -> Done:
    """Does the work by a way of asking."""
    numbers = iter(range(work.first, work.first + work.requests))
    tokens = texts = cached = 0

    async def caller() -> None:
        nonlocal tokens, texts, cached
        for number in numbers:
            text, used, hit = await ask(number, *work.prompt(number))
            tokens += used
            cached += hit
            texts += sum(text.encode()) * (number + 1)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(work.callers)))
    return Done(time.perf_counter() - began, tokens, texts, cached)

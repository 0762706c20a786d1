"""The task families together: endless conversations to train on, and held-out ones to be tested by.

Rules:
* All comes from the seed that is given; nothing else is random.
* Training takes only conversations that are not held out, testing only those that are (`Conversation.held_out`).
* Test prompts are all different.
"""

import random
from collections.abc import Iterator

from inference.tiny import bids, hailstone, plans, routing, tools, votes
from inference.tiny.conversation import Conversation, Family

FAMILIES = (
    Family("votes", votes.draw, 6),
    Family("bids", bids.draw, 3),
    Family("tools", tools.draw_call, 3),
    Family("results", tools.draw_result, 2),
    Family("routing", routing.draw, 2),
    Family("plans", plans.draw, 1),
    Family("hailstone", hailstone.draw, 2),
)
_DRAWS = 10_000
"""So many draws at most for one conversation of the wanted half."""


def training(seed: int, families: tuple[Family, ...] = FAMILIES) -> Iterator[Conversation]:
    """Conversations without end, none of them held out, the families mixed by their shares."""
    rng = random.Random(f"training {seed}")
    shares = [family.share for family in families]
    while True:
        (family,) = rng.choices(families, shares)
        yield _drawn(family, rng, test=False)


def held_out(family: Family, seed: int, count: int) -> list[Conversation]:
    """Held-out conversations of a family, no two with the same prompt."""
    rng = random.Random(f"testing {family.name} {seed}")
    found: dict[object, Conversation] = {}
    for _ in range(_DRAWS):
        conversation = _drawn(family, rng, test=True)
        found.setdefault((conversation.messages, repr(conversation.tools)), conversation)
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"{family.name} has no {count} different held-out prompts: ask for fewer")


def _drawn(family: Family, rng: random.Random, *, test: bool) -> Conversation:
    for _ in range(_DRAWS):
        conversation = family.draw(rng)
        if conversation.held_out == test:
            return conversation
    raise ValueError(f"{family.name} drew no conversation of the wanted half in {_DRAWS:,} draws")

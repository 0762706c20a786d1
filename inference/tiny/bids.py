"""Bids for a ticket: confidence and cost follow from the bidder's skill and the ticket's size by a stated rule.

Confidence is the skill in tenths; the cost is the size, and what the skill lacks to ten. A skill that the bidder does
not have counts as none. The reason says skill and size side by side, as that of a vote does. Held out are combinations
of skill, size, ticket and bidder; the sums themselves occur in training, under other names.
"""

import random
from collections.abc import Mapping

from inference.message import ChatMessage
from inference.tiny.conversation import Conversation, as_json
from inference.tiny.word import ARTICLES, PEOPLE, number

SKILLS = (
    "network", "billing", "printing", "painting", "welding", "testing", "writing", "design", "security", "storage",
    "transport", "research",
)  # fmt: skip
GREATEST_SIZE = 9
_RULES = (
    "Bid as JSON with reason: confidence is your skill in tenths, cost is the size plus ten less your skill.",
    "Answer as JSON with reason: confidence, your skill in tenths, and cost, the size plus ten less your skill.",
)
_TICKETS = ("Ticket {name}: {skill}, size {size}.", "{name} needs {skill} and has size {size}.",
            "Bid for {name}: size {size}, {skill}.")  # fmt: skip


def bid(skill: str, level: int, size: int) -> str:
    """The answer: what follows from what, confidence and cost, as JSON."""
    reason = f"has {skill} {level}, size {size}"
    return as_json({"reason": reason, "confidence": level / 10, "cost": size + 10 - level})


def bid_messages(
    bidder: str,
    skills: Mapping[str, int],
    ticket: str,
    skill: str,
    size: int,
    *,
    phrasing: tuple[int, int] = (0, 0),
) -> tuple[ChatMessage, ...]:
    """Asks a bidder with these skills (1 to 9) for a bid; `phrasing` chooses among the wordings."""
    told = ", ".join(f"{name} {level}" for name, level in skills.items())
    asked = _TICKETS[phrasing[1] % 3].format(name=ticket, skill=skill, size=size)
    return (
        ChatMessage.system(f"You are {bidder}. Skills: {told}. {_RULES[phrasing[0] % 2]}"),
        ChatMessage.user(asked),
    )


def draw(rng: random.Random) -> Conversation:
    """A bidder with one to three skills, and a ticket that most often needs one of them."""
    names = rng.sample(SKILLS, rng.randint(2, 4))
    skills = {name: rng.randint(1, 9) for name in names[1:]}
    needed = names[0] if rng.random() < 0.1 else rng.choice(names[1:])
    size = number(rng, GREATEST_SIZE)
    phrasing = (rng.randrange(2), rng.randrange(3))
    bidder, ticket = rng.choice(PEOPLE), rng.choice(ARTICLES)
    messages = bid_messages(bidder, skills, ticket, needed, size, phrasing=phrasing)
    level = skills.get(needed, 0)
    key = f"bid {level} {size} / {ticket} / {bidder}"
    return Conversation("bids", key, messages, bid(needed, level, size))

"""One step of a Hailstone sequence (Collatz): an even number is halved, an odd one tripled, and one added.

The kind comes first in the answer, so that the rule is settled before the digits. Held out are numbers: the step
must be worked out, pair of digits by pair; what is carried is hard for a model that writes the highest pair first.
"""

import random

from inference.message import ChatMessage
from inference.tiny.conversation import Conversation, as_json

GREATEST = 999
_QUESTIONS = (
    "Hailstone: what follows {number}?",
    "One Hailstone step from {number}.",
    "Give the next Hailstone number after {number}.",
)


def step(number: int) -> int:
    """What follows a number of at least 1."""
    return 3 * number + 1 if number % 2 else number // 2


def hailstone_messages(number: int, phrasing: int = 0) -> tuple[ChatMessage, ...]:
    """Asks for what follows a number from 1 to 999; `phrasing` chooses among the wordings."""
    return (ChatMessage.user(_QUESTIONS[phrasing % 3].format(number=number) + " Answer as JSON."),)


def draw(rng: random.Random) -> Conversation:
    """A number of one to three digits."""
    number = rng.randint(1, GREATEST)
    answer = as_json({"kind": "odd" if number % 2 else "even", "next": step(number)})
    return Conversation("hailstone", f"step {number}", hailstone_messages(number, rng.randrange(3)), answer)

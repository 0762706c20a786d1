"""Plans: a goal becomes three or four steps, in the right order, with the goal's names and numbers in the right places.

Held out are combinations of names and numbers of a goal.
"""

import random

from inference.message import ChatMessage
from inference.tiny.conversation import Conversation, as_json
from inference.tiny.word import ARTICLES, PEOPLE, PLACES, number

_WAYS = {"truck": "drive", "ship": "sail", "plane": "fly"}
_ASK = (
    "Plan the steps. Answer as JSON.",
    "Give the steps of a plan as JSON.",
    "Make a plan. Answer as JSON.",
)


def plan_messages(goal: str, phrasing: int = 0) -> tuple[ChatMessage, ...]:
    """Asks for a plan; `phrasing` chooses among the wordings."""
    return (ChatMessage.system(_ASK[phrasing % 3]), ChatMessage.user(goal))


def draw(rng: random.Random) -> Conversation:
    """One of four kinds of goals."""
    goal, steps = rng.choice((_delivery, _meeting, _repair, _report))(rng)
    messages = plan_messages(goal, rng.randrange(3))
    return Conversation("plans", f"plan {steps}", messages, as_json({"steps": steps}))


def _delivery(rng: random.Random) -> tuple[str, list[str]]:
    start, end = rng.sample(PLACES, 2)
    load, way = f"{number(rng, 30)} {rng.choice(ARTICLES)}", rng.choice(tuple(_WAYS))
    goal = rng.choice(
        (f"Bring {load} from {start} to {end} by {way}.", f"By {way} to {end} from {start}: {load}.")
    )
    return goal, [f"load {load} in {start}", f"{_WAYS[way]} to {end}", f"unload {load}"]


def _meeting(rng: random.Random) -> tuple[str, list[str]]:
    first, second = rng.sample(PEOPLE, 2)
    place, hour = rng.choice(PLACES), number(rng, 24)
    goal = rng.choice(
        (
            f"Meet {first} and {second} in {place} at {hour}.",
            f"A meeting at {hour} in {place} with {first} and {second}.",
        )
    )
    return goal, [f"book a room in {place} at {hour}", f"invite {first}", f"invite {second}"]


def _repair(rng: random.Random) -> tuple[str, list[str]]:
    what, owner = rng.choice(ARTICLES), rng.choice(PEOPLE)
    goal = rng.choice((f"Repair the {what} of {owner}.", f"{owner} has a broken {what}."))
    return goal, [f"order parts for {what}", f"repair {what}", f"test {what}", f"tell {owner}"]


def _report(rng: random.Random) -> tuple[str, list[str]]:
    about, reader, pages = rng.choice(PLACES), rng.choice(PEOPLE), number(rng, 30)
    goal = rng.choice(
        (f"A report on {about} for {reader}, {pages} pages.", f"{reader} wants {pages} pages on {about}.")
    )
    return goal, [f"search {about}", f"write {pages} pages", f"send to {reader}"]

"""Votes with their reasons: a voter has a rule of two numbers, and the vote follows from the proposal's facts.

The reason comes before the vote, and says both numbers side by side, in the words of the proposal: a small model copies
what follows a word, and compares what it has just written (chain of thought: Wei et al. 2022). A proposal states facts
that other voters need, and what others said already, which is wrong now and then; neither must matter. Held out are
combinations of value, bound, proposal and voter; the two numbers themselves occur together in training, under other
names.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference.message import ChatMessage
from inference.tiny.conversation import Conversation, as_json
from inference.tiny.word import ARTICLES, PEOPLE, number

GREATEST = 20


@dataclass(frozen=True)
class Measure:
    """What a voter looks at: a value that must stay at or under its bound (`at_most`), or reach it."""

    value: str
    bound: str
    at_most: bool

    def holds(self, value: int, bound: int) -> bool:
        """True if the voter is content."""
        return value <= bound if self.at_most else value >= bound


MEASURES = (
    Measure("cost", "budget", True),
    Measure("days", "deadline", True),
    Measure("risk", "limit", True),
    Measure("benefit", "target", False),
    Measure("support", "quorum", False),
)
_RULES = {
    True: (
        "Vote yes if the {value} is at most the {bound}, else no.",
        "Vote yes only if the {value} is not over the {bound}.",
        "Vote no if the {value} is over the {bound}, else yes.",
    ),
    False: (
        "Vote yes if the {value} is at least the {bound}, else no.",
        "Vote yes only if the {value} reaches the {bound}.",
        "Vote no if the {value} is under the {bound}, else yes.",
    ),
}
_OPENINGS = ("Proposal {name}:", "We vote on {name}:", "{name} is proposed:", "The proposal is {name}:")

Facts = Mapping[Measure, tuple[int, int]]
"""What is known of a proposal: value and bound by measure."""


def reason(measure: Measure, value: int, bound: int) -> str:
    """Both numbers, and what follows."""
    return _reason(measure, value, bound, measure.holds(value, bound))


def _reason(measure: Measure, value: int, bound: int, holds: bool) -> str:
    words = ("within", "over") if measure.at_most else ("reached", "short")
    return f"has {measure.value} {value}, {measure.bound} {bound}: {words[0] if holds else words[1]}"


def ballot(measure: Measure, value: int, bound: int) -> str:
    """The answer: reason and vote, as JSON."""
    vote = "yes" if measure.holds(value, bound) else "no"
    return as_json({"reason": reason(measure, value, bound), "vote": vote})


def vote_messages(
    voter: str,
    measure: Measure,
    proposal: str,
    facts: Facts,
    *,
    said: Sequence[tuple[str, str, str]] = (),
    phrasing: tuple[int, int] = (0, 0),
) -> tuple[ChatMessage, ...]:
    """Asks a voter. `said` holds who spoke before, with vote and reason; `phrasing` chooses among the wordings."""
    rule = _RULES[measure.at_most][phrasing[0] % 3].format(value=measure.value, bound=measure.bound)
    told = "; ".join(f"{each.value} {value}, {each.bound} {bound}" for each, (value, bound) in facts.items())
    lines = [f"{_OPENINGS[phrasing[1] % 4].format(name=proposal)} {told}."]
    lines += [f"{who} says {vote}: {why}." for who, vote, why in said]
    return (
        ChatMessage.system(f"You are {voter}. {rule} Answer as JSON."),
        ChatMessage.user("\n".join(lines)),
    )


def draw(rng: random.Random) -> Conversation:
    """A voter, a proposal with one to three facts, and up to two who spoke before."""
    measures = rng.sample(MEASURES, rng.choice((1, 2, 2, 3)))
    value, bound = _numbers(rng)
    facts = {measures[0]: (value, bound)}
    for other in measures[1:]:
        facts[other] = _numbers(rng)
    voter, *others = rng.sample(PEOPLE, 1 + rng.choice((0, 0, 0, 1, 2)))
    said = [_opinion(rng, other, facts) for other in others]
    shuffled = {measure: facts[measure] for measure in rng.sample(measures, len(measures))}
    phrasing = (rng.randrange(3), rng.randrange(4))
    proposal = rng.choice(ARTICLES)
    messages = vote_messages(voter, measures[0], proposal, shuffled, said=said, phrasing=phrasing)
    key = f"vote {value} {bound} / {proposal} / {voter}"
    return Conversation("votes", key, messages, ballot(measures[0], value, bound))


def _opinion(rng: random.Random, who: str, facts: Facts) -> tuple[str, str, str]:
    """Somebody's vote and reason by a fact; one in four says the opposite of what follows."""
    measure = rng.choice(tuple(facts))
    value, bound = facts[measure]
    holds = measure.holds(value, bound) != (rng.random() < 0.25)
    return who, "yes" if holds else "no", _reason(measure, value, bound, holds)


def _numbers(rng: random.Random) -> tuple[int, int]:
    """Value and bound, often close to each other, sometimes equal."""
    bound = number(rng, GREATEST)
    if rng.random() < 0.5:
        return number(rng, GREATEST), bound
    return min(max(bound + rng.randint(-9, 9), 1), GREATEST), bound

"""Episodes: which turns of a conversation fit into a prompt, and what stood round a turn that was recalled.

Rules:
* A budget is of tokens and hard: what does not fit is left out, whole turns at a time. Tokens are counted by the
  function that is handed in; the built-in estimate counts words, marks and long words twice, and errs on the high side.
* The window keeps the newest turns without a gap, then fills what is left with the most important older ones.
* What is given is in the order of the conversation, each turn once.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from memory.errors import InvalidItem
from memory.item import Item

CountTokens = Callable[[str], int]
NEIGHBOURS_MAX = 50
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD_CHARACTERS = 6
TURN_TOKENS = 4
"""What a turn costs beside its text and speaker: the marks that a chat template puts round it."""


@dataclass(frozen=True)
class Window:
    """Turns that fit into a budget."""

    items: tuple[Item, ...]
    """In the order of the conversation."""
    tokens: int
    left_out: int
    """How many turns did not fit."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has for a language model: every mark one, a word one for each six letters begun."""
    return sum(-(-len(piece) // _WORD_CHARACTERS) for piece in _TOKEN.findall(text))


def tokens_of(item: Item, count: CountTokens = estimated_tokens) -> int:
    """What a turn costs in a prompt, its speaker and the template's marks included."""
    return count(item.text) + (count(item.speaker) if item.speaker else 0) + TURN_TOKENS


def window(
    items: Iterable[Item],
    budget_tokens: int,
    *,
    count: CountTokens = estimated_tokens,
    newest_share: float = 0.7,
) -> Window:
    """The newest turns, up to `newest_share` of the budget, and the most important of the older in the rest."""
    if budget_tokens < 0:
        raise InvalidItem(f"budget_tokens is {budget_tokens}: give 0 or more")
    if not 0 <= newest_share <= 1:
        raise InvalidItem(f"newest_share is {newest_share}: give a number from 0 to 1")
    turns = sorted(items, key=order_of)
    costs = [tokens_of(item, count) for item in turns]
    kept: set[int] = set()
    spent, first = 0, len(turns)
    while first > 0 and spent + costs[first - 1] <= budget_tokens * newest_share:
        first -= 1
        spent += costs[first]
        kept.add(first)
    by_importance = sorted(range(first), key=lambda place: (-turns[place].importance, -place))
    for place in by_importance:
        if spent + costs[place] <= budget_tokens:
            spent += costs[place]
            kept.add(place)
    chosen = tuple(turns[place] for place in sorted(kept))
    return Window(chosen, spent, len(turns) - len(chosen))


def with_neighbours(
    hits: Sequence[Item],
    conversation: Iterable[Item],
    *,
    before: int = 1,
    after: int = 1,
    budget_tokens: int = 2_000,
    count: CountTokens = estimated_tokens,
) -> Window:
    """The hits, best first, each with the turns round it in its session, while the budget lasts.

    A hit comes before its neighbours, and a better hit with its neighbours before a worse one. What costs more than is
    left is skipped, and what comes after it may still fit.
    """
    if not (0 <= before <= NEIGHBOURS_MAX and 0 <= after <= NEIGHBOURS_MAX):
        raise InvalidItem(f"before and after are {before} and {after}: give 0 to {NEIGHBOURS_MAX}")
    sessions: dict[str, list[Item]] = {}
    for item in sorted({item.id: item for item in (*conversation, *hits)}.values(), key=order_of):
        sessions.setdefault(item.session, []).append(item)
    place_of = {item.id: place for turns in sessions.values() for place, item in enumerate(turns)}
    kept: dict[int, Item] = {}
    wanted: dict[int, None] = {}
    spent = 0
    for hit in hits:
        turns, place = sessions[hit.session], place_of[hit.id]
        near = [*turns[max(0, place - before) : place], *turns[place + 1 : place + 1 + after]]
        for item in (hit, *(near if hit.session else ())):
            wanted.setdefault(item.id)
            cost = tokens_of(item, count)
            if item.id not in kept and spent + cost <= budget_tokens:
                kept[item.id] = item
                spent += cost
    chosen = tuple(sorted(kept.values(), key=order_of))
    return Window(chosen, spent, len(wanted) - len(chosen))


def order_of(item: Item) -> tuple[float, str, int, int]:
    """The order of a conversation: the session's time as far as known, session, turn, id."""
    time = item.recorded_at if item.valid_from is None else item.valid_from
    return (time, item.session, item.turn, item.id)

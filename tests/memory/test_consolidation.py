"""What is forgotten and why; and that what was done is not asked for again."""

from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from inference.hashing_embedder import HashingEmbedder
from memory.consolidation import Action, Decay, Expire, Merge, Summarise, consolidate
from memory.errors import InvalidItem
from memory.item import Item, Kind
from memory.scope import Scope
from tests.memory.turns import fact, item_of, turn

EMBEDDER = HashingEmbedder()
DAY_S = 86_400.0


def actions(items: Sequence[Item], now: float = 0.0) -> list[Action]:
    return consolidate(items, EMBEDDER.embed([item.text for item in items]), now)


def carried_out(items: Sequence[Item], done: Sequence[Action], now: float) -> list[Item]:
    """The items as a store would leave them."""
    held = {item.id: item for item in items}
    for action in done:
        if isinstance(action, Merge):
            for each in action.dropped:
                held[each] = replace(held[each], retired_at=now, superseded_by=action.kept)
        elif isinstance(action, Expire):
            held[action.id] = replace(held[action.id], retired_at=now)
        elif isinstance(action, Decay):
            told = held[action.id].attributes | {"importance_told": action.importance_told}
            held[action.id] = replace(held[action.id], importance=action.importance, attributes=told)
        else:
            number = max(held) + 1
            held[number] = item_of(
                number, action.text, scope=action.scope, session=action.session, recorded_at=now,
                derived_from=action.derived_from, attributes={"summary_of_session": True},
            )  # fmt: skip
    return list(held.values())


def test_notes_that_say_the_same_become_one_the_most_trusted() -> None:
    items = [item_of(1, "The north dock opens early."), item_of(2, "the north dock opens early", trust=0.9)]
    assert actions(items) == [Merge(2, (1,), "they say the same")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (item_of(1, "the gate is on port 80"), item_of(2, "the gate is on port 81")),
        (item_of(1, "the dock is open on Monday"), item_of(2, "the dock is not open on Monday")),
        (item_of(1, "the dock is open now"), item_of(2, "the dock isn't open now")),
        (item_of(1, "the dock is open"), item_of(2, "the dock is open", scope=Scope("acme", swarm="s2"))),
        (item_of(1, "the dock is open"), item_of(2, "the dock is open", valid_to=9e9)),
        (fact(1, "Ada", "likes", "tea"), fact(2, "Ada", "likes", "tea", valid_from=7.0)),
        (turn(1, "Thanks a lot, that was kind"), turn(2, "Thanks a lot, that was kind")),
        (item_of(1, "the dock is open"), item_of(2, "the weather is fine")),
    ],
)
def test_what_differs_in_anything_exact_stays_apart(one: Item, other: Item) -> None:
    assert actions([one, other]) == []


def test_expiry_waits_for_its_grace() -> None:
    item = item_of(1, "the offer stands", valid_to=100 * DAY_S)
    assert [action for action in actions([item], 120 * DAY_S) if isinstance(action, Expire)] == []
    assert actions([item], 140 * DAY_S) == [Expire(1, "its validity ended 40 days ago")]


def test_importance_halves_and_what_has_none_left_expires() -> None:
    assert actions([item_of(1, "dock", importance=0.8)], 180 * DAY_S) == [Decay(1, 0.4, 0.8, "180 days old")]
    assert isinstance(actions([item_of(1, "dock")], 3_000 * DAY_S)[0], Expire)
    assert actions([fact(1, "Ada", "likes", "tea")], 3_000 * DAY_S) == []
    assert actions([item_of(1, "how to", kind=Kind.PROCEDURE)], 3_000 * DAY_S) == []


def test_an_old_session_is_put_into_sentences_that_were_said() -> None:
    said = [f"The harbour crane number {number} was painted and tested by the crew" for number in range(10)]
    talk = [turn(number, text) for number, text in enumerate([*said, "Ha!", "Bye!", "Good day to you"])]
    (summary,) = [action for action in actions(talk, 100 * DAY_S) if isinstance(action, Summarise)]
    lines = summary.text.splitlines()
    assert 1 <= len(lines) <= 6
    assert all(line.removeprefix("Ada: ") in [item.text for item in talk] for line in lines)
    assert "Ha!" not in summary.text
    assert summary.derived_from == tuple(range(13))
    assert [action for action in actions(talk, 10 * DAY_S) if isinstance(action, Summarise)] == []
    assert [action for action in actions(talk[:5], 100 * DAY_S) if isinstance(action, Summarise)] == []


def test_what_was_done_is_not_asked_for_again() -> None:
    items = [
        *(
            turn(number, f"The crew tested crane {number} in the {word} yard")
            for number, word in enumerate(["old", "new"] * 8)
        ),
        item_of(30, "The dock opens early"),
        item_of(31, "the dock opens early"),
        item_of(32, "an offer", valid_to=DAY_S),
    ]
    now = 150 * DAY_S
    done = actions(items, now)
    assert {type(action) for action in done} == {Merge, Summarise, Decay, Expire}
    assert actions(carried_out(items, done, now), now) == []
    assert actions(list(items), now) == done


def test_retired_items_are_left_alone() -> None:
    assert actions([item_of(1, "the dock opens"), item_of(2, "the dock opens", retired_at=1.0)]) == []


def test_many_items_are_merged_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        item_of(number, f"the {'north' if number % 3 else 'southern'} dock opens early")
        for number in range(60)
    ]
    whole = actions(items)
    monkeypatch.setattr("memory.consolidation._CHUNK", 7)
    assert actions(items) == whole
    assert [merge.kept for merge in whole if isinstance(merge, Merge)] == [0, 1]


def test_vectors_of_another_number_are_refused() -> None:
    with pytest.raises(InvalidItem, match="1 items need as many vectors"):
        consolidate([item_of(1, "x")], np.zeros((2, 3), dtype=np.float32), 0.0)

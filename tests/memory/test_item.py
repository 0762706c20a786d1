"""Items and drafts: what may be remembered, and when two say the same."""

import json
import random
from hashlib import blake2b
from typing import Any

import pytest

from memory.errors import InvalidItem
from memory.item import ATTRIBUTES_BYTES, TEXT_CHARACTERS, Draft, Item, Kind, content_hash
from memory.scope import Scope

HERE = Scope("t")
NAN = float("nan")


@pytest.mark.parametrize(
    "fields",
    [
        {"text": ""},
        {"text": " \n"},
        {"text": None},
        {"text": b"bytes"},
        {"text": "x" * (TEXT_CHARACTERS + 1)},
        {"text": "half a pair \ud800"},
        {"importance": NAN},
        {"importance": 2},
        {"trust": -0.1},
        {"trust": True},
        {"kind": "fact"},
        {"turn": -1},
        {"turn": 1.5},
        {"valid_from": NAN},
        {"valid_from": 2.0, "valid_to": 1.0},
        {"attributes": {"a": {1, 2}}},
        {"attributes": {"a": NAN}},
        {"attributes": {1: "a"}},
        {"attributes": {"a": "x" * ATTRIBUTES_BYTES}},
        {"derived_from": ("1",)},
        {"source": 5},
        {"speaker": "x" * 2000},
    ],
)
def test_a_draft_that_cannot_be_kept_is_refused_with_the_mend(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidItem) as caught:
        Draft(**({"scope": HERE, "text": "a"} | fields))
    assert len(str(caught.value)) < 500


def test_a_million_characters_may_be_remembered() -> None:
    assert Draft(HERE, "x" * TEXT_CHARACTERS).text


def test_the_same_said_has_one_hash_whoever_says_it() -> None:
    one = Draft(HERE, "it rains", Kind.FACT, source="ann", importance=0.1)
    other = Draft(HERE, "it rains", Kind.FACT, source="ben", trust=0.9)
    assert content_hash(one) == content_hash(other)


@pytest.mark.parametrize(
    "change",
    [{"text": "it rained"}, {"kind": Kind.NOTE}, {"turn": 2}, {"session": "s"}, {"speaker": "a"},
     {"attributes": {"a": 1}}, {"valid_from": 1.0}],
)  # fmt: skip
def test_what_is_said_otherwise_has_another_hash(change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"text": "it rains", "kind": Kind.FACT}
    assert content_hash(Draft(HERE, **fields)) != content_hash(Draft(HERE, **(fields | change)))


def test_an_item_is_read_back_from_json() -> None:
    item = Item(
        7,
        Scope("t", agent="a/b"),
        Kind.EPISODE,
        "hello",
        attributes={"n": [1, {"x": None}]},
        derived_from=(1, 2),
    )
    assert Item.from_json(json.loads(json.dumps(item.to_json()))) == item


def test_what_is_no_item_is_refused() -> None:
    with pytest.raises(InvalidItem):
        Item.from_json({"id": 3})


def test_intervals_hold_their_start_and_not_their_end() -> None:
    item = Item(1, HERE, Kind.FACT, "x", valid_from=1.0, valid_to=2.0, recorded_at=5.0, retired_at=6.0)
    assert [item.valid_at(time) for time in (0.9, 1.0, 1.9, 2.0)] == [False, True, True, False]
    assert [item.believed_at(time) for time in (4.9, 5.0, 5.9, 6.0)] == [False, True, True, False]


def test_the_short_way_to_a_content_hash_gives_the_same_bytes() -> None:
    rng = random.Random(3)
    for _ in range(500):
        text = (
            "".join(rng.choice('a "\\\n\t\u00e9\u65e5\U0001f600\x7f/') for _ in range(rng.randint(1, 9)))
            + "x"
        )
        draft = Draft(
            Scope("t"), text, rng.choice(list(Kind)), session=rng.choice(["", text]), turn=rng.randrange(9),
            speaker=rng.choice(["", text]),
        )  # fmt: skip
        said = [draft.kind, text, draft.session, draft.turn, draft.speaker, None, None, {}]
        plainly = blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).digest()
        assert content_hash(draft) == plainly, draft

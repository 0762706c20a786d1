"""Ranking: what each part is worth, that scores are explained, and that answers are whole and repeatable."""

import random
from dataclasses import fields, replace

import numpy as np
import pytest

from inference.hashing_embedder import HashingEmbedder
from memory.errors import InvalidItem
from memory.item import Item
from memory.ranking import Query, Ranked, Ranker, RankingSettings, Weights
from tests.memory.turns import turn

EMBEDDER = HashingEmbedder()


def ranker(items: list[Item], settings: RankingSettings | None = None) -> Ranker:
    made = Ranker(EMBEDDER.identity.dimension, settings)
    for item, vector in zip(items, EMBEDDER.embed([item.text for item in items]), strict=True):
        made.add(item, vector)
    return made


def ask(
    made: Ranker, text: str, k: int = 10, now: float = 0.0, eligible: list[int] | None = None
) -> list[Ranked]:
    return made.rank(Query(text, EMBEDDER.embed([text])[0], k, now), eligible)


def ids(found: list[Ranked]) -> list[int]:
    return [ranked.item.id for ranked in found]


def only(**weights: float) -> RankingSettings:
    return RankingSettings(weights=Weights(**{each.name: 0.0 for each in fields(Weights)} | weights))


TALK = [
    turn(1, "I adopted a puppy from the shelter", "Ada", "one"),
    turn(2, "How lovely! What is its name?", "Bo", "one"),
    turn(3, "She answers to Pixel, and sleeps on my feet", "Ada", "one"),
    turn(4, "My sister paints boats", "Bo", "two"),
    turn(5, "The tax office wrote again", "Ada", "two"),
    turn(6, "I adopted a cat years ago", "Bo", "two"),
]


def test_the_right_turn_comes_first_and_says_why() -> None:
    best = ask(ranker(TALK), "What animal did Ada adopt?")[0]
    assert best.item.id == 1
    assert 0 < best.score <= 1
    assert sum(best.parts.values()) == pytest.approx(best.score)
    assert best.parts["lexical"] > 0
    assert best.parts["speaker"] > 0


def test_a_name_chooses_the_speaker_and_is_no_term() -> None:
    assert ids(ask(ranker(TALK), "What did Bo adopt?", k=1)) == [6]
    named = [turn(1, "Ada, Ada, Ada!", "Bo"), turn(2, "I went sailing", "Ada"), turn(3, "Bo?", "Ada")]
    assert ids(ask(ranker(named), "Where did Ada sail?"))[0] == 2


def test_a_word_before_a_colon_is_a_speaker_only_if_it_recurs() -> None:
    """ "Warning: ..." is nobody's: taken for a name it would be taken out of the question that asks for it."""
    items = [turn(1, "Warning: the disk is full", ""), turn(2, "The disk of the gramophone is scratched", "")]
    asked = "which warning is there of the disk"
    assert "speaker" not in ask(ranker(items), asked)[0].parts
    assert ids(ask(ranker(items, only(lexical=1.0)), asked, k=1)) == [1]
    several = [*items, turn(3, "Warning: the fan is loud", "")]
    assert "speaker" in ask(ranker(several), asked)[0].parts
    made = ranker(several)
    made.remove(3)
    assert "speaker" not in ask(made, asked)[0].parts
    told = [turn(1, "it rains", "Warning"), items[1]]
    assert "speaker" in ask(ranker(told), asked)[0].parts


def test_names_that_are_words_or_share_a_part_are_told_apart() -> None:
    items = [
        turn(1, "I painted the boat", "Will"), turn(2, "I painted the boat", "bidder/1"),
        turn(3, "I painted the boat", "bidder/2"), turn(4, "I painted the boat", "the clerk"),
    ]  # fmt: skip
    made = ranker(items, only(speaker=1.0, lexical=0.1))
    assert ids(ask(made, "What will bidder/2 paint?", k=1)) == [3]
    assert ids(ask(made, "What did Will paint?", k=1)) == [1]
    assert sorted(ids(ask(made, "What did a bidder paint?", k=2))) == [2, 3]
    assert ids(ask(made, "What did THE CLERK paint?", k=1)) == [4]
    assert "speaker" not in ask(made, "Will it rain? Is the boat painted?")[0].parts


def test_an_answer_is_found_by_the_question_before_it() -> None:
    window = replace(only(window=1.0), thesaurus=None)
    found = ask(ranker(TALK, window), "the name of the puppy")
    assert set(ids(found)[:3]) == {1, 2, 3}
    alone = replace(only(lexical=1.0), thesaurus=None)
    scores = {ranked.item.id: ranked.score for ranked in ask(ranker(TALK, alone), "the name of the puppy")}
    assert scores[3] == 0


def test_a_question_in_other_words_finds_what_was_meant() -> None:
    settings = only(lexical=1.0)
    assert ids(ask(ranker(TALK, settings), "young dog", k=1)) == [1]
    assert ask(ranker(TALK, replace(settings, thesaurus=None)), "young dog", k=1)[0].score == 0


def test_a_time_in_the_question_prefers_items_of_that_time() -> None:
    may, june, year = 1_683_500_000.0, 1_686_500_000.0, 31_536_000.0
    items = [
        turn(number, "We met the team", session="", valid_from=time)
        for number, time in enumerate((june, may, may - year))
    ]
    assert ids(ask(ranker(items), "Who met the team in May 2023?")) == [1, 0, 2]


def test_a_question_of_when_prefers_turns_that_tell_a_time() -> None:
    items = [turn(1, "I painted the boat red"), turn(2, "I painted the boat yesterday")]
    assert ids(ask(ranker(items), "When was the boat painted?", k=1)) == [2]


@pytest.mark.parametrize(
    ("part", "low", "high"),
    [
        ("recency", {"valid_from": 0.0}, {"valid_from": 9e6}),
        ("importance", {"importance": 0.1}, {"importance": 0.9}),
        ("trust", {"trust": 0.1}, {"trust": 0.9}),
    ],
)
def test_what_weighs_on_time_importance_or_trust_orders_equals(
    part: str, low: dict[str, float], high: dict[str, float]
) -> None:
    items = [turn(1, "the dock is open", session="", **low), turn(2, "the dock is open", session="", **high)]
    settings = RankingSettings(weights=replace(Weights(), **{part: 0.2}))
    assert ids(ask(ranker(items, settings), "dock", now=1e7)) == [2, 1]


def test_there_are_always_as_many_results_as_there_can_be() -> None:
    made = ranker(TALK)
    assert len(ask(made, "nothing of the kind", k=4)) == 4
    assert len(ask(made, "puppy", k=100)) == 6
    assert sorted(ids(ask(made, "puppy", eligible=[5, 3, 77]))) == [3, 5]
    assert ask(made, "puppy", eligible=[]) == []
    assert ask(Ranker(EMBEDDER.identity.dimension), "puppy") == []


def test_equal_scores_come_by_id_whatever_the_order_of_coming() -> None:
    items = [turn(number, "the same words", session="") for number in (5, 2, 9, 1)]
    assert ids(ask(ranker(items), "the same words")) == [1, 2, 5, 9]


def test_removal_leaves_what_never_having_been_there_would() -> None:
    rng = random.Random(7)
    vocabulary = ["dog", "boat", "tax", "sister", "paint", "shelter", "name", "feet", "office", "red"]
    items = [
        turn(
            number,
            " ".join(rng.choices(vocabulary, k=5)),
            rng.choice(["Ada", "Bo"]),
            rng.choice(["one", "two", ""]),
        )
        for number in range(40)
    ]
    gone = set(rng.sample(range(40), 20))
    settings = replace(RankingSettings(), thesaurus=None)
    made = ranker(items, settings)
    for number in sorted(gone):
        assert made.remove(number)
        assert not made.remove(number)
    fresh = ranker([item for item in items if item.id not in gone], settings)
    for question in ("Ada and the red dog", "boat", "when was the tax office painted"):
        one, other = ask(made, question), ask(fresh, question)
        assert ids(one) == ids(other)
        np.testing.assert_allclose([each.score for each in one], [each.score for each in other])
    assert len(made) == 20


def test_an_item_may_come_back_after_its_removal_but_not_before() -> None:
    made = ranker(TALK)
    vector = EMBEDDER.embed([TALK[0].text])[0]
    with pytest.raises(InvalidItem, match="remove it first"):
        made.add(TALK[0], vector)
    made.remove(1)
    made.add(TALK[0], vector)
    assert 1 in ids(ask(made, "puppy"))


def test_speakers_may_stand_in_the_text() -> None:
    items = [
        turn(1, "Ada: I adopted a puppy", speaker=""),
        turn(2, "Bo: I adopted a cat", speaker=""),
        turn(3, "Bo: rain again", speaker="Bo"),
    ]
    assert ids(ask(ranker(items), "What did Bo adopt?", k=1)) == [2]


def test_sessions_are_ranked_by_their_best_turns_and_their_whole_text() -> None:
    made = ranker(TALK)
    query = "What did Ada adopt from the shelter?"
    found = made.rank_sessions(Query(query, EMBEDDER.embed([query])[0]))
    assert [each.session for each in found] == ["one", "two"]
    assert found[0].best[0].item.id == 1
    assert sum(found[0].best[0].parts.values()) == pytest.approx(found[0].best[0].score)
    assert found[0].score > found[1].score
    assert len(made.rank_sessions(Query(query, EMBEDDER.embed([query])[0], k=1))) == 1
    lonely = ranker([turn(1, "no session", session="")])
    assert lonely.rank_sessions(Query(query, EMBEDDER.embed([query])[0])) == []


@pytest.mark.parametrize("question", ["", "?!", "the of and", "日本", "Ada", "x" * 10_000])
def test_any_question_has_an_answer(question: str) -> None:
    assert len(ask(ranker(TALK), question)) == 6


def test_what_makes_no_sense_is_refused() -> None:
    made = ranker(TALK)
    with pytest.raises(InvalidItem, match="k is 0"):
        ask(made, "puppy", k=0)
    with pytest.raises(InvalidItem, match="shape"):
        made.add(turn(9, "x"), np.ones(3, dtype=np.float32))
    with pytest.raises(InvalidItem, match="at least 0"):
        Weights(lexical=-1.0)
    with pytest.raises(InvalidItem, match="one of them above"):
        only()

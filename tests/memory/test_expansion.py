"""Relatives of words: found in the scope's own words only."""

from inference.word_table import load_word_table
from memory.expansion import ExpansionSettings, Vocabulary
from memory.text import stem, terms_and_words


def vocabulary(text: str, settings: ExpansionSettings | None = None) -> Vocabulary:
    made = Vocabulary(load_word_table(), settings)
    made.add(terms_and_words(text))
    return made


def test_words_of_like_meaning_are_related_and_others_are_not() -> None:
    found = vocabulary("the puppy sleeps; taxes rise; a cat sat").related(["dog"])[0]
    assert found[0][0] == stem("puppy")
    assert 0 < found[0][1] < 1
    assert stem("taxes") not in dict(found)


def test_a_word_is_not_its_own_relative_nor_is_one_that_is_unknown() -> None:
    assert vocabulary("dog dogs").related(["dog", "zzqx"]) == [[], []]
    assert vocabulary("").related(["dog"]) == [[]]


def test_relatives_are_limited_and_the_nearest_come_first() -> None:
    text = "puppy cat kitten horse hound pet terrier"
    many = vocabulary(text, ExpansionSettings(similarity_min=0.2)).related(["dog"])[0]
    few = vocabulary(text, ExpansionSettings(similarity_min=0.2, related_max=2)).related(["dog"])[0]
    assert few == many[:2]
    assert [weight for _, weight in many] == sorted((weight for _, weight in many), reverse=True)


def test_words_may_come_one_at_a_time_in_any_number() -> None:
    table = load_word_table()
    at_once, by_one = Vocabulary(table), Vocabulary(table)
    pairs = [(stem(word), word) for word in table.words[2_000:2_700]]
    at_once.add(pairs)
    for pair in pairs:
        by_one.add([pair])
    assert at_once.related(["dog", "guitar"]) == by_one.related(["dog", "guitar"])

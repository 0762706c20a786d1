"""Lies: always other values, always the same structure, always fit to be sent."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.byzantine import alter, lot_of
from actors.message import Message, Part, decode, encode, parts_of
from actors.rng import Rng, stream_key

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


def lie(content: Any, lot: int | None = None, values: tuple[Any, ...] = (), sequence: int = 1) -> Any:
    return alter(parts_of(content), Rng(stream_key(1, "liar", str(sequence))), lot, values)[0].value


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return (type(value), len(value) if isinstance(value, str | bytes) else None)


@given(plain, st.none() | st.integers(0, 2**32))
def test_a_lie_has_the_structure_of_the_truth_and_can_be_encoded(content: Any, lot: int | None) -> None:
    parts = parts_of(content)
    told = alter(parts, Rng(stream_key(1, "liar")), lot, ())
    assert [shape(part.value) for part in told] == [shape(part.value) for part in parts]
    assert decode(encode(Message("a", "b", 1, told))).parts[0].kind == parts[0].kind


@given(
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.from_regex(r"[a-z0-9 ]*[a-z][a-z0-9 ]*", fullmatch=True)
    | st.binary(min_size=1)
)
def test_a_corrupt_value_is_never_the_true_one(value: Any) -> None:
    assert lie(value) != value


def test_numbers_told_to_different_recipients_all_differ() -> None:
    for truth in (0, 1, -7, 10**12, 2**64 - 1, 0.0, 3.5, 1e308):
        assert len({lie(truth, lot) for lot in range(1000)}) == 1000


def test_text_told_to_different_recipients_differs_as_far_as_there_are_letters() -> None:
    assert len({lie("a", lot) for lot in range(25)}) == 25
    assert len({lie("Commit 7", lot) for lot in range(1000)}) == 1000


def test_neighbours_in_number_are_told_the_opposite_truth_value() -> None:
    told = [lie(True, lot) for lot in range(6)]
    assert told in ([True, False] * 3, [False, True] * 3)


def test_given_values_are_the_only_ones_told_and_the_only_ones_altered() -> None:
    content = {"term": 4, "vote": "commit", "known": True}
    told = lie(content, values=("commit", "abort"))
    assert told == {"term": 4, "vote": "abort", "known": True}
    votes = [lie(content, lot, values=("commit", "abort", "wait"))["vote"] for lot in range(3)]
    assert sorted(votes) == ["abort", "commit", "wait"]


def test_a_truth_value_is_not_taken_for_the_number_one() -> None:
    assert lie({"vote": True, "n": 1}, values=(0, 1)) == {"vote": True, "n": 0}


def test_links_and_what_is_about_a_part_stay_as_they_are() -> None:
    link = Part("url", "https://example.org/a", "text/plain", "a.txt", {"size": 3})
    text = Part("text", "hello", "text/markdown", "", {"lang": "en"})
    told = alter((link, text), Rng(stream_key(1)), None, ())
    assert told[0] == link
    assert told[1].value != "hello"
    assert (told[1].media_type, told[1].metadata) == ("text/markdown", {"lang": "en"})


def test_very_deep_content_is_altered_as_deep_as_allowed_and_no_deeper() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    assert lie(deep) == deep


def test_lots_are_numbers_of_agents_or_checksums_of_names() -> None:
    assert lot_of("worker/17") == 17
    assert lot_of("boss") != lot_of("clerk")

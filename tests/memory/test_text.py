"""Words, stems, times and speakers."""

from datetime import UTC, datetime

import numpy as np
import pytest

from memory.text import ANSWER_SHAPES, TimeCue, answer_shape, split_speaker, stem, terms, time_cue, words


def time_of(year: int, month: int, day: int) -> float:
    return datetime(year, month, day, 12, tzinfo=UTC).timestamp()


def test_words_are_lower_case_without_clitics_in_any_script() -> None:
    assert words("Ada's café, they'll re-open: 日本 x2!") == [
        "ada",
        "café",
        "they",
        "re",
        "open",
        "日本",
        "x2",
    ]
    assert words("?!") == []


@pytest.mark.parametrize(
    "forms",
    [
        ("adopt", "adopted", "adopting", "adopts", "adoption"),
        ("go", "went", "gone", "goes"),
        ("buy", "bought", "buying"),
        ("run", "ran", "running", "runs"),
        ("city", "cities"),
        ("child", "children", "kids"),
        ("paint", "painted", "painting", "paintings"),
        ("move", "moved", "moving", "moves"),
        ("plan", "planned", "planning"),
        ("happy", "happiness"),
        ("organise", "organized", "organization", "organisations", "organiser"),
        ("activity", "activities", "active"),
        ("hike", "hiking", "hiked", "hikers"),
        ("family", "families"),
        ("interest", "interested", "interesting"),
        ("colour", "colors", "colourful"),
        ("decide", "decided", "decision"),
        ("educate", "education", "educated"),
        ("travel", "travelling", "traveled", "travellers"),
    ],
)
def test_forms_of_a_word_have_one_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bus", "but"),
        ("care", "car"),
        ("speed", "spend"),
        ("flower", "flow"),
        ("shower", "show"),
        ("class", "clay"),
        ("news", "new"),
        ("king", "kin"),
        ("ring", "red"),
    ],
)
def test_other_words_keep_theirs(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_stop_words_are_no_terms() -> None:
    assert terms("What did the painter do with her paintings?") == [stem("painter"), stem("painting")]
    assert terms("who was it") == []


def test_a_speaker_before_the_text_is_split_off() -> None:
    assert split_speaker("Ada: the dock is open") == ("Ada", "the dock is open")
    assert split_speaker("Mary Ann O'Neil: hello") == ("Mary Ann O'Neil", "hello")
    assert split_speaker("at 10:30 we met") == ("", "at 10:30 we met")
    assert split_speaker("http://example.org") == ("", "http://example.org")


@pytest.mark.parametrize(
    ("question", "cue"),
    [
        ("What did she paint in May 2023?", TimeCue(2023, (5,))),
        ("Who came on 8 May 2023?", TimeCue(2023, (5,), 8)),
        ("Who came on March 3rd?", TimeCue(None, (3,), 3)),
        ("What broke on 2024-02-29?", TimeCue(2024, (2,), 29)),
        ("Where did they go last summer?", TimeCue(None, (6, 7, 8))),
        ("What happened in 2022?", TimeCue(2022)),
        ("What was decided in October", TimeCue(None, (10,))),
        ("May I march to the spring and fall?", None),
        ("Who adopted the dog?", None),
    ],
)
def test_the_time_that_a_question_names_is_read(question: str, cue: TimeCue | None) -> None:
    assert time_cue(question) == cue


def test_a_time_cue_prefers_the_time_it_names_and_then_the_month_after() -> None:
    times = np.array(
        [time_of(2023, 5, 8), time_of(2023, 5, 20), time_of(2023, 6, 2), time_of(2022, 5, 8), np.nan]
    )
    assert TimeCue(2023, (5,), 8).match(times).tolist() == [1, 0.7, 0.5, 0, 0]
    assert TimeCue(None, (5,)).match(times).tolist() == [1, 1, 0.5, 1, 0]
    assert TimeCue(2022).match(times).tolist() == [0, 0, 0, 1, 0]
    assert TimeCue(2022, (12,)).match(np.array([time_of(2023, 1, 3), time_of(2024, 1, 3)])).tolist() == [
        0.5,
        0,
    ]


@pytest.mark.parametrize(
    ("question", "answer", "other"),
    [
        ("When did Ada move?", "I moved last Tuesday", "I moved to Turin"),
        ("How many cats has she?", "she has three cats", "she loves cats"),
        ("What year was it?", "in 1999", "long past"),
    ],
)
def test_the_shape_of_an_answer_tells_it_from_other_talk(question: str, answer: str, other: str) -> None:
    shape = answer_shape(question)
    assert shape is not None
    assert ANSWER_SHAPES[shape].search(answer)
    assert not ANSWER_SHAPES[shape].search(other)


def test_most_questions_ask_for_no_shape() -> None:
    assert answer_shape("Who adopted the dog when it was small?") is None

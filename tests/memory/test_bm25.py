"""BM25 against its formula, written out plainly; and windows, sessions and removal."""

import math
import random

import numpy as np
import pytest

from memory.bm25 import NO_ROW, BM25Settings, TextIndex


def plainly(texts: list[list[str]], query: list[str], k1: float = 1.2, b: float = 0.75) -> list[float]:
    mean = sum(map(len, texts)) / len(texts)
    scores = []
    for text in texts:
        score = 0.0
        for term in query:
            df = sum(term in other for other in texts)
            idf = math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
            tf = text.count(term)
            score += idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(text) / mean))
        scores.append(score)
    return scores


def test_scores_are_those_of_the_formula_after_any_additions_and_removals() -> None:
    rng = random.Random(11)
    index = TextIndex()
    held: dict[int, list[str]] = {}
    for step in range(120):
        if held and rng.random() < 0.3:
            row = rng.choice(sorted(held))
            index.remove(row)
            del held[row]
        else:
            terms = [rng.choice("abcdef") for _ in range(rng.randrange(1, 9))]
            held[index.add(terms, session=rng.choice(["", "s", "t"]), turn=step)] = terms
        if held:
            query = ["a", "b", "zz"]
            found = index.parts([[(term, 1.0)] for term in query]).sum(axis=0)
            rows = sorted(held)
            np.testing.assert_allclose(
                found[rows], plainly([held[row] for row in rows], query), err_msg=f"{step}"
            )
            assert not found[~index.alive].any()


def test_an_alternative_counts_at_its_discount_and_only_if_it_is_better() -> None:
    index = TextIndex()
    index.add(["dog"])
    index.add(["puppy"])
    index.add(["puppy", "dog"])
    index.add(["cat"])
    (alone,) = index.parts([[("dog", 1.0)]])
    (both,) = index.parts([[("dog", 1.0), ("puppy", 0.5)]])
    assert both[0] == alone[0]
    assert both[1] == pytest.approx(alone[0] / 2)
    assert both[2] == alone[2]
    assert both[3] == 0


def test_neighbours_are_the_turns_before_and_after_in_the_session_however_they_came() -> None:
    index = TextIndex()
    late, first, other, alone, middle = (
        index.add(["x"], session=session, turn=turn)
        for session, turn in (("s", 9), ("s", 1), ("t", 2), ("", 0), ("s", 5))
    )
    before, after = index.neighbours()
    assert [before[row] for row in (first, middle, late, other, alone)] == [
        NO_ROW,
        first,
        middle,
        NO_ROW,
        NO_ROW,
    ]
    assert [after[row] for row in (first, middle, late)] == [middle, late, NO_ROW]
    index.remove(middle)
    assert index.neighbours()[0][late] == first


def test_a_window_counts_a_term_once_at_its_best_weakened_by_distance() -> None:
    index = TextIndex(BM25Settings(b=0.0))
    for turn, term in enumerate(["dog", "x", "x", "dog", "x", "x", "x"]):
        index.add([term], session="s", turn=turn)
    parts = index.parts([[("dog", 1.0)]])
    (window,) = index.windows(parts, (0.6, 0.3))
    assert window / parts.max() == pytest.approx([1, 0.6, 0.6, 1, 0.6, 0.3, 0])


def test_windows_do_not_reach_into_another_session() -> None:
    index = TextIndex()
    index.add(["dog"], session="s", turn=1)
    index.add(["x"], session="t", turn=2)
    index.add(["x"])
    (window,) = index.windows(index.parts([[("dog", 1.0)]]), (1.0,))
    assert window[1:].tolist() == [0, 0]


def test_a_session_is_scored_by_all_of_its_turns() -> None:
    index = TextIndex()
    for turn, (session, terms) in enumerate(
        [("s", ["dog"]), ("s", ["park"]), ("t", ["dog"]), ("t", ["x"]), ("u", ["x", "y"])]
    ):
        index.add(terms, session=session, turn=turn)
    _, names = index.sessions()
    scores = dict(zip(names, index.session_scores([[("dog", 1.0)], [("park", 1.0)]]), strict=True))
    assert scores["s"] > scores["t"] > scores["u"] == 0


def test_an_empty_index_gives_empty_answers() -> None:
    index = TextIndex()
    assert index.parts([[("dog", 1.0)]]).shape == (1, 0)
    assert index.session_scores([[("dog", 1.0)]]).shape == (0,)
    row = index.add([])
    index.remove(row)
    index.remove(row)
    assert not index.parts([[("dog", 1.0)]]).any()

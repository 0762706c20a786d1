"""Decided slots: their history, summaries that stand for them, and pages for who lags."""

from typing import Any

import pytest
from msgspec.structs import replace

from coordination.decision_log import PAGE, DecisionLog, Entry, Past, StateVote, state_statement, vouches
from coordination.request import Request
from coordination.signature import TokenScheme, digest

SCHEME = TokenScheme()


def log(count: int, of: str = "x") -> DecisionLog:
    made = DecisionLog()
    for slot in range(1, count + 1):
        batch = (Request(1, 1, slot - 1, (f"{of}{slot}",)),)
        made.append(Entry(slot, 0, batch), digest(batch))
    return made


def voted(made: DecisionLog, slot: int, state: Any) -> StateVote:
    vote = made.compact(slot, state)
    assert vote is not None
    return vote


def test_equal_histories_mean_equal_slots() -> None:
    assert log(5).history == log(5).history
    assert log(5).history != log(5, "y").history
    assert log(5).history_at(3) == log(3).history


def test_a_gap_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="slot 7 after 5"):
        log(5).append(Entry(7, 0, ()), digest(()))


def test_a_summary_stands_for_slots_once_enough_have_signed_the_same() -> None:
    made = log(10)
    vote = voted(made, 6, "state")
    words = [SCHEME.sign(one, state_statement(vote.slot, vote.digest)) for one in (1, 2, 3)]
    assert not made.vote(1, replace(vote, signature=words[0]), 2, SCHEME)
    assert not made.vote(2, StateVote(6, b"other", words[1]), 2, SCHEME)
    assert not made.vote(2, replace(vote, slot=5, signature=words[1]), 2, SCHEME)
    assert [made.base, len(made.entries)] == [0, 10]
    assert made.vote(3, replace(vote, signature=words[2]), 2, SCHEME)
    assert [made.base, [entry.slot for entry in made.entries]] == [6, [7, 8, 9, 10]]
    past = made.since(2)
    assert past is not None
    members = frozenset((1, 2, 3, 4))
    assert vouches(SCHEME, past, members, 2)
    assert not vouches(SCHEME, past, members, 3)
    assert not vouches(SCHEME, past, frozenset((3, 4)), 2)
    assert past.summary is not None
    assert not vouches(SCHEME, replace(past, summary=replace(past.summary, state="forged")), members, 2)


def test_who_installs_a_summary_goes_on_as_if_it_had_all() -> None:
    made, other = log(10), DecisionLog()
    vote = voted(made, 6, "state")
    assert made.vote(1, vote, 1, None)
    past = made.since(0)
    assert past is not None
    assert past.summary is not None
    other.install(past.summary, None)
    for entry in past.entries:
        other.append(entry, digest(entry.batch))
    assert (other.slot, other.history, other.executed.plain()) == (10, made.history, made.executed.plain())
    # And a later summary is the same at both, though one began at a summary.
    assert voted(other, 9, "later") == voted(made, 9, "later")


def test_pages_are_bounded_and_follow_one_another() -> None:
    made = log(3 * PAGE)
    slot, pages = 0, 0
    while (past := made.since(slot)) is not None:
        assert isinstance(past, Past)
        assert len(past.entries) <= PAGE
        assert past.entries[0].slot == slot + 1
        slot, pages = past.entries[-1].slot, pages + 1
    assert (slot, pages) == (3 * PAGE, 3)


def test_only_slots_that_are_there_can_be_compacted() -> None:
    made = log(4)
    assert made.compact(5, "s") is None
    assert made.compact(0, "s") is None
    assert made.vote(1, voted(made, 4, "s"), 1, None)
    assert made.compact(4, "s") is None
    assert made.since(4) is None

"""Liars: honest code behind a mask."""

from random import Random
from typing import Any

import pytest

from actors.errors import ConfigurationError
from coordination.protocol import Propose, Receive, Restore, Setting, Tick
from coordination.simulation.liar import LIARS, Forgetful, Late, Silent, TwoFaced, liar_named
from tests.coordination.simulation.pingers import Kept, Note, Scribe


def scribe(replica: int = 4) -> Scribe:
    return Scribe(Setting(replica, (1, 2, 3, 4, 5, 6), Random(1)))


def test_a_silent_replica_says_nothing_from_its_time_on() -> None:
    liar = Silent(scribe(), from_s=5.0)
    assert len(liar.handle(Propose(4.9, (1,))).sends) == 5
    assert liar.handle(Propose(5.0, (2,))).sends == []


def test_a_late_replica_says_everything_in_the_end() -> None:
    liar = Late(scribe(), Random(1), most_s=10.0)
    liar.handle(Restore(0.0))
    assert liar.handle(Propose(0.0, (1,))).sends == []
    said: list[int] = []
    wake_at = liar.handle(Tick(0.0)).wake_at
    while wake_at < 10.0:
        effects = liar.handle(Tick(wake_at))
        said += [to for to, _, _ in effects.sends]
        wake_at = effects.wake_at
    assert sorted(said) == [1, 2, 3, 5, 6]


def test_a_forgetful_replica_claims_to_have_written_what_it_did_not() -> None:
    effects = Forgetful(scribe()).handle(Propose(0.0, (1,)))
    assert effects.records == []
    assert {after for _, _, after in effects.sends} == {0}


def test_two_faces_speak_to_different_halves_and_hear_only_theirs() -> None:
    liar = TwoFaced(scribe, Random(1), frozenset({4, 5}), split=True)
    liar.handle(Restore(0.0))
    sends = liar.handle(Propose(0.0, (1, 2))).sends
    said: dict[int, list[Any]] = {}
    for to, message, _ in sends:
        said.setdefault(to, []).append(message)
    assert said[2] == said[6] == [Note("told", 1)]  # even ids hear the first face
    assert said[1] == said[3] == [Note("told", 2)]  # odd ids the second, which was told the reverse
    assert len(said[5]) == 2  # a fellow hears both, each face its own
    fellow = TwoFaced(lambda: scribe(5), Random(1), frozenset({4, 5}), split=True)
    for message in said[5]:
        fellow.handle(Receive(0.0, 4, message))
    fellow.handle(Receive(0.0, 1, Note("from an odd one")))
    first, second = (face for face in fellow._faces)
    assert isinstance(first, Scribe)
    assert isinstance(second, Scribe)
    assert [message for _, _, message in first.heard] == [Note("told", 1)]
    assert [message for _, _, message in second.heard] == [Note("told", 2), Note("from an odd one")]


def test_a_double_voter_tells_everybody_both_and_keeps_no_record() -> None:
    liar = TwoFaced(scribe, Random(1), split=False)
    liar.handle(Restore(0.0, (Kept(3),)))
    effects = liar.handle(Propose(0.0, (1, 2)))
    assert sorted(message.number for to, message, _ in effects.sends if to == 1) == [1, 2]
    assert effects.records == []
    assert effects.decided == []


def test_liars_are_known_by_name_and_an_unknown_one_is_refused() -> None:
    for name in LIARS:
        disguised = liar_named(name, 0.1)(scribe, Random(1), frozenset({4}))
        assert disguised.id == 4
    with pytest.raises(ConfigurationError, match="There are: silent, late"):
        liar_named("polite", 0.1)

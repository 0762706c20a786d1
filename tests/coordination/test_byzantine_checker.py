"""The checker of Byzantine protocols: it lets what is right pass, catches each mutant, and blames the right ones."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from coordination.byzantine_checker import ByzantineChecker, culprits
from coordination.chain.block import TIMEOUT, VOTE, timeout_statement, vote_statement
from coordination.chain.replica import ChainReplica
from coordination.chain.rules import Rules
from coordination.checker import SafetyViolation
from coordination.hotstuff import HOTSTUFF, HotStuffRules
from coordination.jolteon import JOLTEON, JolteonRules
from coordination.protocol import Effects, Persisted, ProtocolKind, Restore
from coordination.signature import Signature, TokenScheme
from coordination.simulation.campaign import Case
from coordination.simulation.liar import LIARS, double_voting
from coordination.simulation.network import NetworkSettings
from coordination.simulation.simulation import World
from coordination.streamlet import STREAMLET
from coordination.testimony import Certified, Reader, Stance, Word
from tests.coordination.chain import mutants
from tests.coordination.chain.runs import Run, begin, storm

ALL = pytest.mark.parametrize("kind", [HOTSTUFF, JOLTEON, STREAMLET], ids=lambda kind: kind.name)
SEEDS = 60


def checkers(world: World) -> list[ByzantineChecker]:
    return [ByzantineChecker.of(world)]


@pytest.mark.parametrize("kind", mutants.CAUGHT_BY_CHANCE, ids=mutants.NAMES)
def test_a_mutant_is_caught_within_sixty_storms(kind: ProtocolKind) -> None:
    for seed in range(SEEDS):
        try:
            storm(kind, seed)
        except SafetyViolation:
            return
    pytest.fail(f"{kind.title}: not one of {SEEDS} seeds shows the fault")


@ALL
def test_storms_break_nothing_of_what_is_sound(kind: ProtocolKind) -> None:
    for seed in range(25):
        run = storm(kind, seed)
        assert run.checker.culprits() == {}, f"seed {seed}"


@pytest.mark.parametrize("rules", [mutants.Unlocked, HotStuffRules], ids=["broken", "sound"])
def test_a_vote_against_the_lock_is_caught_when_a_liar_asks_for_it(rules: type[Rules]) -> None:
    kind = mutants.of(HOTSTUFF, ChainReplica, rules)
    for seed in range(4):
        case = Case.drawn(kind, seed)
        case.liars = {1: "backward"}
        case.world = replace(
            case.world, twins=(), liars={1: mutants.backward(mutants.Unlocked, 2)}, network=NetworkSettings()
        )
        try:
            case.run(checkers)
        except SafetyViolation as violation:
            if rules is HotStuffRules or "the locking rule" not in str(violation):
                raise
            return
    assert rules is HotStuffRules


@pytest.mark.parametrize("rules", [mutants.Uncertain, JolteonRules], ids=["broken", "sound"])
def test_a_block_below_what_the_timeouts_name_must_get_no_votes(rules: type[Rules]) -> None:
    """Replica 2 alone learns of a decision and is cut off; replica 3 then proposes beside it."""
    run = begin(mutants.of(JOLTEON, ChainReplica, rules), liars={3: mutants.backward(mutants.Uncertain, 1)})
    run.propose(1, "x")
    run.pass_by(3.5)
    run.simulation.network.blocked = {(1, other) for other in (0, 2, 3)}
    run.simulation.network_changed()
    if rules is JolteonRules:
        run.until(lambda: run.know("x"), 500.0)
    else:
        with pytest.raises(SafetyViolation, match="no certificate beside a decision"):
            run.pass_by(500.0)
    assert run.known_at[2]["x"] == 4.0


# --- Too many liars ---------------------------------------------------------------------------------------------


@ALL
def test_f_plus_one_twins_break_agreement_and_are_convicted(kind: ProtocolKind) -> None:
    """Two copies of each of two replicas, and a cut between {1, 2, 4} and their doubles {1', 3, 4'}."""
    run = begin(kind, twins=(1, 4))
    run.simulation.network.partition([[0, 1, 3], [2, 4, 5]])
    run.simulation.network_changed()
    run.propose(2, "x")
    run.propose(3, "y")
    with pytest.raises(SafetyViolation, match=r"Convicted by their own words: \[1, 4\]") as found:
        cut_and_heal(run)
    assert "accountability" not in str(found.value)
    assert sorted(run.checker.culprits()) == [1, 4]


def cut_and_heal(run: Run) -> None:
    run.pass_by(300.0)
    run.heal()
    run.pass_by(300.0)


@ALL
def test_f_twins_break_nothing(kind: ProtocolKind) -> None:
    run = begin(kind, twins=(4,), options={"heartbeat": 20.0})
    run.simulation.network.partition([[0, 1, 3], [2, 4]])
    run.simulation.network_changed()
    run.propose(2, "x")
    run.propose(3, "y")
    run.pass_by(300.0)
    run.heal()
    run.until(lambda: run.know("x") and run.know("y"), 2000.0)
    run.checker.finish()
    assert set(run.checker.culprits()) <= {4}


def test_f_plus_one_that_break_their_lock_are_convicted_without_one_double_vote() -> None:
    """Both liars vote in each view once; what convicts them is what their later votes rest on."""
    run = begin(HOTSTUFF, liars={2: mutants.relapsing, 3: mutants.relapsing})
    run.isolate(4)
    run.propose(1, "x")
    run.until(lambda: run.know("x", 1))
    run.isolate(1)
    for liar in (2, 3):
        run.simulation.crash(run.node(liar))
        run.simulation.restart(run.node(liar))
    run.propose(4, "y")
    with pytest.raises(SafetyViolation, match=r"Convicted by their own words: \[2, 3\]"):
        run.pass_by(2000.0)
    for first, second in run.checker.culprits().values():
        assert first.ballot < second.ballot
        assert first.locks is not None
        assert second.based is not None
        assert second.based.rank < first.locks.rank


@ALL
def test_liars_of_all_kinds_up_to_f_break_neither_agreement_nor_progress(kind: ProtocolKind) -> None:
    for name in sorted(LIARS):
        run = begin(kind, 4, seed=3, liars={4: LIARS[name].disguise(1.0)}, options={"heartbeat": 20.0})
        for replica in (1, 2, 3):
            run.propose(replica, f"{name} {replica}")
        run.until(
            lambda run=run, name=name: all(run.know(f"{name} {replica}", 1, 2, 3) for replica in (1, 2, 3)),
            2000.0,
        )
        run.checker.finish()
        assert all(found.culprit == 4 for found in run.simulation.evidence)


@ALL
def test_double_votes_are_shown_as_evidence(kind: ProtocolKind) -> None:
    shown = set()
    for seed in range(8):
        run = begin(kind, 4, seed=seed, liars={1: double_voting}, options={"heartbeat": 20.0})
        for index in range(20):
            run.propose(1, f"{index}", f"{index} too")
            run.pass_by(3.0)
        shown |= {found.culprit for found in run.simulation.evidence}
    assert shown == {1}


# --- Words ------------------------------------------------------------------------------------------------------


def vote(signer: int, view: int, digest: bytes, locks: int = 0, based: int = 0) -> Word:
    statement = vote_statement(view, digest)
    return Word(
        (VOTE, view),
        digest,
        statement,
        TokenScheme(signer).sign(signer, statement),
        (view, 0),
        locks=Stance(locks, b"at %d" % locks),
        based=Stance(based, b"at %d" % based),
    )


def test_culprits_are_those_who_vote_twice_or_break_a_lock() -> None:
    words = [
        vote(1, 5, b"a", locks=3, based=4),
        vote(1, 6, b"b", locks=4, based=5),
        vote(2, 5, b"a"),
        vote(2, 5, b"b"),
        vote(3, 9, b"c", locks=7, based=8),
        vote(3, 12, b"d", locks=5, based=6),
        vote(4, 12, b"d", locks=5, based=6),
        vote(4, 9, b"c", locks=6, based=6),
    ]
    expected = [2, 3]
    assert list(culprits(words, TokenScheme())) == expected
    for seed in range(20):
        Random(seed).shuffle(words)
        assert list(culprits(words)) == expected


def test_a_word_that_is_not_signed_convicts_nobody() -> None:
    true = vote(2, 5, b"a")
    forged = Word((VOTE, 5), b"b", vote_statement(5, b"b"), Signature(2, b"0000"), (5, 0))
    assert culprits([true, forged], TokenScheme()) == {}


def test_a_base_as_high_as_the_lock_stands_only_on_the_same_digest() -> None:
    first = vote(1, 5, b"a", locks=3)
    same = vote(1, 7, b"b", based=3)
    assert culprits([first, same]) == {}
    other = Word((VOTE, 8), b"c", same.statement, same.signature, (8, 0), based=Stance(3, b"something else"))
    assert list(culprits([first, other])) == [1]


class Paper(Reader):
    """Messages are the words themselves."""

    def words(self, message: Any) -> list[Word]:
        return [message] if isinstance(message, Word) else []

    def certified(self, message: Any) -> list[Certified]:
        return [message] if isinstance(message, Certified) else []


def on_paper() -> ByzantineChecker:
    return ByzantineChecker(replace(HOTSTUFF, reader=Paper), (1, 2, 3, 4))


def say(checker: ByzantineChecker, signer: int, word: Word, token: int = 0) -> None:
    checker.observe(0.0, signer, None, Persisted(0.0, 0), Effects(sends=[(2, word, token)]))  # type: ignore[arg-type]  # no replica is looked at


def test_a_promise_that_a_crash_swallowed_does_not_bind() -> None:
    checker = on_paper()
    say(checker, 1, vote(1, 5, b"a"), token=3)
    checker.observe(1.0, 1, None, Restore(1.0), Effects())  # type: ignore[arg-type]  # no replica is looked at
    say(checker, 1, vote(1, 5, b"b"))
    with pytest.raises(SafetyViolation, match="no double vote, broken by replica 1"):
        say(checker, 1, vote(1, 5, b"a"))


def test_a_promise_binds_once_it_is_durable_also_in_the_next_life() -> None:
    checker = on_paper()
    say(checker, 1, vote(1, 5, b"a"), token=3)
    checker.observe(1.0, 1, None, Persisted(1.0, 3), Effects())  # type: ignore[arg-type]  # no replica is looked at
    checker.observe(2.0, 1, None, Restore(2.0), Effects())  # type: ignore[arg-type]  # no replica is looked at
    with pytest.raises(SafetyViolation, match=r"no double vote.*first = '61', second = '62'"):
        say(checker, 1, vote(1, 5, b"b"))


def test_words_go_forward() -> None:
    checker = on_paper()
    statement = timeout_statement(7, 3)
    gave_up = Word((TIMEOUT, 7), b"3", statement, TokenScheme(1).sign(1, statement), (7, 1))
    say(checker, 1, gave_up)
    with pytest.raises(SafetyViolation, match="words are given in their order"):
        say(checker, 1, vote(1, 7, b"a"))


def test_the_lock_of_an_honest_replica_is_enforced() -> None:
    checker = on_paper()
    say(checker, 1, vote(1, 5, b"a", locks=4, based=4))
    with pytest.raises(SafetyViolation, match=r"the locking rule.*rank=3.*rank=4"):
        say(checker, 1, vote(1, 6, b"b", locks=2, based=3))

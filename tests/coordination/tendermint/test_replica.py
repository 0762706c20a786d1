"""Tendermint: locks, rounds, time-outs and bounds."""

from dataclasses import replace
from random import Random
from typing import Any

from coordination.checker import SafetyViolation
from coordination.protocol import Effects, Persisted, Propose, Receive, Restore, Setting, Tick
from coordination.request import Request
from coordination.signature import TokenScheme, certificate, digest
from coordination.simulation.campaign import Case
from coordination.simulation.liar import LIARS
from coordination.tendermint.height import WINDOW, Round
from coordination.tendermint.message import (
    NIL,
    PRECOMMIT,
    PREVOTE,
    Precommit,
    Prevote,
    Proposal,
    proposal_statement,
    vote_statement,
)
from coordination.tendermint.reader import TendermintReader
from coordination.tendermint.replica import TENDERMINT, Tendermint
from coordination.tendermint.state import EARLY
from coordination.tendermint.voting import Voting, records_of
from coordination.testimony import conflict
from tests.coordination.agreement import Run, checkers, unit

MEMBERS = (1, 2, 3, 4)
SCHEME = TokenScheme()


class Held:
    """Replica 1 of four (no proposer in rounds 0 to 2 of height 1), with a disk that writes at once."""

    def __init__(self, records: tuple[Any, ...] = ()) -> None:
        self.now = 0.0
        self.replica = Tendermint(Setting(1, MEMBERS, Random(0), delay_s=1.0, scheme=TokenScheme(1)))
        self.records: list[Any] = list(records)
        self.evidence: list[Any] = []
        self.said: list[Any] = []
        self.give(Restore(0.0, records))

    def give(self, event: Any) -> list[Any]:
        """Hands over an event, and all that follows of it: what is said (once for all receivers)."""
        said: list[Any] = []
        effects: Effects = self.replica.handle(event)
        while True:
            self.records += effects.records
            self.evidence += effects.evidence
            self.wake_at = effects.wake_at
            for _, message, _ in effects.sends:
                if message not in said:
                    said.append(message)
            if not effects.records:
                break
            effects = self.replica.handle(Persisted(self.now, effects.token))
        self.said += said
        return said

    def hear(self, *messages: Any) -> list[Any]:
        return [said for message in messages for said in self.give(Receive(self.now, 2, message))]

    def wait(self) -> list[Any]:
        """Until its next deadline."""
        self.now = self.wake_at
        return self.give(Tick(self.now))


def proposer(number: int, height: int = 1) -> int:
    return MEMBERS[(height + number) % 4]


def proposal(number: int, command: str, valid_round: int = -1, *, backed: bool = True) -> Proposal:
    signer = proposer(number)
    batch = (Request(proposer(max(valid_round, 0) if valid_round >= 0 else number), 1, 0, (command,)),)
    found = digest(batch)
    polka = None
    if valid_round >= 0:
        statement = vote_statement(PREVOTE, 1, valid_round, found)
        polka = certificate(
            SCHEME, [SCHEME.sign(one, statement) for one in ((2, 3, 4) if backed else (3, 4))]
        )
    word = SCHEME.sign(signer, proposal_statement(1, number, found, valid_round))
    return Proposal(1, number, batch, valid_round, word, polka)


def votes(kind: Any, number: int, found: bytes, *signers: int, height: int = 1) -> list[Any]:
    phase = PREVOTE if kind is Prevote else PRECOMMIT
    statement = vote_statement(phase, height, number, found)
    return [kind(height, number, found, SCHEME.sign(signer, statement)) for signer in signers]


def ballots(said: list[Any]) -> list[tuple[str, int, bytes]]:
    return [
        (type(one).__name__, one.round, one.digest) for one in said if isinstance(one, Prevote | Precommit)
    ]


def locked() -> tuple[Held, bytes]:
    """Replica 1, locked on batch "a" in round 0 and now in round 1."""
    held = Held()
    first = proposal(0, "a")
    found = digest(first.batch)
    assert ballots(held.hear(first)) == [("Prevote", 0, found)]
    assert ballots(held.hear(*votes(Prevote, 0, found, 2, 3))) == [("Precommit", 0, found)]
    held.hear(*votes(Precommit, 0, NIL, 2, 3))
    while held.replica.height.round == 0:
        held.wait()
    return held, found


# --- Locks --------------------------------------------------------------------------------------------------------


def test_a_locked_replica_prevotes_nil_for_another_batch() -> None:
    held, _ = locked()
    assert ballots(held.hear(proposal(1, "b"))) == [("Prevote", 1, NIL)]


def test_a_locked_replica_prevotes_its_own_batch_again() -> None:
    held, found = locked()
    assert ballots(held.hear(proposal(1, "a", valid_round=0))) == [("Prevote", 1, found)]


def test_a_later_polka_opens_the_lock_and_a_forged_one_does_not() -> None:
    held, found = locked()
    held.hear(proposal(1, "b"))
    held.hear(*votes(Precommit, 1, NIL, 2, 3, 4))
    while held.replica.height.round == 1:
        held.wait()
    assert ballots(held.hear(proposal(2, "b", valid_round=1, backed=False))) == []
    assert ballots(held.hear(proposal(2, "b", valid_round=1))) == [
        ("Prevote", 2, digest(proposal(1, "b").batch))
    ]
    assert held.replica.height.locked == found


def test_locks_and_votes_survive_a_restart() -> None:
    held, found = locked()
    again = Held(tuple(held.records))
    assert (again.replica.height.locked, again.replica.height.locked_round) == (found, 0)
    assert ballots(again.said) == [("Prevote", 0, found), ("Precommit", 0, found)]
    again.hear(*votes(Precommit, 0, NIL, 2, 3))
    while again.replica.height.round == 0:
        again.wait()
    assert ballots(again.hear(proposal(1, "b"))) == [("Prevote", 1, NIL)]


def test_a_lock_of_long_ago_is_still_told_to_the_disk() -> None:
    held, found = locked()
    height = held.replica.height
    for number in range(2, 100):
        height.enter(number)
    (precommit,) = [one for one in records_of(height) if isinstance(one, Precommit)]
    assert (precommit.round, precommit.digest) == (0, found)


class Amnesiac(Voting):
    """Broken: prevotes whatever is acceptable, whatever it is locked on."""

    def _judge(self, place: Round, proposal: Proposal) -> None:
        self._vote(PREVOTE, place.digest if place.digest in self._state.height.accepted else NIL)


def test_a_replica_that_forgets_its_lock_is_caught_by_the_checker() -> None:
    def make(setting: Setting) -> Tendermint:
        made = Tendermint(setting)
        made._voting.__class__ = Amnesiac
        return made

    broken = replace(TENDERMINT, make=make)
    caught = ""
    for seed in range(120):
        try:
            Case.drawn(broken, seed).run(checkers, events=2500)
        except SafetyViolation as violation:
            caught = str(violation)
            break
    assert "the locking rule" in caught or "agreement" in caught, "120 seeds found nothing"


def test_two_words_convict_a_signer_of_amnesia() -> None:
    reader = TendermintReader()
    (first,) = votes(Precommit, 0, b"a" * 32, 3)
    (second,) = votes(Prevote, 2, b"b" * 32, 3)
    (mine,) = votes(Prevote, 2, b"a" * 32, 3)
    (lock,) = reader.words(first)
    assert [conflict(lock, word) for word in reader.words(second)] == [True]
    assert [conflict(lock, word) for word in reader.words(mine)] == [False]


# --- Rounds -------------------------------------------------------------------------------------------------------


def test_a_replica_that_hears_nothing_of_a_proposer_prevotes_nil_and_goes_on() -> None:
    held = Held()
    held.give(Propose(0.0, ("mine",)))
    while not ballots(held.said):
        held.wait()
    assert held.now == 4.0
    assert ballots(held.said) == [("Prevote", 0, NIL)]
    assert ballots(held.hear(*votes(Prevote, 0, NIL, 3, 4))) == [("Precommit", 0, NIL)]
    held.hear(*votes(Precommit, 0, NIL, 3, 4))
    while held.replica.height.round == 0:
        held.wait()
    assert held.now == 7.0


def test_f_plus_one_replicas_in_a_later_round_take_a_replica_along() -> None:
    held = Held()
    held.hear(*votes(Prevote, 5, NIL, 2))
    assert held.replica.height.round == 0
    held.hear(*votes(Precommit, 4, NIL, 3))
    assert held.replica.height.round == 4


def test_a_quorum_of_precommits_of_an_old_round_decides() -> None:
    held, found = locked()
    held.hear(proposal(1, "b"))
    effects = [held.replica.handle(Receive(held.now, 2, one)) for one in votes(Precommit, 0, found, 4)]
    assert not effects[0].decided  # replicas 2 and 3 have precommitted nil there: they cannot take that back
    (last,) = votes(Precommit, 0, found, 2)
    effects = [held.replica.handle(Receive(held.now, 2, last))]
    assert [one.culprit for one in effects[0].evidence] == [2]
    held = Held()
    held.hear(proposal(0, "a"), *votes(Prevote, 0, found, 2, 3))
    held.hear(*votes(Prevote, 1, NIL, 2, 3))
    assert held.replica.height.round == 1
    decided = [
        held.replica.handle(Receive(held.now, 2, one)).decided for one in votes(Precommit, 0, found, 2, 3)
    ]
    assert [[one.commands for one in found] for found in decided] == [[], [("a",)]]


def test_an_equivocating_proposer_is_convicted() -> None:
    held = Held()
    held.hear(proposal(0, "a"), proposal(0, "b"))
    assert [found.culprit for found in held.evidence] == [proposer(0)]
    (first,) = TendermintReader().words(held.evidence[0].first)
    (second,) = TendermintReader().words(held.evidence[0].second)
    assert conflict(first, second)


def test_proposers_that_are_silent_are_passed_over() -> None:
    liars = {one: LIARS["silent"].disguise(1.5) for one in (2, 3)}
    run = Run(unit(TENDERMINT, 7, delay_s=1.5, liars=liars))
    for count in range(8):
        run.propose(count, at=run.nodes[3])
        assert run.until_all_have(count + 1, 300.0)
    assert run.commands(4) == list(range(8))


# --- Bounds -------------------------------------------------------------------------------------------------------


def test_a_liar_cannot_fill_a_replicas_memory() -> None:
    held = Held()
    for count in range(1000):
        held.hear(*votes(Prevote, count, NIL, 2), *votes(Precommit, 3 * count, b"x" * 32, 2))
        held.hear(*votes(Prevote, 0, NIL, 2, height=2 + count))
    height = held.replica.height
    assert height.round == 0
    assert len(height.rounds) <= WINDOW + 1
    assert len(held.replica._state.early) <= EARLY


def test_nothing_happens_while_nobody_wants_anything() -> None:
    run = Run(unit(TENDERMINT, 4, delay_s=1.0))
    run.simulation.run(until_s=15.0)
    assert run.simulation.messages == 0
    assert not run.decided

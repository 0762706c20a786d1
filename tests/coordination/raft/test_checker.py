"""The checker says nothing of Raft, and names what is broken in each of many broken variants."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from coordination.checker import SafetyViolation
from coordination.protocol import Effects, Event, Persisted, Receive, Restore, Setting
from coordination.raft import election, reading, replication
from coordination.raft import step as step_module
from coordination.raft.checker import RaftChecker
from coordination.raft.log import Log
from coordination.raft.membership import MembershipChange
from coordination.raft.messages import Append, AppendReply, Entry, VoteReply, VoteRequest
from coordination.raft.node import Node
from coordination.raft.raft import RAFT, Raft
from tests.coordination.raft.storm import first_violation, storm

SEEDS = 60
"""Within so many seeds each broken variant is caught."""


@pytest.mark.parametrize("seed", range(24))
def test_raft_keeps_every_property_in_a_storm(seed: int) -> None:
    simulation = storm(seed)
    assert simulation.slots > 0, f"seed {seed}: nothing was decided"


@pytest.mark.parametrize("seed", range(8))
def test_leases_keep_reads_linearizable_while_clocks_run_at_the_same_rate(seed: int) -> None:
    storm(seed, skew=False, lease_reads=True, eager_commit=False)


def test_reads_are_answered_in_storms() -> None:
    asked, answered = 0, 0
    for seed in range(6):
        some, others = storm(seed).answered_reads  # type: ignore[attr-defined]  # set by the storm
        asked, answered = asked + some, answered + others
    assert answered > asked / 3


# --- Broken variants: other protocols ---------------------------------------------------------------------------


class ForgetsItsVote(Raft):
    def _restore(self, records: Any, effects: Effects) -> None:
        super()._restore(records, effects)
        self.node.vote = 0


class _BlindLog(Log):
    """pysyncobj's fault: whatever follows the place where a leader's entries go is deleted."""

    __slots__ = ()

    def try_append(self, index: int, log_term: int, entries: tuple[Entry, ...]) -> bool:
        if self.term_at(index) != log_term:
            return False
        if index < self.last:
            self._cut(index + 1)
            self.last_term = log_term
        if entries:
            self.append(entries)
        return True


class CutsBlindly(Raft):
    def __init__(self, setting: Any) -> None:
        super().__init__(setting)
        self.node.log = _BlindLog()


class SpeaksBeforeItIsStored(Raft):
    def handle(self, event: Event) -> Effects:
        effects = super().handle(event)
        effects.sends = [(to, message, 0) for to, message, _ in effects.sends]
        return effects


class AsksBeforeItIsStored(Raft):
    def _hold_requests(self, effects: Effects) -> None:
        """It does not."""


class CountsItselfAtOnce(Raft):
    def handle(self, event: Event) -> Effects:
        effects = super().handle(event)
        if self._own and effects.token:
            more = super().handle(Persisted(event.now, effects.token))
            effects.sends += more.sends
            effects.decided += more.decided
        return effects


class _AnyLog(Log):
    __slots__ = ()

    def is_up_to_date(self, index: int, term: int) -> bool:
        return True


class VotesForAnybody(Raft):
    def __init__(self, setting: Any) -> None:
        super().__init__(setting)
        self.node.log = _AnyLog()


class TellsAnotherState(Raft):
    def _compact(self, slot: int, state: Any, effects: Effects) -> None:
        super()._compact(slot, (state, self.id), effects)


class ForgetsItsLog(Raft):
    def _restore(self, records: Any, effects: Effects) -> None:
        super()._restore(records[:-1] if len(records) > 3 else records, effects)


VARIANTS: dict[type[Raft], set[str]] = {
    CutsBlindly: {"no entry is cut without a conflict", "nothing is cut at or below the commit index"},
    SpeaksBeforeItIsStored: {
        "an acknowledgement leaves only when it is stored",
        "a vote leaves only when it is stored",
        "a candidate asks when its vote is stored",
    },
    AsksBeforeItIsStored: {"a candidate asks when its vote is stored"},
    CountsItselfAtOnce: {"a leader counts itself only when it has stored"},
    VotesForAnybody: {
        "later leaders hold every committed entry",
        "nothing is cut at or below the commit index",
        "no two replicas apply different entries at an index",
    },
    TellsAnotherState: {"an installed state is the one compacted"},
    ForgetsItsLog: {"no entry is cut without a conflict", "term, commit and applied index never fall"},
}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_a_broken_protocol_is_caught(variant: type[Raft]) -> None:
    seed, rule = first_violation(replace(RAFT, make=variant), range(SEEDS))
    assert rule in VARIANTS[variant], f"seed {seed}: {rule}"


# --- Broken variants: other rules -------------------------------------------------------------------------------


def _counts_old_terms(node: Node) -> bool:
    halves = [half for half in (node.voters, node.outgoing) if half]
    index = min(sorted(one.match for one in half)[(len(half) - 1) // 2] for half in halves)
    if index > node.log.committed:
        node.log.committed = index
        return True
    return False


def _counts_one_half(node: Node) -> bool:
    index = sorted(one.match for one in node.voters)[(len(node.voters) - 1) // 2]
    log = node.log
    if index > log.committed and log.term_at(index) == node.term:
        log.committed = index
        return True
    return False


def _counts_a_minority(node: Node) -> bool:
    log = node.log
    index = sorted(one.match for one in node.voters)[len(node.voters) // 2 + (len(node.voters) > 2)]
    if index > log.committed and log.term_at(index) == node.term:
        log.committed = index
        return True
    return False


def _commits_its_own_last_entry(node: Node, source: int, message: Append) -> None:
    log = node.log
    if message.index < log.committed:
        node.after.append((source, AppendReply(node.term, log.committed)))
    elif log.try_append(message.index, message.log_term, message.entries):
        log.committed = max(log.committed, min(message.commit, log.last))
        node.after.append((source, AppendReply(node.term, message.index + len(message.entries))))
    else:
        hint, term = log.conflict_by_term(min(message.index, log.last), message.log_term)
        node.after.append((source, AppendReply(node.term, message.index, True, hint, term)))


def _admits_all(node: Node, change: MembershipChange) -> MembershipChange:
    return change


def _starts_a_term(node: Node, source: int, message: Any) -> bool:
    node.become_follower(message.term, 0)
    return True


def _answers_at_once(node: Node, source: int, context: Any) -> None:
    if source == node.id and node.role.value == "StateLeader":
        node.read_states.append((node.log.committed, context))


def _never_asks(node: Node) -> None:
    """A leader that does not care whether it hears from anybody."""


SLOW_TO_SHOW = {"reads without asking": 20}
"""From which seed to look: it takes a leader that was cut off, a new one, and a read at the old one."""

Patch = Callable[[pytest.MonkeyPatch], None]

RULES: dict[str, tuple[Patch, set[str]]] = {
    "old terms by counting": (
        lambda patch: patch.setattr(replication, "advance_commit", _counts_old_terms),
        {"only entries of the present term commit by counting"},
    ),
    "one majority while joint": (
        lambda patch: patch.setattr(replication, "advance_commit", _counts_one_half),
        {"what commits is stored by a quorum"},
    ),
    "a minority": (
        lambda patch: patch.setattr(replication, "advance_commit", _counts_a_minority),
        {"what commits is stored by a quorum"},
    ),
    "two changes at once": (
        lambda patch: patch.setattr(step_module, "_admitted", _admits_all),
        {"one unapplied change of members"},
    ),
    "pre-votes that raise terms": (
        lambda patch: patch.setattr(step_module, "_later", _starts_a_term),
        {"a pre-vote raises no term"},
    ),
    "reads without asking": (
        lambda patch: patch.setattr(reading, "_read_committed", _answers_at_once),
        {"a read sees all that was decided before it was asked"},
    ),
    "leaders that hear nobody": (
        lambda patch: patch.setattr(election, "check_quorum", _never_asks),
        {"a leader that hears from no quorum steps down"},
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_broken_rule_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, rules = RULES[name]
    patch(monkeypatch)
    begin = SLOW_TO_SHOW.get(name, 0)
    seed, rule = first_violation(RAFT, range(begin, begin + SEEDS))
    assert rule in rules, f"seed {seed}: {rule}"


# --- Broken variants that need a schedule of their own ----------------------------------------------------------


def watched(raft: Raft, checker: RaftChecker, *events: Event) -> list[Effects]:
    """What events cause, looked at by a checker; records are durable at once."""
    seen = []
    for event in events:
        effects = raft.handle(event)
        checker.observe(event.now, raft.id, raft, event, effects)
        seen.append(effects)
        if effects.records:
            seen += watched(raft, checker, Persisted(event.now, effects.token))
    return seen


def journal(seen: list[Effects]) -> list[Any]:
    return [record for effects in seen for record in effects.records]


@pytest.mark.parametrize("variant", [Raft, ForgetsItsVote])
def test_a_second_vote_in_a_term_is_caught_across_a_restart(variant: type[Raft]) -> None:
    checker = RaftChecker()
    first = variant(setting(3))
    seen = watched(first, checker, Restore(0.0), Receive(1.0, 1, VoteRequest(5, 0, 0)))
    second = variant(setting(3))
    events = (Restore(2.0, journal(seen)), Receive(3.0, 2, VoteRequest(5, 0, 0)))
    if variant is Raft:
        replies = [
            message for effects in watched(second, checker, *events) for _, message, _ in effects.sends
        ]
        assert replies == [VoteReply(5, False, True)]
    else:
        with pytest.raises(SafetyViolation, match="one vote a term"):
            watched(second, checker, *events)


@pytest.mark.parametrize("broken", [False, True])
def test_a_commit_index_beyond_the_message_is_caught(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if broken:
        monkeypatch.setattr(replication, "on_append", _commits_its_own_last_entry)
    checker = RaftChecker()
    raft = Raft(setting(3))
    old = tuple(Entry(1, index, (f"old {index}",)) for index in range(1, 8))
    watched(raft, checker, Restore(0.0), Receive(1.0, 1, Append(1, 0, 0, 0, old)))
    # The leader of term 2 has replaced entries 4 to 7 and committed them; this probe of 3 has none of them.
    probe = Receive(2.0, 2, Append(2, 3, 1, 7))
    if broken:
        with pytest.raises(SafetyViolation, match="nothing is committed before a leader knows"):
            watched(raft, checker, probe)
    else:
        checker._chosen = [(1, 1, entry.commands) for entry in old[:3]]
        watched(raft, checker, probe)
        assert raft.node.log.committed == 3


def setting(id: int) -> Setting:
    return Setting(id, (1, 2, 3), Random(id))

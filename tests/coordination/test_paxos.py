"""Multi-Paxos: what it promises in every storm, what it costs, and the broken variants that its checker names."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from actors.errors import ConfigurationError
from coordination.checker import SafetyViolation
from coordination.machine import are_commands
from coordination.paxos import MULTI_PAXOS, MultiPaxos
from coordination.paxos_checker import PaxosChecker
from coordination.paxos_log import AcceptorLog
from coordination.paxos_messages import (
    Accept,
    Accepted,
    Beat,
    CatchUp,
    Commands,
    Forward,
    Learn,
    Prepare,
    Promise,
    Promised,
    Refuse,
    Took,
)
from coordination.protocol import (
    Codec,
    Compact,
    Decided,
    Effects,
    Event,
    Persisted,
    ProtocolKind,
    Read,
    ReadAt,
    Receive,
    Restore,
    Setting,
    Tick,
)
from coordination.simulation.campaign import Case
from coordination.simulation.clients import Clients
from coordination.simulation.fault import Calendar, heal
from coordination.simulation.ledger import Ledger
from coordination.simulation.simulation import Simulation, World

SEEDS = 40
"""Within so many seeds each broken variant is caught."""
QUIET = {"heartbeat_s": 1e6, "election_s": 1e7}


def storm(seed: int, kind: ProtocolKind = MULTI_PAXOS, events: int = 4000, **options: Any) -> Simulation:
    """One run under all faults, with compaction and reads. Raises `SafetyViolation`."""
    case = Case.drawn(kind, seed)
    object.__setattr__(case.world, "options", options)
    checkers = [PaxosChecker(), Ledger(valid=are_commands)]
    simulation = Simulation(case.world, seed, checkers)
    Clients(simulation, case.load).start()
    calendar = Calendar(simulation, case.faults)
    rng = Random(seed)

    def meddle() -> None:
        node = rng.choice(simulation.nodes)
        if node.alive and isinstance(node.protocol, MultiPaxos):
            slot = rng.randint(0, node.protocol.log.applied)
            if rng.random() < 0.3:
                simulation.tell(node, lambda now: Compact(now, slot, ("up to", slot)))
            leader = simulation.leader() or node
            simulation.tell(leader, lambda now: Read(now, (leader.id, now)))
        simulation.at(simulation.now + simulation.delay_s * 5, meddle)

    meddle()
    simulation.run(until_s=case.horizon_s, events=events)
    calendar.clear()
    heal(simulation)
    simulation.run(until_s=simulation.now + 100 * simulation.delay_s, events=simulation.events + events)
    return simulation


def replica(id: int = 3, n: int = 3, **options: Any) -> MultiPaxos:
    paxos = MultiPaxos(Setting(id, tuple(range(1, n + 1)), Random(id), options=options))
    paxos.handle(Restore(0.0))
    return paxos


def stored(paxos: MultiPaxos, *events: Event) -> list[Effects]:
    """What events cause, with records durable at once."""
    seen = []
    for event in events:
        seen.append(paxos.handle(event))
        if seen[-1].token:
            seen += stored(paxos, Persisted(event.now, seen[-1].token))
    return seen


def sent(effects: list[Effects]) -> list[Any]:
    return [message for one in effects for _, message, _ in one.sends]


# --- Storms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_paxos_keeps_every_property_in_a_storm(seed: int) -> None:
    assert storm(seed).slots > 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{"second": 2}, {"second": 2, "thrifty": True}, {"thrifty": True}])
def test_flexible_and_thrifty_quorums_keep_every_property(seed: int, options: dict[str, Any]) -> None:
    storm(seed, **options)


# --- Broken variants --------------------------------------------------------------------------------------------


class ForgetsItsPromises(MultiPaxos):
    def _restore(self, records: Any) -> None:
        super()._restore([record for record in records if not isinstance(record, Promised)])


class ForgetsWhatItAccepted(MultiPaxos):
    def _restore(self, records: Any) -> None:
        super()._restore(records)
        log = self.log
        log.accepted = {slot: found for slot, found in log.accepted.items() if slot <= log.chosen}


class ProposesItsOwn(MultiPaxos):
    """A new leader that fills every open slot with nothing, whatever was accepted there."""

    def _offer(self, values: tuple[Commands, ...]) -> None:
        super()._offer(values if self.next > self.recovered else ((),) * len(values))


class AsksTooFew(MultiPaxos):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.first_quorum = 1


class SpeaksBeforeItIsStored(MultiPaxos):
    def handle(self, event: Event) -> Effects:
        effects = super().handle(event)
        effects.sends = [(to, message, 0) for to, message, _ in effects.sends]
        return effects


class UsesABallotBeforeItIsStored(MultiPaxos):
    def _ask(self) -> None:
        super()._ask()
        self._sends += [(to, message, 0) for to, message in self._after if to != self.id]
        self._after = [(to, message) for to, message in self._after if to == self.id]


class _Careless(AcceptorLog):
    def choose(self, ballot: int, up_to: int) -> None:
        super().choose(self.accepted.get(self.chosen + 1, (ballot, ()))[0], up_to)


class TakesWhatItHasForDecided(MultiPaxos):
    """A learner that does not look under which ballot it accepted a value."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.log = _Careless()


class BreaksItsPromises(MultiPaxos):
    def _on_accept(self, source: int, message: Accept) -> None:
        self.log.promised = min(self.log.promised, message.ballot)
        super()._on_accept(source, message)


VARIANTS: dict[type[MultiPaxos], str] = {
    ForgetsWhatItAccepted: "a promise tells all that was accepted",
    ProposesItsOwn: "a proposal carries the value of the highest ballot that its first quorum accepted",
    AsksTooFew: "first and second quorums meet",
    SpeaksBeforeItIsStored: "a ballot is used when it is stored",
    UsesABallotBeforeItIsStored: "a ballot is used when it is stored",
    TakesWhatItHasForDecided: "only a chosen value is decided",
    BreaksItsPromises: "nothing is promised or accepted below a promise",
}
"""Each broken variant, and the rule that it breaks."""


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.__name__)
def test_a_broken_protocol_is_caught(variant: type[MultiPaxos]) -> None:
    kind = replace(MULTI_PAXOS, make=variant)
    for seed in range(SEEDS):
        try:
            storm(seed, kind)
        except SafetyViolation as violation:
            rule = str(violation).partition(", broken by")[0]
            assert rule == VARIANTS[variant], f"seed {seed}"
            return
    pytest.fail(f"not caught within {SEEDS} seeds")


@pytest.mark.parametrize("variant", [MultiPaxos, ForgetsItsPromises])
def test_a_promise_outlives_a_crash_or_is_missed(variant: type[MultiPaxos]) -> None:
    checker = PaxosChecker()
    journal: list[Any] = []

    def watched(paxos: MultiPaxos, event: Event) -> list[Any]:
        effects = paxos.handle(event)
        checker.observe(event.now, paxos.id, paxos, event, effects)
        journal.extend(effects.records)
        rest = watched(paxos, Persisted(event.now, effects.token)) if effects.token else []
        return [message for _, message, _ in effects.sends] + rest

    first, second = (variant(Setting(3, (1, 2, 3), Random(3))) for _ in range(2))
    watched(first, Restore(0.0))
    watched(first, Receive(1.0, 2, Prepare(2**21 + 2, 1)))
    watched(second, Restore(2.0, tuple(journal)))
    older = Receive(3.0, 1, Accept(2**20 + 1, 1, (("a",),), 0))
    if variant is MultiPaxos:
        assert watched(second, older) == [Refuse(2**21 + 2)]
    else:
        with pytest.raises(SafetyViolation, match="nothing is promised or accepted below a promise"):
            watched(second, older)


# --- Costs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 5, 7, 16, 31])
def test_messages_and_delays_of_a_decision_are_as_stated(n: int) -> None:
    assert MULTI_PAXOS.costs is not None
    assert decision(n, {}) == (MULTI_PAXOS.costs.messages(n), MULTI_PAXOS.costs.delays)


@pytest.mark.parametrize(("n", "second"), [(5, 2), (9, 3), (9, 5)])
def test_a_thrifty_leader_asks_only_whom_it_needs(n: int, second: int) -> None:
    assert decision(n, {"second": second, "thrifty": True}) == (2 * (second - 1), 2)


def decision(n: int, options: dict[str, Any]) -> tuple[int, float]:
    """Messages of one decision on a network of unit delay, and delays until the leader knows it."""
    simulation = Simulation(World(MULTI_PAXOS, n, delay_s=1.0, options={**QUIET, **options}), 1)
    simulation.run(until_s=2.5e7)
    leads = simulation.leader()
    assert leads is not None
    simulation.run(until_s=simulation.now + 1.0)
    before, began = simulation.messages, simulation.now
    times: list[float] = []
    simulation.watchers.append(
        lambda node, event, effects: times.append(simulation.now) if effects.decided else None
    )
    simulation.propose(leads, (("a", 1),))
    simulation.run(until_s=simulation.now + 1.0)
    delays = (times[0] - began) / simulation.world.network.latency.typical_s
    return simulation.messages - before, round(delays, 3)


# --- Parts ------------------------------------------------------------------------------------------------------


def test_promises_and_acceptances_wait_for_the_disk() -> None:
    paxos = replica()
    ballot = 2**20 + 1
    promise = paxos.handle(Receive(1.0, 1, Prepare(ballot, 1)))
    assert promise.sends == [(1, Promise(ballot, 1, ()), promise.token)]
    accept = paxos.handle(Receive(1.0, 1, Accept(ballot, 1, (("a",),), 0)))
    assert accept.sends == [(1, Accepted(ballot, 1, 1), accept.token)]
    lower = paxos.handle(Receive(1.0, 2, Accept(ballot - 1, 2, (("b",),), 0)))
    assert lower.sends == [(2, Refuse(ballot), 0)]


def elected(paxos: MultiPaxos, *promises: tuple[int, tuple[tuple[int, int, Commands], ...]]) -> list[Effects]:
    """Makes it leader, with the promises of others."""
    seen = stored(paxos, Tick(1e9))
    return seen + stored(
        paxos,
        *(Receive(1e9, source, Promise(paxos.ballot, 1, accepted)) for source, accepted in promises),
    )


def test_a_new_leader_proposes_the_value_of_the_highest_ballot_and_fills_gaps_with_nothing() -> None:
    paxos = replica(1, 5)
    told = ((1, 3, ("old",)), (3, 3, ("third",)))
    seen = elected(paxos, (2, told), (3, ((1, 5, ("new",)),)))
    (offer,) = {message for message in sent(seen) if isinstance(message, Accept)}
    assert (offer.slot, offer.values) == (1, (("new",), (), ("third",)))


def test_who_knows_of_fewer_decisions_is_told_them_before_it_is_promised_anything() -> None:
    paxos = replica()
    stored(paxos, Receive(1.0, 1, Learn(1, (("a",), ("b",)))))
    (lesson,) = sent(stored(paxos, Receive(2.0, 2, Prepare(2**20 + 2, 2))))
    assert lesson == Learn(2, (("b",),))
    assert isinstance(sent(stored(paxos, Receive(2.0, 2, Prepare(2**20 + 2, 3))))[0], Promise)


def test_a_value_accepted_under_an_older_ballot_is_asked_for_and_not_taken_for_decided() -> None:
    paxos = replica()
    stored(paxos, Receive(1.0, 1, Accept(2**20 + 1, 1, (("old",),), 0)))
    later = stored(paxos, Receive(2.0, 2, Beat(2**21 + 2, 1, 0)))
    assert CatchUp(1) in sent(later)
    assert [one for effects in later for one in effects.decided] == []
    (learned,) = [
        one for effects in stored(paxos, Receive(3.0, 2, Learn(1, (("new",),)))) for one in effects.decided
    ]
    assert (learned.slot, learned.commands) == (1, ("new",))


def test_a_restart_restores_what_was_accepted_and_compacted() -> None:
    first = replica()
    ballot = 2**20 + 1
    events = [Receive(1.0, 1, Accept(ballot, slot, ((slot,),), slot - 1)) for slot in range(1, 6)]
    seen = stored(first, *events)
    decided = [one for effects in seen for one in effects.decided]
    assert decided == [Decided(slot, (slot,), ballot) for slot in range(1, 5)]
    kept = first.handle(Compact(2.0, 3, "three"))
    assert kept.checkpoint
    second = MultiPaxos(Setting(3, (1, 2, 3), Random(3)))
    restored = second.handle(Restore(3.0, kept.records))
    assert restored.installed is not None
    assert (restored.installed.slot, restored.installed.state) == (3, "three")
    assert [one.slot for one in restored.decided] == [4]
    assert second.log.accepted == first.log.accepted
    assert sent(stored(second, Receive(4.0, 2, CatchUp(1)))) == [Learn(4, ((4,),), (3, "three"))]


def test_a_read_waits_for_a_second_quorum_to_say_that_it_promised_nobody_else() -> None:
    from coordination.paxos_messages import Alive  # noqa: PLC0415  # for this test alone

    paxos = replica(1, 3)
    elected(paxos, (2, ()))
    assert paxos.handle(Read(1e9, "r")).reads == []
    assert paxos.handle(Receive(1e9, 2, Alive(paxos.ballot, 0))).reads == []
    assert paxos.handle(Receive(1e9, 2, Alive(paxos.ballot, 1))).reads == [ReadAt("r", 0)]


def test_messages_and_records_survive_the_wire() -> None:
    codec = Codec(MultiPaxos)
    for message in (
        Promise(3, 1, ((1, 2, ("a", "b")),)),
        Accept(3, 1, (("a",), ()), 0),
        Learn(4, (("a",),), (3, {"k": 1})),
        Forward(("a",)),
        Took(3, 1, (("a",),), 0),
    ):
        assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        ({"second": 4}, "Give 1 to 3"),
        ({"heartbeat_s": 5.0, "election_s": 1.0}, "0 < heartbeat_s"),
        ({"x": 1}, "no 'x'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend):
        replica(**options)

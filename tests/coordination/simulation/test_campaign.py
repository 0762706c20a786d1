"""Every protocol of the catalogue under all faults at once, checked at every step; and that a broken one is found."""

import dataclasses

import pytest

from coordination.catalogue import CATALOGUE, entry_named
from coordination.checker import SafetyViolation
from coordination.protocol import Effects, Event, Protocol, ProtocolKind, Setting
from coordination.simulation.campaign import EVENTS, Case, LivenessFailure, campaign
from coordination.simulation.liar import Forgetful

SEEDS = 200
CHUNK = 50


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
@pytest.mark.parametrize("protocol", list(CATALOGUE))
def test_no_seed_breaks_it(protocol: str, first: int) -> None:
    entry = entry_named(protocol)
    results = list(campaign(entry.kind, entry.checkers, range(first, first + CHUNK)))
    assert len(results) == CHUNK
    assert sum(result.events for result in results) >= 0.8 * CHUNK * EVENTS
    assert sum(result.faults for result in results) > CHUNK
    assert sum(result.commands for result in results) > 10 * CHUNK


def test_a_case_is_fixed_by_its_seed_and_says_how_to_run_it_again() -> None:
    entry = entry_named("raft")
    one, other = (Case.drawn(entry.kind, 7) for _ in range(2))
    assert one.described() == other.described()
    first, again = one.run(entry.checkers, 3_000), other.run(entry.checkers, 3_000)
    assert dataclasses.replace(first, wall_s=0.0) == dataclasses.replace(again, wall_s=0.0)
    assert one.command(3_000) == "rayswarm simulate --protocol raft --seed 7 --events 3000"


def test_cases_differ_in_everything_that_a_seed_draws() -> None:
    cases = [Case.drawn(entry_named("pbft").kind, seed) for seed in range(60)]
    assert {case.world.replicas for case in cases} >= {4, 5, 7}
    lies = {lie for case in cases for lie in case.liars.values()}
    assert lies >= {"silent", "late", "equivocating", "double-voting", "twins"}
    assert len({case.world.network for case in cases}) > 10
    assert {case.world.torn for case in cases} == {True, False}
    assert all(len(case.liars) <= case.kind.withstands(case.world.replicas) for case in cases)


@pytest.mark.parametrize("protocol", ["raft", "multi-paxos", "pbft"])
def test_a_driver_that_does_not_wait_for_the_disk_is_found_out(protocol: str) -> None:
    entry = entry_named(protocol)

    def make(setting: Setting) -> Protocol:
        return Forgetful(entry.kind.make(setting))

    kind = ProtocolKind(**{**vars(entry.kind), "make": make, "name": "careless"})
    with pytest.raises(
        (SafetyViolation, LivenessFailure), match="Again: rayswarm simulate --protocol careless"
    ):
        list(campaign(kind, lambda world: (), range(SEEDS)))


def test_a_protocol_that_cannot_decide_ends_at_its_limit_and_shows_the_last_events() -> None:
    entry = entry_named("raft")

    class Mute(Forgetful):
        def handle(self, event: Event) -> Effects:
            effects = super().handle(event)
            effects.sends = []
            return effects

    kind = ProtocolKind(**{**vars(entry.kind), "make": lambda setting: Mute(entry.kind.make(setting))})
    with pytest.raises(LivenessFailure, match=r"no command was decided by (.|\n)*The last events:"):
        Case.drawn(kind, 1).run(lambda world: (), 2_000)

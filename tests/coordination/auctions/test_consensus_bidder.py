"""CBBA by agents: the awards of the pure run over any network, through loss too, and an end without a coordinator."""

import asyncio
from typing import Any

import numpy as np
import pytest

from actors import ConfigurationError, Plan, Role, RunResult, Swarm
from actors.faults import FaultPlan, fault_from
from actors.topology import Topology
from coordination.auctions import Instance, Network
from coordination.auctions.bidder import gain_of
from coordination.auctions.cbba import bound, cbba
from coordination.auctions.consensus_bidder import ConsensusBidder, Referee

BIDDERS, TASKS, SEATS = 12, 16, 2
MARKET = {"bidders": BIDDERS, "tasks": TASKS, "seats": SEATS}


def instance() -> Instance:
    gains = np.array(
        [[gain_of(0, f"bidder/{b}", f"t{t}", 100) for t in range(TASKS)] for b in range(BIDDERS)]
    )
    return Instance(gains, np.ones_like(gains), np.full(BIDDERS, SEATS))


def run(kind: str, *faults: dict[str, Any], quiet: int = 20, cells: int = 1) -> tuple[RunResult, Topology]:
    topology = Topology.of(kind, {"bidder": BIDDERS}, 1)
    plan = Plan(
        roles={
            "bidder": Role(ConsensusBidder, count=BIDDERS, parameters={**MARKET, "quiet": quiet}),
            "referee": Role(Referee, parameters=MARKET),
        },
        cells=cells,
        topology=topology,
        on_error="stop",
        faults=FaultPlan(tuple(map(fault_from, faults))),
    )

    async def go() -> RunResult:
        async with Swarm.local(plan) as swarm:
            return await swarm.run(rounds=600)

    return asyncio.run(go()), topology


@pytest.mark.parametrize("kind", ["complete", "ring", "star", "tree", "small_world"])
def test_agents_agree_on_what_the_pure_run_finds_and_end_by_themselves(kind: str) -> None:
    result, topology = run(kind)
    links = Network.of(topology)
    expected = cbba(instance(), links)
    assert result.quiet
    assert result.results["value"] == expected.value
    assert result.results["claimed_twice"] == 0
    # A message takes a round, and what it says is settled in the tick after it.
    assert result.results["rounds_to_agree"] <= 2 * bound(instance(), links) + 3


@pytest.mark.parametrize("kind", ["ring", "tree"])
def test_who_fell_silent_too_early_is_woken_by_what_differs(kind: str) -> None:
    result, topology = run(kind, quiet=1)
    assert result.quiet
    assert result.results["claimed_twice"] == 0
    assert result.results["value"] == cbba(instance(), Network.of(topology)).value


@pytest.mark.parametrize("kind", ["complete", "ring", "tree"])
def test_loss_repeats_and_disorder_do_not_change_what_they_agree_on(kind: str) -> None:
    among = {"senders": "bidder", "recipients": "bidder"}
    noise = (
        {"drop": 0.2, **among},
        {"duplicate": 0.2, **among},
        {"delay": {"uniform": {"low": 1, "high": 3}}, "probability": 0.3, **among},
    )
    result, topology = run(kind, *noise, quiet=40)
    assert result.quiet
    assert result.results["claimed_twice"] == 0
    assert result.results["value"] >= 0.9 * cbba(instance(), Network.of(topology)).value


def test_lies_in_the_lists_are_no_crash() -> None:
    result, _ = run("ring", {"byzantine": "corrupt", "agents": "bidder/3"})
    assert result.now > 0


def test_cells_change_nothing() -> None:
    assert run("ring", cells=1)[0].fingerprint == run("ring", cells=3)[0].fingerprint


def test_wrong_numbers_are_told() -> None:
    with pytest.raises(ConfigurationError, match="must be 1 or more"):
        ConsensusBidder(bidders=0, tasks=1)

"""A market of agents: over cells and Ray, under faults, with bidders of every kind, and an auctioneer that dies."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from actors import Agent, ConfigurationError, Context, JournalSettings, Message, Plan, Role, RunResult, Swarm
from actors.faults import FaultPlan, fault_from
from coordination.auctions.auctioneer import Auctioneer
from coordination.auctions.bidder import Bidder, gain_of
from coordination.auctions.lot import ALLOCATIONS
from tests.actors.ray_here import RAY_OPTIONS

Ledgers = dict[str, list[list[Any]]]
NOISE = ({"drop": 0.1}, {"duplicate": 0.2}, {"delay": {"exponential": 2}, "probability": 0.3})


def plan_of(
    *faults: dict[str, Any],
    bidders: int = 8,
    others: dict[str, Any] | None = None,
    cells: int = 2,
    journal: Path | None = None,
    schedule: Any = "rounds",
    bidder: dict[str, Any] | None = None,
    **market: Any,
) -> Plan:
    rules = tuple(map(fault_from, faults))
    return Plan(
        roles={
            "auctioneer": Role(
                Auctioneer, parameters={"tasks": 24, "largest": 3, "bidders": ["bidder", "other"], **market}
            ),
            "bidder": Role(Bidder, count=bidders, parameters=bidder or {}),
            "other": Role(Bidder, count=3 if others else 0, parameters=others or {}),
        },
        seed=4,
        schedule=schedule,
        cells=cells,
        on_error="stop",
        run_id="market",
        faults=FaultPlan(rules) if rules else None,
        journal=None if journal is None else JournalSettings(journal, checkpoint_every=7),
    )


async def market_of(swarm: Swarm, plan: Plan, limit: dict[str, Any]) -> tuple[RunResult, Ledgers]:
    result = await swarm.run(**limit)
    names = [f"{role}/{n}" for role in ("bidder", "other") for n in range(plan.roles[role].count or 0)]
    return result, {name: (await swarm.ask(name, "ledger")).data for name in names}


def run(plan: Plan) -> tuple[RunResult, Ledgers]:
    async def go() -> tuple[RunResult, Ledgers]:
        async with Swarm.local(plan) as swarm:
            return await market_of(swarm, plan, {"rounds": 1500})

    return asyncio.run(go())


def check_that_no_task_was_awarded_twice(result: RunResult, ledgers: Ledgers) -> None:
    """No two worked on a task at a time, and what is completed was completed once."""
    assert result.quiet
    spans: dict[str, list[tuple[float, float, int]]] = {}
    for ledger in ledgers.values():
        for task, epoch, start, end, _ in ledger:
            spans.setdefault(task, []).append((start, end, epoch))
    for task, each in spans.items():
        each.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(each)), (task, each)
        assert len({epoch for _, _, epoch in each}) == len(each), (task, each)
    found = result.results
    assert found["completed"] + found["failed"] + found["canceled"] == found["tasks"]
    assert sum(found["completed_by"].values()) == found["completed"]


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_every_allocation_gets_the_tasks_done(allocation: str) -> None:
    result, ledgers = run(plan_of(allocation=allocation, layers=2))
    check_that_no_task_was_awarded_twice(result, ledgers)
    found = result.results
    assert found["completed"] == found["awards"] == 24
    assert found["ignored"] == found["reauctioned"] == 0
    assert found.get("gap", 0) < 0.2
    if allocation != "foraging":
        assert found["gap"] == 1 - found["value"] / found["optimum"]
    assert min(found["auction_rounds"], found["auction_messages"], found["auction_bytes"]) > 0
    delivered = sum(gain_of(0, name, line[0], 100) for name, ledger in ledgers.items() for line in ledger)
    assert found["delivered"] == delivered


@pytest.mark.parametrize("allocation", ["contract-net", "vickrey", "cbba", "epsilon", "scoring", "foraging"])
def test_no_task_is_awarded_twice_under_loss_repeats_delay_and_crashes(allocation: str) -> None:
    crash = {"crash": "bidder/0..3", "at": 9, "for": 20}
    result, ledgers = run(plan_of(*NOISE, crash, allocation=allocation, offers=20))
    check_that_no_task_was_awarded_twice(result, ledgers)
    assert result.results["completed"] == 24
    assert result.results["ignored"] > 0


@pytest.mark.parametrize("seed", range(4))
def test_a_bidder_that_fails_and_wins_again_unheard_keeps_its_awards_apart(seed: int) -> None:
    deaf = {"drop": 0.5, "senders": "auctioneer", "recipients": "other"}
    liars = {"behaviour": "overbid", "failure": 0.7, "seats": 3, "seed": seed}
    plan = plan_of(deaf, allocation="vickrey", bidders=1, others=liars, offers=60, patience=25.0)
    result, ledgers = run(plan)
    check_that_no_task_was_awarded_twice(result, ledgers)
    again = [line for ledger in ledgers.values() for line in ledger if line[1] > 1]
    assert again
    assert result.results["completed"] == 24


@pytest.mark.parametrize("behaviour", ["overbid", "false-name", "late", "unwilling"])
def test_bidders_at_fault_cost_auctions_and_the_work_gets_done(behaviour: str) -> None:
    faulty = {"behaviour": behaviour}
    plan = plan_of(allocation="scoring", others=faulty, offers=40, largest=2, check_names=False)
    result, ledgers = run(plan)
    check_that_no_task_was_awarded_twice(result, ledgers)
    assert result.results["completed"] == 24
    assert result.results["reauctioned"] > 0
    if behaviour == "late":
        assert any(line[4] == "late" for ledger in ledgers.values() for line in ledger)
    if behaviour == "overbid":
        means = result.results["reputations"]
        assert max(means.get(f"other/{n}", 0.0) for n in range(3)) < 0.5 < means["bidder/0"]


@pytest.mark.parametrize("behaviour", ["corrupt", "equivocate"])
def test_lies_in_messages_stop_nobody_else(behaviour: str) -> None:
    lies = {"byzantine": behaviour, "agents": "bidder/0..1"}
    result, _ = run(plan_of(lies, allocation="vickrey", offers=30))
    assert result.quiet
    assert result.results["completed"] >= 20
    assert result.results["ignored"] > 0


def test_collusion_lowers_what_is_paid() -> None:
    honest = run(plan_of(allocation="vickrey", bidders=5))[0].results
    ring = run(plan_of(allocation="vickrey", bidders=5, bidder={"behaviour": "collude", "ring": 5}))[
        0
    ].results
    assert ring["completed"] == honest["completed"] == 24
    assert ring["paid"] == 0 < honest["paid"]


def test_budgets_and_places_are_kept() -> None:
    plan = plan_of(allocation="vickrey", bidders=4, bidder={"seats": 2, "budget": 150.0}, offers=3)
    result, ledgers = run(plan)
    check_that_no_task_was_awarded_twice(result, ledgers)
    assert 0 < result.results["paid"] <= 4 * 150
    for ledger in ledgers.values():
        for _, _, start, end, _ in ledger:
            assert sum(one[2] <= start < one[3] for one in ledger) <= 2
            assert start < end


class Pusher(Agent):
    """Awards what nobody bid for: beyond the budget, and after the lease is over."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}

    async def on_start(self, context: Context) -> None:
        for task, price, until in (("fits", 80.0, 50.0), ("dear", 80.0, 50.0), ("late", 0.0, 1.0)):
            award = {"act": "accept-proposal", "epoch": 1, "until": until, "price": price}
            award["task"] = {"metadata": {"size": 30.0}}
            context.send("bidder/0", award, context_id="market", task_id=task)

    async def on_message(self, message: Message, context: Context) -> None:
        self.answers.setdefault(message.task_id, message.data["act"])
        context.result("answers", self.answers)


def test_a_bidder_refuses_what_it_cannot_pay_and_what_comes_too_late() -> None:
    plan = Plan(
        roles={
            "pusher": Role(Pusher),
            "bidder": Role(Bidder, count=1, parameters={"seats": 9, "budget": 100.0}),
        },
        on_error="stop",
    )

    async def go() -> RunResult:
        async with Swarm.local(plan) as swarm:
            return await swarm.run(rounds=20)

    told = asyncio.run(go()).results["answers"]
    assert told == {"fits": "inform", "dear": "refuse", "late": "refuse"}


def test_works_given_in_the_plan_keep_order_and_deadlines() -> None:
    works = [
        {"id": "dig", "size": 2},
        {"id": "build", "size": 3, "after": ["dig"]},
        {"id": "paint", "after": ["build"], "deadline": 5},
    ]
    result, ledgers = run(plan_of(tasks=0, works=works))
    lines = {line[0]: line for ledger in ledgers.values() for line in ledger}
    assert lines["dig"][3] <= lines["build"][2]
    assert result.results["completed"] == 2
    assert result.results["failed"] == 1
    for wrong in (
        {"colour": "red"},
        {"id": 7},
        {"size": -1},
        {"size": "big"},
        {"after": "build"},
        {"deadline": "x"},
    ):
        with pytest.raises(ConfigurationError, match="must have an id"):
            Auctioneer(works=[{"id": "dig", **wrong}])


def test_cells_change_nothing() -> None:
    one, three = (run(plan_of(*NOISE, cells=cells, allocation="sequential"))[0] for cells in (1, 3))
    assert one.fingerprint == three.fingerprint


@pytest.mark.parametrize("noise", [(), NOISE])
def test_an_auctioneer_whose_cell_dies_recovers_every_award_from_its_journal(
    noise: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    expected, _ = run(plan_of(*noise, allocation="cbba"))
    plan = plan_of(allocation="cbba")
    cell = plan.placement(2).cell_of("auctioneer")
    deaths = [{"cell_crash": cell, "at": at} for at in (2, 4, 5, 11)]
    died, ledgers = run(plan_of(*noise, *deaths, allocation="cbba", journal=tmp_path))
    check_that_no_task_was_awarded_twice(died, ledgers)
    assert len(died.recoveries) == 4
    assert died.fingerprint == expected.fingerprint


def test_an_auctioneer_that_is_down_for_a_while_goes_on_with_what_it_knew() -> None:
    down = {"crash": "auctioneer", "at": 6, "for": 15, "keep_state": True}
    result, ledgers = run(plan_of(*NOISE, down, allocation="vickrey", offers=20))
    check_that_no_task_was_awarded_twice(result, ledgers)
    assert result.results["completed"] == 24


@pytest.mark.parametrize("at", [5, 6, 8, 11, 15])
def test_an_auctioneer_that_forgot_everything_lets_old_leases_run_out_first(at: int) -> None:
    forgets = {"crash": "auctioneer", "at": at, "for": 1}
    slow = {"speed": 0.5, "seats": 2}
    result, ledgers = run(plan_of(forgets, allocation="vickrey", largest=8, patience=12.0, bidder=slow))
    check_that_no_task_was_awarded_twice(result, ledgers)
    assert result.results["completed"] == 24


def test_a_market_without_tasks_is_over_at_once() -> None:
    assert run(plan_of(tasks=0))[0].results["completed"] == 0


@pytest.mark.parametrize(
    ("role", "parameters"),
    [
        ("auctioneer", {"tasks": -1}),
        ("auctioneer", {"patience": 0}),
        ("auctioneer", {"allocation": "lottery"}),
        ("auctioneer", {"weights": {"beauty": 1}}),
        ("bidder", {"seats": 0}),
        ("bidder", {"wishes": -1}),
        ("bidder", {"ring": 0}),
        ("bidder", {"budget": -1.0}),
        ("bidder", {"behaviour": "kind"}),
    ],
)
def test_wrong_parameters_are_told(role: str, parameters: dict[str, Any]) -> None:
    made = {"auctioneer": Auctioneer, "bidder": Bidder}[role]
    with pytest.raises(ConfigurationError, match=r"must be|no behaviour|there is no"):
        made(**parameters)


@pytest.mark.ray
def test_a_market_on_ray_in_real_time() -> None:
    times = {"period": 0.05, "bidding": 0.3, "patience": 30.0, "retry": 1.0}
    plan = plan_of(schedule="free", allocation="vcg", bidder={"speed": 100.0, "retry": 0.5}, **times)

    async def go() -> tuple[RunResult, Ledgers]:
        async with Swarm.on_ray(plan, "local", **RAY_OPTIONS) as swarm:
            return await market_of(swarm, plan, {"timeout_s": 60})

    result, ledgers = asyncio.run(go())
    check_that_no_task_was_awarded_twice(result, ledgers)
    assert result.results["completed"] == 24
    assert result.results["gap"] == pytest.approx(0, abs=1e-9)

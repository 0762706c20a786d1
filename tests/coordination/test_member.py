"""Members as agents: rumours, membership, averages, leaders and replicated types over A2A messages, here and on Ray."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import ConfigurationError, Context, JournalSettings, Message, Plan, Role, RunResult, Swarm
from actors.faults import FaultPlan, fault_from
from actors.replay import replay_run
from coordination.member import Member
from tests.actors.ray_here import RAY_OPTIONS

VALUES = {1: 2.0, 2: 4.0, 3: 6.0, 4: 8.0, 5: 10.0}


class Telling(Member):
    """Leaves its status for the test to see, and begins with a proposal if it is the first."""

    def __init__(self, protocol: str, members: int, *, first: Any = None, **settings: Any) -> None:
        super().__init__(protocol, members, **settings)
        self.first = first

    async def on_start(self, context: Context) -> None:
        await super().on_start(context)
        if self.id == 1 and self.first is not None:
            await self.propose(self.first, context)

    async def on_message(self, message: Message, context: Context) -> None:
        await super().on_message(message, context)
        context.result(context.address, self.status() | {"all heard": self.heard})


def plan_of(protocol: str, members: int = 5, **more: Any) -> Plan:
    faults, cells, journal = more.pop("faults", ()), more.pop("cells", None), more.pop("journal", None)
    schedule = more.pop("schedule", "rounds")
    parameters = {"protocol": protocol, "members": members, "delay": 1.0 if schedule == "rounds" else 0.02}
    return Plan(
        roles={"member": Role(Telling, members, parameters | more)},
        schedule=schedule,
        cells=cells,
        on_error="stop",
        seed=3,
        faults=FaultPlan(tuple(fault_from(fault) for fault in faults)) if faults else None,
        journal=None if journal is None else JournalSettings(journal),
    )


def after(plan: Plan, rounds: int = 60) -> RunResult:
    async def run() -> RunResult:
        async with Swarm.local(plan) as swarm:
            return await swarm.run(rounds=rounds)

    return asyncio.run(run())


def said(result: RunResult, what: str, members: int = 5) -> list[Any]:
    """What each member says under a name."""
    return [result.results[f"member/{number}"].get(what) for number in range(members)]


@pytest.mark.parametrize("faults", [(), ({"drop": 0.05}, {"duplicate": 0.1})])
def test_a_rumour_comes_to_every_member_once(faults: Any) -> None:
    result = after(plan_of("gossip", first=["news", {"of": "two"}], faults=faults))
    assert [sorted(map(str, heard)) for heard in said(result, "all heard")] == [["news", "{'of': 'two'}"]] * 5


def test_members_find_who_crashed_and_nobody_else() -> None:
    result = after(plan_of("swim", faults=[{"crash": "member/3", "at": 20, "for": 10_000}]), rounds=400)
    alive = [f"member/{number}" for number in (0, 1, 2, 4)]
    assert [said(result, "alive")[number] for number in (0, 1, 2, 4)] == [alive] * 4


@pytest.mark.parametrize("protocol", ["metropolis", "push-sum", "w-msr"])
def test_members_average_their_values(protocol: str) -> None:
    result = after(plan_of(protocol, options={"values": VALUES}), rounds=120)
    estimates = said(result, "estimate")
    assert max(estimates) - min(estimates) < 1e-6
    if protocol != "w-msr":
        assert estimates[0] == pytest.approx(6.0)
    assert 2.0 <= estimates[0] <= 10.0


@pytest.mark.parametrize("protocol", ["bully", "lcr", "hirschberg-sinclair"])
def test_members_elect_the_greatest(protocol: str) -> None:
    assert set(said(after(plan_of(protocol)), "leader")) == {"member/4"}


def test_a_restarted_member_goes_on_from_its_disk_and_copies_converge(tmp_path: Path) -> None:
    faults = [{"crash": "member/0", "at": 30, "for": 20}]
    plan = plan_of(
        "crdt",
        options={"type": "g-counter"},
        first=[["add", 2]],
        directory=str(tmp_path),
        faults=faults,
    )
    # Its first life adds 2, its second another 2, under the same name: both count, since the disk kept the first.
    assert said(after(plan, rounds=120), "value") == [4] * 5


def test_the_outcome_is_the_same_to_the_last_bit_on_any_number_of_cells_and_replays(tmp_path: Path) -> None:
    prints = set()
    for cells in (1, 2):
        plan = plan_of("gossip", first=["news"], cells=cells, journal=tmp_path / str(cells))
        prints.add(after(plan).fingerprint)
        asyncio.run(replay_run(tmp_path / str(cells), plan))
    assert len(prints) == 1


def test_a_killed_cell_recovers_its_members_from_its_journal(tmp_path: Path) -> None:
    undisturbed = after(plan_of("swim", cells=2))
    crashed = after(plan_of("swim", cells=2, journal=tmp_path, faults=[{"cell_crash": 1, "at": 30}]))
    assert crashed.fingerprint == undisturbed.fingerprint


def test_members_answer_who_asks_them() -> None:
    async def asked() -> list[Any]:
        plan = Plan(
            roles={"member": Role(Member, 3, {"protocol": "bully", "members": 3, "delay": 0.02})},
            schedule="free",
        )
        async with Swarm.local(plan) as swarm:
            requests = [{"order": "elect"}, {"status": True}, {"propose": []}]
            return [(await swarm.ask("member/2", request)).data for request in requests]

    elected, status, error = asyncio.run(asked())
    assert elected["leader"] == status["leader"] == "member/2"
    assert "1 to 1000" in error["error"]


async def on_ray(plan: Plan) -> RunResult:
    async with Swarm.on_ray(plan, address="local", **RAY_OPTIONS) as swarm:
        return await swarm.run(timeout_s=5.0)


@pytest.mark.ray
def test_on_ray_each_member_is_an_actor() -> None:
    plan = plan_of("gossip", 3, schedule="free", first=["news"])
    result = asyncio.run(on_ray(plan))
    assert said(result, "all heard", 3) == [["news"]] * 3


@pytest.mark.parametrize(
    ("parameters", "mend"),
    [
        ({"protocol": "raft", "members": 3}, "no protocol 'raft' without a log. There are: gossip"),
        ({"protocol": "gossip", "members": 0}, "Give 1 or more, above 0"),
    ],
)
def test_wrong_settings_are_refused_with_the_mend(parameters: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend):
        Member(**parameters)

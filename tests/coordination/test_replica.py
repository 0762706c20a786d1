"""Replicas as agents: the same protocols over A2A messages, here and on Ray."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import Agent, ConfigurationError, Context, JournalSettings, Message, Plan, Role, RunResult, Swarm
from actors.faults import FaultPlan, fault_from
from actors.replay import replay_run
from coordination.log_client import LogClient
from coordination.replica import Replica
from tests.actors.ray_here import RAY_OPTIONS

REQUESTS = 12
PROTOCOLS = [("raft", 3, 1), ("pbft", 4, 2), ("hotstuff", 4, 2), ("jolteon", 4, 2), ("tendermint", 4, 2)]


class Teller(Agent):
    """A client that proposes one request after another, and says how often each was answered."""

    def __init__(
        self, replicas: int, needed: int, period: float, patience: float, requests: int = REQUESTS
    ) -> None:
        self.client = LogClient("replica", replicas, needed, patience)
        self.period = period
        self.requests = requests
        self.answers: dict[int, list[Any]] = {}

    async def on_start(self, context: Context) -> None:
        self.timer = context.every(self.period, "hurry")
        self.client.propose(["first", {"of": 1}], context)

    async def on_message(self, message: Message, context: Context) -> None:
        if message.sender == context.address:
            if message.text == "end":
                context.cancel(self.timer)
                for replica in range(self.client.replicas):
                    context.stop(f"replica/{replica}")
            self.client.hurry(context)
            return
        answer = self.client.take(message, context)
        if answer is None:
            return
        assert answer.serial not in self.answers
        self.answers[answer.serial] = answer.results
        context.result("answers", len(self.answers))
        if len(self.answers) < self.requests:
            self.client.propose([f"command {answer.serial + 1}"], context)
        else:
            context.after(8 * self.period, "end")  # by then the others know it too


class Loud(Replica):
    """Leaves what it has applied for the test to see."""

    def apply(self, command: Any) -> Any:
        place = super().apply(command)
        return f"{place}: {command}"

    async def on_message(self, message: Message, context: Context) -> None:
        await super().on_message(message, context)
        context.result(context.address, self.applied)


def plan_of(
    protocol: str,
    replicas: int,
    needed: int,
    *,
    schedule: Any = "rounds",
    requests: int = REQUESTS,
    **more: Any,
) -> Plan:
    rounds = schedule == "rounds"
    faults = more.pop("faults", ())
    cells, journal = more.pop("cells", None), more.pop("journal", None)
    parameters = {"protocol": protocol, "replicas": replicas, "delay": 2.0 if rounds else 0.02, **more}
    teller = {"replicas": replicas, "needed": needed, "period": 10.0 if rounds else 0.1}
    return Plan(
        roles={
            "replica": Role(Loud, replicas, parameters),
            "teller": Role(
                Teller, parameters={**teller, "patience": 60.0 if rounds else 2.0, "requests": requests}
            ),
        },
        schedule=schedule,
        cells=cells,
        on_error="stop",
        seed=4,
        faults=FaultPlan(tuple(fault_from(fault) for fault in faults)) if faults else None,
        journal=None if journal is None else JournalSettings(journal),
    )


async def carried_out(plan: Plan, rounds: int = 400) -> RunResult:
    async with Swarm.local(plan) as swarm:
        if plan.schedule == "rounds":
            return await swarm.run(rounds=rounds)
        return await swarm.run(timeout_s=60.0)


def commands_of(result: RunResult, honest: list[int]) -> list[Any]:
    """What the honest replicas applied; all of it the same."""
    applied = [result.results[f"replica/{replica}"] for replica in honest]
    longest = max(applied, key=len)
    assert all(log == longest[: len(log)] for log in applied)
    return list(longest)


EXPECTED = ["first", {"of": 1}, *(f"command {serial}" for serial in range(2, REQUESTS + 1))]


@pytest.mark.parametrize(("protocol", "replicas", "needed"), PROTOCOLS)
def test_every_replica_applies_what_clients_asked_for_once_and_in_order(
    protocol: str, replicas: int, needed: int
) -> None:
    result = asyncio.run(carried_out(plan_of(protocol, replicas, needed)))
    assert result.results["answers"] == REQUESTS
    assert commands_of(result, list(range(replicas))) == EXPECTED


@pytest.mark.parametrize(("protocol", "replicas", "needed"), PROTOCOLS[:3])
def test_loss_and_duplication_in_the_message_layer_change_nothing_but_time(
    protocol: str, replicas: int, needed: int
) -> None:
    faults = [{"drop": 0.05}, {"duplicate": 0.1}]
    result = asyncio.run(carried_out(plan_of(protocol, replicas, needed, faults=faults), rounds=3_000))
    assert result.results["answers"] == REQUESTS
    assert commands_of(result, list(range(replicas))) == EXPECTED


@pytest.mark.parametrize("lie", ["equivocating", "silent", "double-voting"])
@pytest.mark.parametrize("protocol", ["pbft", "hotstuff"])
def test_a_replica_that_lies_changes_nothing_that_the_honest_hold(protocol: str, lie: str) -> None:
    result = asyncio.run(carried_out(plan_of(protocol, 4, 2, liars={"3": lie}), rounds=2_000))
    assert result.results["answers"] == REQUESTS
    assert commands_of(result, [0, 1, 2]) == EXPECTED


def test_the_outcome_is_the_same_to_the_last_bit_on_any_number_of_cells_and_replays(tmp_path: Path) -> None:
    prints = set()
    for cells in (1, 2):
        plan = plan_of("pbft", 4, 2, cells=cells, journal=tmp_path / str(cells))
        result = asyncio.run(carried_out(plan))
        prints.add(result.fingerprint)
        assert result.results["answers"] == REQUESTS
        asyncio.run(replay_run(tmp_path / str(cells), plan))
    assert len(prints) == 1


def test_a_killed_cell_recovers_its_replicas_from_its_journal(tmp_path: Path) -> None:
    undisturbed = asyncio.run(carried_out(plan_of("raft", 3, 1, cells=2)))
    plan = plan_of("raft", 3, 1, cells=2, journal=tmp_path, faults=[{"cell_crash": 1, "at": 30}])
    assert asyncio.run(carried_out(plan)).fingerprint == undisturbed.fingerprint


def test_a_replica_that_lost_its_state_restores_what_it_promised_from_its_disk(tmp_path: Path) -> None:
    faults = [{"crash": "replica/0", "at": 60, "for": 40}, {"crash": "replica/1", "at": 160, "for": 40}]
    plan = plan_of("raft", 3, 1, directory=str(tmp_path), faults=faults, requests=40)
    result = asyncio.run(carried_out(plan, rounds=1_500))
    assert result.results["answers"] == 40
    applied = commands_of(result, [0, 1, 2])
    assert applied == ["first", {"of": 1}, *(f"command {serial}" for serial in range(2, 41))]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replica-0", "replica-1", "replica-2"]


def test_a_laggard_gets_a_snapshot_in_place_of_what_was_compacted() -> None:
    faults = [{"crash": "replica/2", "at": 40, "for": 200, "keep_state": True}]
    plan = plan_of("raft", 3, 1, compact_every=5, faults=faults, requests=40)
    result = asyncio.run(carried_out(plan, rounds=1_500))
    assert result.results["answers"] == 40
    assert len(result.results["replica/2"]) == 41
    assert commands_of(result, [0, 1, 2])[-1] == "command 40"


def test_it_runs_freely_too() -> None:
    result = asyncio.run(carried_out(plan_of("raft", 3, 1, schedule="free")))
    assert result.results["answers"] == REQUESTS
    assert commands_of(result, [0, 1, 2]) == EXPECTED


async def on_ray(plan: Plan) -> RunResult:
    async with Swarm.on_ray(plan, address="local", **RAY_OPTIONS) as swarm:
        return await swarm.run(timeout_s=60.0)


@pytest.mark.ray
def test_on_ray_each_replica_is_an_actor_and_a_killed_one_comes_back(tmp_path: Path) -> None:
    plan = plan_of(
        "raft", 3, 1, schedule="free", requests=60, journal=tmp_path, faults=[{"cell_crash": 1, "at": 1.0}]
    )
    result = asyncio.run(on_ray(plan))
    assert result.results["answers"] == 60
    assert commands_of(result, [0, 1, 2])[-1] == "command 60"


@pytest.mark.parametrize(
    ("parameters", "mend"),
    [
        ({"protocol": "paxos-ish"}, "There are: raft"),
        ({"protocol": "raft", "signatures": "wax"}, "Give 'ed25519' or 'token'"),
        ({"protocol": "raft", "liars": {"1": "polite"}}, "There are: silent"),
    ],
)
def test_wrong_settings_are_refused_with_the_mend(parameters: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend):
        Replica(replicas=3, **parameters)


def test_requests_that_are_none_are_told_so() -> None:
    async def asked() -> Any:
        plan = Plan(roles={"replica": Role(Replica, 3, {"protocol": "raft", "replicas": 3})})
        async with Swarm.local(plan) as swarm:
            return (await swarm.ask("replica/0", {"propose": []})).data

    assert "1 to 10000 commands" in asyncio.run(asked())["error"]

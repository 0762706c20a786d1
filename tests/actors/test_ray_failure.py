"""Calls, replies and whole nodes get lost: nothing is handled twice or never, and `rounds` ends the same."""

import asyncio
import json
from pathlib import Path

import pytest

from actors import Limits, Plan, Role, RunResult, Swarm
from tests.actors import cast
from tests.actors.ray_program import run_program

CHATTER = """
ROLES = {
    "gossip": Role(cast.Gossip, count=40, parameters={"peers": 40, "hops": 3}),
    "echo": Role(cast.Echo),
    "sender": Role(cast.Sender, count=8),
    "counter": Role(cast.Counter),
}

async def chatter(swarm, meanwhile=None):
    for number in range(8):
        await swarm.send(f"sender/{number}", ["counter", 5000])
    await swarm.broadcast("gossip", "go")
    await swarm.run(rounds=5)
    if meanwhile is not None:
        await asyncio.to_thread(meanwhile)
    await swarm.broadcast("gossip", "go")
    result = await swarm.run()
    return result, (await swarm.ask("counter", "total")).data
"""
EVERYTHING = "[40000, 99980000, 0]"

# Calls that get lost cost Ray two seconds each unless it looks for dead actors more often.
QUICK = {"RAY_timeout_ms_task_wait_for_death_info": "100", "RAY_core_worker_internal_heartbeat_ms": "100"}
# A node that is killed is noticed after 1.5 s and not after 15.
WATCHFUL = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_initial_delay_ms": "1000",
}


def local_fingerprint() -> str:
    names: dict[str, object] = {"asyncio": asyncio, "cast": cast, "Role": Role}
    exec(CHATTER, names)  # noqa: S102 - the very text that the programs run

    async def run() -> RunResult:
        async with Swarm.local(Plan(names["ROLES"], 3, "rounds", 2)) as swarm:  # type: ignore[arg-type]  # of the text
            result, _ = await names["chatter"](swarm)  # type: ignore[operator]  # as above
            return result

    return asyncio.run(run()).fingerprint


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "journal"), [("rounds", True), ("free", False)])
def test_a_tenth_of_all_calls_and_of_all_replies_may_be_lost(
    tmp_path: Path, schedule: str, journal: bool
) -> None:
    lossy = {"num_failures": -1, "req_failure_prob": 10, "resp_failure_prob": 10, "in_flight_failure_prob": 0}
    told = run_program(
        CHATTER
        + """
async def run():
    journal = JournalSettings(Path(os.environ["JOURNAL"])) if os.environ["JOURNAL"] else None
    plan = Plan(ROLES, 3, os.environ["SCHEDULE"], 2, "lossy", journal=journal)
    async with Swarm.on_ray(plan, "local", **RAY_OPTIONS) as swarm:
        result, total = await chatter(swarm)
    print(total, result.recoveries, result.fingerprint)
asyncio.run(run())
""",
        RAY_testing_rpc_failure=json.dumps({"CoreWorkerService.grpc_client.PushTask": lossy}),
        SCHEDULE=schedule,
        JOURNAL=str(tmp_path) if journal else "",
        **QUICK,
    )
    assert told[-1] == f"{EVERYTHING} [] {local_fingerprint() if schedule == 'rounds' else ''}"


@pytest.mark.ray
@pytest.mark.slow
def test_cells_are_spread_over_nodes_and_outlive_one_of_them(tmp_path: Path) -> None:
    told = run_program(
        CHATTER
        + """
import psutil
from ray.cluster_utils import Cluster

def nodes_of(handles):
    return [ray._private.state.actors(handle._actor_id.hex())["Address"]["NodeID"] for handle in handles]

async def run(cluster, node):
    plan = Plan(ROLES, 3, "rounds", 2, "nodes", journal=JournalSettings(Path(os.environ["JOURNAL"])))
    async with Swarm.on_ray(plan) as swarm:
        handles = [ray.get_actor(f"cell/{n}", "rayswarm/nodes") for n in range(2)]
        spread = len(set(nodes_of(handles)))
        there = nodes_of(handles).index(node.node_id)
        process = psutil.Process(await swarm.runtime.call(there, "process_id"))
        def kill_node():
            cluster.remove_node(node, allow_graceful=False)
            process.wait(60)  # It answers for some seconds more.
        result, total = await chatter(swarm, kill_node)
        moved = set(nodes_of(handles)) == {cluster.head_node.node_id}, len(result.recoveries) >= 1
    print(spread, *moved, total, result.fingerprint)

cluster = Cluster(initialize_head=True, head_node_args=NODE)
node = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
cluster.wait_for_nodes()
with ray_session(cluster.address):
    asyncio.run(run(cluster, node))
cluster.shutdown()
""",
        JOURNAL=str(tmp_path),
        **WATCHFUL,
    )
    # What Ray says of the node comes in between.
    assert f"2 True True {EVERYTHING} {local_fingerprint()}" in told


@pytest.mark.ray
def test_a_cell_waits_for_a_journal_that_its_old_process_holds_and_then_says_who_does(tmp_path: Path) -> None:
    told = run_program(
        """
        from actors.journal import JournalWriter
        journal = JournalSettings(Path(os.environ["JOURNAL"]))
        folder = journal.directory / "cell-0000"
        async def run(limit_s, held_s):
            plan = Plan({"echo": Role(cast.Echo)}, cells=1, journal=journal, limits=Limits(journal_wait_s=limit_s))
            zombie = JournalWriter(folder)
            asyncio.get_running_loop().call_later(held_s, zombie.close)
            return await answer(plan)
        folder.mkdir()
        with ray_session("local", RAY_OPTIONS):
            print(asyncio.run(run(30.0, 4.0)))
            try:
                asyncio.run(run(1.0, 30.0))
            except Exception as error:
                print(error)
        """,
        JOURNAL=str(tmp_path),
    )
    assert told[0] == "hello"
    assert "cell 0 waited 1 s for its journal" in told[1]
    assert "writes this journal" in told[1]


def test_cells_are_spread_over_nodes_by_their_cpus() -> None:
    from actors.ray_runtime import spread  # noqa: PLC0415 - Ray reads what ray_here sets

    assert spread({"a": 2.0, "b": 2.0}, 4) == ["a", "b", "a", "b"]
    assert sorted(spread({"head": 0.0, "small": 2.0, "large": 6.0}, 8)) == ["large"] * 6 + ["small"] * 2
    assert sorted(spread({"a": 0.0, "b": 0.0}, 2)) == ["a", "b"]


@pytest.mark.parametrize(
    ("settings", "roles", "dedicated"),
    [
        ({}, {"a": Role(cast.Echo, 20), "b": Role(cast.Echo)}, {"a", "b"}),
        ({}, {"a": Role(cast.Echo, 32), "b": Role(cast.Echo)}, set()),
        ({}, {"a": Role(cast.Echo, 32), "b": Role(cast.Echo, dedicated=True)}, {"b"}),
        ({}, {"a": Role(cast.Echo, 2, dedicated=False), "b": Role(cast.Echo)}, {"b"}),
        ({"limits": Limits(dedicated_agents=0)}, {"a": Role(cast.Echo)}, set()),
        ({"cells": 3}, {"a": Role(cast.Echo)}, set()),
        ({}, {"a": Role(cast.Echo), "made at run time": Role(cast.Echo, 0)}, set()),
    ],
)
def test_small_swarms_and_roles_that_ask_get_an_actor_for_each_agent(
    settings: dict[str, object], roles: dict[str, Role], dedicated: set[str]
) -> None:
    from actors.ray_runtime import cell_names, dedicated_roles  # noqa: PLC0415 - Ray reads what ray_here sets

    plan = Plan(roles, **settings)  # type: ignore[arg-type]  # settings of several types
    assert dedicated_roles(plan) == dedicated
    names = cell_names(plan.placement(2, dedicated_roles(plan)))
    assert names[:2] == ["cell/0", "cell/1"]
    assert set(names[2:]) == {address for role in dedicated for address in plan.placement(1).members(role)}

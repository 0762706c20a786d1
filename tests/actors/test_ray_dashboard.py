"""In the Ray dashboard a run is recognisable: its actors by name, class and repr, its log lines, its metrics."""

import json
import re

import pytest

from tests.actors.ray_program import run_program

METRICS = {
    "ray_rayswarm_messages_total",
    "ray_rayswarm_mailbox_depth",
    "ray_rayswarm_turn_seconds",
    "ray_rayswarm_agents",
    "ray_rayswarm_dead_letters_total",
    "ray_rayswarm_round",
}

WATCHED_RUN = """
import glob, json, time, urllib.request
from ray.util.state import list_actors

class Talker(cast.Echo):
    async def on_message(self, message, context):
        context.log.info("heard %s", message.text)
        context.log.debug("not worth a line")

def metrics():
    lines = []
    for node in ray.nodes():
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        text = urllib.request.urlopen(url).read().decode()
        lines += [line for line in text.splitlines() if line.startswith("ray_rayswarm")]
    return lines

async def watched():
    roles = {
        "talker": Role(Talker, 2, dedicated=True, num_cpus=0.25),
        "echo": Role(cast.Echo, 30, dedicated=False),
    }
    async with Swarm.on_ray(Plan(roles, schedule="free", cells=1, run_id="survey-7f3a")) as swarm:
        await swarm.broadcast("echo", "x")
        await swarm.send("echo/77", "nobody there")
        await swarm.broadcast("talker", "tidings")
        until = time.monotonic() + 60
        # Six metrics, of three cells each but for the dead letters.
        while len(metrics()) < 5 * 3 + 1 and time.monotonic() < until:
            await asyncio.sleep(0.5)
        print(json.dumps(metrics()))
        actors = list_actors(swarm.dashboard, detail=True)
        print(json.dumps(sorted([a.name, a.class_name, a.repr_name, a.ray_namespace] for a in actors)))
        logs = ray._private.worker._global_node.get_logs_dir_path()
        lines = [line for file in glob.glob(logs + "/worker-*") for line in open(file) if "survey-7f3a" in line]
        print(json.dumps(sorted(line[24:].rstrip() for line in lines if line.startswith("20"))))
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_is_recognisable_in_the_dashboard_the_logs_and_the_metrics() -> None:
    told = run_program(
        WATCHED_RUN
        + """
with ray_session("local", {**RAY_OPTIONS, "include_dashboard": True}) as session:
    asyncio.run(watched())
    print(session.dashboard)
"""
    )
    metrics, actors, lines = map(json.loads, told[:3])
    assert told[3].startswith("http://127.0.0.1:")
    namespace = "rayswarm/survey-7f3a"
    assert actors == [
        ["cell/0", "Cell", "survey-7f3a cell/0 (echo)", namespace],
        ["talker/0", "Talker", "survey-7f3a talker/0 (Talker)", namespace],
        ["talker/1", "Talker", "survey-7f3a talker/1 (Talker)", namespace],
    ]
    assert lines == [
        "INFO survey-7f3a cell/0: cell 0 of 3 started",
        "INFO survey-7f3a talker/0: cell 1 of 3 started",
        "INFO survey-7f3a talker/0: heard tidings",
        "INFO survey-7f3a talker/1: cell 2 of 3 started",
        "INFO survey-7f3a talker/1: heard tidings",
    ]
    assert {line.partition("{")[0] for line in metrics} == METRICS
    tags = [dict(re.findall(r'(\w+)="([^"]*)"', line)) | {"is": line.partition("{")[0]} for line in metrics]
    assert {tag["run"] for tag in tags} == {"survey-7f3a"}
    assert {tag["cell"] for tag in tags} == {"cell/0", "talker/0", "talker/1"}
    assert {tag["role"] for tag in tags} == {"echo", "talker", "*"}
    values = {
        (tag["is"], tag["cell"], tag["role"]): float(line.split()[-1])
        for tag, line in zip(tags, metrics, strict=True)
    }
    assert values["ray_rayswarm_agents", "cell/0", "echo"] == 30
    assert values["ray_rayswarm_messages_total", "cell/0", "echo"] == 30
    assert values["ray_rayswarm_messages_total", "talker/1", "talker"] == 1
    assert values["ray_rayswarm_dead_letters_total", "cell/0", "*"] == 1

"""A model service and its cells as real Ray actors: shared limits, batches, restarts, and what the dashboard shows."""

import pytest

from tests.actors.ray_program import run_program

PREAMBLE = '''
import asyncio, tempfile, time, urllib.request
from pathlib import Path
import ray
from inference import *
from inference.model_plan import ModelPlan
from inference.pool import PoolSettings, ReplicaPool
from inference.ray_service import RayService
from inference.service_llm import ServiceLLM, ServiceSettings
from tests.actors.ray_here import RAY_OPTIONS

FOLDER = Path(tempfile.mkdtemp())
(FOLDER / "rules.yaml").write_text("name: echo\\nrules:\\n  - pattern: '(.*)'\\n    answers: 'you said {1}'\\n")
LINE = f"scripted:{FOLDER}/rules.yaml"

def asked(text, agent="a/1", **options):
    return Request.of(text, caller=Caller(agent, agent.partition("/")[0]), **options)

class Cell:
    """Many agents, one client."""
    def __init__(self, service):
        self.model = ServiceLLM(service, ServiceSettings(reconnect_s=30))
    async def ask(self, texts, agent="a/1"):
        asking = (self.model.complete(asked(text, agent)) for text in texts)
        done = await asyncio.gather(*asking, return_exceptions=True)
        return [outcome.text if isinstance(outcome, Completion) else outcome for outcome in done]

def cells(service, count=2):
    return [ray.remote(Cell).options(num_cpus=0).remote(service) for _ in range(count)]

ray.init(address="local", **RAY_OPTIONS, logging_level="error", log_to_driver=False)
'''


@pytest.mark.ray
def test_cells_share_one_queue_one_budget_and_one_recording_and_the_dashboard_shows_it() -> None:
    told = run_program(
        """
        plan = ModelPlan(LINE, mode="record", recording=FOLDER / "c.jsonl", ledger=FOLDER / "spent.jsonl",
                         budget=BudgetLimits(agents={"poor/1": Ceiling(tokens=1)}), price=Price(1.0, 1.0))
        service = RayService.start(plan, name="model")
        many = cells(service)
        texts = [[f"{cell}.{number}" for number in range(500)] for cell in range(2)]
        answers = ray.get([cell.ask.remote(own) for cell, own in zip(many, texts)])
        print(answers == [[f"you said {text}" for text in own] for own in texts])
        (error,) = ray.get(many[0].ask.remote(["x"], "poor/1"))
        print(type(error).__name__, error.definite, "the agent poor/1 may spend 1 tokens" in str(error))
        stats = service.stats()
        print(stats["sessions"], stats["waiting"], stats["running"], stats["spent_tokens"] > 1000)
        print(service.identity.startswith("scripted:echo@0"))
        port = ray.nodes()[0]["MetricsExportPort"]
        names = ("requests_total", "tokens_total", "cost_usd_total", "waiting_requests", "running_requests",
                 "tokens_per_second", "cache_hit_rate", "queue_seconds_count")
        wanted = {f"ray_rayswarm_llm_{name}" for name in names}
        until = time.monotonic() + 60
        missing = wanted
        while missing and time.monotonic() < until:
            time.sleep(0.3)
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
            lines = [line for line in text.splitlines() if line.startswith("ray_rayswarm_llm")]
            missing = wanted - {line.partition("{")[0] for line in lines}
        (count,) = [line for line in lines if "requests_total" in line and 'outcome="ok"' in line]
        print(missing, count.rpartition(" ")[2], 'role="a"' in count, f'model="{LINE}"' in count)
        print("1.499" in text, "a/1" in "".join(lines), "poor/1" in "".join(lines))
        service.stop()
        service.stop()
        print(len((FOLDER / "c.jsonl").read_bytes().splitlines()))
        replay = RayService.start(ModelPlan(LINE, mode="replay", recording=FOLDER / "c.jsonl"))
        async def again():
            async with ServiceLLM(replay) as model:
                return (await model.complete(asked("1.7"))).text
        print(asyncio.run(again()))
        try:
            RayService.start(ModelPlan("scripted:/nowhere.yaml"))
        except ConfigurationError as error:
            print("cannot read the script" in str(error))
        ray.shutdown()
        """,
        preamble=PREAMBLE,
    )
    assert told == [
        "True",
        "BudgetExceeded True True",
        "2 0 0 True",
        "True",
        "set() 1000.0 True True",
        "False False False",
        "1001",
        "you said 1.7",
        "True",
    ]


@pytest.mark.ray
def test_a_service_that_is_killed_starts_again_and_goes_on_from_its_ledger() -> None:
    told = run_program(
        """
        plan = ModelPlan(LINE, mode="record", recording=FOLDER / "c.jsonl", ledger=FOLDER / "spent.jsonl",
                         rate=Rate(requests_per_minute=60, burst_s=1.0),
                         budget=BudgetLimits(run=Ceiling(tokens=100_000)))
        service = RayService.start(plan)
        (cell,) = cells(service, 1)
        print(ray.get(cell.ask.remote(["first"])))
        spent = service.stats()["spent_tokens"]
        waiting = cell.ask.remote([f"w{number}" for number in range(30)])
        while service.stats()["waiting"] < 20:
            time.sleep(0.05)
        ray.kill(service.actor, no_restart=False)
        lost = ray.get(waiting)
        errors = [outcome for outcome in lost if isinstance(outcome, EngineDead)]
        print(len(lost), 20 <= len(errors), any(error.definite for error in errors))
        print(ray.get(cell.ask.remote(["second"])))
        print(service.stats()["spent_tokens"] > spent)
        ray.kill(service.actor)
        (gone,) = ray.get(cell.ask.remote(["third"]))
        print(type(gone).__name__, "is gone" in str(gone))
        frail = RayService.start(ModelPlan(LINE, budget=BudgetLimits(run=Ceiling(tokens=100_000))))
        (cell,) = cells(frail, 1)
        print(ray.get(cell.ask.remote(["x"])))
        ray.kill(frail.actor, no_restart=False)
        until = time.monotonic() + 60  # a call or two may still reach the old process
        while isinstance(gone := ray.get(cell.ask.remote(["y"]))[0], str) and time.monotonic() < until:
            time.sleep(0.1)
        print(type(gone).__name__)  # with a budget and no ledger it does not forget: it stays dead
        ray.shutdown()
        """,
        preamble=PREAMBLE,
    )
    assert told == [
        "['you said first']",
        "30 True False",
        "['you said second']",
        "True",
        "EngineDead True",
        "['you said x']",
        "EngineDead",
    ]


@pytest.mark.ray
def test_a_pool_survives_an_actor_killed_in_mid_request_and_a_service_frees_the_calls_of_a_dead_cell() -> (
    None
):
    told = run_program(
        """
        # Each replica takes a second a request: 30 a minute is what its rate lets through after the first.
        slow = ModelPlan(LINE, rate=Rate(requests_per_minute=120, burst_s=0.5))
        services = {f"r{number}": RayService.start(slow) for number in range(3)}
        models = {name: ServiceLLM(service, ServiceSettings(reconnect_s=2)) for name, service in services.items()}

        async def main():
            pool = ReplicaPool(models, PoolSettings(again=True, check_s=0.5))
            tasks = [asyncio.ensure_future(pool.complete(asked(f"q{n}", f"a/{n}"))) for n in range(18)]
            while sum(model.waiting for model in models.values()) < 12:
                await asyncio.sleep(0.01)
            ray.kill(services["r0"].actor)
            done = await asyncio.gather(*tasks, return_exceptions=True)
            print([o for o in done if not isinstance(o, Completion)])
            print(sorted(o.text for o in done) == sorted(f"you said q{n}" for n in range(18)))
            pool.add("r3", ServiceLLM(RayService.start(slow)))
            await pool.drain("r1")
            print(sorted(pool.replicas), (await pool.complete(asked("last"))).text)
            await pool.aclose()

        asyncio.run(main())
        service = RayService.start(ModelPlan(LINE, rate=Rate(requests_per_minute=1, burst_s=0)), lease_s=3.0)
        (cell,) = cells(service, 1)
        waiting = cell.ask.remote([f"w{number}" for number in range(30)])
        while service.stats()["waiting"] < 25:
            time.sleep(0.05)
        ray.kill(cell)
        until = time.monotonic() + 60
        while service.stats()["waiting"] and time.monotonic() < until:
            time.sleep(0.1)
        print(service.stats()["waiting"], service.stats()["sessions"])
        ray.shutdown()
        """,
        preamble=PREAMBLE,
    )
    assert told == ["[]", "True", "['r0', 'r2', 'r3'] you said last", "0 0"]

"""A plan opened: limits over recording over pool over model, each once."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from inference.budget import Budget
from inference.errors import BudgetExceeded, ConfigurationError, RecordingMiss
from inference.limits import BudgetLimits, Ceiling, Rate
from inference.model_plan import ModelPlan
from inference.pool import ReplicaPool
from inference.recorded import RecordedLLM
from inference.request import Caller, Request, Sampling
from inference.scripted import Rule, ScriptedLLM
from inference.seed import seeded
from inference.service import endpoint_settings, open_observed, open_service, open_source
from tests.inference.conformance import check_model

SCRIPT = """
name: voters
rules:
  - pattern: "vote"
    answers: ["yes", "no", "perhaps", "never"]
  - pattern: ""
    answers: "I have nothing to say."
"""


class Named(ScriptedLLM):
    """Says its name, and is recorded under it."""

    def __init__(self, name: str) -> None:
        super().__init__([Rule("", name)])
        self._named = name

    @property
    def identity(self) -> str:
        return self._named


@pytest.fixture
def plan(tmp_path: Path) -> ModelPlan:
    (tmp_path / "rules.yaml").write_text(SCRIPT)
    return ModelPlan(f"scripted:{tmp_path / 'rules.yaml'}")


def asked(text: str, agent: str = "a/1", **sampling: int) -> Request:
    return Request.of(text, caller=Caller(agent, "a"), sampling=Sampling(**sampling))


async def answers(plan: ModelPlan, *requests: Request, resumed: bool = False) -> list[str]:
    opened = open_observed(plan, resumed=resumed)
    async with opened.observed as model:
        return [(await model.complete(request)).text for request in requests]


def test_a_service_keeps_to_what_all_models_keep_to(plan: ModelPlan) -> None:
    async def main() -> None:
        async with open_service(replace(plan, replicas=3)) as model:
            await check_model(model)

    asyncio.run(main())


def test_replicas_are_a_pool_and_one_is_the_model_itself(plan: ModelPlan) -> None:
    async def main() -> None:
        assert isinstance(open_source(plan), ScriptedLLM)
        pool = open_source(replace(plan, replicas=3))
        assert isinstance(pool, ReplicaPool)
        assert pool.replicas == {"replica/0": True, "replica/1": True, "replica/2": True}

    asyncio.run(main())


def test_a_run_is_recorded_replayed_and_filled(plan: ModelPlan, tmp_path: Path) -> None:
    recording = tmp_path / "run" / "completions.jsonl"
    record = replace(plan, mode="record", recording=recording)
    votes = [seeded(asked(f"vote {number}"), 7, "a/1", number) for number in range(5)]
    first = asyncio.run(answers(record, *votes))
    rates = replace(record, mode="replay", rate=Rate(requests_per_minute=1, burst_s=0))
    assert asyncio.run(answers(rates, *votes)) == first  # at once: nothing is sent
    with pytest.raises(RecordingMiss):
        asyncio.run(answers(replace(record, mode="replay"), asked("another")))
    line = ModelPlan(f"replay:{recording}", rate=Rate(requests_per_minute=1, burst_s=0))
    assert asyncio.run(answers(line, *votes)) == first
    fill = replace(record, mode="fill")
    assert asyncio.run(answers(fill, *votes, asked("another"))) == [*first, "I have nothing to say."]
    assert len(recording.read_bytes().splitlines()) == 1 + 6


def test_a_replay_is_of_the_planned_model_and_of_no_other(plan: ModelPlan, tmp_path: Path) -> None:
    recording = tmp_path / "completions.jsonl"

    async def record() -> None:
        for name in (
            "openai:http://h/v1#x",
            "openai:http://h/v1#xy@2",
            "openai:http://h/v1#z@1",
            "openai:http://h/v1#z@2",
            "vllm:tiny@1",
        ):
            async with RecordedLLM.record(recording, Named(name)) as recorded:
                await recorded.complete(asked("hello"))

    asyncio.run(record())

    def replay(line: str) -> ModelPlan:
        return ModelPlan(line, mode="replay", recording=recording)

    assert asyncio.run(answers(replay("openai:http://h/v1#x"), asked("hello"))) == ["openai:http://h/v1#x"]
    assert asyncio.run(answers(replay("openai:http://h/v1#xy"), asked("hello"))) == [
        "openai:http://h/v1#xy@2"
    ]
    assert asyncio.run(answers(replay("vllm:/not/here/tiny"), asked("hello"))) == ["vllm:tiny@1"]
    with pytest.raises(ConfigurationError, match="which revision is not said"):
        open_service(replay("openai:http://h/v1#z"))
    with pytest.raises(ConfigurationError, match="holds answers of openai"):
        open_service(replace(plan, mode="replay", recording=recording))


def test_a_service_that_starts_again_overwrites_and_pays_nothing_twice(
    plan: ModelPlan, tmp_path: Path
) -> None:
    recording, ledger = tmp_path / "completions.jsonl", tmp_path / "ledger.jsonl"
    budget = BudgetLimits(run=Ceiling(tokens=60))
    kept = replace(plan, mode="record", recording=recording, ledger=ledger, budget=budget)
    vote = asked("vote", seed=1, max_tokens=20)
    first = asyncio.run(answers(kept, vote))
    before = recording.read_bytes()
    assert asyncio.run(answers(kept, vote, resumed=True)) == first
    assert recording.read_bytes() == before

    async def spend() -> None:
        opened = open_observed(kept, resumed=True)
        assert opened.budget.spent().tokens > 10
        async with opened.observed as model:
            asking = (model.complete(asked("vote", seed=number, max_tokens=20)) for number in range(10))
            done = await asyncio.gather(*asking, return_exceptions=True)
        refused = [outcome for outcome in done if isinstance(outcome, BudgetExceeded)]
        assert 0 < len(refused) < 10
        assert "the run may spend 60 tokens" in str(refused[0])
        assert opened.budget.spent().tokens <= 60

    asyncio.run(spend())


def test_a_service_that_cannot_be_opened_holds_nothing(plan: ModelPlan, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    wrong = replace(plan, model="scripted:/nowhere/rules.yaml", ledger=ledger)
    with pytest.raises(ConfigurationError):
        open_service(wrong)
    opened = open_observed(replace(plan, ledger=ledger))
    assert isinstance(opened.budget, Budget)
    asyncio.run(opened.observed.aclose())


def test_an_endpoint_below_the_limits_is_asked_once_and_its_key_is_read_when_it_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = ModelPlan("openai:http://localhost:9/v1#x", key="env:RAYSWARM_TEST_KEY", timeout_s=7.0)
    with pytest.raises(ConfigurationError, match="RAYSWARM_TEST_KEY"):
        endpoint_settings(plan)
    monkeypatch.setenv("RAYSWARM_TEST_KEY", "sk-1")
    settings = endpoint_settings(plan)
    assert (settings.retry.attempts, settings.timeout_s) == (1, 7.0)
    assert "sk-1" not in repr(settings)
    assert "sk-1" not in repr(plan)

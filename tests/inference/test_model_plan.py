"""A served model's description: plain, checked with the mend, and without a key."""

import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from inference.errors import ConfigurationError
from inference.limits import BudgetLimits, Ceiling, Rate, ServingLimits
from inference.model_plan import ModelPlan
from inference.price import FREE, Price

PAID = BudgetLimits(each_agent=Ceiling(usd=1.0))


def test_a_plan_is_plain_data_that_pickles_and_can_be_written_down() -> None:
    plan = ModelPlan(
        "vllm:Qwen/Qwen3-8B",
        limits=ServingLimits(running_requests=8),
        rate=Rate(requests_per_minute=60),
        budget=BudgetLimits(roles={"judge": Ceiling(tokens=9)}),
        mode="record",
        recording=Path("run/completions.jsonl"),
        replicas=4,
        seed=7,
        deterministic=True,
        vllm={"context_tokens": 2048, "engine_arguments": {"enforce_eager": True}},
    )
    assert pickle.loads(pickle.dumps(plan)) == plan  # noqa: S301  # our own bytes
    described = plan.described()
    assert msgspec.json.decode(msgspec.json.encode(described)) == described
    assert described["recording"] == "run/completions.jsonl"
    assert described["budget"]["roles"]["judge"]["tokens"] == 9
    assert described["price"] is None
    assert plan.vllm_settings.deterministic
    assert (plan.vllm_settings.seed, plan.vllm_settings.context_tokens) == (7, 2048)
    assert plan.has_ceiling
    assert not plan.has_usd_ceiling
    assert not ModelPlan("vllm:x").has_ceiling


@pytest.mark.parametrize(
    ("fields", "mend"),
    [
        ({"model": "gpt-5"}, "no known provider"),
        ({"key": "sk-123"}, "env:NAME or file:PATH"),
        ({"model": "scripted:a.yaml", "key": "env:KEY"}, "takes no key"),
        ({"mode": "tape"}, "live, record, replay, fill"),
        ({"mode": "record"}, "give the recording's path"),
        ({"recording": Path("x")}, "give record, replay or fill"),
        ({"model": "replay:run", "mode": "fill", "recording": Path("x")}, "leave mode at live"),
        ({"replicas": 0}, "give 1 to 1,000"),
        ({"replicas": 2}, "Leave replicas at 1"),
        ({"model": "vllm:x", "replicas": 5000}, "give 1 to 1,000"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"idle_s": "ten"}, "idle_s"),
        ({"vllm": {"context_tokens": 5}}, "vllm:NAME"),
        ({"model": "vllm:x", "vllm": {"max_model_len": 5}}, "no setting 'max_model_len'"),
        ({"model": "vllm:x", "vllm": {"cpus": "many"}}, "wrong kind"),
        ({"model": "vllm:x", "vllm": {"gpu_memory": 2.0}}, "gpu_memory is 2.0"),
        ({"model": "vllm:x", "vllm": {"model_class": object()}}, "no plain value"),
        ({"limits": {"running_requests": 5}}, "limits is"),
        ({"recording": "x"}, "recording is"),
        ({"budget": PAID}, "FREE if it costs nothing"),
    ],
)
def test_each_fault_is_told_with_its_mend(fields: dict[str, Any], mend: str) -> None:
    with pytest.raises(ConfigurationError, match=mend) as caught:
        ModelPlan(**{"model": "openai:http://localhost:8000/v1#name", **fields})
    assert "sk-123" not in str(caught.value)


def test_a_ceiling_in_money_needs_a_price_which_may_be_a_published_one() -> None:
    pytest.importorskip("genai_prices", reason="pip install 'rayswarm[endpoints]'")
    assert ModelPlan("openai:gpt-4o-mini", budget=PAID).known_price is not None
    assert ModelPlan("vllm:x", budget=PAID, price=FREE).known_price == FREE
    assert ModelPlan("openai:gpt-4o-mini", price=Price(9.0, 9.0)).known_price == Price(9.0, 9.0)


def test_only_what_costs_nothing_by_the_token_is_computed_again() -> None:
    plans = [ModelPlan("vllm:x", price=price) for price in (None, FREE, Price(1.0, 1.0))]
    assert [plan.pool_settings.again for plan in plans] == [True, True, False]


def test_a_plan_reads_no_key() -> None:
    assert ModelPlan("openai:gpt-4o-mini", key="env:NO_SUCH_VARIABLE").key == "env:NO_SUCH_VARIABLE"

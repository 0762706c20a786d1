"""A plan of an endpoint, opened before a real server that refuses, hangs and runs dry; many agents at once."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="the extra `endpoints` is not installed")

from inference.completion import Completion
from inference.errors import BudgetExceeded, DeadlinePassed, EngineDead, QueueFull, RateLimited
from inference.limits import BudgetLimits, Ceiling, ServingLimits
from inference.llm import BaseLLM
from inference.model_plan import ModelPlan
from inference.price import Price
from inference.request import Caller, Request, Sampling
from inference.service import open_observed, open_service
from tests.inference.server import Asked, Server, hang, openai, serving, whole

KEY = "sk-test-0123456789abcdef"


def plan_of(server: Server, **options: Any) -> ModelPlan:
    return ModelPlan(f"openai:{server.url}/v1#served", **options)


async def crowd(model: BaseLLM, count: int, **options: Any) -> list[Any]:
    sampling = Sampling(max_tokens=20)
    requests = (
        Request.of(f"{n}", caller=Caller(f"a/{n}", "a"), sampling=sampling, **options) for n in range(count)
    )
    return await asyncio.gather(*map(model.complete, requests), return_exceptions=True)


def test_a_storm_of_429_is_waited_out_by_all_together_with_one_probe_at_a_time() -> None:
    refuse = whole(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.2"})
    refused = 0
    here: list[int] = []
    """Of each refusal after the first wave, how many requests the endpoint had."""

    async def refusing(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal refused
        refused += 1
        if refused > 8:
            here.append(refused)
        await asyncio.sleep(0.05)
        if refused > 8:
            here.append(refused)
        await refuse(asked, writer)

    async def main() -> None:
        async with serving(*[refusing] * 12, openai) as server:
            limits = ServingLimits(running_requests=8)
            async with open_service(plan_of(server, limits=limits)) as model:
                done = await crowd(model, 60)
            assert all(isinstance(outcome, Completion) for outcome in done)
            assert here == [9, 9, 10, 10, 11, 11, 12, 12]  # each came when the one before it had gone

    asyncio.run(main())


def test_a_retry_after_that_nobody_waits_for_is_told_to_all_who_asked_and_the_rest_are_served_later() -> None:
    refuse = whole(429, {"error": {"message": "come back tomorrow"}}, {"Retry-After": "86400"})

    async def main() -> None:
        async with serving(refuse, openai) as server:
            limits = ServingLimits(running_requests=1, longest_hold_s=0.1)
            async with open_service(plan_of(server, limits=limits)) as model:
                first, *rest = await crowd(model, 5)
            assert isinstance(first, RateLimited)
            assert first.wait_s == 86400
            assert all(isinstance(outcome, Completion) for outcome in rest)

    asyncio.run(main())


def test_an_endpoint_that_hangs_fails_its_callers_in_time_and_frees_their_places() -> None:
    async def main() -> None:
        async with serving(hang, hang, openai) as server:
            plan = plan_of(server, limits=ServingLimits(running_requests=2), idle_s=0.3, timeout_s=5.0)
            async with open_service(plan) as model:
                done = await crowd(model, 6)
            failed = [outcome for outcome in done if not isinstance(outcome, Completion)]
            assert len(failed) == 2
            assert all(isinstance(error, EngineDead | DeadlinePassed) for error in failed)
            assert not any(error.definite for error in failed)

    asyncio.run(main())


def test_a_deadline_holds_before_an_endpoint_that_hangs_and_says_who_was_never_sent() -> None:
    async def main() -> None:
        async with serving(hang) as server:
            async with open_service(plan_of(server, limits=ServingLimits(running_requests=1))) as model:
                sent = asyncio.ensure_future(crowd(model, 1, timeout_s=0.6))
                await asyncio.sleep(0.2)
                waited = await crowd(model, 3, timeout_s=0.1)
                (late,) = await sent
            assert isinstance(late, DeadlinePassed)
            assert not late.definite
            assert all(isinstance(error, DeadlinePassed) and error.definite for error in waited)
            assert len(server.asked) == 1

    asyncio.run(main())


def test_a_budget_hit_in_mid_run_stops_the_calls_that_it_does_not_cover_and_no_others() -> None:
    async def main() -> None:
        async with serving(openai) as server:
            budget = BudgetLimits(run=Ceiling(usd=400e-6))
            plan = plan_of(server, budget=budget, price=Price(1.0, 10.0), limits=ServingLimits())
            opened = open_observed(plan)
            async with opened.observed as model:
                done = await crowd(model, 30)
                answered = [outcome for outcome in done if isinstance(outcome, Completion)]
                refused = [outcome for outcome in done if isinstance(outcome, BudgetExceeded)]
                assert (len(answered) + len(refused), len(answered)) == (30, len(server.asked))
                assert answered
                assert refused
                spent = opened.budget.spent()
                assert spent.usd == pytest.approx(sum(outcome.cost_usd for outcome in answered))
                assert spent.usd <= 400e-6
                assert (spent.reserved_tokens, spent.reserved_usd) == (0, 0)

    asyncio.run(main())


def test_a_full_queue_pushes_back_while_the_endpoint_is_slow() -> None:
    async def main() -> None:
        async with serving(hang) as server:
            limits = ServingLimits(running_requests=2, queued_requests=3)
            async with open_service(plan_of(server, limits=limits)) as model:
                done = await crowd(model, 9, timeout_s=0.3)
            full = [outcome for outcome in done if isinstance(outcome, QueueFull)]
            assert len(full) == 4
            assert "3 requests wait for the model" in str(full[0])

    asyncio.run(main())


def test_the_key_reaches_the_endpoint_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("RAYSWARM_TEST_KEY", KEY)
    refuse = whole(401, {"error": {"message": f"wrong key {KEY}"}})

    async def main() -> str:
        async with serving(openai, refuse) as server:
            plan = plan_of(
                server,
                key="env:RAYSWARM_TEST_KEY",
                mode="record",
                recording=tmp_path / "c.jsonl",
                ledger=tmp_path / "spent.jsonl",
                budget=BudgetLimits(run=Ceiling(tokens=10_000)),
            )
            async with open_service(plan) as model:
                done = [(await crowd(model, 1))[0] for _ in range(2)]
            assert [asked.headers["authorization"] for asked in server.asked] == [f"Bearer {KEY}"] * 2
            return f"{done!r} {plan!r} {plan.described()!r}"

    told = asyncio.run(main())
    files = "".join(path.read_text() for path in tmp_path.iterdir())
    assert KEY not in told + files + caplog.text

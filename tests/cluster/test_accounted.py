"""The model of a trial: asked once, within its budget, recorded, known after a crash."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.accounted import AccountedLLM, Bounds
from cluster.call_log import FILE, CallLog, lines_of
from cluster.cost import costs_in
from inference.completion import Completion
from inference.errors import BudgetExceeded, DeadlinePassed, EngineDead, LLMError, RateLimited, Refused
from inference.limits import BudgetLimits, Ceiling, ServingLimits
from inference.llm import BaseLLM
from inference.price import Price
from inference.provider import RECORDING
from inference.recorded import RecordedLLM
from inference.request import Caller, Request, Sampling
from inference.scripted import ScriptedLLM

TEN = "one two three four five six seven eight nine ten"


class Slow(BaseLLM):
    """Answers when it is let; counts."""

    def __init__(self, text: str = TEN, error: LLMError | None = None, price: Price | None = None) -> None:
        self.model = ScriptedLLM(lambda request, rng: text, price=price)
        self.error = error
        self.asked = 0
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def identity(self) -> str:
        return self.model.identity

    async def complete(self, request: Request) -> Completion:
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.001)
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            return await self.model.complete(request)
        finally:
            self.running -= 1


def asking(number: int, agent: str = "worker/1", max_tokens: int = 10) -> Request:
    caller = Caller(agent, agent.partition("/")[0])
    return Request.of(
        f"Count {number}.", caller=caller, sampling=Sampling(seed=number, max_tokens=max_tokens)
    )


def limits(**ceilings: int) -> Bounds:
    budget = BudgetLimits(**{name: Ceiling(tokens=most) for name, most in ceilings.items()})
    return Bounds(budget, serving=ServingLimits(attempts=1))


async def asked(
    model: BaseLLM, folder: Path, *requests: Request, within: Bounds | None = None
) -> list[object]:
    accounted = AccountedLLM(model, folder, within)
    try:
        return await asyncio.gather(*(accounted.complete(one) for one in requests), return_exceptions=True)
    finally:
        await accounted.aclose()


async def used_by_one(folder: Path) -> int:
    """Tokens of one call of these tests: all use as many as they may."""
    (answer,) = await asked(Slow(), folder, asking(1))
    assert isinstance(answer, Completion)
    return answer.usage.total_tokens


def test_a_call_made_again_is_asked_once_then_and_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        model = Slow()
        first = await asked(model, tmp_path, asking(1), asking(1), asking(2))
        again = await asked(model, tmp_path, asking(2), asking(1))
        assert model.asked == 2
        assert first[0] == first[1] == again[1]
        assert first[2] == again[0]

    asyncio.run(scenario())
    cost = costs_in(tmp_path / FILE)["worker"]
    assert (cost.asked, cost.answered, cost.again) == (2, 2, 3)


def test_a_call_goes_on_when_its_caller_goes_away_and_is_there_when_it_comes_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        model = Slow()
        model.gate.clear()
        accounted = AccountedLLM(model, tmp_path)
        gone = asyncio.ensure_future(accounted.complete(asking(1)))
        await asyncio.sleep(0.01)
        gone.cancel()
        back = asyncio.ensure_future(accounted.complete(asking(1)))
        await asyncio.sleep(0.01)
        model.gate.set()
        assert (await back).text == TEN
        assert model.asked == 1
        await accounted.aclose()

    asyncio.run(scenario())


def test_what_is_recorded_replays_without_the_model(tmp_path: Path) -> None:
    async def scenario() -> None:
        answers = await asked(Slow(), tmp_path, asking(1), asking(2))
        async with RecordedLLM.replay(tmp_path / RECORDING) as replay:
            assert [await replay.complete(asking(number)) for number in (1, 2)] == answers

    asyncio.run(scenario())


@pytest.mark.parametrize("together", [True, False])
def test_a_ceiling_is_used_to_the_last_call_that_fits_and_never_passed(
    together: bool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        one = await used_by_one(tmp_path / "one")
        model = Slow()
        accounted = AccountedLLM(model, tmp_path, limits(run=7 * one + one // 2))
        requests = [asking(number, f"worker/{number}") for number in range(1, 21)]
        if together:
            outcomes = await asyncio.gather(*map(accounted.complete, requests), return_exceptions=True)
        else:
            outcomes = [
                (await asyncio.gather(accounted.complete(request), return_exceptions=True))[0]
                for request in requests
            ]
        refused = [outcome for outcome in outcomes if isinstance(outcome, BudgetExceeded)]
        assert len(refused) == 13
        assert all(error.final and error.account == "run" and error.definite for error in refused)
        assert model.asked == 7
        assert accounted.spent().tokens == 7 * one
        assert accounted.spent().reserved_tokens == 0
        await accounted.aclose()

    asyncio.run(scenario())


def test_calls_that_use_less_than_they_may_leave_room_for_more(tmp_path: Path) -> None:
    """Each may use 100 tokens and more; with room for two such at a time, all ten get through."""

    async def scenario() -> None:
        model = Slow()
        requests = [asking(number, max_tokens=100) for number in range(1, 11)]
        outcomes = await asked(model, tmp_path, *requests, within=limits(run=300))
        assert all(isinstance(outcome, Completion) for outcome in outcomes)
        assert model.most == 2

    asyncio.run(scenario())


def test_a_role_and_an_agent_have_ceilings_of_their_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        one = await used_by_one(tmp_path / "one")
        within = limits(each_agent=2 * one, each_role=3 * one)
        requests = [
            asking(number, agent) for number, agent in enumerate(["a/0"] * 3 + ["a/1"] * 2 + ["b/0"], 1)
        ]
        accounted = AccountedLLM(Slow(), tmp_path, within)
        outcomes = []
        for request in requests:
            try:
                outcomes.append((await accounted.complete(request)).text)
            except BudgetExceeded as error:
                outcomes.append(error.account)
        assert outcomes == [TEN, TEN, "agent", TEN, "role", TEN]
        await accounted.aclose()

    asyncio.run(scenario())
    costs = costs_in(tmp_path / FILE)
    assert costs["a"].errors == {"budget exceeded": 2}
    assert (costs["a"].asked, costs["b"].asked) == (3, 1)


@pytest.mark.parametrize(
    ("make", "charged"),
    [
        (lambda: RateLimited("slowly"), False),
        (lambda: EngineDead("never had it", definite=True), False),
        (lambda: EngineDead("died"), True),
        (lambda: Refused("no"), True),
    ],
)
def test_a_failed_call_is_charged_if_it_may_have_happened(
    make: Callable[[], LLMError], charged: bool, tmp_path: Path
) -> None:
    async def scenario() -> int:
        accounted = AccountedLLM(Slow(error=make()), tmp_path, limits(run=1000))
        with pytest.raises(type(make())):
            await accounted.complete(asking(1))
        spent = accounted.spent().tokens
        await accounted.aclose()
        return spent

    spent = asyncio.run(scenario())
    assert (spent > 0) is charged
    assert AccountedLLM(Slow(), tmp_path, limits(run=1000)).spent().tokens == spent


def test_a_refusal_is_recorded_with_the_call_and_not_asked_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        model = Slow(error=Refused("no"))
        for _ in range(2):
            (outcome,) = await asked(model, tmp_path, asking(1))
            assert isinstance(outcome, Refused)
        assert model.asked == 1

    asyncio.run(scenario())


def test_a_deadline_is_kept_and_the_call_may_be_made_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        model = Slow()
        model.gate.clear()
        accounted = AccountedLLM(model, tmp_path)
        late = Request.of("Count.", sampling=Sampling(seed=1), timeout_s=0.02)
        with pytest.raises(DeadlinePassed):
            await accounted.complete(late)
        model.gate.set()
        await asyncio.sleep(0.02)
        assert model.running == 0
        assert (await accounted.complete(Request.of("Count.", sampling=Sampling(seed=1)))).text == TEN
        assert model.asked == 2
        await accounted.aclose()

    asyncio.run(scenario())
    assert costs_in(tmp_path / FILE)[""].errors == {"deadline passed": 1}


@pytest.mark.parametrize("seed", range(5))
def test_after_a_kill_at_any_moment_what_was_spent_is_known_and_never_too_little(
    seed: int, tmp_path: Path
) -> None:
    """Cuts both files where a kill could have: the recording of an answer comes before its end in the log."""

    async def scenario() -> None:
        one = await used_by_one(tmp_path / "one")
        await asked(
            Slow(),
            tmp_path / "whole",
            *(asking(number) for number in range(1, 9)),
            within=limits(run=99 * one),
        )
        rng = random.Random(seed)
        recorded = (tmp_path / "whole" / RECORDING).read_bytes().splitlines(keepends=True)
        log = (tmp_path / "whole" / FILE).read_bytes().splitlines(keepends=True)
        kept = rng.randrange(len(log) + 1)
        ended = sum(json.loads(line)["type"] == "ended" for line in log[:kept])
        begun = kept - ended
        answers = rng.randint(ended, begun)
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / RECORDING).write_bytes(b"".join(recorded[: 1 + answers]))
        torn = log[kept][: rng.randrange(len(log[kept]))] if kept < len(log) else b""
        (broken / FILE).write_bytes(b"".join(log[:kept]) + torn)
        model = Slow()
        accounted = AccountedLLM(model, broken, limits(run=99 * one))
        assert accounted.spent().tokens >= begun * one, f"seed {seed}"
        assert accounted.spent().tokens == begun * one, f"seed {seed}: all use what they may"
        for number in range(1, 9):
            await accounted.complete(asking(number))
        assert model.asked == 8 - answers, f"seed {seed}: only what has no answer is asked"
        spent = accounted.spent().tokens
        await accounted.aclose()
        assert AccountedLLM(model, broken, limits(run=99 * one)).spent().tokens == spent
        costs_in(broken / FILE)

    asyncio.run(scenario())


def test_money_is_reserved_and_charged_by_the_price(tmp_path: Path) -> None:
    price = Price(prompt_usd=0.0, completion_usd=100_000.0)

    async def scenario() -> None:
        model = Slow(price=price)
        accounted = AccountedLLM(model, tmp_path, Bounds(BudgetLimits(Ceiling(usd=3.5)), price))
        outcomes = await asyncio.gather(
            *(accounted.complete(asking(number)) for number in range(1, 7)), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, BudgetExceeded)]
        assert len(refused) == 3
        assert {error.unit for error in refused} == {"usd"}
        assert accounted.spent().usd == pytest.approx(3.0)
        await accounted.aclose()

    asyncio.run(scenario())
    assert costs_in(tmp_path / FILE)["worker"].money_usd == pytest.approx(3.0)


def test_what_waits_in_the_queue_when_the_trial_is_ended_was_not_paid_for(tmp_path: Path) -> None:
    async def scenario() -> int:
        model = Slow()
        model.gate.clear()
        accounted = AccountedLLM(model, tmp_path, Bounds(serving=ServingLimits(running_requests=2)))
        waiting = [asyncio.ensure_future(accounted.complete(asking(number))) for number in range(1, 51)]
        await asyncio.sleep(0.05)
        await accounted.aclose()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert model.asked == 2
        return accounted.spent().tokens

    spent = asyncio.run(scenario())
    costs = costs_in(tmp_path / FILE)["worker"]
    assert (costs.asked, costs.errors) == (2, {"lost": 2})
    assert spent == costs.charged_tokens > 0
    assert AccountedLLM(Slow(), tmp_path, limits(run=100_000)).spent().tokens == spent


def test_a_ledger_that_is_spoilt_is_told_with_its_line(tmp_path: Path) -> None:
    log = CallLog(tmp_path / FILE)
    log.close()
    (tmp_path / FILE).write_text('{"type": "asked", "key": "k", "agent": "a", "role": "r"}\nnonsense\n')
    with pytest.raises(Exception, match=r"calls\.jsonl:2: .*--fresh"):
        list(lines_of(tmp_path / FILE))

"""The seat at `context.llm`: who asks is filled in, outcomes are journaled, errors arrive as what they were."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import Agent, Context, JournalSettings, Message, Plan, Role, Swarm
from actors.llm_seat import LLMSeats
from actors.replay import replay_run
from inference.completion import Completion
from inference.errors import (
    BadRequest,
    BudgetExceeded,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    LLMError,
    RateLimited,
)
from inference.llm import BaseLLM
from inference.request import Caller, Request, Sampling, request_hash
from inference.scripted import ScriptedLLM


class Noting(BaseLLM):
    """A scripted model that keeps what it was asked, and raises what it is told to."""

    def __init__(self, error: LLMError | None = None) -> None:
        self.asked: list[Request] = []
        self.error = error
        self.model = ScriptedLLM(lambda request, rng: f"{request.messages[-1].text} {rng.random()}")

    @property
    def identity(self) -> str:
        return "noting"

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return await self.model.complete(request)


class Unreachable(Noting):
    """Must not be asked."""

    async def complete(self, request: Request) -> Completion:
        raise AssertionError("a replay asked the model")


class Speaker(Agent):
    """Says what its model says, twice; tells errors."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature
        self.said: list[Any] = []

    async def on_message(self, message: Message, context: Context) -> None:
        try:
            for number in range(2):
                sampling = Sampling(temperature=self.temperature)
                completion = await context.llm.complete(Request.of(f"Speak {number}.", sampling=sampling))
                self.said.append(completion.text)
                self.said.append(completion)
        except LLMError as error:
            context.reply([type(error).__name__, error.definite, error.__dict__.get("wait_s"), str(error)])
            return
        count = await context.llm.count_tokens("How long is this?")
        pieces = [delta.text async for delta in context.llm.stream(Request.of("Stream."))]
        context.reply([*self.said[::2], count.tokens, pieces[:-1]])


def plan(model: BaseLLM, **options: Any) -> Plan:
    return Plan(
        roles={"speaker": Role(Speaker, 4, options.pop("parameters", {}))},
        seats={"llm": LLMSeats(model)},
        run_id="r1",
        **options,
    )


async def heard(plan: Plan) -> tuple[list[Any], str]:
    async with Swarm.local(plan) as swarm:
        answers = [(await swarm.ask(f"speaker/{number}", "go")).data for number in range(4)]
        return answers, (await swarm.run()).fingerprint


def test_who_asks_is_filled_in_and_every_call_has_a_seed_of_its_own() -> None:
    model = Noting()
    asyncio.run(heard(plan(model, seed=3)))
    callers = {request.caller for request in model.asked}
    assert Caller("speaker/2", "speaker", "r1") in callers
    assert len(callers) == 4
    seeds = [request.sampling.seed for request in model.asked]
    assert None not in seeds
    assert len(set(seeds)) == len(seeds) == 12


@pytest.mark.parametrize("schedule", ["rounds", "free"])
@pytest.mark.parametrize("cells", [1, 3])
def test_the_same_run_asks_the_same_requests_on_any_number_of_cells(schedule: Any, cells: int) -> None:
    models = Noting(), Noting()
    first, print_first = asyncio.run(heard(plan(models[0], schedule="rounds")))
    other, print_other = asyncio.run(heard(plan(models[1], schedule=schedule, cells=cells)))
    assert first == other
    hashes = [sorted(request_hash(request, "m") for request in model.asked) for model in models]
    assert hashes[0] == hashes[1]
    if schedule == "rounds":
        # The agents keep whole completions: they hold no times.
        assert print_first == print_other


def test_another_seed_of_the_run_asks_other_requests() -> None:
    models = Noting(), Noting()
    first, _ = asyncio.run(heard(plan(models[0], seed=1)))
    other, _ = asyncio.run(heard(plan(models[1], seed=2)))
    assert first != other


def test_a_greedy_request_gets_no_seed_and_one_with_a_seed_keeps_it() -> None:
    model = Noting()
    asyncio.run(heard(plan(model, parameters={"temperature": 0.0})))
    assert {request.sampling.seed for request in model.asked if request.sampling.temperature == 0} == {None}

    class Seeded(Agent):
        async def on_message(self, message: Message, context: Context) -> None:
            await context.llm.complete(Request.of("x", sampling=Sampling(seed=7), caller=Caller(priority=2)))

    async def once() -> None:
        seats = {"llm": LLMSeats(model)}
        async with Swarm.local(Plan(roles={"one": Role(Seeded)}, seats=seats)) as swarm:
            await swarm.send("one", "go")
            await swarm.run()

    asyncio.run(once())
    assert model.asked[-1].sampling.seed == 7
    assert model.asked[-1].caller == Caller("one", "one", "run", priority=2)


@pytest.mark.parametrize("schedule", ["rounds", "free"])
def test_a_replay_asks_no_model(schedule: Any, tmp_path: Path) -> None:
    journal = JournalSettings(tmp_path / "journal")
    _, fingerprint = asyncio.run(heard(plan(Noting(), schedule=schedule, journal=journal, cells=2)))
    replayed = plan(Unreachable(), schedule=schedule, journal=journal, cells=2)
    report = asyncio.run(replay_run(tmp_path / "journal", replayed))
    assert report.turns == 4
    assert report.fingerprint == fingerprint


@pytest.mark.parametrize(
    "make",
    [
        lambda: BadRequest("no such tool"),
        lambda: RateLimited("slowly", wait_s=2.5),
        lambda: ContextTooLong("too long", prompt_tokens=9, limit_tokens=8),
        lambda: DeadlinePassed("late"),
        lambda: DeadlinePassed("never sent", definite=True),
        lambda: EngineDead("dead"),
        lambda: BudgetExceeded("the agent a may spend 1 tokens", account="agent", final=False),
        lambda: LLMError("of no known kind", definite=False),
    ],
)
def test_errors_arrive_as_what_they_were(make: Callable[[], LLMError], tmp_path: Path) -> None:
    error = make()
    journal = JournalSettings(tmp_path / "journal")
    answers, _ = asyncio.run(heard(plan(Noting(error), journal=journal)))
    name, definite, wait_s, text = answers[0]
    if type(error) is not LLMError:
        assert name == type(error).__name__
        assert text == str(error)
    assert definite is error.definite
    assert wait_s == getattr(error, "wait_s", None)
    asyncio.run(replay_run(tmp_path / "journal", plan(Unreachable(), journal=journal)))


def test_only_the_runs_own_spent_budget_is_counted_as_its_end() -> None:
    async def counts(error: BudgetExceeded) -> dict[str, int]:
        async with Swarm.local(plan(Noting(error))) as swarm:
            await swarm.send("speaker/0", "go")
            return (await swarm.run()).counts

    spent = asyncio.run(counts(BudgetExceeded("spent", account="run", unit="usd")))
    assert spent["model budget spent: usd"] == 1
    for error in (BudgetExceeded("held", final=False), BudgetExceeded("role", account="role")):
        assert not any("budget" in name for name in asyncio.run(counts(error)))

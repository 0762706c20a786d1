"""The benchmark of inference, without an engine: what both sides are asked, and how it is counted."""

import asyncio

import pytest
from typer.testing import CliRunner

from benchmarks.inference import app, do
from benchmarks.inference_work import Done, Work, run
from inference import Rule, ScriptedLLM


def test_both_sides_are_asked_the_same_by_every_caller() -> None:
    asked: list[tuple[int, str, str]] = []
    at_once = most = 0

    async def ask(number: int, system: str, user: str) -> tuple[str, int, int]:
        nonlocal at_once, most
        asked.append((number, system, user))
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return "abc", 3, 1

    work = Work(callers=4, requests=20, first=100, persona_times=2)
    done = asyncio.run(run(work, ask))
    assert most == 4
    assert sorted(number for number, _, _ in asked) == list(range(100, 120))
    assert (done.tokens, done.cached) == (60, 20)
    assert done.texts == sum(294 * (number + 1) for number in range(100, 120))
    assert len({system for _, system, _ in asked}) == 1
    assert len({user for _, _, user in asked}) == 20
    assert Done(2.0, 60, 0, 0).tokens_per_second == 30
    assert Work(**work.plain()) == work


def test_personas_are_shared_or_each_requests_own() -> None:
    own = Work(1, 2, persona_times=3, shared=False)
    assert own.prompt(1)[0] != own.prompt(2)[0]
    assert own.prompt(1)[0].endswith(Work(1, 2, persona_times=3).prompt(1)[0])


def test_a_model_is_asked_with_the_works_seeds() -> None:
    model = ScriptedLLM(lambda request, rng: f"{request.sampling.seed} {rng.random()}")
    first, again = (asyncio.run(do(model, Work(4, 8, first=5))) for _ in range(2))
    assert (first.tokens, first.texts) == (again.tokens, again.texts)
    assert asyncio.run(do(model, Work(4, 8, first=6))).texts != first.texts
    assert asyncio.run(do(ScriptedLLM([Rule("motion 3", "yes")]), Work(1, 1, first=3))).tokens == 1


@pytest.mark.parametrize("callers", ["2", "", "64,3", "many"])
def test_other_numbers_of_callers_are_refused(callers: str) -> None:
    told = CliRunner().invoke(app, ["--callers", callers])
    assert told.exit_code == 2
    assert "1, 16, 64, 256" in told.output

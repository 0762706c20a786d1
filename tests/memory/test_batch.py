"""Questions in batches: each is answered as it would be alone, to the last bit; and how requests are gathered."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memory.batch import Batcher
from memory.errors import InvalidItem, MemoryFault, Overloaded
from memory.item import Draft, Kind
from memory.memory import Memory
from memory.scope import Scope
from memory.settings import MemorySettings
from memory.view import Ask

SWARM = Scope("t", swarm="s")
AGENTS = [Scope("t", swarm="s", role=role, agent=f"{role}/{at}") for role in ("a", "b") for at in range(3)]
WORDS = "dock north opens ship crane rope tide Ada Bo 1999 six may harbour late bidder price".split()  # noqa: SIM905 (shorter)


def draft(rng: random.Random, number: int) -> Draft:
    text = " ".join(rng.choices(WORDS, k=rng.randint(1, 9)))
    speaker = rng.choice(["", "Ada: ", "Note: "])
    return Draft(
        rng.choice([SWARM, Scope("t"), *AGENTS]), f"{speaker}{text} {number}", rng.choice(list(Kind)),
        session=rng.choice(["", "one", "two"]), turn=number, speaker=rng.choice(["", "Bo"]),
        valid_from=rng.choice([None, 1e9 + number]),
    )  # fmt: skip


def question(rng: random.Random) -> Ask:
    text = " ".join(rng.choices([*WORDS, "when", "did", "how", "many"], k=rng.randint(1, 7)))
    return Ask(
        rng.choice([text, text, text, "", "?"]), rng.choice([SWARM, *AGENTS]), rng.choice([1, 3, 10, 100, 0]),
        rng.choice([None, None, frozenset([Kind.FACT, Kind.NOTE])]), rng.choice([None, None, 1e9 + 40]),
        rng.choice([None, None, (SWARM,), (Scope("t"), AGENTS[0])]),
    )  # fmt: skip


def alone(memory: Memory, ask: Ask) -> Any:
    try:
        return memory.recall(
            ask.text, scope=ask.scope, k=ask.k, kinds=ask.kinds, valid_at=ask.valid_at, within=ask.within
        )
    except MemoryFault as error:
        return str(error)


@pytest.mark.parametrize(
    "settings",
    [
        MemorySettings(),
        MemorySettings(candidates=20),  # all but the smallest are too large to rank whole
        MemorySettings(text_items=1),  # no room for views
    ],
)
def test_each_question_of_a_batch_is_answered_as_it_would_be_alone(
    settings: MemorySettings, tmp_path: Path
) -> None:
    rng = random.Random(7)
    with (
        Memory.open(tmp_path / "one", settings=settings, clock=lambda: 2e9) as memory,
        Memory.open(tmp_path / "two", settings=settings, clock=lambda: 2e9) as other,
    ):
        for turn in range(6):
            drafts = [draft(rng, 100 * turn + number) for number in range(60)]
            for each in drafts:
                writer = each.scope if each.scope.agent else AGENTS[0]
                assert (
                    memory.remember_all([each], scope=writer)[0].id
                    == other.remember_all([each], scope=writer)[0].id
                )
            asks = [question(rng) for _ in range(40)]
            together = memory.recall_all(asks)
            for ask, answer in zip(asks, together, strict=True):
                given = str(answer) if isinstance(answer, Exception) else answer
                assert given == alone(memory, ask), (turn, ask)
                assert given == alone(other, ask), "what was asked before makes no difference either"


def test_a_batch_of_questions_with_a_wrong_one_answers_the_others(tmp_path: Path) -> None:
    with Memory.open(tmp_path) as memory:
        memory.remember("the dock opens at six", scope=SWARM)
        found = memory.recall_all([Ask("", SWARM), Ask("dock", SWARM), Ask("dock", SWARM, 0), Ask("x", "t")])  # type: ignore[arg-type]  # no scope at all
        assert [isinstance(each, MemoryFault) for each in found] == [True, False, True, True]
        assert found[1][0].item.text == "the dock opens at six"


def test_requests_that_come_together_leave_together_and_each_hears_its_own() -> None:
    sizes: list[int] = []

    async def call(requests: Sequence[int]) -> list[Any]:
        sizes.append(len(requests))
        await asyncio.sleep(0)
        return [InvalidItem(str(each)) if each == 13 else each * 2 for each in requests]

    async def run() -> None:
        batcher: Batcher[int] = Batcher(call, most=8, in_flight=2)
        answers = await asyncio.gather(*(batcher.ask(each) for each in range(40)), return_exceptions=True)
        assert [each for at, each in enumerate(answers) if at != 13] == [
            2 * at for at in range(40) if at != 13
        ]
        assert isinstance(answers[13], InvalidItem)
        assert sizes == [8] * 5

    asyncio.run(run())


def test_a_call_that_fails_fails_all_that_went_with_it_and_too_many_are_refused() -> None:
    async def call(_: Sequence[int]) -> list[Any]:
        raise OSError("gone")

    async def run() -> None:
        batcher: Batcher[int] = Batcher(call, most=4, in_flight=1, waiting=3)
        answers = await asyncio.gather(*(batcher.ask(each) for each in range(5)), return_exceptions=True)
        assert [type(each) for each in answers] == [OSError] * 3 + [Overloaded] * 2

    asyncio.run(run())

"""A pool of replicas in virtual time: sticky, evenly loaded, and calm when a replica dies, hangs or comes back."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from random import Random
from typing import Any

import pytest

from inference.clock import VirtualClock
from inference.completion import Completion, Delta
from inference.errors import ConfigurationError, EngineDead, RateLimited
from inference.limited import LimitedLLM
from inference.llm import BaseLLM
from inference.pool import PoolSettings, ReplicaPool
from inference.request import Caller, Request, Sampling
from inference.scripted import Rule, ScriptedLLM
from tests.inference.conformance import check_model, pieces

RULES = [Rule("", "one two three four five")]


class Replica(ScriptedLLM):
    """A scripted model that takes time, in a process that can be killed, hang, and start again."""

    def __init__(self, clock: VirtualClock, seconds: float = 1.0) -> None:
        super().__init__(RULES, first_token_s=seconds, clock=clock)
        self.clock = clock
        self.alive = True
        self.hangs = False
        self.definite = False
        self.asked: list[str] = []
        self.closed = False

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.messages[-1].text)
        self._check()
        completion = await super().complete(request)
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        self._check()
        return completion

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.asked.append(request.messages[-1].text)
        self._check()
        async with aclosing(super().stream(request)) as stream:
            async for delta in stream:
                yield delta
                self._check()

    async def health(self) -> None:
        self._check()
        if self.hangs:
            await asyncio.get_running_loop().create_future()

    async def aclose(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if not self.alive:
            raise EngineDead("the process is dead", definite=self.definite)


class Stage:
    def __init__(self, count: int = 3, *, checked: bool = True, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.replicas = {f"r{number}": Replica(self.clock) for number in range(count)}
        health = {name: replica.health for name, replica in self.replicas.items()} if checked else {}
        self.pool = ReplicaPool(self.replicas, PoolSettings(**settings), health=health, clock=self.clock)

    def where(self, text: str) -> list[str]:
        """Which replicas were asked something."""
        return [name for name, replica in self.replicas.items() if text in replica.asked]


def run(test: Callable[[Stage], Awaitable[None]], count: int = 3, **options: Any) -> None:
    """Runs a test; at the end nothing is under way."""

    async def main() -> None:
        stage = Stage(count, **options)
        await test(stage)
        assert set(stage.pool.loads.values()) <= {0.0}
        assert not any(replica.calls for replica in stage.pool._replicas.values())
        await stage.pool.aclose()
        assert all(replica.closed for replica in stage.replicas.values())

    asyncio.run(main())


def asked(text: str, persona: str = "", conversation: str = "") -> Request:
    caller = Caller(conversation=conversation)
    return Request.of(text, system=persona, caller=caller, sampling=Sampling(max_tokens=100, seed=1))


async def outcomes(model: BaseLLM, *requests: Request) -> list[Any]:
    return await asyncio.gather(*map(model.complete, requests), return_exceptions=True)


def test_a_pool_keeps_to_what_all_models_keep_to() -> None:
    async def main() -> None:
        async with ReplicaPool({"a": ScriptedLLM(RULES), "b": ScriptedLLM(RULES)}) as pool:
            await check_model(pool)

    asyncio.run(main())


# --- Where requests go ----------------------------------------------------------------------------------------


def test_a_persona_and_a_conversation_stay_where_they_are_cached() -> None:
    async def test(stage: Stage) -> None:
        for number in range(4):
            for persona in ("judge", "poet", "baker"):
                await stage.pool.complete(asked(f"{persona} {number}", persona))
            await stage.pool.complete(asked(f"talk {number}", "poet" if number else "judge", "c/1"))
        for persona in ("judge", "poet", "baker"):
            homes = {tuple(stage.where(f"{persona} {number}")) for number in range(4)}
            assert len(homes) == 1
        assert len({tuple(stage.where(f"talk {number}")) for number in range(4)}) == 1
        assert len({tuple(stage.where(f"{persona} 0")) for persona in ("judge", "poet", "baker")}) == 3

    run(test)


def test_requests_without_a_beginning_are_spread_evenly() -> None:
    async def test(stage: Stage) -> None:
        await outcomes(stage.pool, *(asked(f"q{number}") for number in range(30)))
        assert [len(replica.asked) for replica in stage.replicas.values()] == [10, 10, 10]

    run(test)


def test_a_replica_that_is_added_gets_its_share_and_one_that_is_drained_nothing_more() -> None:
    async def test(stage: Stage) -> None:
        running = asyncio.ensure_future(outcomes(stage.pool, *(asked(f"early {n}") for n in range(9))))
        await stage.clock.sleep(0.5)
        stage.replicas["r9"] = Replica(stage.clock)
        stage.pool.add("r9", stage.replicas["r9"])
        drained = asyncio.ensure_future(stage.pool.drain("r0"))
        await asyncio.sleep(0)
        late = await outcomes(stage.pool, *(asked(f"late {n}") for n in range(9)))
        assert all(isinstance(outcome, Completion) for outcome in late + await running)
        await drained
        assert stage.replicas["r0"].closed
        assert len(stage.replicas["r9"].asked) >= 3
        assert not any("late" in text for text in stage.replicas["r0"].asked)
        assert "r0" not in stage.pool.replicas

    run(test)


def test_a_drain_that_takes_too_long_ends_what_runs() -> None:
    async def test(stage: Stage) -> None:
        stage.replicas["r0"].hangs = True
        task = asyncio.ensure_future(stage.pool.complete(asked("x")))
        await stage.clock.sleep(0.1)
        await stage.pool.drain("r0", timeout_s=2.0)
        with pytest.raises(EngineDead, match="no living replica"):
            await task

    run(test, count=1, checked=False, again=True)


def test_replicas_of_another_model_and_of_one_name_are_refused() -> None:
    async def test(stage: Stage) -> None:
        with pytest.raises(ConfigurationError, match="pool of its own"):
            stage.pool.add("other", ScriptedLLM([Rule("", "else")]))
        with pytest.raises(ConfigurationError, match="there already"):
            stage.pool.add("r0", Replica(stage.clock))
        with pytest.raises(ConfigurationError, match="no replica r7"):
            await stage.pool.drain("r7")
        with pytest.raises(ConfigurationError, match="moves"):
            PoolSettings(moves=-1)
        with pytest.raises(ConfigurationError, match="at least one"):
            ReplicaPool({})

    run(test)


# --- Death ----------------------------------------------------------------------------------------------------


def test_what_a_dead_replica_definitely_never_had_moves() -> None:
    async def test(stage: Stage) -> None:
        stage.replicas["r0"].alive = False
        stage.replicas["r0"].definite = True
        done = await outcomes(stage.pool, *(asked(f"q{number}") for number in range(6)))
        assert all(isinstance(outcome, Completion) for outcome in done)
        assert stage.pool.replicas == {"r0": False, "r1": True, "r2": True}

    run(test)


@pytest.mark.parametrize("again", [False, True])
def test_what_may_have_been_computed_moves_only_if_that_costs_nothing(again: bool) -> None:
    async def test(stage: Stage) -> None:
        running = asyncio.ensure_future(outcomes(stage.pool, *(asked(f"q{number}") for number in range(6))))
        await stage.clock.sleep(0.5)
        stage.replicas["r0"].alive = False  # killed in mid-request
        done = await running
        died = [outcome for outcome in done if isinstance(outcome, EngineDead)]
        assert len(died) == (0 if again else 2)
        assert not any(error.definite for error in died)
        assert all(len(stage.where(f"q{number}")) <= 2 for number in range(6))

    run(test, again=again)


def test_a_replica_that_hangs_is_found_by_its_check_and_its_requests_move() -> None:
    async def test(stage: Stage) -> None:
        stage.replicas["r0"].hangs = True
        done = await outcomes(stage.pool, *(asked(f"q{number}") for number in range(6)))
        assert all(isinstance(outcome, Completion) for outcome in done)
        assert stage.clock.now() < 5 + 10 + 2
        assert stage.pool.replicas["r0"] is False

    run(test, again=True)


def test_a_replica_that_comes_back_is_taken_up_again() -> None:
    async def test(stage: Stage) -> None:
        stage.replicas["r0"].alive = False
        await outcomes(stage.pool, *(asked(f"q{number}") for number in range(6)))
        stage.replicas["r0"].alive = True
        asked_before = len(stage.replicas["r0"].asked)
        await stage.clock.sleep(6)
        assert stage.pool.replicas["r0"] is True
        await outcomes(stage.pool, *(asked(f"later {number}") for number in range(6)))
        assert len(stage.replicas["r0"].asked) == asked_before + 2

    run(test)


def test_a_replica_without_a_check_rests_and_is_tried_again() -> None:
    async def test(stage: Stage) -> None:
        stage.replicas["r0"].alive = False
        await outcomes(stage.pool, *(asked(f"q{number}") for number in range(6)))
        assert stage.pool.replicas["r0"] is False
        asked_before = len(stage.replicas["r0"].asked)
        await outcomes(stage.pool, *(asked(f"soon {number}") for number in range(6)))
        assert len(stage.replicas["r0"].asked) == asked_before
        stage.replicas["r0"].alive = True
        await stage.clock.sleep(11)
        done = await outcomes(stage.pool, *(asked(f"later {number}") for number in range(6)))
        assert all(isinstance(outcome, Completion) for outcome in done)
        assert len(stage.replicas["r0"].asked) > asked_before

    run(test, checked=False)


def test_an_engine_that_fails_one_request_and_passes_its_check_lives_on() -> None:
    class Picky(Replica):
        async def complete(self, request: Request) -> Completion:
            if "poison" in request.messages[-1].text:
                raise EngineDead("500")
            return await super().complete(request)

    async def main() -> None:
        clock = VirtualClock()
        replicas = {f"r{number}": Picky(clock) for number in range(2)}
        health = {name: replica.health for name, replica in replicas.items()}
        async with ReplicaPool(replicas, health=health, clock=clock) as pool:
            with pytest.raises(EngineDead):
                await pool.complete(asked("poison"))
            assert pool.replicas == {"r0": True, "r1": True}

    asyncio.run(main())


def test_a_request_that_kills_engines_kills_few() -> None:
    class Killed(Replica):
        async def complete(self, request: Request) -> Completion:
            self.alive = False
            return await super().complete(request)

    async def main() -> None:
        clock = VirtualClock()
        replicas = {f"r{number}": Killed(clock) for number in range(9)}
        async with ReplicaPool(replicas, PoolSettings(again=True), clock=clock) as pool:
            with pytest.raises(EngineDead):
                await pool.complete(asked("poison"))
            assert sum(pool.replicas.values()) == 6

    asyncio.run(main())


def test_all_dead_is_told_definitely_and_who_limits_waits_for_one_to_come_back() -> None:
    async def test(stage: Stage) -> None:
        for replica in stage.replicas.values():
            replica.alive = False
            replica.definite = True
        await outcomes(stage.pool, asked("a"))
        with pytest.raises(EngineDead, match="no living replica; there are: r0, r1, r2") as caught:
            await stage.pool.complete(asked("b"))
        assert caught.value.definite
        limited = LimitedLLM(stage.pool, clock=stage.clock)
        waiting = asyncio.ensure_future(limited.complete(asked("c")))
        await stage.clock.sleep(3)
        stage.replicas["r1"].alive = True
        assert isinstance(await waiting, Completion)
        assert stage.where("c") == ["r1"]

    run(test)


def test_an_error_that_is_not_a_death_is_the_callers() -> None:
    class Busy(Replica):
        async def complete(self, request: Request) -> Completion:
            raise RateLimited("slow down", wait_s=3.0)

    async def main() -> None:
        clock = VirtualClock()
        async with ReplicaPool({"a": Busy(clock), "b": Busy(clock)}, clock=clock) as pool:
            with pytest.raises(RateLimited):
                await pool.complete(asked("x"))
            assert pool.replicas == {"a": True, "b": True}

    asyncio.run(main())


# --- Streams and leaving --------------------------------------------------------------------------------------


def test_a_stream_moves_before_its_first_piece_and_breaks_after_it() -> None:
    async def test(stage: Stage) -> None:
        stage.replicas["r0"].alive = False
        stage.replicas["r0"].definite = True
        deltas = await pieces(stage.pool, asked("first"))
        assert deltas[-1].completion is not None
        assert len(stage.where("first")) == 2
        async with aclosing(stage.pool.stream(asked("second"))) as stream:
            await anext(stream)
            for name in stage.where("second"):
                stage.replicas[name].alive = False
            with pytest.raises(EngineDead):
                await anext(stream)

    run(test, again=True)


def test_callers_that_leave_in_any_moment_leave_nothing_behind() -> None:
    async def test(stage: Stage) -> None:
        for turns in range(0, 60, 2):
            tasks = [asyncio.ensure_future(stage.pool.complete(asked(f"q{n}"))) for n in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert set(stage.pool.loads.values()) == {0.0}, f"after {turns} turns"

    run(test)


@pytest.mark.parametrize("seed", range(5))
def test_while_replicas_come_and_go_every_request_has_one_answer_or_one_error(seed: int) -> None:
    async def test(stage: Stage) -> None:
        rng = Random(seed)
        tasks = []
        for number in range(120):
            tasks.append(asyncio.ensure_future(stage.pool.complete(asked(f"q{number}", f"p{number % 7}"))))
            replica = rng.choice(list(stage.replicas.values()))
            replica.alive = rng.random() > 0.1
            replica.definite = rng.random() < 0.5
            replica.hangs = rng.random() < 0.05
            await stage.clock.sleep(rng.random())
        for replica in stage.replicas.values():
            replica.alive, replica.hangs = True, False
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, Completion | EngineDead) for outcome in done), f"seed {seed}"
        assert sum(isinstance(outcome, Completion) for outcome in done) > 20, f"seed {seed}"
        await stage.clock.sleep(20)
        assert all(stage.pool.replicas.values()), f"seed {seed}"
        assert isinstance(await stage.pool.complete(asked("last")), Completion)

    run(test, again=True)

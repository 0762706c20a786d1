"""A memory over Ray actors: what holds in one process holds over several, killed and moved."""

import asyncio
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from memory.errors import Conflict, InvalidItem, NotAllowed, UnknownItem
from memory.item import Draft, Kind
from memory.ray_memory import RayMemory, start_memory
from memory.scope import Scope
from tests.actors.ray_here import RAY_OPTIONS
from tests.memory.embedding import TinyEmbedder
from tests.memory.seats import use_all_of

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray")

AGENTS = [Scope("t", swarm="s", agent=f"a{number}") for number in range(16)]
SWARM = Scope("t", swarm="s")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayMemory]:
    """A memory of two shards, the first with a follower."""
    ray.init(address="local", log_to_driver=False, **RAY_OPTIONS)
    memory = start_memory(
        tmp_path_factory.mktemp("memory"), shards=2, followers=1, make_embedder=TinyEmbedder, num_cpus=0.1
    )
    try:
        yield memory
    finally:
        ray.shutdown()


def fresh(memory: RayMemory) -> RayMemory:
    """The same memory, as another process would have it: for a loop of its own."""
    copied: RayMemory = pickle.loads(pickle.dumps(memory))  # noqa: S301 (our own bytes)
    return copied


def test_many_agents_at_once_each_find_their_own_and_the_shared(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        seats = [memory.seat(scope) for scope in AGENTS]
        await seats[0].remember("the dock opens at six", into=SWARM)
        await asyncio.gather(*(seat.remember(f"secret of {seat.scope.agent}") for seat in seats))
        found = await asyncio.gather(*(seat.recall("secret dock", k=5) for seat in seats for _ in range(4)))
        for at, ranked in enumerate(found):
            wanted = {f"secret of {seats[at // 4].scope.agent}", "the dock opens at six"}
            assert {each.item.text for each in ranked} == wanted
            assert all(each.score == pytest.approx(sum(each.parts.values())) for each in ranked)
        with pytest.raises(InvalidItem):
            await seats[0].recall("")

    asyncio.run(run())


def test_errors_come_as_what_they_are_and_ids_of_others_stay_unknown(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        ann, ben = memory.seat(AGENTS[0]), memory.seat(AGENTS[1])
        made = await ann.remember("ann alone", key="k9")
        assert await ann.remember("ann alone", key="k9") == made
        with pytest.raises(Conflict):
            await ann.remember("another", key="k9")
        for call in (
            ben.get(made.id),
            ben.forget(made.id),
            ben.correct(made.id, "x"),
            ben.share(made.id, SWARM),
        ):
            with pytest.raises(UnknownItem):
                await call
        with pytest.raises(UnknownItem):
            await ben.remember("made of it", derived_from=(made.id,))
        with pytest.raises(NotAllowed):
            await ben.remember("planted", into=AGENTS[0])
        new = await ann.correct(made.id, "ann better")
        assert (await ann.get(made.id)).superseded_by == new.id
        when = (await ann.get(made.id)).recorded_at
        assert "ann alone" in {each.item.text for each in await ann.as_of(when, "ann", k=100)}
        assert (await memory.explain(new.id, "ann", scope=AGENTS[0])).versions[0].id == made.id

    asyncio.run(run())


def test_a_seat_offers_all_that_an_agent_may_do(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        for one, other in ((9, 10), (11, 12), (13, 14)):  # on either shard
            await use_all_of(memory.seat(AGENTS[one]), memory.seat(AGENTS[other]), SWARM)

    asyncio.run(run())


def test_an_agent_is_woken_by_what_is_like_on_whichever_shard(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        for scope in (SWARM, AGENTS[5]):
            seat = memory.seat(AGENTS[5])
            waiting = asyncio.create_task(seat.next_like("rain at the dock", likeness=0.9, timeout_s=60))
            for number in range(600):  # until it listens: what is written before is not heard
                await memory.seat(AGENTS[6]).remember(f"rain at the dock {number}", into=AGENTS[6])
                await memory.seat(AGENTS[5]).remember(f"rain at the dock {number}", into=scope)
                if waiting.done():
                    break
                await asyncio.sleep(0.02)
            found = await waiting
            assert found is not None
            assert found.scope == scope
        assert await memory.seat(AGENTS[5]).next_like("snow", timeout_s=0.2) is None

    asyncio.run(run())


def test_a_purge_reaches_what_was_made_on_another_shard(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        there = [memory.seat(scope) for scope in AGENTS]
        seen = []
        for seat in there:
            root = await seat.remember("zebra root")
            copy = await seat.share(root.id, SWARM)
            other = there[(there.index(seat) + 3) % len(there)]
            note = await other.remember(f"zebra note on {copy.id}", derived_from=(copy.id,))
            seen.append((seat, root.id, copy.id, note.id, other))
            if copy.duplicate:
                continue
        seat, root_id, copy_id, _, _ = seen[0]
        gone = await memory.purge(root_id, scope=seat.scope)
        assert {root_id, copy_id, *(note for _, _, _, note, _ in seen)} <= set(gone)
        for _, _, _, note, other in seen:
            with pytest.raises(UnknownItem):
                await other.get(note)

    asyncio.run(run())


def test_scopes_move_between_actors_while_they_are_written(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        done: dict[str, list[str]] = {scope.agent: [] for scope in AGENTS}
        stop = asyncio.Event()

        async def write(scope: Scope) -> None:
            seat, count = memory.seat(scope), 0
            while not stop.is_set():
                count += 1
                await seat.remember(f"moving {count}", kind=Kind.FACT)
                done[scope.agent].append(f"moving {count}")
                found = await seat.recall("moving", k=1000, kinds=[Kind.FACT], within=[scope])
                assert len(found) == count

        tasks = [asyncio.create_task(write(scope)) for scope in AGENTS]
        for turn in range(4):
            await memory.move(AGENTS[turn % 3 :: 2], turn % 2)
        stop.set()
        await asyncio.gather(*tasks)
        for scope in AGENTS:
            found = await memory.seat(scope).recall("moving", k=1000, kinds=[Kind.FACT], within=[scope])
            assert sorted(each.item.text for each in found) == sorted(done[scope.agent])

    asyncio.run(run())


def test_an_actor_that_was_killed_comes_back_with_all_it_acknowledged(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        seats = [memory.seat(scope) for scope in AGENTS]
        kept: list[Any] = []
        for round_number in range(3):
            tasks = [seat.remember(f"kept {round_number}") for seat in seats]
            kept += [seat.scope for seat in seats]
            writing = asyncio.gather(*tasks)
            await asyncio.sleep(0)
            for shard in memory._shards:
                ray.kill(shard, no_restart=False)
            await writing
        for scope in AGENTS:
            found = await memory.seat(scope).recall("kept", k=1000, within=[scope])
            texts = [each.item.text for each in found if each.item.text.startswith("kept")]
            assert sorted(texts) == ["kept 0", "kept 1", "kept 2"]

    asyncio.run(run())


def test_a_directory_that_was_killed_comes_back_with_its_table(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        await memory.seat(AGENTS[3]).remember("before the directory died")
        await memory.move([AGENTS[3]], 1)
        ray.kill(memory._directory, no_restart=False)
        again = fresh(started)
        found = await again.seat(AGENTS[3]).recall("directory died", k=1)
        assert found[0].item.text == "before the directory died"
        assert again._owners[AGENTS[3].slot] == 1
        await again.move([AGENTS[3]], 0)
        assert (await again.seat(AGENTS[3]).recall("directory died", k=1))[0].item == found[0].item

    asyncio.run(run())


def test_a_replicated_write_is_answered_when_a_follower_has_it(started: RayMemory) -> None:
    async def run() -> None:
        memory = fresh(started)
        drafts = [Draft(scope, "on two disks") for scope in AGENTS]
        for draft in drafts:
            [receipt] = await memory.remember_all([draft], scope=draft.scope, replicated=True)
            assert not receipt.duplicate

    asyncio.run(run())

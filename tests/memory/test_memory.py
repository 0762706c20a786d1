"""`Memory` as its users see it."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.errors import (
    Conflict,
    InvalidItem,
    InvalidScope,
    NotAllowed,
    StoreClosed,
    UnknownItem,
    UnknownScope,
)
from memory.item import Draft, Kind
from memory.memory import Memory
from memory.scope import Scope
from memory.seat import LocalDoor, Seat
from memory.settings import MemorySettings
from tests.memory.embedding import TinyEmbedder
from tests.memory.seats import use_all_of

ANN = Scope("t", swarm="s", role="r", agent="ann")
BEN = Scope("t", swarm="s", role="r", agent="ben")
SWARM = Scope("t", swarm="s")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """An empty memory."""
    with Memory.open(tmp_path / "memory", TinyEmbedder()) as made:
        yield made


def texts(memory: Memory, text: str, scope: Scope, k: int = 10) -> list[str]:
    """What is recalled."""
    return [found.item.text for found in memory.recall(text, scope=scope, k=k)]


def test_what_is_remembered_is_recalled_with_its_reasons(memory: Memory) -> None:
    memory.remember("the north dock opens at six", scope=ANN)
    memory.remember("bidders pay in euro", scope=ANN)
    best, _ = memory.recall("dock opens", scope=ANN)
    assert best.item.text == "the north dock opens at six"
    assert best.score == pytest.approx(sum(best.parts.values()))
    assert best.parts["lexical"] > 0
    assert best.parts["dense"] > 0


def test_a_recall_gives_exactly_as_many_as_there_are(memory: Memory) -> None:
    for number in range(7):
        memory.remember(f"note {number}", scope=ANN)
    for k in (1, 6, 7, 8, 100):
        assert len(memory.recall("note", scope=ANN, k=k)) == min(k, 7)
    assert memory.recall("note", scope=BEN) == []


def test_an_agent_sees_its_own_and_the_shared_and_nobody_elses(memory: Memory) -> None:
    memory.remember("secret of ann", scope=ANN)
    memory.remember("known to all", scope=ANN, into=SWARM)
    assert set(texts(memory, "secret", ANN)) == {"secret of ann", "known to all"}
    assert texts(memory, "secret", BEN) == ["known to all"]
    assert texts(memory, "secret", Scope("other", swarm="s", agent="ann")) == []


def test_an_id_of_another_is_as_unknown_as_one_that_never_was(memory: Memory) -> None:
    mine = memory.remember("secret", scope=ANN).id
    never = 12345
    told = []
    for each in (mine, never):
        with pytest.raises(UnknownItem) as caught:
            memory.get(each, scope=BEN)
        told.append(str(caught.value).replace(str(each), "N"))
        for call in (memory.forget, memory.explain):
            with pytest.raises(UnknownItem):
                call(each, scope=BEN)
        with pytest.raises(UnknownItem):
            memory.correct(each, "mine now", scope=BEN)
        with pytest.raises(UnknownItem):
            memory.share(each, scope=BEN, into=SWARM)
        with pytest.raises(UnknownItem):
            memory.purge([each], scope=BEN)
        with pytest.raises(UnknownItem):
            memory.remember("made of it", scope=BEN, derived_from=(each,))
    assert told[0] == told[1]
    assert memory.get(mine, scope=ANN).text == "secret"


def test_nobody_writes_where_they_do_not_see(memory: Memory) -> None:
    with pytest.raises(NotAllowed):
        memory.remember("planted", scope=BEN, into=ANN)
    with pytest.raises(InvalidScope):
        memory.recall("anything", scope=None)  # type: ignore[arg-type]  # what a careless caller does
    assert len(memory) == 0


def test_the_same_said_by_64_at_once_is_one_row(memory: Memory) -> None:
    barrier = threading.Barrier(64)
    receipts = []

    def say(number: int) -> None:
        barrier.wait()
        scope = Scope("t", swarm="s", agent=f"a{number}")
        receipts.append(memory.remember("the sky is blue", scope=scope, into=SWARM, source=f"a{number}"))

    threads = [threading.Thread(target=say, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memory) == 1
    assert len({receipt.id for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1


def test_a_request_repeated_under_its_key_changes_nothing(memory: Memory) -> None:
    first = memory.remember("once", scope=ANN, key="k1")
    assert memory.remember("once", scope=ANN, key="k1") == first
    memory.forget(first.id, scope=ANN, key="k2")
    memory.forget(first.id, scope=ANN, key="k2")
    assert memory.remember("once", scope=ANN, key="k1") == first  # answered, not done again
    assert len(memory) == 0
    with pytest.raises(Conflict):
        memory.remember("another", scope=ANN, key="k1")
    assert memory.remember("another", scope=BEN, key="k1").duplicate is False  # keys are of who acts


def test_a_correction_supersedes_and_the_past_stays(memory: Memory) -> None:
    old = memory.remember("opens at six", scope=ANN, kind=Kind.FACT, session="s", turn=3)
    before = memory.get(old.id, scope=ANN).recorded_at
    new = memory.correct(old.id, "opens at seven", scope=ANN, trust=0.9)
    assert texts(memory, "opens", ANN) == ["opens at seven"]
    was, now = memory.get(old.id, scope=ANN), memory.get(new.id, scope=ANN)
    assert (was.superseded_by, was.retired_at) == (new.id, now.recorded_at)
    assert (now.kind, now.session, now.turn, now.trust) == (Kind.FACT, "s", 3, 0.9)
    assert [found.item.text for found in memory.as_of(before, "opens", scope=ANN)] == ["opens at six"]
    assert [item.id for item in memory.explain(new.id, scope=ANN).versions] == [old.id]
    with pytest.raises(Conflict, match=str(new.id)):
        memory.correct(old.id, "opens at eight", scope=ANN)


def test_of_two_who_correct_the_same_at_once_one_is_told(memory: Memory) -> None:
    old = memory.remember("opens at six", scope=ANN, into=SWARM).id
    outcomes: list[object] = []
    barrier = threading.Barrier(8)

    def correct(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(memory.correct(old, f"opens at {number}", scope=ANN).id)
        except Conflict as error:
            outcomes.append(error)

    threads = [threading.Thread(target=correct, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert len(texts(memory, "opens", ANN)) == 1


def test_a_correction_that_changes_nothing_or_too_much_is_refused(memory: Memory) -> None:
    old = memory.remember("opens at six", scope=ANN).id
    with pytest.raises(InvalidItem):
        memory.correct(old, scope=ANN)
    with pytest.raises(InvalidItem, match="importance"):
        memory.correct(old, "x", scope=ANN, scope_of="another")


def test_what_was_forgotten_is_in_no_past(memory: Memory) -> None:
    one = memory.remember("a word", scope=ANN).id
    when = memory.get(one, scope=ANN).recorded_at
    memory.forget(one, scope=ANN)
    assert memory.as_of(when, scope=ANN) == []
    assert texts(memory, "a word", ANN) == []
    again = memory.remember("a word", scope=ANN)
    assert not again.duplicate
    assert again.id != one


def test_a_purge_takes_versions_copies_and_what_was_made_of_it_off_the_disk(memory: Memory) -> None:
    first = memory.remember("zebrafish one", scope=ANN).id
    second = memory.correct(first, "zebrafish two", scope=ANN).id
    copy = memory.share(second, scope=ANN, into=SWARM).id
    summary = memory.remember("zebrafish summary", scope=BEN, derived_from=(copy,)).id
    kept = memory.remember("goldfish", scope=ANN).id
    assert sorted(memory.purge([second], scope=ANN)) == sorted([first, second, copy, summary])
    assert [item.id for item in memory.items(scope=ANN, retired=True)] == [kept]
    assert list(memory.items(scope=BEN, retired=True)) == []
    folder = memory.shard.store.folder
    left = b"".join(path.read_bytes() for path in folder.glob("memory.sqlite*"))
    assert b"goldfish" in left
    assert b"zebrafish" not in left
    assert memory.check().sound


def test_a_scope_is_purged_whole_and_only_it(memory: Memory) -> None:
    memory.remember_all([Draft(ANN, f"note {number}") for number in range(30)], scope=ANN)
    memory.remember("shared", scope=ANN, into=SWARM)
    with pytest.raises(NotAllowed):
        memory.purge(scope=ANN, within=SWARM)
    with pytest.raises(NotAllowed):
        memory.purge(scope=BEN, within=ANN)
    nobody = Scope("t", swarm="s", role="r", agent="nobody")
    with pytest.raises(UnknownScope, match="nothing was ever remembered"):
        memory.purge(scope=nobody, within=nobody)
    assert len(memory.purge(scope=ANN, within=ANN)) == 30
    assert memory.purge(scope=ANN, within=ANN) == []
    assert texts(memory, "note", ANN) == ["shared"]


def test_a_batch_is_written_whole_or_not_at_all(memory: Memory) -> None:
    with pytest.raises(UnknownItem):
        memory.remember_all([Draft(ANN, "good"), Draft(ANN, "bad", derived_from=(99,))], scope=ANN)
    assert len(memory) == 0
    assert memory.check().rows == 0


def test_a_batch_that_holds_what_is_known_gives_what_one_by_one_would(memory: Memory, tmp_path: Path) -> None:
    """Batches take a short way where all is new; with what is known, or twice in it, they must not differ."""
    rng = random.Random(8)
    with Memory.open(tmp_path / "other", TinyEmbedder()) as other:
        for turn in range(12):
            into = rng.choice([SWARM, Scope("t", swarm="s", agent="ann", role="r"), Scope("t")])
            fresh = [f"text {turn} {number}" for number in range(20)]
            said = fresh + rng.sample(fresh, turn % 3) + [f"text {rng.randrange(turn + 1)} 3"] * (turn % 2)
            many = memory.remember_all([Draft(into, text) for text in said], scope=ANN)
            single = [other.remember(text, scope=ANN, into=into) for text in said]
            assert [each.id for each in many] == [each.id for each in single], turn
            assert [each.duplicate for each in many] == [each.duplicate for each in single], turn
            assert len({each.sequence for each in many}) == 1
        assert memory.check().sound
        assert {item.text for item in memory.items(scope=ANN)} == {
            item.text for item in other.items(scope=ANN)
        }


def test_kinds_validity_and_scopes_narrow_a_recall(memory: Memory) -> None:
    memory.remember("rain in may", scope=ANN, kind=Kind.FACT, valid_from=100.0, valid_to=200.0)
    memory.remember("rain is wet", scope=ANN, kind=Kind.FACT)
    memory.remember("rain noted", scope=ANN, into=SWARM)
    assert len(memory.recall("rain", scope=ANN, kinds=[Kind.FACT])) == 2
    held = {found.item.text for found in memory.recall("rain", scope=ANN, valid_at=250.0)}
    assert held == {"rain is wet", "rain noted"}
    assert [found.item.text for found in memory.recall("rain", scope=ANN, within=[SWARM])] == ["rain noted"]
    assert memory.recall("rain", scope=BEN, within=[ANN]) == []


def test_a_large_scope_is_ranked_by_candidates_and_finds_the_same_best(tmp_path: Path) -> None:
    settings = MemorySettings(candidates=64)
    with Memory.open(tmp_path, TinyEmbedder(64), settings=settings) as memory:
        drafts = [Draft(ANN, f"item {number} about topic {number % 50}") for number in range(500)]
        memory.remember_all(drafts, scope=ANN)
        memory.remember("the heron nests in the reeds", scope=ANN)
        memory.remember("herons of the swarm", scope=BEN)
        assert texts(memory, "where does the heron nest?", ANN, 1) == ["the heron nests in the reeds"]
        assert len(memory.recall("item", scope=ANN, k=501)) == 501


def test_subscribers_hear_of_what_is_like_and_seen(memory: Memory) -> None:
    heard: list[str] = []
    number = memory.subscribe("red ship", lambda item, _: heard.append(item.text), scope=BEN, likeness=0.4)
    memory.subscribe("red ship", lambda item, _: 1 / 0, scope=BEN, likeness=0.4)  # one that raises
    memory.remember("red ship sank", scope=ANN)
    memory.remember("red ship sails", scope=ANN, into=SWARM)
    memory.remember("bidders pay in euro", scope=SWARM)
    deadline = time.monotonic() + 10
    while not heard and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard == ["red ship sails"]
    assert memory.unsubscribe(number)
    assert not memory.unsubscribe(number)


def test_a_seat_offers_all_that_an_agent_may_do(memory: Memory) -> None:
    door = LocalDoor(memory)
    asyncio.run(use_all_of(Seat(door, ANN, "ann ann#1"), Seat(door, BEN), SWARM))
    assert memory.check().sound


def test_an_agent_waits_for_what_is_like_a_text_and_hears_of_nobody_elses(memory: Memory) -> None:
    async def run() -> None:
        seat = Seat(LocalDoor(memory), ANN)
        waiting = asyncio.create_task(seat.next_like("rain at the dock", likeness=0.9, timeout_s=30))
        await asyncio.sleep(0)
        for scope, text in (
            (BEN, "rain at the dock"),
            (SWARM, "the ship is late"),
            (SWARM, "rain at the dock"),
        ):
            await Seat(LocalDoor(memory), scope).remember(text)
        found = await waiting
        assert found is not None
        assert (found.text, found.scope) == ("rain at the dock", SWARM)
        assert await seat.next_like("rain", timeout_s=0.01) is None

    asyncio.run(run())


def test_an_explanation_tells_origin_and_score_as_far_as_the_reader_sees(memory: Memory) -> None:
    source = memory.remember("heard at the dock", scope=ANN).id
    note = memory.remember("the dock is loud", scope=ANN, into=SWARM, derived_from=(source,)).id
    told = memory.explain(note, "dock", scope=ANN)
    assert [item.id for item in told.made_of] == [source]
    assert told.ranked is not None
    assert [item.id for item in memory.explain(source, scope=ANN).made_into] == [note]
    assert memory.explain(note, scope=BEN).made_of == ()


def test_a_memory_that_was_closed_says_so(tmp_path: Path) -> None:
    memory = Memory.open(tmp_path, TinyEmbedder())
    memory.close()
    memory.close()
    for call in (lambda: memory.remember("x", scope=ANN), lambda: memory.get(1, scope=ANN)):
        with pytest.raises(StoreClosed):
            call()


@pytest.mark.parametrize("wrong", [0, -1, 2**53, 2**70, True, "1", None, 1.0])
def test_what_is_no_id_is_unknown_and_breaks_nothing(memory: Memory, wrong: int) -> None:
    for call in (memory.get, memory.forget, memory.correct, memory.explain):
        with pytest.raises(UnknownItem):
            call(wrong, scope=ANN)
    with pytest.raises(UnknownItem):
        memory.purge([wrong], scope=ANN)
    assert memory.check().sound


def test_the_past_of_a_large_scope_is_ranked_by_its_nearest(tmp_path: Path) -> None:
    settings = MemorySettings(candidates=32)
    with Memory.open(tmp_path, TinyEmbedder(64), settings=settings) as memory:
        memory.remember_all([Draft(ANN, f"item {number}") for number in range(300)], scope=ANN)
        heron = memory.remember("the heron nests in the reeds", scope=ANN)
        when = memory.get(heron.id, scope=ANN).recorded_at
        memory.forget(memory.remember("later", scope=ANN).id, scope=ANN)
        memory.correct(heron.id, "the heron left", scope=ANN)
        best = memory.as_of(when, "where does the heron nest", scope=ANN, k=3)
        assert best[0].item.id == heron.id
        assert len(best) == 3
        latest = memory.as_of(when, scope=ANN, k=2)
        assert latest[0].item.id == heron.id
        assert len(latest) == 2


def test_readers_beyond_the_room_for_views_still_find_what_they_see(tmp_path: Path) -> None:
    settings = MemorySettings(text_items=400)
    with Memory.open(tmp_path, TinyEmbedder(64), settings=settings) as memory:
        memory.remember_all([Draft(SWARM, f"shared {number}") for number in range(200)], scope=SWARM)
        readers = [Scope("t", swarm="s", agent=f"a{number}") for number in range(6)]
        for reader in readers:
            memory.remember(f"secret of {reader.agent}", scope=reader)
        for _ in range(2):
            for reader in readers:
                assert texts(memory, f"secret of {reader.agent}", reader, 1) == [f"secret of {reader.agent}"]
                assert len(texts(memory, "shared", reader, 500)) == 201

"""Consolidation, settled contradictions and procedures, carried out in the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.consolidation import ConsolidationSettings, Expire, Merge, Summarise
from memory.errors import InvalidItem
from memory.fact import fact_attributes
from memory.item import Draft, Kind
from memory.memory import Memory
from memory.procedure import Step
from memory.scope import Scope
from tests.memory.embedding import TinyEmbedder

HERE = Scope("t", agent="a")
DAY_S = 86_400.0


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """An empty memory whose clock stands at a thousand days."""
    with Memory.open(tmp_path, TinyEmbedder(), clock=lambda: 1000 * DAY_S) as made:
        yield made


def lives_in(
    memory: Memory, place: str, since: float | None = None, trust: float = 0.5, source: str = "x"
) -> int:
    """Remembers a fact about Ann."""
    return memory.remember(
        f"Ann lives in {place}", scope=HERE, kind=Kind.FACT, valid_from=since, trust=trust, source=source,
        attributes=fact_attributes("Ann", "lives in", place),
    ).id  # fmt: skip


def test_a_newer_fact_closes_the_older_which_still_held_before(memory: Memory) -> None:
    lives_in(memory, "Rome", since=980 * DAY_S)
    oslo = lives_in(memory, "Oslo", since=990 * DAY_S)
    [settlement] = memory.consolidate(scope=HERE).settled
    assert (settlement.kept.id, settlement.rule) == (oslo, "recency")
    assert [f.item.text for f in memory.recall("Ann lives", scope=HERE, valid_at=985 * DAY_S)] == [
        "Ann lives in Rome"
    ]
    assert [f.item.text for f in memory.recall("Ann lives", scope=HERE, valid_at=995 * DAY_S)] == [
        "Ann lives in Oslo"
    ]
    assert memory.consolidate(scope=HERE).settled == ()


def test_a_fact_of_a_trusted_source_takes_the_others_place(memory: Memory) -> None:
    rumour = lives_in(memory, "Rome", since=200.0, trust=0.1)
    register = lives_in(memory, "Oslo", since=100.0, trust=0.9)
    memory.consolidate(scope=HERE)
    assert memory.get(rumour, scope=HERE).superseded_by == register


def test_duplicates_are_merged_and_what_ended_long_ago_expires(memory: Memory) -> None:
    memory.remember("the dock opens at dawn", scope=HERE, trust=0.9)
    memory.remember("The dock opens at dawn", scope=HERE)
    ended = memory.remember("old news", scope=HERE, valid_from=0.0, valid_to=1.0).id
    done = memory.consolidate(scope=HERE)
    assert {type(action) for action in done.actions} == {Merge, Expire}
    assert memory.get(ended, scope=HERE).retired_at is not None
    assert [item.text for item in memory.items(scope=HERE)] == ["the dock opens at dawn"]
    assert memory.consolidate(scope=HERE).actions == ()
    assert memory.check().sound


def test_an_old_session_is_summarised_once_and_the_summary_is_purged_with_it(memory: Memory) -> None:
    turns = [
        Draft(HERE, f"Turn {n} speaks of the harbour.", Kind.EPISODE, session="s", turn=n, importance=1.0)
        for n in range(15)
    ]
    ids = [each.id for each in memory.remember_all(turns, scope=HERE)]
    settings = ConsolidationSettings(half_life_s=1e9)
    done = memory.consolidate(scope=HERE, now=1100 * DAY_S, settings=settings)
    assert [type(action) for action in done.actions] == [Summarise]
    assert memory.consolidate(scope=HERE, now=1100 * DAY_S, settings=settings).actions == ()
    assert len(memory) == 16
    memory.purge(ids[:1], scope=HERE)
    assert len(memory) == 14


def test_upkeep_touches_its_own_scope_alone(memory: Memory) -> None:
    above = Scope("t")
    memory.remember("the dock opens at dawn", scope=HERE, into=above)
    memory.remember("The dock opens at dawn", scope=HERE, into=above)
    assert memory.consolidate(scope=HERE).actions == ()
    assert len(memory.consolidate(scope=above).actions) == 1


def test_a_workflow_is_learnt_once_and_its_record_kept(memory: Memory) -> None:
    steps = [Step("fetch", {"what": "invoice 7"}), Step("mail", {"to": "Ann"})]
    first = memory.learn_procedure("bill Ann", steps, scope=HERE, values={"customer": "Ann", "number": "7"})
    other = [Step("fetch", {"what": "invoice 9"}), Step("mail", {"to": "Ben"})]
    memory.learn_procedure("bill Ben", other, scope=HERE, values={"customer": "Ben", "number": "9"})
    assert len(memory) == 1
    [(item, procedure, score)] = memory.procedures("how to bill a customer", scope=HERE)
    assert item.id != first.id
    assert (procedure.successes, procedure.failures) == (2, 0)
    assert 0 < score <= 1


def test_a_procedure_that_keeps_failing_is_retired(memory: Memory) -> None:
    each = memory.learn_procedure("open the lock", [Step("turn", {"key": "left"})], scope=HERE).id
    while memory.get(each, scope=HERE).current:
        each = memory.report_procedure(each, worked=False, scope=HERE).id
    assert memory.procedures("open the lock", scope=HERE) == []
    note = memory.remember("no procedure", scope=HERE).id
    with pytest.raises(InvalidItem):
        memory.report_procedure(note, worked=True, scope=HERE)

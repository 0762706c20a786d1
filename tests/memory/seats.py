"""What an agent may do with its seat, whatever the memory behind it: run over each."""

import pytest

from memory.errors import Conflict, UnknownItem
from memory.item import Kind
from memory.procedure import Step
from memory.scope import Scope
from memory.seat import Seat


async def use_all_of(seat: Seat, other: Seat, swarm: Scope) -> None:
    """Calls everything that a seat offers; `other` is another agent's of the same swarm."""
    first = await seat.remember("the north gate opens at six", kind=Kind.FACT)
    assert (await seat.get(first.id)).scope == seat.scope
    new = await seat.correct(first.id, "the north gate opens at seven")
    with pytest.raises(Conflict):
        await seat.correct(first.id, "at eight")
    when = (await seat.get(first.id)).recorded_at
    assert "six" in (await seat.as_of(when, "north gate", k=1))[0].item.text
    shared = await seat.share(new.id, swarm)
    told = await seat.explain(shared.id, "north gate")
    assert told.ranked is not None
    assert [item.id for item in (await seat.explain(new.id)).versions] == [first.id]
    assert (await other.recall("north gate", k=1))[0].item.id == shared.id
    steps = [Step("fetch", {"url": "https://gate.example/a"}), Step("parse", {"format": "csv"})]
    known = await seat.learn_procedure(
        "read the gate's table at https://gate.example/a",
        steps,
        outcome="rows",
        values={"url": "https://gate.example/a"},
    )
    better = await seat.report_procedure(known.id, worked=True)
    [(item, procedure, score)] = await seat.procedures("read a gate's table")
    assert (item.id, procedure.successes, score > 0) == (better.id, 2, True)
    assert await other.procedures("read a gate's table") == []
    assert (await seat.consolidate()).skipped == 0
    note = await seat.remember("a note to throw away")
    await seat.forget(note.id)
    with pytest.raises(UnknownItem):
        await seat.get(note.id)
    assert {first.id, new.id, shared.id} <= set(await seat.purge(new.id))
    with pytest.raises(UnknownItem):
        await other.get(shared.id)

"""A fork has the same past up to a message, and another future."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors import ConfigurationError, JournalSettings, Plan, Role, RunResult, Swarm
from actors.fork import fork_journal
from actors.replay import entries_of, replay_run
from tests.actors import cast


def plan_of(journal: Path, schedule: str, **settings: Any) -> Plan:
    roles = {
        "gossip": Role(cast.Gossip, count=30, parameters={"peers": 30, "hops": 6}),
        "echo": Role(cast.Echo),
    }
    where = JournalSettings(journal, checkpoint_every=2)
    return Plan(
        **{"roles": roles, "seed": 5, "schedule": schedule, "cells": 3, "journal": where, "fingerprint": True}
        | settings
    )


async def run(plan: Plan, *, go: bool = True) -> RunResult:
    async with Swarm.local(plan) as swarm:
        if go:
            await swarm.broadcast("gossip", "go" if plan.schedule == "rounds" else 3)
        return await swarm.run()


def some_message(journal: Path) -> str:
    """One that was taken about half way, between agents."""
    taken = [line.message.message_id for line in entries_of(journal, 1) if type(line).__name__ == "Took"]
    return next(name for name in taken[len(taken) // 2 :] if name.startswith("gossip"))


@pytest.mark.parametrize("schedule", ["rounds", "free"])
def test_a_fork_keeps_the_past_and_can_be_replayed(tmp_path: Path, schedule: str) -> None:
    old = plan_of(tmp_path / "old", schedule)
    whole = asyncio.run(run(old))
    message = some_message(tmp_path / "old")
    point = asyncio.run(fork_journal(tmp_path / "old", old, message, tmp_path / "new"))
    assert point.kept > 50
    assert point.dropped > 50
    new = plan_of(tmp_path / "new", schedule, seed=99, before=old)
    forked = asyncio.run(run(new, go=False))
    assert forked.quiet
    assert forked.fingerprint != whole.fingerprint
    assert asyncio.run(replay_run(tmp_path / "new", new)).fingerprint == forked.fingerprint


def test_a_fork_that_changes_nothing_ends_as_the_run_did(tmp_path: Path) -> None:
    old = plan_of(tmp_path / "old", "rounds")
    whole = asyncio.run(run(old))
    asyncio.run(fork_journal(tmp_path / "old", old, some_message(tmp_path / "old"), tmp_path / "new"))
    same = plan_of(tmp_path / "new", "rounds", before=old)
    forked = asyncio.run(run(same, go=False))
    assert (forked.fingerprint, forked.messages, forked.measures) == (
        whole.fingerprint,
        whole.messages,
        whole.measures,
    )


def test_a_message_that_nobody_took_is_no_place_to_fork(tmp_path: Path) -> None:
    old = plan_of(tmp_path / "old", "rounds")
    asyncio.run(run(old))
    with pytest.raises(ConfigurationError, match="no agent took a message 'gossip/1#99999'"):
        asyncio.run(fork_journal(tmp_path / "old", old, "gossip/1#99999", tmp_path / "new"))

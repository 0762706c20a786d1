"""A run does again what its journal says, alone or whole, and the first difference is named."""

import asyncio
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors import ConfigurationError, Context, JournalSettings, Message, Plan, Role, RunResult, Swarm
from actors.player import Diverged
from actors.replay import replay_agent, replay_run
from tests.actors import cast

SCHEDULES = ["rounds", "free"]


def plan_of(journal: Path, schedule: str, **settings: Any) -> Plan:
    roles = {
        "gossip": Role(cast.Gossip, count=20, parameters={"peers": 20}),
        "echo": Role(cast.Echo),
        "asynchronous": Role(cast.Asynchronous, count=2),
        "silent": Role(cast.Silent),
        "clockwork": Role(cast.Clockwork),
    }
    where = JournalSettings(journal, checkpoint_every=None)
    return Plan(
        **{"roles": roles, "seed": 5, "schedule": schedule, "cells": 2, "journal": where, "fingerprint": True}
        | settings
    )


async def run(plan: Plan) -> RunResult:
    async with Swarm.local(plan) as swarm:
        if plan.schedule == "free":
            await swarm.broadcast("asynchronous", "sleep")
        await swarm.broadcast("asynchronous", "gather")
        await swarm.broadcast("asynchronous", "effect")
        await swarm.ask("clockwork", 1 if plan.schedule == "rounds" else 0.002)
        await swarm.broadcast("gossip", "go" if plan.schedule == "rounds" else 3)
        return await swarm.run()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_replay_ends_with_the_same_fingerprint(tmp_path: Path, schedule: str) -> None:
    plan = plan_of(tmp_path, schedule)
    result = asyncio.run(run(plan))
    report = asyncio.run(replay_run(tmp_path, plan))
    assert report.fingerprint == result.fingerprint
    assert report.turns == result.messages
    assert report.compared > 50


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_agent_alone_does_again_what_it_did(tmp_path: Path, schedule: str) -> None:
    plan = plan_of(tmp_path, schedule)
    asyncio.run(run(plan))
    for address in ("gossip/3", "gossip/8", "echo", "clockwork"):
        report = asyncio.run(replay_agent(tmp_path, plan, address))
        assert report.turns > 3
        assert report.compared > 0 or address == "clockwork"  # which answers the world outside
        if address.startswith("gossip"):
            assert len(report.state["heard"]) > 3


class Altered(cast.Gossip):
    """A gossip whose code was changed since: after its third message it says something else."""

    async def on_message(self, message: Message, context: Context) -> None:
        if len(self.heard) >= 3 and context.address == "gossip/7":
            context.send("gossip/2", 0)
        await super().on_message(message, context)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_first_difference_is_named_by_agent_and_message(tmp_path: Path, schedule: str) -> None:
    plan = plan_of(tmp_path, schedule)
    asyncio.run(run(plan))
    altered = replace(plan, roles={**plan.roles, "gossip": replace(plan.roles["gossip"], agent=Altered)})
    with pytest.raises(Diverged) as whole:
        asyncio.run(replay_run(tmp_path, altered))
    assert whole.value.address == "gossip/7"
    with pytest.raises(Diverged) as alone:
        asyncio.run(replay_agent(tmp_path, altered, "gossip/7"))
    assert alone.value.message.startswith("gossip/7#")
    assert alone.value.expected != alone.value.got


def test_the_debugger_stops_where_the_agent_takes_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(tmp_path, "rounds")
    asyncio.run(run(plan))
    # Real pdb, told by its standard input what a person would type.
    monkeypatch.setattr(sys, "stdin", io.StringIO("p message.text, self.hops\nwhere\ncontinue\n"))
    seen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", seen)
    report = asyncio.run(replay_agent(tmp_path, plan, "gossip/4", until="@outside#4", debug=True))
    assert report.turns == 1
    assert "('go', 5)" in seen.getvalue()
    assert "on_message" in seen.getvalue()


def test_what_is_not_in_the_journal_is_said_to_be_missing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "rounds")
    with pytest.raises(ConfigurationError, match="holds no journal"):
        asyncio.run(replay_run(tmp_path, plan))
    asyncio.run(run(plan))
    with pytest.raises(ConfigurationError, match=r"took no message 'x#1'"):
        asyncio.run(replay_agent(tmp_path, plan, "gossip/4", until="x#1"))
    with pytest.raises(ConfigurationError, match="took no message in this run"):
        asyncio.run(replay_agent(tmp_path, plan, "silent"))

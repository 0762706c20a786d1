"""One replica of Raft under test: made, led, and told what is stored."""

from random import Random
from typing import Any

from coordination.protocol import (
    Effects,
    Event,
    Instruct,
    Persisted,
    Receive,
    Restore,
    Setting,
)
from coordination.raft.messages import (
    AppendReply,
    Campaign,
    Entry,
    VoteReply,
)
from coordination.raft.node import Role
from coordination.raft.raft import Raft


def replica(id: int = 3, members: tuple[int, ...] = (1, 2, 3), **options: Any) -> Raft:
    raft = Raft(Setting(id, members, Random(id), options=options))
    raft.handle(Restore(0.0))
    return raft


def sent(effects: Effects) -> list[Any]:
    return [message for _, message, _ in effects.sends]


def stored(raft: Raft, *events: Event) -> list[Effects]:
    """What events cause, with records durable at once."""
    seen = []
    for event in events:
        seen.append(raft.handle(event))
        if seen[-1].token:
            seen += stored(raft, Persisted(event.now, seen[-1].token))
    return seen


def leader(**options: Any) -> Raft:
    """Replica 1 of three, elected for term 1; its first entry is stored and committed."""
    raft = replica(1, pre_vote=False, **options)
    stored(raft, Instruct(1.0, Campaign()), Receive(1.0, 2, VoteReply(1)))
    stored(raft, Receive(1.0, 2, AppendReply(1, 1)))
    assert raft.node.role is Role.LEADER
    assert raft.node.log.committed == 1
    return raft


def entries(term: int, first: int, last: int) -> tuple[Entry, ...]:
    return tuple(Entry(term, index, (f"{term}.{index}",)) for index in range(first, last + 1))

"""What those in charge of a Raft cluster may do to it at any time, drawn at random for campaigns.

Rules:
* An order is lawful whenever it comes: to whoever leads or not, sensible or not (a change that does not fit, a transfer
  to a learner, a report of what never happened). Raft takes it or refuses it, and stays safe.
* `mend` brings every member back as a voter, a step at a time, so that after a campaign's chaos the members are those
  that its bound on recovery is for.

Source: Ongaro 2014, chapters 3 and 4; what etcd lets an operator do.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from coordination.protocol import ChangeMembers, Event, Instruct, Protocol, Upkeep
from coordination.raft.membership import MembershipChange, Transition
from coordination.raft.messages import (
    Campaign,
    ForgetLeader,
    ReportSnapshot,
    ReportUnreachable,
    TransferLeadership,
)
from coordination.raft.node import Node

_TRANSITIONS: tuple[Transition, ...] = ("auto", "implicit", "explicit")


def options(rng: Random, members: tuple[int, ...], steady: bool) -> Mapping[str, Any]:
    """Settings that a campaign varies. Leases need clocks that run `steady`."""
    return {
        "trailing": rng.choice((0, 5, 1000)),
        "learners": tuple(rng.sample(members, rng.choice((0, 0, 1)))),
        "lease_reads": steady and rng.random() < 0.5,
        "eager_commit": rng.random() < 0.5,
        "most_inflight": rng.choice((1, 4, 256)),
    }


def order(rng: Random, members: tuple[int, ...]) -> Callable[[float], Event]:
    """One order; it takes the time at which it comes."""
    if rng.random() < 0.5:
        change = _change(rng, members)
        return lambda now: ChangeMembers(now, change)
    peer = rng.choice(members)
    orders = (
        TransferLeadership(peer),
        TransferLeadership(peer),
        Campaign(),
        ForgetLeader(),
        ReportUnreachable(peer),
        ReportSnapshot(peer, rng.choice(("finished", "failed"))),
    )
    drawn = rng.choice(orders)
    return lambda now: Instruct(now, drawn)


def _change(rng: Random, members: tuple[int, ...]) -> MembershipChange:
    named = rng.sample(members, rng.randint(0, 2))
    changes = tuple((rng.choice("vvvlr"), one) for one in named)
    return MembershipChange(changes, rng.choice(_TRANSITIONS) if changes else "auto")


def mend(replica: Protocol, members: tuple[int, ...]) -> Callable[[float], Event] | None:
    """What a leader must be told next so that all members are voters; None if nothing, or if it goes on by itself."""
    node = getattr(replica, "node", None)
    if not isinstance(node, Node):
        return None  # something that wraps a replica
    present = node.members
    if present.joint:
        change = None if present.autoleave else MembershipChange()
    else:
        missing = tuple(("v", one) for one in members if one not in present.voters)
        change = MembershipChange(missing) if missing else None
    return None if change is None else lambda now: ChangeMembers(now, change)


UPKEEP = Upkeep(reads=True, options=options, order=order, mend=mend)

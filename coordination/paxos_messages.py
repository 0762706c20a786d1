"""What Multi-Paxos's replicas say to one another, and what they write down; see `coordination.paxos`.

Rules: slots and ballots start at 1; 0 stands for none. A value is a tuple of commands; nothing is the empty one.
"""

from typing import Any

from coordination.protocol import Command, Wire

Commands = tuple[Command, ...]
# --- Messages ---------------------------------------------------------------------------------------------------


class Prepare(Wire, frozen=True, gc=False):
    """Promise me this ballot, and tell me what you accepted at `slot` and beyond."""

    ballot: int
    slot: int


class Promise(Wire, frozen=True, gc=False):
    """Nothing under a lower ballot any more; (slot, ballot, commands) of what was accepted at `slot` and beyond."""

    ballot: int
    slot: int
    accepted: tuple[tuple[int, int, Commands], ...]


class Refuse(Wire, frozen=True, gc=False):
    """A higher ballot was promised."""

    ballot: int


class Accept(Wire, frozen=True, gc=False):
    """Accept these values in consecutive slots from `slot`. All up to `chosen` is decided."""

    ballot: int
    slot: int
    values: tuple[Commands, ...]
    chosen: int


class Accepted(Wire, frozen=True, gc=False):
    """These slots were accepted under this ballot."""

    ballot: int
    slot: int
    count: int


class Beat(Wire, frozen=True, gc=False):
    """The leader lives; all up to `chosen` is decided. `round` numbers beats that reads wait for."""

    ballot: int
    chosen: int
    round: int


class Alive(Wire, frozen=True, gc=False):
    """No higher ballot was promised."""

    ballot: int
    round: int


class CatchUp(Wire, frozen=True, gc=False):
    """Tell me what was decided from `slot` on."""

    slot: int


class Learn(Wire, frozen=True, gc=False):
    """Decided values of consecutive slots from `slot`; and (slot, state) to stand for all before, or nothing."""

    slot: int
    values: tuple[Commands, ...]
    state: tuple[Any, ...] = ()


class Forward(Wire, frozen=True, gc=False):
    """Commands for the leader, from another replica's clients."""

    commands: Commands


# --- Records ----------------------------------------------------------------------------------------------------


class Promised(Wire, frozen=True, gc=False):
    """No lower ballot any more."""

    ballot: int


class Took(Wire, frozen=True, gc=False):
    """Values accepted in consecutive slots, under a ballot that is thereby promised; and what was known as decided."""

    ballot: int
    slot: int
    values: tuple[Commands, ...]
    chosen: int


class Learned(Wire, frozen=True, gc=False):
    """Values of consecutive slots that were decided."""

    slot: int
    values: tuple[Commands, ...]


class Kept(Wire, frozen=True, gc=False):
    """All that a replica must keep: a state, its promise, and (slot, ballot, commands) of what lies beyond."""

    slot: int
    state: Any
    promised: int
    chosen: int
    accepted: tuple[tuple[int, int, Commands], ...]

"""All that an agent can do. One is made for each turn and passed to the agent's handler.

Everything that is not deterministic reaches an agent here and is journaled here, which is what makes a run replayable.

Time is `now`: seconds since the run began in the schedule `free`, the number of the round in `rounds`. A duration given
to `sleep`, `after`, `every` or `ask` is in the same unit: seconds, or rounds (rounded up to a whole one, at least 1).
"""

from collections.abc import Awaitable, Callable, Sequence
from logging import LoggerAdapter
from typing import TYPE_CHECKING, Any

from actors.address import role_of
from actors.message import Content, Kind, Message, parts_of
from actors.rng import Rng, stream_key

if TYPE_CHECKING:
    from actors.cell import Cell, Resident


class Context:
    """The door between an agent and its world, for one turn."""

    __slots__ = ("_cell", "_resident", "_rng", "message")

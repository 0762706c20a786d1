"""An agent as its cell holds it, and what the cell knows of its role."""

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from actors.agent import Agent
from actors.message import Message
from actors.plan import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.turn import Turn


class RoleInfo:
    """A role, with what a turn asks of it already looked up."""

    __slots__ = ("agent", "handles_failure", "name", "parameters", "starts", "stops", "traffic")

    def __init__(self, name: str, role: Role) -> None:
        self.name = name
        self.agent = role.agent
        self.parameters: Mapping[str, Any] = role.parameters
        self.traffic: dict[str, int] = defaultdict(int)
        """Messages that agents of the role took here, by the sender's role."""
        self.starts = role.agent.on_start is not Agent.on_start
        self.stops = role.agent.on_stop is not Agent.on_stop
        self.handles_failure = role.agent.on_failure is not Agent.on_failure


class Held:
    """Stands in the place of a turn while an agent may not begin one: its way out is congested."""

    __slots__ = ()


HELD = Held()


class Resident:
    """An agent in its cell: about 100 bytes beside the agent itself and its address."""

    __slots__ = ("address", "agent", "draws", "inbox", "role", "sequence", "turn", "turns")

    def __init__(self, address: str, role: RoleInfo) -> None:
        self.address = address
        self.role = role
        self.agent: Agent | None = None
        """None until its first turn."""
        self.inbox: Message | deque[Message] | None = None
        """What waits: nothing, one message, or several. A deque alone would cost 600 bytes an agent."""
        self.turn: Turn | Held | None = None
        """The suspended turn, or HELD; no other begins meanwhile."""
        self.sequence = 0
        """How many messages it has sent."""
        self.turns = 0
        """How many messages it has taken."""
        self.draws = 0
        """How many random numbers it has drawn."""

    @property
    def is_settled(self) -> bool:
        """True once anything has been sent to it."""
        return bool(self.turns) or self.inbox is not None or self.turn is not None

    def emptied(self) -> list[Message]:
        """Takes everything out of the mailbox."""
        inbox, self.inbox = self.inbox, None
        return [] if inbox is None else [inbox] if isinstance(inbox, Message) else list(inbox)

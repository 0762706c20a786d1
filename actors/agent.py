"""The behaviour of an agent.

Rules:
* An agent takes one message at a time: a turn. While a turn waits (for an answer, a timer, a call to the outside),
  the agent's other messages wait too, and other agents run.
* Its state is its attributes. They are what a checkpoint saves; `Agent.__init__` takes only parameters from the plan.
* Randomness, time and the outside world come from the `Context` and from nowhere else: then a run can be replayed.
"""

from typing import TYPE_CHECKING, ClassVar

from actors.card import AgentCard

if TYPE_CHECKING:
    from actors.context import Context
    from actors.errors import SwarmError
    from actors.message import Message


class Agent:
    """Extend this and define `on_message`. The constructor's keyword arguments are the parameters of its role.

    A class that defines `on_start` is made when the swarm starts; others are made on their first message.
    """

    card: ClassVar[AgentCard | None] = None
    """What agents of this class offer; `Context.find` looks here."""

    transient: ClassVar[frozenset[str]] = frozenset()
    """Attributes that are no state: no checkpoint has them, and the agent makes them anew when they are missing."""

    async def on_start(self, context: "Context") -> None:
        """Runs once, before the first message."""

    async def on_message(self, message: "Message", context: "Context") -> None:
        """Handles one message. What it raises fails this turn alone: whoever asked gets `HandlerFailed`."""

    async def on_failure(self, error: "SwarmError", message: "Message", context: "Context") -> None:
        """Something this agent sent came back. `message` is the notice; its `reply_to` names what failed."""

    async def on_stop(self, context: "Context") -> None:
        """Runs once, when the agent is stopped or the swarm ends in good order."""

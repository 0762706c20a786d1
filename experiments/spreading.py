"""How fast does gossip spread, and what does it cost? Members of one group tell one rumour over A2A messages.

Rules: the protocol is `coordination.gossip` (Karp et al. 2000): a rumour should reach n members in log3 n rounds and
O(log log n) more, for O(n log log n) transmissions of it. The measure `heard_in` is the gossip round in which a member
heard the rumour: its last value is the spreading time. `transmissions` is how often a member has put the rumour into a
message so far: its last value is the mean cost a member. A gossip round is three rounds of the schedule: a call, its
answer, and the next. Who has not heard at the end shows in `knows`, the share of those who have.
"""

from typing import TYPE_CHECKING, Any

from actors import ConfigurationError, Context, Message
from coordination.gossip import Gossip, GossipOptions
from coordination.member import Member

if TYPE_CHECKING:
    from cluster.experiment import Experiment

MOST_MEMBERS = 100_000


class Gossiper(Member):
    """A member that says when it heard the rumour, and how often it has passed it on; the first one tells it."""

    def __init__(self, members: int) -> None:
        super().__init__("gossip", members)

    async def on_start(self, context: Context) -> None:
        """The first member tells the rumour."""
        await super().on_start(context)
        if self.id == 1:
            await self.propose(["psst"], context)

    def delivered(self, command: Any, context: Context) -> None:
        """Says in which gossip round it heard the rumour."""
        super().delivered(command, context)
        context.record("heard_in", context.now / GossipOptions().period_delays)

    async def on_message(self, message: Message, context: Context) -> None:
        """As a member; and says at each of its calls, which all make at once, how it stands."""
        await super().on_message(message, context)
        protocol = self.core.protocol
        assert isinstance(protocol, Gossip)
        if message.sender == context.address:
            context.record("transmissions", protocol.transmissions)
            context.record("knows", float(bool(self.heard)))


def roles_for(experiment: "Experiment") -> dict[str, Any]:
    """The setup of the experiment: as many members as its input says."""
    match experiment.input:
        case {"members": int(members)} if 1 <= members <= MOST_MEMBERS:
            return {"member": {"count": members, "parameters": {"members": members}}}
    raise ConfigurationError(
        f"input: {experiment.input!r} is no group. Give members, a number of 1 to {MOST_MEMBERS:,}."
    )

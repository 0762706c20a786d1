"""Rumour spreading: in each round, everyone who knows the rumour tells one neighbour, chosen at random.

Rules: this is the push protocol (Frieze and Grimmett, "The shortest-path problem for graphs with random arc-lengths",
1985). Among n agents that all know one another, where each message gets through with probability p, everyone knows
after log_(1+p) n + (1/p) ln n rounds, give or take a bounded number (Doerr and Kostrygin, "Randomized rumor spreading
revisited", ICALP 2017). Other networks are slower; `experiments/rumour.yaml` measures by how much.

The measure `knows` is 1 for who knows and 0 for who does not: its mean is the share of them. The result `rounds` is
the number of rounds in which somebody had to be told.
"""

from actors import Agent, Context, Message


class Person(Agent):
    """Hears a rumour, and tells it to somebody once a round for ever."""

    def __init__(self) -> None:
        self.knows = False
        self.acted_in = 0.0

    async def on_start(self, context: Context) -> None:
        """Sets the clock that it acts by."""
        self.acted_in = context.now
        context.every(1)

    async def on_message(self, message: Message, context: Context) -> None:
        """The clock is a message to oneself; any other is the rumour."""
        if message.sender == context.address:
            self.acted_in = context.now
            context.record("knows", self.knows)
            if self.knows:
                self._tell(context)
        elif not self.knows:
            self.knows = True
            context.result("rounds", context.now - 1)  # of all that leave it, the last one stands
            if self.acted_in == context.now:
                self._tell(context)  # in this round the clock came before the rumour

    def _tell(self, context: Context) -> None:
        context.send(context.rng.choice(context.neighbours), "psst")

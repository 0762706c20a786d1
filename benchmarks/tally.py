"""Counts the answers of a crowd, and tells when all have come."""

from actors import Agent, Context, Kind, Message


class Tally(Agent):
    """Adds up numbers. Asked for so many, answers when it has them: {count, sum}; then begins anew."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0
        self.expected = 0
        self.asked: Message | None = None

    async def on_message(self, message: Message, context: Context) -> None:
        """Takes a number, or the question."""
        if message.kind == Kind.ASK:
            self.expected, self.asked = message.data, message
        else:
            self.count += 1
            self.sum += message.data
        if self.asked is not None and self.count >= self.expected:
            context.reply({"count": self.count, "sum": self.sum}, to=self.asked)
            self.count, self.sum, self.asked = 0, 0, None

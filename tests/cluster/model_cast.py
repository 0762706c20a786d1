"""Agents for the tests of models in experiments: they ask, and tell what they heard."""

import os
from pathlib import Path

from actors.agent import Agent
from actors.context import Context
from actors.message import Message
from inference.errors import BudgetExceeded, LLMError
from inference.request import Request, Sampling
from tests.cluster.rumour import end_process_once


class Asker(Agent):
    """Asks its model in each of some rounds, tells its neighbour what it heard, and keeps count."""

    def __init__(self, times: int = 3, agents: int = 4, greedy: bool = False, max_tokens: int = 16) -> None:
        self.times = times
        self.times_before_end = times - 1
        self.agents = agents
        self.greedy = greedy
        self.max_tokens = max_tokens
        self.said: list[str] = []
        self.errors: list[str] = []

    async def on_start(self, context: Context) -> None:
        """Begins."""
        context.after(1, "go")

    async def on_message(self, message: Message, context: Context) -> None:
        """A turn of its own, or something heard."""
        if message.sender != context.address:
            self.said.append(message.text)
            return
        if len(self.said) == self.times_before_end:
            end_process_once()
        sampling = Sampling(temperature=0 if self.greedy else 1, max_tokens=self.max_tokens)
        who = "all" if self.greedy else context.address
        try:
            completion = await context.llm.complete(
                Request.of(f"Draw a number, {who}, time {len(self.said)}.", sampling=sampling)
            )
        except LLMError as error:
            self.errors.append(f"{error.reason}, {'definite' if error.definite else 'indefinite'}")
            if not isinstance(error, BudgetExceeded):
                context.result(context.address, str(error))
            return
        role, _, number = context.address.partition("/")
        context.record("heard", 1.0)
        context.send(f"{role}/{(int(number) + 1) % self.agents}", completion.text)
        context.result(f"{context.address} heard", completion.text)
        self.times -= 1
        if self.times:
            context.after(2, "go")


class Careless(Agent):
    """Asks on and on, and lets every error pass."""

    async def on_start(self, context: Context) -> None:
        """Begins."""
        context.every(1, "go")

    async def on_message(self, message: Message, context: Context) -> None:
        """Asks."""
        await context.llm.complete(f"Draw, {context.address}, at {context.now}.")


class Fragile(Asker):
    """Fails on what it heard the second time, as long as the file FRAGILE_MARK is not there."""

    async def on_message(self, message: Message, context: Context) -> None:
        """See `Asker`."""
        if len(self.said) == 2 and not is_mended():
            raise ValueError("I am fragile")
        await super().on_message(message, context)


def is_mended() -> bool:
    """Whether the file is there."""
    return Path(os.environ["FRAGILE_MARK"]).exists()

"""Agents that keep messages in their state have the same state wherever the senders live."""

import asyncio
from typing import Any

from actors import Agent, Context, Message, Plan, Role, RunResult, Swarm


class Keeper(Agent):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.kept: list[Message] = []

    async def on_message(self, message: Message, context: Context) -> None:
        self.kept.append(message)
        context.reply("thanks")
        context.result(f"metadata {message.sender}", message.metadata)


class Giver(Agent):
    """Sends and asks, and changes its mind about the metadata when the message is gone."""

    def __init__(self) -> None:
        self.answer: Message | None = None

    async def on_start(self, context: Context) -> None:
        metadata: dict[str, Any] = {"colour": "red"}
        context.send("keeper", 1, metadata=metadata)
        metadata["colour"] = "blue"
        self.answer = await context.ask("keeper", 2, metadata={"colour": "red"})

    async def on_message(self, message: Message, context: Context) -> None:
        """Thanks."""


def run(cells: int) -> RunResult:
    async def main() -> RunResult:
        async with Swarm.local(
            Plan(roles={"keeper": Role(Keeper), "giver": Role(Giver, 5)}, cells=cells)
        ) as swarm:
            return await swarm.run()

    return asyncio.run(main())


def test_a_kept_message_is_the_same_state_on_any_number_of_cells() -> None:
    assert len({run(cells).fingerprint for cells in (1, 2, 5)}) == 1


def test_metadata_is_copied_when_a_message_is_sent() -> None:
    results = run(1).results
    assert len(results) == 5
    assert all(metadata == {"colour": "red"} for metadata in results.values())

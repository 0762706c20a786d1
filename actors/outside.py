"""The world outside a cell: what agents call by `context.effect`, and who waits out there for their answers."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from actors.message import Message, printable
from actors.state import encode_state
from actors.trace import tracer


async def outcome_of(
    function: Callable[..., Any], arguments: tuple[Any, ...], address: str, number: int
) -> tuple[bytes, str]:
    """Makes call `number` of an agent, an async function here and a plain one in a thread.

    Gives its encoded result, or the text of its error.
    """
    name = getattr(function, "__qualname__", repr(function))
    about: dict[str, str | int] = {"rayswarm.agent": address, "rayswarm.number": number}
    with tracer.start_as_current_span(f"effect {name}", attributes=about):
        try:
            if inspect.iscoroutinefunction(function):
                result = await function(*arguments)
            else:
                result = await asyncio.to_thread(function, *arguments)
            return encode_state(result), ""
        except Exception as raised:
            return b"", printable(f"{name}: {type(raised).__name__}: {raised}")


class Listeners:
    """Who waits for answers to messages from outside."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def tell(self) -> None:
        """There is an answer."""
        for listener in self._waiting:
            listener.set()

    async def hear(self, take: Callable[[], Message | None]) -> Message:
        """Waits until there is what `take` takes."""
        listener = asyncio.Event()
        self._waiting.add(listener)
        try:
            while (answer := take()) is None:
                listener.clear()
                await listener.wait()
            return answer
        finally:
            self._waiting.discard(listener)

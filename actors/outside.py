"""Calls to the outside world that agents make by `context.effect`."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from actors.message import printable
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

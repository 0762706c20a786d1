"""Calls to the outside world that agents make by `context.effect`."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from actors.message import printable
from actors.state import encode_state


async def outcome_of(
    function: Callable[..., Any], arguments: tuple[Any, ...], name: str
) -> tuple[bytes, str]:
    """Calls a function, an async one here and a plain one in a thread: its encoded result, or the text of its error."""
    try:
        if inspect.iscoroutinefunction(function):
            result = await function(*arguments)
        else:
            result = await asyncio.to_thread(function, *arguments)
        return encode_state(result), ""
    except Exception as raised:
        return b"", printable(f"{name}: {type(raised).__name__}: {raised}")

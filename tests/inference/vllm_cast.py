"""What the tests of vLLM share: an engine in a loop of its own, made once a module."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread: an engine lives in one loop, and tests come one after another."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 120.0) -> T:
        """The result of a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def close(self) -> None:
        """Ends the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def quiet_vllm() -> list[pytest.MarkDecorator]:
    """Filters for warnings of vLLM's and torch's own code, which nobody here can mend: pytest holds ours for errors."""
    return [
        pytest.mark.filterwarnings(f"ignore::{kind}")
        for kind in (
            "DeprecationWarning",
            "FutureWarning",
        )
    ]

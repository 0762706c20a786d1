"""How a cell reaches a model service, whatever lies between: the actor's calls, or in a test the desk itself.

Rules:
* A door that cannot tell whether the service had a call raises `ServiceUnavailable`; one whose service is dead for
  good raises `ServiceGone`. Nothing else leaves it but the service's own errors (`LLMError`).
"""

from typing import Protocol

from inference.service_wire import Delivery, Taken


class ServiceUnavailable(Exception):
    """The service did not answer. It may have had the call, and may answer later."""


class ServiceGone(Exception):
    """The service is dead, and does not start again."""


class Door(Protocol):
    """The way to a service."""

    @property
    def identity(self) -> str:
        """The model's."""
        ...

    async def submit(self, session: str, confirmed: int, batch: bytes) -> Taken:
        """Offers a batch of requests, and confirms answers up to a number."""
        ...

    async def collect(self, session: str, confirmed: int) -> Delivery:
        """Answers; waits a while if there are none."""
        ...

    async def cancel(self, session: str, numbers: list[int]) -> None:
        """Nobody waits for these any more."""
        ...

    async def leave(self, session: str) -> None:
        """Nobody waits for anything any more."""
        ...

    async def count_tokens(self, request: bytes) -> tuple[int, bool]:
        """The length of a prompt, and whether it is exact."""
        ...

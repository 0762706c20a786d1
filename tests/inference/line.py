"""The way from a cell to a desk, with faults: calls that never arrive, replies that are lost, services that restart."""

from collections.abc import Callable

from inference.service_desk import ServiceDesk
from inference.service_door import ServiceGone, ServiceUnavailable
from inference.service_wire import (
    Delivery,
    Taken,
    decoded_delivery,
    decoded_taken,
    encoded,
)


class Line:
    """A door that passes bytes, as Ray does. `faults` names for each call to come what happens to it."""

    def __init__(self, make: Callable[[], ServiceDesk], faults: list[str] | None = None) -> None:
        self._make = make
        self.desk = make()
        self.faults = faults or []
        self.batches: list[int] = []
        """Bytes of each batch that was sent."""
        self.deliveries: list[int] = []
        """Answers in each reply that had some."""
        self.gone = False

    @property
    def identity(self) -> str:
        return self.desk.identity

    async def restart(self) -> None:
        """The service dies, with all that it held, and another is there."""
        old, self.desk = self.desk, self._make()
        await old.aclose()

    async def submit(self, session: str, confirmed: int, batch: bytes) -> Taken:
        self.batches.append(len(batch))
        fault = self._fault()
        if fault == "restart before":
            await self.restart()
        taken = await self.desk.submit(session, confirmed, batch)
        if fault == "restart after":
            await self.restart()
        if fault in ("reply", "restart after"):
            raise ServiceUnavailable("the reply was lost")
        return decoded_taken(encoded(taken))

    async def collect(self, session: str, confirmed: int) -> Delivery:
        fault = self._fault() if self.faults and self.faults[0].startswith("answer") else ""
        if self.gone:
            raise ServiceGone("it was killed")
        delivery = decoded_delivery(encoded(await self.desk.collect(session, confirmed)))
        if self.gone:
            raise ServiceGone("it was killed")
        if fault == "answer reply":
            raise ServiceUnavailable("the reply was lost")
        if delivery.answers:
            self.deliveries.append(len(delivery.answers))
        return delivery

    async def cancel(self, session: str, numbers: list[int]) -> None:
        await self.desk.cancel(session, numbers)

    async def leave(self, session: str) -> None:
        await self.desk.leave(session)

    async def count_tokens(self, request: bytes) -> tuple[int, bool]:
        return await self.desk.count_tokens(request)

    def _fault(self) -> str:
        if self.gone:
            raise ServiceGone("it was killed")
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "request":
            raise ServiceUnavailable("the call was lost")
        return fault

"""Messages that came before their time: of a view, height or slot that this replica has not reached.

Rules:
* Each sender has a place of bounded size; its oldest messages make room. So nobody can fill a replica's memory, and
  what is lost is sent again when the replica asks.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any


class Early:
    """The early messages of each sender."""

    __slots__ = ("_by_source",)

    def __init__(self, sources: Iterable[int], limit: int) -> None:
        self._by_source: dict[int, deque[Any]] = {source: deque(maxlen=limit) for source in sources}

    def put(self, source: int, message: Any) -> None:
        """Keeps a message; strangers' messages are dropped."""
        place = self._by_source.get(source)
        if place is not None:
            place.append(message)

    def take(self) -> Iterator[tuple[int, Any]]:
        """Removes and gives all, sender by sender, in the order in which they came."""
        found = [(source, message) for source, place in self._by_source.items() for message in place]
        for place in self._by_source.values():
            place.clear()
        return iter(found)

    def __len__(self) -> int:
        return sum(map(len, self._by_source.values()))

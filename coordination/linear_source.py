"""Where a result must have come from: the operations of a history that alone can have left what another found.

Rules:
* Who finds a value (a read, a get, a cas that succeeds) has it from an operation that leaves it, or from the start. Not
  from one that was called after it returned, nor from one that another change surely followed before it was called.
* If one operation alone remains, then right behind it the value must be there, and stay until it is found: else nobody
  can ever find it. A search that does otherwise may turn back at once. Where values are unique, as good workloads make
  them, this is most of the search.
* What is not settled by looking at a few candidates stays open: that is never wrong, only slower.
"""

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import Final, TypeAlias

from coordination.history import Operation
from coordination.object_model import ANYTHING, Model

Demand: TypeAlias = tuple[int, Hashable]
"""The number of an operation with a return, and the value that it must find."""
_MOST_CANDIDATES: Final = 200
_MOST_ENDS: Final = 64


def demands(model: Model, operations: Sequence[Operation]) -> dict[int, list[Demand]]:
    """By the place of its call: who must find what an operation leaves. `operations` are in the order of their calls.

    Operations with a return are numbered in that order from 0.
    """
    writers = _Writers(model, operations)
    found: dict[int, list[Demand]] = {}
    number = -1
    for operation in operations:
        number += operation.returned is not None
        value = model.needs(operation)
        if value is not ANYTHING:
            source = writers.only_source(operation, value)
            if source is not None:
                found.setdefault(source.called, []).append((number, value))
    return found


class _Writers:
    """The operations that leave something, by what they leave."""

    def __init__(self, model: Model, operations: Sequence[Operation]) -> None:
        self._initial = model.initial
        self._by_value: dict[Hashable, list[Operation]] = {}
        self._by_end: dict[str, list[Operation]] = {}
        changes: list[tuple[int, int]] = []
        for operation in operations:
            left = model.leaves(operation)
            if left is not ANYTHING:
                by = self._by_end if model.joins(operation) else self._by_value
                by.setdefault(left, []).append(operation)  # type: ignore[arg-type]  # what is joined is a text
                if operation.returned is not None:
                    changes.append((operation.called, operation.returned))
        self._lengths = sorted({len(end) for end in self._by_end})
        self._calls = [called for called, _returned in changes]
        # Of the changes called from each on: when the first of them has returned.
        self._returned_by = [returned for _called, returned in changes]
        for place in reversed(range(len(changes) - 1)):
            self._returned_by[place] = min(self._returned_by[place], self._returned_by[place + 1])

    def only_source(self, operation: Operation, value: Hashable) -> Operation | None:
        """The one operation that can have left the value that another found; None if there are more, or none."""
        if value == self._initial and not self._replaced(-1, operation.called):
            return None
        candidates = [self._by_value.get(value, [])]
        if isinstance(value, str) and self._lengths:
            if len(self._lengths) > _MOST_ENDS:
                return None
            ends = [value[-length:] for length in self._lengths if 0 < length <= len(value)]
            candidates += [self._by_end[end] for end in ends if end in self._by_end]
        only, looked_at = None, 0
        assert operation.returned is not None
        for writers in candidates:
            for writer in reversed(writers[: bisect_left(writers, operation.returned, key=_called)]):
                looked_at += 1
                if looked_at > _MOST_CANDIDATES:
                    return None
                returned = writer.returned
                if writer is operation or (
                    returned is not None and self._replaced(returned, operation.called)
                ):
                    continue
                if only is not None:
                    return None
                only = writer
        return only

    def _replaced(self, returned: int, called: int) -> bool:
        """Whether some change surely lies between a return and a call."""
        place = bisect_left(self._calls, returned)
        return place < len(self._calls) and self._returned_by[place] < called


def _called(operation: Operation) -> int:
    return operation.called

"""The history that clients of a replicated key-value store saw, for the checker of linearizability.

Rules:
* Calls and returns stand in the order in which the run carried them out. It is one thread, so that order is real also
  for what happens at one time, where a decision that takes none is called and returned.
* A command that never was answered may have taken effect at any later time, also after its client gave up.
* The store's None, nothing under a key, is the checker's empty text.
"""

import math
from collections.abc import Iterable

from actors.errors import ConfigurationError
from coordination.history import History, HistoryRecorder, Value
from coordination.object_model import KEY_VALUE
from coordination.simulation.clients import Operation


def history_of(operations: Iterable[Operation], source: str = "simulation") -> History:
    """The history of recorded operations: commands (client, serial, name, key, *arguments) with their results.

    Raises `ConfigurationError` if a client has two under way at once, or a command is none of the store's.
    """
    events: list[tuple[int, bool, Operation]] = []
    for operation in operations:
        events.append((operation.called, True, operation))
        if operation.returned_s != math.inf:
            events.append((operation.returned, False, operation))
    recorder = HistoryRecorder(source)
    for _place, calls, operation in sorted(events, key=lambda event: event[0]):
        _client, _serial, name, key, *arguments = operation.command
        if calls:
            recorder.call(operation.client, name, _argument(name, arguments), key=key)
        elif name == "get":
            recorder.ok(operation.client, operation.result or "")
        else:
            recorder.ok(operation.client, bool(operation.result) if name == "cas" else None)
    return recorder.finish(model=KEY_VALUE.name)


def _argument(name: str, arguments: list[Value]) -> "Value | tuple[Value, Value]":
    if name not in KEY_VALUE.functions:
        raise ConfigurationError(f"the store has no {name!r}. Record {', '.join(KEY_VALUE.functions)}")
    if name == "cas":
        old, new = arguments
        return old or "", new
    return arguments[0] if arguments else None

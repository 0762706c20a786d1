"""The history that clients of a replicated key-value store saw, for the checker of linearizability.

Rules:
* Times are the run's: one clock sees all clients, so the order of calls and returns is that of real time. At one time
  calls stand before returns, so that they are concurrent; but a client that returned and calls at one time calls
  behind all returns of that time. As a decision takes time, none of them can be decided after what it then proposes.
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
    recorded = list(operations)
    returns = {(operation.client, operation.returned_s) for operation in recorded}
    events: list[tuple[float, int, int, Operation]] = []
    for number, operation in enumerate(recorded):
        phase = 2 if (operation.client, operation.called_s) in returns else 0
        events.append((operation.called_s, phase, number, operation))
        if operation.returned_s != math.inf:
            events.append((operation.returned_s, 1, number, operation))
    recorder = HistoryRecorder(source)
    for _time, phase, _number, operation in sorted(events, key=lambda event: event[:3]):
        _client, _serial, name, key, *arguments = operation.command
        if phase != 1:
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

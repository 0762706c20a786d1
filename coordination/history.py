"""A history: who called what on a shared object, what came back, and in which order the calls and returns were seen.

Rules:
* Calls and returns have places 0, 1, 2 and so on in the order of real time. An operation that returned before another
  was called happened before it; all others are concurrent (Herlihy, Wing, "Linearizability", TOPLAS 12(3), 1990).
* A failure is *definite* (it did not happen, and the operation is left out) or *indefinite* (it may have happened, or
  may happen at any later time: the operation has no return, and its result is unknown). The words are Jepsen's and
  Maelstrom's: `ok`, `fail`, `info`.
* A cas that failed by comparing is no failure: it returned, and says that the value was another.
* A process is sequential: it calls again only after it returned. What is open at the end is indefinite.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from actors.errors import ConfigurationError

MOST_OPERATIONS: Final = 1_000_000
"""A history holds at most as many operations."""

Value: TypeAlias = str | int | None
"""What a register or a key holds."""


class Unknown(Enum):
    """The result of an operation that never returned."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one process.

    `argument` is what is written or appended, `(old, new)` of a cas and None of a read. `result` is what a read gave,
    whether a cas took place, None of other operations, and `UNKNOWN` if there was no return.
    """

    process: int
    function: str
    key: str
    argument: "Value | tuple[Value, Value]"
    result: "Value | bool | Unknown"
    called: int
    """The place of the call among the history's events."""
    returned: int | None
    """The place of the return; None if indefinite."""
    call_line: int = 0
    """The line of the file that told of the call, from 1; 0 if there was none."""
    return_line: int = 0

    def __str__(self) -> str:
        """`write 3`, `read gives 4`, `cas 1 to 2 fails`, `get of "k" gives "v"`."""
        of = f" of {shown(self.key)}" if self.key else ""
        if isinstance(self.argument, tuple):
            text = f"{self.function}{of} {shown(self.argument[0])} to {shown(self.argument[1])}"
            ends = {True: " succeeds", False: " fails"}
        elif self.function in ("read", "get"):
            text, ends = f"{self.function}{of}", {}
            if self.result is not UNKNOWN:
                text += f" gives {shown(self.result)}"
        else:
            text, ends = f"{self.function}{of} {shown(self.argument)}", {}
        if self.result is UNKNOWN:
            return text + " (never returned)"
        return text + (ends.get(self.result, "") if isinstance(self.result, bool) else "")


def shown(value: object, most: int = 60) -> str:
    """A value as people read it: nil, 3, "text", [3 4]; a long text loses its middle, for its end is what differs."""
    if value is None:
        return "nil"
    if isinstance(value, tuple):
        return f"[{' '.join(shown(each, most) for each in value)}]"
    if not isinstance(value, str):
        return str(value)
    if len(value) > most:
        kept = (most - 3) // 2
        value = f"{value[:kept]}...{value[-kept:]}"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class History:
    """Operations in the order of their calls. `events` is the number of calls and returns."""

    operations: tuple[Operation, ...]
    events: int
    source: str = "history"
    """What it was read from, for messages."""
    format: str = ""
    """The format it was read from; empty if it was recorded."""
    model: str = ""
    """The model that its format or header names; empty if none does."""
    noise_lines: int = 0
    """How many lines of the file told of no operation."""

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, sorted."""
        return tuple(sorted({operation.key for operation in self.operations}))

    @property
    def indefinite(self) -> int:
        """How many operations have no return."""
        return sum(operation.returned is None for operation in self.operations)


@dataclass(slots=True)
class _Open:
    place: int
    index: int
    function: str
    key: str
    argument: "Value | tuple[Value, Value]"
    line: int


@dataclass
class HistoryRecorder:
    """Takes calls and returns as they are seen and makes a history of them.

    Raises `ConfigurationError` for what no sequential process does; `source` and the lines, if given, are named in it.
    """

    source: str = "history"
    _open: dict[int, _Open] = field(default_factory=dict)
    _operations: list[Operation | None] = field(default_factory=list)
    _events: int = 0

    def call(
        self,
        process: int,
        function: str,
        argument: "Value | tuple[Value, Value]" = None,
        *,
        key: str = "",
        line: int = 0,
    ) -> None:
        """The process called."""
        if process in self._open:
            raise self.error(
                line,
                f"process {process} calls {function} while its {self._called(process)} is open. End that one "
                "with ok, fail or info first",
            )
        if len(self._operations) >= MOST_OPERATIONS:
            raise self.error(
                line, f"there are over {MOST_OPERATIONS:,} operations. Check a part of the history"
            )
        self._open[process] = _Open(self._next_place(), len(self._operations), function, key, argument, line)
        self._operations.append(None)

    def ok(self, process: int, result: Value | bool = None, *, line: int = 0) -> None:
        """The process's call returned: what a read gave; True or False of a cas."""
        self._end(process, result, line, returned=True)

    def fail(self, process: int, *, line: int = 0) -> None:
        """The process's call did not happen: it is forgotten."""
        self._take(process, line)
        self._next_place()

    def info(self, process: int, *, line: int = 0) -> None:
        """Nobody knows whether the process's call happened, or will."""
        self._end(process, UNKNOWN, line, returned=False)

    def open_call(self, process: int, line: int = 0) -> tuple[str, str, "Value | tuple[Value, Value]"]:
        """Function, key and argument of the process's open call."""
        opened = self._open.get(process)
        if opened is None:
            raise self.error(
                line, f"process {process} returns but has not called. Put its invoke line before this one"
            )
        return opened.function, opened.key, opened.argument

    def finish(self, form: str = "", model: str = "", noise_lines: int = 0) -> History:
        """The history; what is open is indefinite. The recorder is then empty."""
        for process in list(self._open):
            self.info(process)
        operations = tuple(operation for operation in self._operations if operation is not None)
        history = History(operations, self._events, self.source, form, model, noise_lines)
        self._operations, self._events = [], 0
        return history

    def error(self, line: int, text: str) -> ConfigurationError:
        """An error that names the source and the line."""
        return ConfigurationError(f"{self.source}, line {line}: {text}" if line else f"{self.source}: {text}")

    def _called(self, process: int) -> str:
        opened = self._open[process]
        return opened.function + (f" of line {opened.line}" if opened.line else "")

    def _next_place(self) -> int:
        self._events += 1
        return self._events - 1

    def _take(self, process: int, line: int) -> _Open:
        self.open_call(process, line)
        return self._open.pop(process)

    def _end(self, process: int, result: "Value | bool | Unknown", line: int, *, returned: bool) -> None:
        opened = self._take(process, line)
        place = self._next_place()
        self._operations[opened.index] = Operation(
            process,
            opened.function,
            opened.key,
            opened.argument,
            result,
            opened.place,
            place if returned else None,
            opened.line,
            line,
        )

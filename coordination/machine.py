"""A replicated state machine: the key-value store that decided commands are applied to.

Rules:
* A command is a tuple (client, serial, operation, key, *arguments). A client numbers its commands from 1 and has one
  under way at a time, so that a command that was proposed again, after a time-out, takes effect once: the machine keeps
  each client's last serial and result (Ongaro 2014, section 6.3).
* `apply` is a function of the state and the command; `snapshot` and `restore` carry the whole state, sessions included.
* A command that is not well formed changes nothing and has the result None: a liar may have had it decided.
"""

from collections.abc import Callable
from typing import Any

Operation = Callable[[dict[str, Any], str, tuple[Any, ...]], Any]


def _get(store: dict[str, Any], key: str, _arguments: tuple[Any, ...]) -> Any:
    return store.get(key)


def _put(store: dict[str, Any], key: str, arguments: tuple[Any, ...]) -> Any:
    store[key] = arguments[0]
    return True


def _append(store: dict[str, Any], key: str, arguments: tuple[Any, ...]) -> Any:
    store[key] = f"{store.get(key) or ''}{arguments[0]}"
    return True


def _compare_and_swap(store: dict[str, Any], key: str, arguments: tuple[Any, ...]) -> Any:
    if store.get(key) != arguments[0]:
        return False
    store[key] = arguments[1]
    return True


_OPERATIONS: dict[str, tuple[int, Operation]] = {
    "get": (0, _get),
    "put": (1, _put),
    "append": (1, _append),
    "cas": (2, _compare_and_swap),
}


class KeyValueStore:
    """A map from text to values, with the operations get, put, append and cas (compare and swap)."""

    def __init__(self) -> None:
        self.store: dict[str, Any] = {}
        self.sessions: dict[int, tuple[int, Any]] = {}
        """Each client's last serial, and its result."""

    def apply(self, command: Any) -> Any:
        """Carries out a decided command and returns its result; the earlier one, if it was carried out before."""
        if not is_command(command):
            return None
        client, serial, name, key, *arguments = command
        last = self.sessions.get(client)
        if last is not None and last[0] >= serial:
            return last[1] if last[0] == serial else None
        result = _OPERATIONS[name][1](self.store, key, tuple(arguments))
        self.sessions[client] = (serial, result)
        return result

    def snapshot(self) -> tuple[Any, ...]:
        """The whole state, as plain data that does not change any more."""
        return (tuple(sorted(self.store.items())), tuple(sorted(self.sessions.items())))

    def restore(self, state: Any) -> None:
        """Takes over a state that `snapshot` gave, also one that came over the wire."""
        store, sessions = state
        self.store = dict(store)
        self.sessions = {client: (serial, result) for client, (serial, result) in sessions}


def is_command(command: Any) -> bool:
    """Whether the store can carry it out: the external validity of a log of its commands."""
    if not isinstance(command, (tuple, list)) or len(command) < 4:
        return False
    client, serial, name, key, *arguments = command
    known = _OPERATIONS.get(name) if isinstance(name, str) else None
    return (
        isinstance(client, int)
        and isinstance(serial, int)
        and isinstance(key, str)
        and known is not None
        and len(arguments) == known[0]
    )


def are_commands(commands: tuple[Any, ...]) -> bool:
    """Whether all of a batch can be carried out; for `Setting.valid`."""
    return all(map(is_command, commands))

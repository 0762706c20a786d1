"""What an agent that hosts a protocol keeps: the events that the protocol took, and the records that outlive it.

Rules:
* An event is kept as plain data, messages and records as their bytes, so that it is part of an agent's state; the same
  events lead a protocol to the same state.
* A batch on a disk is a packed list of (checkpoint, records); a checkpoint stands for all records before it.
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import msgspec

from actors.journal import JournalWriter, read_journal
from coordination.protocol import (
    Codec,
    Compact,
    Event,
    Instruct,
    Persisted,
    Propose,
    Receive,
    Restore,
    Tick,
)

_unpack = msgspec.msgpack.Decoder().decode


class Disk:
    """The records of one replica in a journal of their own.

    A directory has one writer in a process, whoever uses it: a replica that lost its state and starts again in the same
    process takes it over, and what its earlier self had still wanted to write is not written any more.
    """

    _writers: ClassVar[dict[Path, tuple["Disk", JournalWriter]]] = {}
    _lock: ClassVar[Lock] = Lock()

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self) -> list[bytes]:
        """All batches of records that are durable."""
        with self._lock:
            _, writer = self._writers.get(self.directory, (None, None))
            if writer is None:
                self.directory.mkdir(parents=True, exist_ok=True)
                writer = JournalWriter(self.directory, sync="disk")
            self._writers[self.directory] = (self, writer)
            return [payload for _, payload in read_journal(self.directory)]

    def write(self, batch: bytes) -> None:
        """Makes a batch durable."""
        with self._lock:
            owner, writer = self._writers[self.directory]
            if owner is self:
                writer.append(batch)


def kept_form(event: Event, codec: Codec) -> tuple[Any, ...]:
    """An event as plain data: messages and records as their bytes."""
    match event:
        case Receive():
            return ("receive", event.now, event.source, codec.encode(event.message))
        case Restore():
            return ("restore", event.now, [codec.encode(record) for record in event.records])
        case Propose():
            return ("propose", event.now, event.commands)
        case Persisted():
            return ("persisted", event.now, event.token)
        case Compact():
            return ("compact", event.now, event.slot, event.state)
        case Instruct():
            return ("instruct", event.now, event.order)
    return ("tick", event.now)


def event_from(kept: tuple[Any, ...], codec: Codec) -> Event:
    """The event that `kept_form` gave."""
    what, now, *rest = kept
    match what:
        case "receive":
            return Receive(now, rest[0], codec.decode(rest[1]))
        case "restore":
            return Restore(now, tuple(codec.decode(record) for record in rest[0]))
        case "propose":
            return Propose(now, rest[0])
        case "persisted":
            return Persisted(now, rest[0])
        case "compact":
            return Compact(now, rest[0], rest[1])
        case "instruct":
            return Instruct(now, rest[0])
    return Tick(now)


def records_from(batches: Sequence[bytes], codec: Codec) -> list[Any]:
    """The records that stand, in order, from the batches of a disk."""
    records: list[Any] = []
    for batch in batches:
        for checkpoint, encoded in _unpack(batch):
            if checkpoint:
                records = []
            records.extend(codec.decode(one) for one in encoded)
    return records

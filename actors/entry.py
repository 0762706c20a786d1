"""The entries of a cell's journal: all that a cell did that does not follow from what it did before.

A cell is a deterministic machine but for a few things, and each is an entry: which message was taken next, which wait
ended with what, what came from other cells, what the clock said, when a round began, and when a sender was held back.
Everything else (what agents send, spawn, draw and record) follows, and is made again by carrying out the entries in
order. A commit is the MessagePack list of the entries since the last one.
"""

from typing import Any

import msgspec

from actors.message import Message


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """One line of a journal."""


class Took(Entry, frozen=True, tag=0):
    """The agent at `address` began a turn with `message`."""

    address: str
    message: Message


class Answered(Entry, frozen=True, tag=1):
    """The ask that `message` answers (by `reply_to`) ended with it, and the agent went on."""

    address: str
    message: Message


class Fired(Entry, frozen=True, tag=2):
    """A timer fired: a sleeper or an ask past its deadline went on, or a delayed message set out."""

    tick: int
    address: str
    """Whose timer it was; the sender of a delayed message; empty for a crash."""
    number: int
    """The owner's own number: of the ask, of the timer, of the message, of the rule."""
    recipient: str = ""
    """Of a delayed message."""


class Finished(Entry, frozen=True, tag=3):
    """Call number `number` of the agent to the outside world ended, and the agent went on."""

    address: str
    number: int
    value: bytes
    """The result, as `actors.state` encodes it; empty if it raised."""
    error: str = ""


class Woke(Entry, frozen=True, tag=4):
    """Something of asyncio that the agent awaited by itself was over, and the agent went on."""

    address: str


class Held(Entry, frozen=True, tag=5):
    """The agent waited for room on the way of its message number `sequence`."""

    address: str
    sequence: int


class Released(Entry, frozen=True, tag=6):
    """An agent that was held went on."""

    address: str


class Arrived(Entry, frozen=True, tag=7):
    """A batch came from another cell: messages number `first` and on in the stream from `source`."""

    source: int
    epoch: int
    first: int
    count: int
    data: bytes


class Clock(Entry, frozen=True, tag=8):
    """Turns from here on saw this time, in seconds since the run began."""

    now: float


class Began(Entry, frozen=True, tag=9):
    """A round began; it delivers what each source had sent before the given stream numbers."""

    round: int
    boundaries: dict[int, int]


class Started(Entry, frozen=True, tag=10):
    """The agents that act by themselves were started."""


class Changed(Entry, frozen=True, tag=11):
    """From here on the cell follows its plan, not the one before it: the run was forked here."""


class Sent(Entry, frozen=True, tag=12):
    """A task of asyncio's own, which the agent at `address` had made, sent the agent's message number `sequence`."""

    address: str
    sequence: int


class Refused(Entry, frozen=True, tag=13):
    """The agent's message number `sequence` was not sent: the way had no room at all."""

    address: str
    sequence: int


AnyEntry = (
    Sent
    | Changed
    | Took
    | Answered
    | Fired
    | Finished
    | Woke
    | Held
    | Released
    | Refused
    | Arrived
    | Clock
    | Began
    | Started
)

encode_entries = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(list[AnyEntry]).decode


def decode_entries(payload: bytes) -> list[Any]:
    """The entries of one commit, in order. Raises `msgspec.DecodeError` for anything else."""
    return _decode_entries(payload)

"""What crosses Ray between a replica's callers and its actor: batches of requests one way, of answers the other.

Why batches: a Ray call costs 0.3 to 1.4 ms whatever it carries, and thousands of agents ask.

Rules:
* A batch is one `bytes` of MessagePack: Ray's cost is by the call and by the object.
* A request is decoded, and so checked, one by one: a bad one is answered and takes no other with it.
* An error arrives as what it was: its kind, its text, whether it is definite, and its plain values.
* Pieces of a stream that wait together travel as one: no call is made for a token.
"""

from typing import Any

import msgspec

from inference.completion import Completion
from inference.errors import BadRequest
from inference.failure import Failure
from inference.request import Request

BATCH_BYTES = 100_000
"""Up to here Ray sends a value with the call; beyond, through its object store, at a third of the rate."""


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A request on its way."""

    number: int
    """Of the session; never used twice."""
    request: msgspec.Raw
    streamed: bool = False
    adapter: str = ""
    prompt_ids: tuple[int, ...] | None = None


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """What a caller says: new requests, and those it no longer waits for."""

    asked: tuple[Asked, ...] = ()
    left: tuple[int, ...] = ()


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What came of a request: text so far, or the end of it, a completion or an error."""

    number: int
    pieces: tuple[tuple[int, str], ...] = ()
    """(sample, text), in order."""
    completion: Completion | None = None
    failure: Failure | None = None


class Answers(msgspec.Struct, frozen=True, array_like=True):
    """What an actor says."""

    number: int
    """Of the session's replies, from 1: they may overtake one another. 0: there is no such session; it took nothing."""
    answers: tuple[Answer, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_batch = msgspec.msgpack.Decoder(Batch)
_answers = msgspec.msgpack.Decoder(Answers)
_request = msgspec.msgpack.Decoder(Request)


def encoded(value: Any) -> bytes:
    """A batch or answers as bytes."""
    return _encoder.encode(value)


def encoded_request(request: Request) -> msgspec.Raw:
    """A request as bytes. Raises `BadRequest` if it holds a number that MessagePack has no place for."""
    try:
        return msgspec.Raw(_encoder.encode(request))
    except (OverflowError, TypeError, ValueError) as error:
        raise BadRequest(f"the request cannot be sent to the actor: {error}") from None


def decoded_request(data: msgspec.Raw | bytes) -> Request:
    """The request. Raises `BadRequest`."""
    try:
        return _request.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"the request arrived broken: {error}") from None


def decoded_batch(data: bytes) -> Batch:
    """A caller's batch. Raises `BadRequest`."""
    try:
        return _batch.decode(data)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"a batch of requests arrived broken: {error}") from None


def decoded_answers(data: bytes) -> Answers:
    """An actor's answers."""
    return _answers.decode(data)

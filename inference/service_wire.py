"""What crosses between a cell and the model service: batches of requests one way, batches of answers the other.

Rules:
* A batch is one `bytes` of MessagePack, never a list of pickled objects: Ray's cost is by the call and by the object.
* A request is decoded, and so checked, one by one: a bad one is answered and takes no other with it.
* An error arrives as what it was: its kind, its text, whether it is definite, and its plain values.
"""

import msgspec

from inference.completion import Completion
from inference.errors import BadRequest
from inference.failure import Failure
from inference.request import Request


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A request on its way. `trace` is the caller's span, as W3C Trace Context writes it; empty for none."""

    number: int
    request: msgspec.Raw
    trace: str = ""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What came of a request: a completion, or an error."""

    number: int
    completion: Completion | None = None
    failure: Failure | None = None


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """What the service says to a batch of requests."""

    session: str
    """Another than the caller's: that one is not known here, and nothing was taken."""
    requests: int = 0
    """Taken, from the batch's beginning. The rest found the service full."""
    waiting: int = 0
    """Requests that the service holds now, of all cells."""


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """Answers that are ready, and which to confirm."""

    session: str
    """Empty: the caller's is not known here, and what it waits for is lost."""
    last: int = 0
    """Number of the last answer in the delivery, counted by the session; the next call confirms it."""
    answers: tuple[msgspec.Raw, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_asked = msgspec.msgpack.Decoder(tuple[Asked, ...])
_request = msgspec.msgpack.Decoder(Request)
_answer = msgspec.msgpack.Decoder(Answer)
_taken = msgspec.msgpack.Decoder(Taken)
_delivery = msgspec.msgpack.Decoder(Delivery)


def encoded_request(request: Request) -> msgspec.Raw:
    """A request as bytes. Raises `BadRequest` if it holds a number that MessagePack has no place for."""
    try:
        return msgspec.Raw(_encoder.encode(request))
    except (OverflowError, TypeError, ValueError) as error:
        raise BadRequest(f"the request cannot be sent to the service: {error}") from None


def decoded_request(data: msgspec.Raw) -> Request:
    """The request. Raises `BadRequest`."""
    try:
        return _request.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"the request arrived broken: {error}") from None


def encoded_answer(answer: Answer) -> msgspec.Raw:
    """An answer as bytes."""
    return msgspec.Raw(_encoder.encode(answer))


def decoded_answer(data: msgspec.Raw) -> Answer:
    """The answer."""
    return _answer.decode(data)


def encoded(batch: list[Asked] | Taken | Delivery) -> bytes:
    """A batch, of either way."""
    return _encoder.encode(batch)


def decoded_batch(data: bytes) -> tuple[Asked, ...]:
    """The requests of a batch, each still to be decoded. Raises `BadRequest`."""
    try:
        return _asked.decode(data)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"a batch of requests arrived broken: {error}") from None


def decoded_taken(data: bytes) -> Taken:
    """What a service took."""
    return _taken.decode(data)


def decoded_delivery(data: bytes) -> Delivery:
    """What a service delivers, each answer still to be decoded."""
    return _delivery.decode(data)

"""The HTTP client of all endpoints: httpx2, with a bound on what an answer may hold.

* An answer, however it is encoded or streamed, is read up to a limit and no further.
* Redirects are not followed: a key goes to the host that was configured, and to no other.
* A request carries the key that was given here and the headers named here: none that the environment would add (the
  openai package reads an organisation and any headers from it), wherever the endpoint is.
* Compressed answers are not asked for and not taken: a few bytes of them could fill the memory.
"""

from collections.abc import AsyncIterator
from typing import Any

from inference.errors import DeadlinePassed, EngineDead, InvalidAnswer, LLMError, QueueFull
from inference.extra import optional
from inference.secret import Secret

EXTRA = "endpoints"
ANSWER_BYTES = 64 << 20
CONNECT_S = 10.0
CONNECTIONS = 1_000
HEADERS = frozenset(
    {"host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length"}
    | {"transfer-encoding"}
)
"""What a request may carry beside its key."""
_OPENAIS_OWN = "x-stainless-"
"""By which the openai package knows its own requests again: versions and platform."""


def open_client(idle_s: float, key: Secret | None, purpose: str, base_url: str = "") -> Any:
    """An `httpx2.AsyncClient`. `idle_s` is the longest silence of an endpoint. Raises `ExtraMissing`."""
    httpx2 = optional("httpx2", EXTRA, purpose)

    plain: Any = httpx2.AsyncByteStream

    class Bounded(plain):  # type: ignore[misc]  # httpx2 is optional, so a class that mypy cannot see
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = ANSWER_BYTES
            async for piece in self._stream:
                left -= len(piece)
                if left < 0:
                    raise InvalidAnswer(f"the endpoint's answer is over {ANSWER_BYTES:,} bytes")
                yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def dress(request: Any) -> None:
        for name in set(request.headers) - HEADERS:
            if not name.startswith(_OPENAIS_OWN):
                del request.headers[name]
        if key is not None:
            request.headers["Authorization"] = f"Bearer {key.reveal()}"

    async def bound(response: Any) -> None:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise InvalidAnswer(f"the endpoint's answer is compressed ({encoding!r:.40}), unasked")
        response.stream = Bounded(response.stream)

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(idle_s, connect=min(CONNECT_S, idle_s)),
        limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=100),
        headers={"Accept-Encoding": "identity"},
        event_hooks={"request": [dress], "response": [bound]},
        follow_redirects=False,
        base_url=base_url,
    )


def transport_error(error: BaseException, where: str) -> LLMError | None:
    """What an error of httpx2 means; None if it is none. Definite only if the request cannot have arrived."""
    httpx2 = optional("httpx2", EXTRA, "an endpoint")
    if isinstance(error, LLMError):
        return error
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return EngineDead(f"{where} cannot be called: {error}", definite=True)
    if isinstance(error, httpx2.PoolTimeout):
        return QueueFull(
            f"{where}: {CONNECTIONS:,} calls of this object are under way, and none has ended for long. "
            f"Put a LimitedLLM before it, which bounds them."
        )
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return EngineDead(f"{where} cannot be reached: {error or type(error).__name__}", definite=True)
    if isinstance(error, httpx2.TimeoutException):
        return DeadlinePassed(f"{where} has been silent for too long")
    if isinstance(error, httpx2.RequestError):
        return EngineDead(f"{where} broke off: {error or type(error).__name__}")
    return None

"""Models of an Ollama server, in its own protocol: chat with streaming, the list of models, pulls, keep-alive.

The protocol is `docs/api.md` of github.com/ollama/ollama: JSON objects, one a line. It needs httpx2, the client that
the openai package stands on (`rayswarm[endpoints]`).

What Ollama has not is refused with the mend rather than left out in silence: several samples of a prompt, regular
expressions, choices, grammars, forced tools, token ids, images by address.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec

from inference.completion import Completion, Delta
from inference.endpoint import Calls, EndpointSettings
from inference.endpoint_error import status_error
from inference.errors import EngineDead, InvalidAnswer
from inference.http_client import open_client, transport_error
from inference.llm import BaseLLM
from inference.ollama_chat import ChatAnswer, body_of
from inference.request import Request
from inference.retry import retry_after_s
from inference.secret import STRUCK
from inference.sse import LineDecoder

DEFAULT_URL = "http://localhost:11434"
_PURPOSE = "a model of an Ollama server"


class OllamaModel(msgspec.Struct, frozen=True):
    """A model that a server has. `digest` names its revision."""

    name: str
    digest: str = ""
    size: int = 0
    """Bytes."""


class PullProgress(msgspec.Struct, frozen=True):
    """What a pull is at. Counts are bytes of one file, None where nothing is being fetched."""

    status: str
    digest: str = ""
    total: int | None = None
    completed: int | None = None


class _Models(msgspec.Struct):
    models: tuple[OllamaModel, ...] | None = None


class OllamaLLM(BaseLLM):
    """A model by its name on an Ollama server."""

    def __init__(
        self,
        name: str,
        *,
        url: str = DEFAULT_URL,
        revision: str = "",
        keep_alive: str | int | None = None,
        context_tokens: int | None = None,
        settings: EndpointSettings | None = None,
    ) -> None:
        """`keep_alive` is how long the server holds the model afterwards: `5m`, seconds, -1 for ever, 0 not at all.

        `context_tokens` is the context that the server makes room for (`num_ctx`); a longer prompt it cuts in silence.
        """
        self._settings = settings or EndpointSettings()
        self._name = name
        self._keep_alive = keep_alive
        self._context_tokens = context_tokens
        self._where = f"{url} ({name})"
        self._identity = f"ollama:{url}#{name}" + (f"@{revision}" if revision else "")
        self._http = open_client(self._settings.idle_s, self._settings.key, _PURPOSE, url)
        self._calls = Calls(self._settings, self._where)

    @property
    def identity(self) -> str:
        """`ollama:URL#name@revision`. Pin the revision to the digest that `models` tells, if it matters."""
        return self._identity

    async def complete(self, request: Request) -> Completion:
        """The model's answer."""
        return await self._calls.complete(request, self._whole)

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The model's answer as the server sends it."""
        async with aclosing(self._calls.stream(request, self._pieces)) as stream:
            async for delta in stream:
                yield delta

    async def models(self) -> tuple[OllamaModel, ...]:
        """The models that the server has."""
        return await self._listed("/api/tags")

    async def running(self) -> tuple[OllamaModel, ...]:
        """Of them, those in memory now."""
        return await self._listed("/api/ps")

    async def pull(self) -> AsyncGenerator[PullProgress, None]:
        """Fetches this model to the server, and tells how far it is. A pull that is left can be taken up again."""
        last = PullProgress("")
        async with aclosing(self._lines("/api/pull", {"model": self._name, "stream": True})) as lines:
            async for line in lines:
                last = self._decoded(line, PullProgress)
                yield last
        if last.status != "success":
            raise EngineDead(
                f"{self._where}: the pull broke off at {last.status!r:.80}. Pull again to go on."
            )

    async def aclose(self) -> None:
        """Closes the connections. The server keeps the model as `keep_alive` says."""
        await self._http.aclose()

    async def _whole(self, request: Request) -> Completion:
        async with aclosing(self._pieces(request)) as pieces:
            async for delta in pieces:
                if delta.completion is not None:
                    return delta.completion
        raise AssertionError("pieces end with the completion")

    async def _pieces(self, request: Request) -> AsyncGenerator[Delta, None]:
        answer = ChatAnswer(request, self._where, self._context_tokens)
        body = body_of(request, self._name, self._keep_alive, self._context_tokens)
        async with aclosing(self._lines("/api/chat", body)) as lines:
            async for line in lines:
                text = answer.take(line)
                if text:
                    yield Delta(text)
        yield Delta(completion=answer.completion())

    async def _listed(self, path: str) -> tuple[OllamaModel, ...]:
        async with self._answer("GET", path, None) as response:
            body = self._scrubbed(await response.aread())
        return self._decoded(body, _Models).models or ()

    async def _lines(self, path: str, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """The lines of an answer, empty ones left out. Raises the error that a line tells."""
        decoder = LineDecoder()
        async with self._answer("POST", path, body) as response:
            async for piece in response.aiter_bytes():
                for line in decoder.feed(piece):
                    if line.strip():
                        yield self._checked(line)
            last = decoder.finish()
            if last.strip():
                yield self._checked(last)

    @asynccontextmanager
    async def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> AsyncIterator[Any]:
        """The server's response, open. Whatever goes wrong while it is open is an `LLMError`."""
        try:
            async with self._http.stream(method, path, json=body) as response:
                if response.status_code != 200:
                    wait_s = retry_after_s(response.headers.get("retry-after"), time.time())
                    text = self._scrubbed(await response.aread())
                    raise status_error(response.status_code, text, wait_s, self._where)
                yield response
        except Exception as error:
            meant = transport_error(error, self._where)
            if meant is None or meant is error:
                raise
            raise meant from None

    def _scrubbed(self, data: bytes) -> bytes:
        """What the server says, without the key, before anything of it is cut off."""
        key = self._settings.key
        return data if key is None else data.replace(key.reveal().encode(), STRUCK.encode())

    def _checked(self, line: bytes) -> bytes:
        line = self._scrubbed(line)
        if b'"error"' in line:
            told = self._decoded(line, dict[str, Any]).get("error")
            if told:
                raise status_error(500, line, None, self._where)
        return line

    def _decoded(self, data: bytes, kind: Any) -> Any:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidAnswer(
                f"{self._where} sent what is no answer ({error}): {data[:200].decode(errors='replace')!r}"
            ) from None

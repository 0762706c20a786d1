"""Models behind OpenAI's chat completions API: vLLM's own server, SGLang, llama.cpp, cloud endpoints.

The `openai` package makes the calls, with its retries off (`max_retries=0`): ours know what is definite, keep to
`Retry-After`, and stop at the request's deadline. It is an optional dependency (`rayswarm[endpoints]`).

Rules:
* The key is named by its source and read when a call is made. It is in no error, completion, log or pickle, and goes to
  the configured address only.
* An answer is read up to a bound, checked field by field, and never used in part.
* One object serves one event loop. A caller that goes away closes its connection, which makes a server stop computing.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from inference.completion import Completion, Delta
from inference.endpoint import Calls, EndpointSettings
from inference.endpoint_error import status_error
from inference.errors import EngineDead
from inference.extra import optional
from inference.http_client import EXTRA, open_client, transport_error
from inference.llm import BaseLLM
from inference.openai_answer import Assembly
from inference.openai_body import body_of, is_openais_own
from inference.request import Request
from inference.retry import retry_after_s
from inference.secret import STRUCK
from inference.sse import EventDecoder

_PURPOSE = "a model behind an OpenAI-compatible endpoint"
_DONE = b"[DONE]"
_DRAIN_S = 0.5
_KEY_IS_IN_THE_CLIENT = "none"


class OpenAICompatLLM(BaseLLM):
    """A model by its endpoint's address (with `/v1`) and its name there."""

    def __init__(
        self, base_url: str, name: str, *, revision: str = "", settings: EndpointSettings | None = None
    ) -> None:
        self._openai = optional("openai", EXTRA, _PURPOSE)
        self._settings = settings or EndpointSettings()
        self._name = name
        self._openais_own = is_openais_own(base_url)
        self._where = f"{base_url} ({name})"
        self._identity = f"openai:{base_url}#{name}" + (f"@{revision}" if revision else "")
        self._http = open_client(self._settings.idle_s, self._settings.key, _PURPOSE)
        self._client = self._openai.AsyncOpenAI(
            api_key=_KEY_IS_IN_THE_CLIENT, base_url=base_url, max_retries=0, http_client=self._http
        )
        self._calls = Calls(self._settings, self._where)

    @property
    def identity(self) -> str:
        """`openai:URL#name@revision`."""
        return self._identity

    async def complete(self, request: Request) -> Completion:
        """The model's answer."""
        return await self._calls.complete(request, self._whole)

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The model's answer as its server sends it."""
        async with aclosing(self._calls.stream(request, self._pieces)) as stream:
            async for delta in stream:
                yield delta

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _whole(self, request: Request) -> Completion:
        assembly = Assembly(request, self._where, streamed=False)
        async with self._answer(request, stream=False) as response:
            body = await response.read()
        for _delta in assembly.take(self._scrubbed(body)):
            pass
        return assembly.completion()

    async def _pieces(self, request: Request) -> AsyncGenerator[Delta, None]:
        assembly = Assembly(request, self._where, streamed=True)
        decoder = EventDecoder()
        async with self._answer(request, stream=True) as response:
            stream = response.iter_bytes()
            async for piece in stream:
                for data in decoder.feed(piece):
                    if data.strip() == _DONE:
                        completion = assembly.completion()
                        await _drained(stream)
                        yield Delta(completion=completion)
                        return
                    for delta in assembly.take(self._scrubbed(data)):
                        yield delta
        yield Delta(completion=assembly.completion())

    @asynccontextmanager
    async def _answer(self, request: Request, *, stream: bool) -> AsyncIterator[Any]:
        """The endpoint's response, open. Whatever goes wrong while it is open is an `LLMError`."""
        body = body_of(request, self._name, stream=stream, openais_own=self._openais_own)
        create = self._client.chat.completions.with_streaming_response.create
        try:
            async with create(**body) as response:
                yield response
        except self._openai.APIStatusError as error:
            wait_s = retry_after_s(error.response.headers.get("retry-after"), time.time())
            said = self._scrubbed(error.response.content)
            raise status_error(error.status_code, said, wait_s, self._where) from None
        except self._openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise transport_error(cause, self._where) or EngineDead(
                f"{self._where} failed: {error}"
            ) from None
        except Exception as error:
            meant = transport_error(error, self._where)
            if meant is None or meant is error:
                raise
            raise meant from None

    def _scrubbed(self, data: bytes) -> bytes:
        """What the endpoint says, without the key: some echo what they were sent."""
        key = self._settings.key
        return data if key is None else data.replace(key.reveal().encode(), STRUCK.encode())


async def _drained(stream: AsyncIterator[bytes]) -> None:
    """Reads the end of an answer after its last word, so that its connection can be used again.

    Whatever goes wrong here does the answer no harm, which is whole.
    """
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_S):
            async for _piece in stream:
                pass

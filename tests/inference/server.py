"""A real HTTP server on the loopback that answers as it is told, well and badly: for the tests of endpoints.

A behaviour is an async function of the request and the open connection. Requests take the behaviours in order; the last
one stays. The server keeps what it was asked.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """What it is asked, and how it answers."""

    url: str
    behaviours: list[Behaviour]
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client went away while it was being answered."""

    def next(self) -> Behaviour:
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


@asynccontextmanager
async def serving(*behaviours: Behaviour) -> AsyncIterator[Server]:
    """A server that runs; what hangs in it ends with it."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        server.connections += 1
        try:
            while True:
                asked = await _read(reader)
                if asked is None:
                    break
                server.asked.append(asked)
                await _answer(server, asked, reader, writer)
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            server.left.set()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            handlers.discard(task)
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    server = Server(f"http://{host}:{port}", list(behaviours))
    try:
        yield server
    finally:
        listener.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def _answer(
    server: Server, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answers, unless the client goes away before."""
    answering = asyncio.ensure_future(server.next()(asked, writer))
    leaving = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ConnectionError
        answering.result()
        await writer.drain()
    finally:
        answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode().split("\r\n")
    method, path, _version = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


# --- Behaviours -----------------------------------------------------------------------------------------------


def whole(status: int, body: Any, headers: dict[str, str] | None = None) -> Behaviour:
    """An answer with its length; what is no bytes is written as JSON."""

    async def behave(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + data)

    return behave


def chunked(pieces: Iterable[bytes], *, ending: str = "end", kind: str = "text/event-stream") -> Behaviour:
    """An answer in chunks. `ending`: `end` properly, `close` in the middle, `hang` for ever."""

    async def behave(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for piece in pieces:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        if ending == "hang":
            await asyncio.Event().wait()
        if ending == "close":
            writer.close()
        else:
            writer.write(b"0\r\n\r\n")

    return behave


async def hang(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing."""
    await asyncio.Event().wait()


async def close(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Takes the request and goes away."""
    writer.close()


def events(*data: Any, done: bool = True) -> list[bytes]:
    """Server-sent events; what is no bytes is written as JSON."""
    said = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in data]
    return [b"data: " + item + b"\n\n" for item in [*said, *([b"[DONE]"] if done else [])]]


# --- OpenAI's protocol ----------------------------------------------------------------------------------------


def chat(text: str = "Hello there.", **choice: Any) -> dict[str, Any]:
    """A whole answer of OpenAI's API."""
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
                **choice,
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }


def chunk(
    delta: dict[str, Any] | None, reason: str | None = None, index: int = 0, **choice: Any
) -> dict[str, Any]:
    """An event of OpenAI's API; without a delta the one that tells the usage."""
    said = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": reason, **choice}]
    usage = {} if delta is not None else {"usage": {"prompt_tokens": 10, "completion_tokens": 3}}
    return {"id": "1", "object": "chat.completion.chunk", "model": "served", "choices": said, **usage}


async def openai(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers anything, whole or streamed, with as many samples as are asked for."""
    samples = asked.json.get("n", 1)
    if not asked.json.get("stream"):
        answer = chat()
        answer["choices"] = [{**answer["choices"][0], "index": number} for number in range(samples)]
        await whole(200, answer)(asked, writer)
        return
    said = [chunk({"content": text}, index=number) for text in ("Hel", "lo.") for number in range(samples)]
    ends = [chunk({}, "stop", index=number) for number in range(samples)]
    await chunked(events(*said, *ends, chunk(None)))(asked, writer)


# --- Ollama's -------------------------------------------------------------------------------------------------


def lines(*data: Any) -> list[bytes]:
    """Newline-delimited JSON; what is no bytes is written as JSON."""
    return [(item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in data]


OLLAMA_END = {
    "model": "tiny",
    "message": {"role": "assistant", "content": ""},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 10,
    "eval_count": 3,
}


def ollama_says(*texts: str, **end: Any) -> Behaviour:
    """A streamed answer of `/api/chat`."""
    said = [
        {"model": "tiny", "message": {"role": "assistant", "content": text}, "done": False} for text in texts
    ]
    return chunked(lines(*said, {**OLLAMA_END, **end}), kind="application/x-ndjson")

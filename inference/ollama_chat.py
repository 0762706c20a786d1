"""A request as the body of Ollama's `/api/chat`, and its answer's lines as a completion. Pure."""

from typing import Any

import msgspec

from inference.completion import Choice, Completion, FinishReason, TokenLogprob, Usage
from inference.cut_note import cut_notes
from inference.errors import BadRequest, EngineDead, InvalidAnswer
from inference.message import ChatMessage, ToolCall
from inference.openai_body import tools_of
from inference.request import Request
from inference.simple_tokenizer import count_text, prompt_tokens

_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repetition_penalty": "repeat_penalty",
    "max_tokens": "num_predict",
}
"""Ours to Ollama's. All are sent: its defaults are not neutral (temperature 0.8, top_k 40, repeat_penalty 1.1)."""


def body_of(
    request: Request, name: str, keep_alive: str | int | None, context_tokens: int | None
) -> dict[str, Any]:
    """The body. Raises `BadRequest` for what Ollama has not."""
    sampling, schema = request.sampling, request.response_schema
    if sampling.n > 1:
        raise BadRequest(
            f"n is {sampling.n}, and Ollama gives one sample: ask {sampling.n} times, with seeds"
        )
    if schema is not None and schema.kind != "json_schema":
        raise BadRequest(f"Ollama keeps to no {schema.kind}: give a JSON schema (a choice is an enum)")
    if request.tool_choice not in ("auto", "none"):
        raise BadRequest(
            f"tool_choice is {request.tool_choice!r}, and Ollama forces no tool: give auto or none"
        )
    if request.token_ids:
        raise BadRequest("Ollama tells no token ids: leave token_ids out")
    options: dict[str, Any] = {theirs: getattr(sampling, ours) for ours, theirs in _OPTIONS.items()}
    if sampling.seed is not None:
        options["seed"] = sampling.seed & 0x7FFFFFFF  # its seed is a 32-bit integer
    if sampling.stop:
        options["stop"] = list(sampling.stop)
    if context_tokens is not None:
        options["num_ctx"] = context_tokens
    body: dict[str, Any] = {
        "model": name,
        "messages": _messages(request.messages),
        "options": options,
        "stream": True,
    }
    if request.tools and request.tool_choice == "auto":
        body["tools"] = tools_of(request, strict=False)
    if schema is not None:
        body["format"] = schema.value
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    return body


def _messages(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """A result names its tool and not its call: the last call before it that has its id."""
    tools: dict[str, str] = {}
    said = []
    for message in messages:
        said.append(_message(message, tools))
        tools |= {call.id: call.name for call in message.tool_calls}
    return said


def _message(message: ChatMessage, tools: dict[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.images:
        if not all(url.startswith("data:") for url in message.images):
            raise BadRequest("Ollama fetches no images: give them as data:image/TYPE;base64,...")
        said["images"] = [url.partition(",")[2] for url in message.images]
    if message.tool_call_id:
        said["tool_name"] = tools[message.tool_call_id]
    if message.tool_calls:
        said["tool_calls"] = [{"function": _called(call)} for call in message.tool_calls]
    return said


def _called(call: ToolCall) -> dict[str, Any]:
    try:
        return {"name": call.name, "arguments": call.values()}
    except ValueError as error:
        raise BadRequest(f"Ollama takes arguments as JSON only: {error}") from None


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] = {}


class _Call(msgspec.Struct):
    function: _Function


class _Said(msgspec.Struct):
    content: str = ""
    tool_calls: list[_Call] | None = None


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Token(_Top):
    top_logprobs: list[_Top] | None = None


class _Line(msgspec.Struct):
    message: _Said | None = None
    done: bool = False
    done_reason: str = ""
    model: str = ""
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    logprobs: list[_Token] | None = None


class ChatAnswer:
    """An answer as it comes together, line by line."""

    def __init__(self, request: Request, where: str, context_tokens: int | None) -> None:
        self._request = request
        self._where = where
        self._context_tokens = context_tokens
        self._text: list[str] = []
        self._calls: list[ToolCall] = []
        self._logprobs: list[TokenLogprob] = []
        self._last: _Line | None = None

    def take(self, line: bytes) -> str:
        """The text in a line."""
        try:
            told = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidAnswer(
                f"{self._where} sent what is no answer ({error}): {line[:200].decode(errors='replace')!r}"
            ) from None
        said = told.message or _Said()
        for call in said.tool_calls or ():
            arguments = msgspec.json.encode(call.function.arguments).decode()
            # Ollama names no calls: their places in the conversation do.
            place = f"call_{len(self._request.messages)}_{len(self._calls)}"
            self._calls.append(ToolCall(place, call.function.name, arguments))
        for token in told.logprobs or ():
            top = tuple((other.token, other.logprob) for other in token.top_logprobs or ())
            self._logprobs.append(TokenLogprob(token.token, token.logprob, top))
        if said.content:
            self._text.append(said.content)
        if told.done:
            self._last = told
        return said.content

    def completion(self) -> Completion:
        """The whole answer. Raises `EngineDead` if it broke off."""
        last = self._last
        if last is None:
            raise EngineDead(f"{self._where} broke off before the answer was whole")
        reason: FinishReason = "stop"
        if last.done_reason == "length":
            reason = "length"
        elif self._calls:
            reason = "tool_calls"
        wanted = self._request.sampling.logprobs is not None
        choice = Choice(
            "".join(self._text),
            tuple(self._calls),
            reason,
            logprobs=tuple(self._logprobs) if wanted else None,
        )
        usage = self._usage(last, choice)
        notes = (*self._notes(last), *cut_notes((choice,), usage, self._request))
        return Completion((choice,), usage, last.model, notes=notes)

    def _usage(self, last: _Line, choice: Choice) -> Usage:
        if last.prompt_eval_count is None or last.eval_count is None:
            return Usage(prompt_tokens(self._request), count_text(choice.text), estimated=True)
        if min(last.prompt_eval_count, last.eval_count) < 0:
            raise InvalidAnswer(f"{self._where} counts tokens below zero")
        return Usage(last.prompt_eval_count, last.eval_count)

    def _notes(self, last: _Line) -> tuple[str, ...]:
        used = (last.prompt_eval_count or 0) + (last.eval_count or 0)
        if self._context_tokens is not None and used >= self._context_tokens:
            return (f"the context of {self._context_tokens:,} tokens is full: the prompt may have been cut",)
        return ()

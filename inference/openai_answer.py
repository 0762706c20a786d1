"""Answers of OpenAI's chat completions API, whole or streamed, as completions. Pure; every field is checked.

Rules:
* An answer that the protocol does not allow raises `InvalidAnswer` with the place, and nothing of it is used.
* A stream is whole when every choice has its finish reason. One that ends before that broke off (`EngineDead`).
* `content_filter` and a `refusal` are `Refused`. A finish reason that nobody knows is taken for `stop`, and noted.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from inference.completion import Choice, Completion, Delta, FinishReason, TokenLogprob, Usage
from inference.cut_note import cut_notes
from inference.endpoint_error import status_error
from inference.errors import EngineDead, InvalidAnswer, Refused
from inference.message import ToolCall
from inference.request import Request
from inference.simple_tokenizer import count_text, prompt_tokens

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_CALLS = 128


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Token(_Top):
    top_logprobs: list[_Top] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Said(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str = ""
    error: Any = None


class _Sample:
    """A choice as it comes together."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, list[str]] = {}
        """Of each call by its index: id, name, arguments so far."""
        self.reason: str | None = None
        self.logprobs: list[TokenLogprob] = []
        self.token_ids: list[int] | None = None

    def add_call(self, index: int, call: _Call) -> None:
        """A whole call, or the next piece of one."""
        if not 0 <= index < _CALLS:
            raise InvalidAnswer(f"tool call {index}: at most {_CALLS} are taken")
        known = self.calls.setdefault(index, ["", "", ""])
        for place, piece in enumerate((call.id, call.function.name, call.function.arguments)):
            if place < 2 and known[place] == piece:
                continue  # some servers repeat id and name with each piece
            known[place] += piece or ""


class Assembly:
    """An answer as it comes together, from one whole body or from the events of a stream."""

    def __init__(self, request: Request, where: str, *, streamed: bool) -> None:
        self._request = request
        self._streamed = streamed
        self._where = where
        self._samples = [_Sample() for _ in range(request.sampling.n)]
        self._usage: _Usage | None = None
        self._model = ""

    def take(self, data: bytes) -> Iterator[Delta]:
        """The text in a body or an event. Raises what the endpoint tells in it, or what is wrong with it."""
        try:
            answer = msgspec.json.decode(data, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidAnswer(
                f"{self._where} sent what is no answer ({error}): {data[:200].decode(errors='replace')!r}"
            ) from None
        if answer.error is not None:
            code = answer.error.get("code") if isinstance(answer.error, dict) else None
            raise status_error(code if isinstance(code, int) else 500, data, None, self._where)
        self._model = answer.model or self._model
        self._usage = answer.usage or self._usage
        for choice in answer.choices or ():
            if not 0 <= choice.index < len(self._samples):
                raise InvalidAnswer(
                    f"{self._where} sent choice {choice.index}, and {len(self._samples)} were asked for"
                )
            yield from self._add(choice, self._samples[choice.index])

    def _add(self, choice: _Choice, sample: _Sample) -> Iterator[Delta]:
        said = choice.message or choice.delta or _Said()
        sample.reason = choice.finish_reason or sample.reason
        sample.refusal.append(said.refusal or "")
        whole = choice.message is not None
        for number, call in enumerate(said.tool_calls or ()):
            sample.add_call(number if whole else call.index, call)
        if choice.logprobs is not None:
            sample.logprobs += map(_logprob, choice.logprobs.content or ())
        if choice.token_ids is not None:
            sample.token_ids = (sample.token_ids or []) + choice.token_ids
        if said.content:
            sample.text.append(said.content)
            yield Delta(said.content, choice.index)

    def completion(self) -> Completion:
        """The whole answer. Raises `EngineDead` if it broke off, `Refused` if the model or a filter declined."""
        notes: list[str] = []
        choices = tuple(self._choice(sample, notes) for sample in self._samples)
        usage = self._counted(choices)
        notes += cut_notes(choices, usage, self._request)
        return Completion(choices, usage, self._model, notes=tuple(dict.fromkeys(notes)))

    def _choice(self, sample: _Sample, notes: list[str]) -> Choice:
        refusal = "".join(sample.refusal)
        if sample.reason == "content_filter" or refusal:
            raise Refused(f"{self._where} declined: {refusal or 'its content filter'}")
        if sample.reason is None and not self._streamed:
            raise InvalidAnswer(f"{self._where} sent an answer without its choices and their finish reasons")
        if sample.reason is None or sample.reason == "abort":
            raise EngineDead(f"{self._where} broke off before the answer was whole")
        if sample.reason not in _REASONS:
            notes.append(f"the finish reason {sample.reason[:40]!r} was taken for stop")
        calls = tuple(
            ToolCall(call_id or f"call_{len(self._request.messages)}_{index}", name, arguments or "{}")
            for index, (call_id, name, arguments) in sorted(sample.calls.items())
        )
        if not all(call.name for call in calls):
            raise InvalidAnswer(f"{self._where} sent a tool call without a name")
        wanted = self._request.sampling.logprobs is not None
        return Choice(
            "".join(sample.text),
            calls,
            # Some servers say `stop` of an answer that asks for tools.
            "tool_calls" if calls and sample.reason == "stop" else _REASONS.get(sample.reason, "stop"),
            None if sample.token_ids is None else tuple(sample.token_ids),
            tuple(sample.logprobs) if wanted else None,
        )

    def _counted(self, choices: tuple[Choice, ...]) -> Usage:
        if self._usage is None:
            said = sum(
                count_text(text)
                for choice in choices
                for text in (choice.text, *(call.name + call.arguments for call in choice.tool_calls))
            )
            return Usage(prompt_tokens(self._request), said, estimated=True)
        details = self._usage.prompt_tokens_details
        cached = None if details is None else details.cached_tokens
        counts = (self._usage.prompt_tokens, self._usage.completion_tokens, cached or 0)
        if min(counts) < 0 or counts[2] > counts[0]:
            raise InvalidAnswer(f"{self._where} counts tokens as no one can: {counts}")
        return Usage(self._usage.prompt_tokens, self._usage.completion_tokens, cached)


def _logprob(token: _Token) -> TokenLogprob:
    # vLLM tells the token that was drawn first, however unlikely.
    top = sorted(token.top_logprobs or (), key=lambda other: -other.logprob)
    return TokenLogprob(token.token, token.logprob, tuple((other.token, other.logprob) for other in top))

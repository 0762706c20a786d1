"""Tool calls as a model's family writes them: read by vLLM's parsers, and held to their schemas while they are written.

Rules:
* The family is told from the chat template, by the marks that it writes; a setting overrides it.
* A tool that is `strict` binds: once the model begins a call, its arguments follow the schema. `required` and a tool's
  name as the choice bind strictly too, and force a call. The form is imposed by a structural tag (xgrammar).
* What a parser reads is checked: a call of a tool that was not given stays text, with a note. Arguments of a tool that
  is not strict are as the model wrote them.
* Pieces of a stream are text only; calls come with the completion. What was said is never taken back.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from inference.errors import BadRequest, ConfigurationError
from inference.extra import optional
from inference.message import ToolCall
from inference.request import Request, Tool
from inference.vllm_prompt import template_tool
from inference.vllm_sampling import bounded_strings

_KEPT = 256
_MARKS = (
    ("[TOOL_CALLS]", "mistral"),
    ("<|python_tag|>", "llama3_json"),
    ("<｜tool▁calls▁begin｜>", "deepseek_v3"),  # noqa: RUF001  # DeepSeek writes these very characters
    ("<arg_key>", "glm45"),
    ("<function=", "qwen3_coder"),
    ("<tool_call>", "hermes"),
)
"""A mark in a chat template, and vLLM's parser; the first that is found. `hermes` is Qwen2.5's and Qwen3's form too."""

_encode = msgspec.msgpack.Encoder().encode


class Formed:
    """Tools as vLLM takes them: made once for all requests that have the same."""

    def __init__(self, parser: Any, asked: Any, tag: str | None, names: frozenset[str]) -> None:
        self.parser = parser
        self.asked = asked
        self.tag = tag
        self.names = names


class ToolFormat:
    """The form of one model's tool calls."""

    def __init__(self, tokenizer: Any, parser: str | None, template: str) -> None:
        """`parser` by vLLM's name, or None to tell it from the template. Raises `ConfigurationError`."""
        self._tokenizer = tokenizer
        self.name = parser or told_from(template)
        self._kind: Any = None
        self._formed: OrderedDict[bytes, Formed] = OrderedDict()
        if self.name:
            parsers = optional("vllm.tool_parsers", "vllm", "tool calls").ToolParserManager
            known = parsers.list_registered()
            if self.name not in known:
                raise ConfigurationError(f"tool_parser is {self.name!r}: give one of {', '.join(known)}")
            self._kind = parsers.get_tool_parser(self.name)

    def form(self, request: Request) -> Formed | None:
        """What holds and reads the request's calls; None if it can have none. Raises `BadRequest`."""
        if not request.tools or request.tool_choice == "none":
            return None
        if self._kind is None:
            raise BadRequest(
                "the request has tools, and the chat template does not tell how this model calls them: set tool_parser"
            )
        key = _encode((request.tools, request.tool_choice))
        formed = self._formed.get(key)
        if formed is None:
            formed = self._formed[key] = self._make(request.tools, request.tool_choice)
            while len(self._formed) > _KEPT:
                self._formed.popitem(last=False)
        self._formed.move_to_end(key)
        return formed

    def _make(self, tools: Sequence[Tool], choice: str) -> Formed:
        protocol = optional("vllm.entrypoints.openai.chat_completion.protocol", "vllm", "tool calls")
        asked = protocol.ChatCompletionRequest(
            messages=[{"role": "user", "content": ""}],
            model="",
            tools=[_bound(tool) for tool in tools],
            tool_choice=choice
            if choice in ("auto", "required")
            else {"type": "function", "function": {"name": choice}},
        )
        try:
            tag = self._kind(self._tokenizer, asked.tools).get_structural_tag(asked)
        except Exception as error:  # of many kinds, by the family
            raise BadRequest(f"the tools have no form that can be imposed ({error!s:.300})") from None
        if tag is None and choice != "auto":
            raise BadRequest(
                f"tool_choice is {choice!r}, and vLLM's parser {self.name} cannot force a call: write 'auto'"
            )
        names = frozenset(tool.name for tool in tools)
        text = None if tag is None else msgspec.json.encode(_terse(tag.model_dump(mode="json"))).decode()
        return Formed(self._kind, asked, text, names)

    def read(self, formed: Formed, text: str, turn: int) -> tuple[str, tuple[ToolCall, ...], str]:
        """(text beside the calls, calls, a note or nothing) of a whole answer. No two turns share a call's id."""
        told = formed.parser(self._tokenizer, formed.asked.tools).extract_tool_calls(text, formed.asked)
        if not told.tools_called:
            return text, (), ""
        unknown = [call.function.name for call in told.tool_calls if call.function.name not in formed.names]
        if unknown:
            return (
                text,
                (),
                f"the model called {unknown[0][:80]!r}, which is none of the tools; it stays text",
            )
        calls = tuple(
            ToolCall(f"call_{turn}_{number}", call.function.name, call.function.arguments or "{}")
            for number, call in enumerate(told.tool_calls)
        )
        return told.content or "", calls, ""

    def stream(self, formed: Formed) -> "ToolStream":
        """Reads one sample piece by piece."""
        return ToolStream(formed.parser(self._tokenizer, formed.asked.tools), formed.asked)


class ToolStream:
    """One sample as it comes: which of it is text to be said at once."""

    def __init__(self, parser: Any, asked: Any) -> None:
        self._parser = parser
        self._asked = asked
        self._text = ""
        self._ids: list[int] = []

    def take(self, piece: str, ids: Sequence[int]) -> str:
        """The next piece; gives the text in it that is surely none of a call."""
        before, before_ids = self._text, list(self._ids)
        self._text += piece
        self._ids += ids
        told = self._parser.extract_tool_calls_streaming(
            before, self._text, piece, before_ids, self._ids, list(ids), self._asked
        )
        return "" if told is None else told.content or ""


def told_from(template: str) -> str | None:
    """vLLM's parser for the calls that a chat template writes; None if it writes none that is known."""
    return next((parser for mark, parser in _MARKS if mark in template), None)


def _terse(tag: Any) -> Any:
    """A structural tag whose JSON has one space in a row at most: a model that is free to may write nothing else."""
    if isinstance(tag, list):
        return [_terse(part) for part in tag]
    if not isinstance(tag, dict):
        return tag
    if tag.get("type") == "json_schema":  # its schema is the tool's own, and not looked into
        return tag | {"max_whitespace_cnt": 1}
    return {name: _terse(part) for name, part in tag.items()}


def _bound(tool: Tool) -> dict[str, Any]:
    plain = template_tool(tool)
    plain["function"] |= {"strict": tool.strict, "parameters": bounded_strings(tool.parameters)}
    return plain

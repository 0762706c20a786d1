"""A request as the token ids that the model reads: rendered once, by the model's chat template.

Rules:
* The same messages and tools give the same ids, so that what they begin with is found in the prefix cache.
* What was rendered is kept, up to a number of tokens: a prompt that is counted and then asked is rendered once.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from inference.errors import BadRequest
from inference.message import ChatMessage
from inference.request import Request, Tool

PROMPT_TOKENS = 1 << 22
"""Of a prompt given as ids."""
_encode = msgspec.msgpack.Encoder().encode


class PromptRenderer:
    """Renders for one tokenizer."""

    def __init__(self, tokenizer: Any, template: str | None, kept_tokens: int) -> None:
        """`template`: in place of the tokenizer's own. `kept_tokens`: of prompts that are remembered."""
        self._tokenizer = tokenizer
        self._template = template
        self._kept_tokens = kept_tokens
        self._tokens = 0
        self._kept: OrderedDict[bytes, list[int]] = OrderedDict()

    def render(self, request: Request) -> list[int]:
        """The ids; not to be changed. Raises `BadRequest` where the template does not take the messages."""
        tools = () if request.tool_choice == "none" else request.tools
        key = _encode((request.messages, tools))
        ids = self._kept.get(key)
        if ids is not None:
            self._kept.move_to_end(key)
            return ids
        ids = self._render(request.messages, tools)
        self._kept[key] = ids
        self._tokens += len(ids)
        while self._tokens > self._kept_tokens:
            _key, dropped = self._kept.popitem(last=False)
            self._tokens -= len(dropped)
        return ids

    def _render(self, messages: Sequence[ChatMessage], tools: Sequence[Tool]) -> list[int]:
        talk = [template_message(message) for message in messages]
        try:
            ids: list[int] = self._tokenizer.apply_chat_template(
                talk,
                tools=[template_tool(tool) for tool in tools] or None,
                chat_template=self._template,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        except Exception as error:  # a template is a program: it raises what it likes
            raise BadRequest(
                f"the model's chat template does not take these messages ({type(error).__name__}: {error!s:.300})"
            ) from None
        return ids


def checked_ids(ids: Sequence[int]) -> list[int]:
    """Raises `BadRequest`. That each is a token of the model, vLLM checks."""
    if not 0 < len(ids) <= PROMPT_TOKENS or not all(
        type(each) is int and 0 <= each < 1 << 31 for each in ids
    ):
        raise BadRequest(f"prompt_ids must be 1 to {PROMPT_TOKENS:,} token ids, whole numbers from 0")
    return list(ids)


def template_message(message: ChatMessage) -> dict[str, Any]:
    """A message as chat templates read it: a call's arguments are an object, as Hugging Face's documentation says."""
    if message.images:
        raise BadRequest(
            "the message holds an image, and the vLLM actor takes text: ask a model behind an endpoint (vllm serve)"
        )
    plain: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.name:
        plain["name"] = message.name
    if message.tool_call_id:
        plain["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _values(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return plain


def template_tool(tool: Tool) -> dict[str, Any]:
    """A tool as OpenAI's API and chat templates write it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _values(arguments: str) -> Any:
    """The object, or the text where the model wrote none: a template then shows what it wrote."""
    try:
        return msgspec.json.decode(arguments)
    except msgspec.MsgspecError:
        return arguments

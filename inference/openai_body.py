"""A request as the body of OpenAI's chat completions API, with vLLM's and SGLang's additions. Pure.

Temperature and top_p are always sent, since a server may have defaults of its own (vLLM takes a model's
`generation_config.json` for the request's, unless it is started with `--generation-config vllm`). Of the others one at
its default is not sent, so that an endpoint which does not know it need not refuse it. What OpenAI's own API has no
place for (top_k, min_p, repetition_penalty, regular expressions, choices, grammars, token ids) goes in vLLM's fields;
an endpoint without them answers 400, which is told, or ignores them.

OpenAI's own models since o1 take `max_completion_tokens` for `max_tokens`, and refuse temperature and top_p: there the
first is sent by its new name, and the others only where they are not neutral.
"""

from typing import Any
from urllib.parse import urlsplit

from inference.message import ChatMessage, TextPart
from inference.request import Request, ResponseSchema

_OWN = ("frequency_penalty", "presence_penalty", "seed", "n")
_ADDED = ("top_k", "min_p", "repetition_penalty")
_NEUTRAL = {"n": 1, "repetition_penalty": 1.0, "seed": None}


def is_openais_own(base_url: str) -> bool:
    """Whether an address is OpenAI's, or Azure's for OpenAI's models."""
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".openai.azure.com")


def body_of(request: Request, model: str, *, stream: bool, openais_own: bool = False) -> dict[str, Any]:
    """The fields of the body, with those that only vLLM knows under `extra_body`."""
    sampling = request.sampling
    body: dict[str, Any] = {"model": model, "messages": [_message(message) for message in request.messages]}
    body["max_completion_tokens" if openais_own else "max_tokens"] = sampling.max_tokens
    for name in ("temperature", "top_p"):
        if not openais_own or getattr(sampling, name) != 1:
            body[name] = getattr(sampling, name)
    body |= {
        name: getattr(sampling, name) for name in _OWN if getattr(sampling, name) != _NEUTRAL.get(name, 0)
    }
    extra = {
        name: getattr(sampling, name) for name in _ADDED if getattr(sampling, name) != _NEUTRAL.get(name, 0)
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    if request.tools:
        body |= {"tools": tools_of(request, strict=True), "tool_choice": _tool_choice(request.tool_choice)}
    if request.token_ids:
        extra["return_token_ids"] = True
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if request.response_schema is not None:
        _constrain(body, extra, request.response_schema)
    if extra:
        body["extra_body"] = extra
    return body


def tools_of(request: Request, *, strict: bool) -> list[dict[str, Any]]:
    """Tools as functions. `strict` only where it is true and the API knows it."""
    described = []
    for tool in request.tools:
        function: dict[str, Any] = {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        }
        if strict and tool.strict:
            function["strict"] = True
        described.append({"type": "function", "function": function})
    return described


def _message(message: ChatMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role}
    if message.images:
        said["content"] = [
            {"type": "text", "text": part.text}
            if isinstance(part, TextPart)
            else {"type": "image_url", "image_url": {"url": part.url}}
            for part in message.parts
        ]
    else:
        said["content"] = message.text or (None if message.tool_calls else "")
    if message.name:
        said["name"] = message.name
    if message.tool_call_id:
        said["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        said["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return said


def _tool_choice(choice: str) -> Any:
    return (
        choice
        if choice in ("auto", "none", "required")
        else {"type": "function", "function": {"name": choice}}
    )


def _constrain(body: dict[str, Any], extra: dict[str, Any], schema: ResponseSchema) -> None:
    if schema.kind == "json_schema":
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema.value, "strict": True},
        }
    else:
        extra["structured_outputs"] = {schema.kind: schema.value}

"""Models of the providers that pydantic-ai knows (Anthropic, Google, Bedrock, Mistral, Groq, ...), by its direct calls.

It is optional: `rayswarm[pydantic-ai]`, and the provider's own package. What an OpenAI-compatible endpoint or Ollama
serves is better asked by `OpenAICompatLLM` and `OllamaLLM`, which stream and know more parameters.

Rules:
* pydantic-ai reads the provider's key, from the provider's own environment variable. Name it in the settings too
  (`Secret("env:ANTHROPIC_API_KEY")`): it is then struck out of all that the provider says.
* Its retries are off (`max_retries=0`); ours know what is definite and keep to the deadline.
* A parameter at its neutral default is left to the provider: some refuse temperature and top_p together. What
  pydantic-ai has no place for is refused with the mend: n, logprobs, token ids, min_p, repetition_penalty, and forms
  other than a JSON schema.
* An answer comes whole: a stream yields it in one piece.
"""

from typing import Any

import msgspec

from inference.completion import Choice, Completion, FinishReason, Usage
from inference.cut_note import cut_notes
from inference.endpoint import Calls, EndpointSettings
from inference.errors import (
    BadRequest,
    ConfigurationError,
    ContextTooLong,
    DeadlinePassed,
    EngineDead,
    InvalidAnswer,
    LLMError,
    RateLimited,
    Refused,
)
from inference.extra import optional
from inference.llm import BaseLLM
from inference.message import ChatMessage, TextPart, ToolCall
from inference.request import Request
from inference.secret import Secret
from inference.simple_tokenizer import count_text, prompt_tokens

EXTRA = "pydantic-ai"
_SHOWN = 500
_PURPOSE = "a model of a provider that pydantic-ai knows"
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "tool_call": "tool_calls"}
_SENT = {
    "temperature": ("temperature", 1.0),
    "top_p": ("top_p", 1.0),
    "top_k": ("top_k", 0),
    "seed": ("seed", None),
    "presence_penalty": ("presence_penalty", 0.0),
    "frequency_penalty": ("frequency_penalty", 0.0),
    "stop": ("stop_sequences", ()),
}
"""Of our parameters pydantic-ai's name, and the neutral value, which is not sent."""


class PydanticAILLM(BaseLLM):
    """A model by pydantic-ai's name for it (`anthropic:claude-sonnet-4-5`), or as an object of its `Model`."""

    def __init__(self, model: Any, *, revision: str = "", settings: EndpointSettings | None = None) -> None:
        """Raises `ConfigurationError` where pydantic-ai, the provider's package or its key is missing."""
        self._library = optional("pydantic_ai", EXTRA, _PURPOSE)
        self._direct = optional("pydantic_ai.direct", EXTRA, _PURPOSE)
        models = optional("pydantic_ai.models", EXTRA, _PURPOSE)
        self._settings = settings or EndpointSettings()
        try:
            self._model = models.infer_model(model)
        except (self._library.UserError, ImportError, ValueError) as error:
            raise ConfigurationError(f"pydantic-ai cannot make the model {model!s:.80}: {error}") from None
        self._where = f"{self._model.system} ({self._model.model_name})"
        self._identity = f"pydantic-ai:{self._model.model_id}" + (f"@{revision}" if revision else "")
        self._calls = Calls(self._settings, self._where)
        self._entered = False
        """Whether its connections are ours to close."""

    @property
    def identity(self) -> str:
        """`pydantic-ai:provider:name@revision`."""
        return self._identity

    async def complete(self, request: Request) -> Completion:
        """The model's answer."""
        return await self._calls.complete(request, self._attempt)

    async def aclose(self) -> None:
        """Closes the connections that pydantic-ai made; a client of one's own stays open."""
        if self._entered:
            self._entered = False
            await self._model.__aexit__(None, None, None)

    async def _attempt(self, request: Request) -> Completion:
        messages = _messages(request, self._library)
        settings = _settings(request)
        parameters = _parameters(request)
        if not self._entered:
            self._entered = True
            await self._model.__aenter__()
        try:
            answer = await self._direct.model_request(
                self._model, messages, model_settings=settings, model_request_parameters=parameters
            )
        except Exception as error:
            meant = _error(error, self._where, self._settings.key)
            if meant is None:
                raise
            raise meant from None
        return _completion(answer, request, self._where, self._settings.key)


def _messages(request: Request, library: Any) -> list[Any]:
    """The conversation as pydantic-ai's requests and responses, in turn."""
    turns: list[Any] = []
    tools: dict[str, str] = {}
    for message in request.messages:
        if message.role == "assistant":
            said = [library.TextPart(message.text)] if message.text else []
            calls = [library.ToolCallPart(call.name, call.arguments, call.id) for call in message.tool_calls]
            turns.append(library.ModelResponse([*said, *calls]))
            tools |= {call.id: call.name for call in message.tool_calls}
            continue
        part = _part(message, tools, library)
        if turns and isinstance(turns[-1], library.ModelRequest):
            turns[-1].parts.append(part)
        else:
            turns.append(library.ModelRequest([part]))
    return turns


def _part(message: ChatMessage, tools: dict[str, str], library: Any) -> Any:
    if message.role == "system":
        return library.SystemPromptPart(message.text)
    if message.role == "tool":
        return library.ToolReturnPart(tools[message.tool_call_id], message.text, message.tool_call_id)
    if not message.images:
        return library.UserPromptPart(message.text)
    return library.UserPromptPart(
        [
            part.text
            if isinstance(part, TextPart)
            else library.BinaryContent.from_data_uri(part.url)
            if part.url.startswith("data:")
            else library.ImageUrl(part.url)
            for part in message.parts
        ]
    )


def _settings(request: Request) -> dict[str, Any]:
    """pydantic-ai's settings. Raises `BadRequest` for what it has no place for."""
    sampling, schema = request.sampling, request.response_schema
    for name, given in (
        ("n", sampling.n > 1),
        ("logprobs", sampling.logprobs is not None),
        ("token_ids", request.token_ids),
        ("min_p", sampling.min_p > 0),
        ("repetition_penalty", sampling.repetition_penalty != 1),
        (f"a {schema.kind if schema else ''}", schema is not None and schema.kind != "json_schema"),
    ):
        if given:
            raise BadRequest(
                f"pydantic-ai has no place for {name}: leave it out, or ask an OpenAI-compatible endpoint"
            )
    settings: dict[str, Any] = {"max_tokens": sampling.max_tokens, "max_retries": 0}
    for ours, (theirs, neutral) in _SENT.items():
        value = getattr(sampling, ours)
        if value != neutral:
            settings[theirs] = list(value) if isinstance(value, tuple) else value
    if request.tools:
        choice = request.tool_choice
        settings["tool_choice"] = choice if choice in ("auto", "none", "required") else [choice]
    return settings


def _parameters(request: Request) -> Any:
    models = optional("pydantic_ai.models", EXTRA, _PURPOSE)
    tools = optional("pydantic_ai.tools", EXTRA, _PURPOSE)
    described = [
        tools.ToolDefinition(
            name=tool.name,
            description=tool.description,
            parameters_json_schema=tool.parameters,
            strict=tool.strict,
        )
        for tool in request.tools
    ]
    if request.response_schema is None:
        return models.ModelRequestParameters(function_tools=described)
    output = optional("pydantic_ai.output", EXTRA, _PURPOSE)
    form = output.OutputObjectDefinition(
        json_schema=request.response_schema.value, name="answer", strict=True
    )
    return models.ModelRequestParameters(function_tools=described, output_mode="native", output_object=form)


def _completion(answer: Any, request: Request, where: str, key: Secret | None) -> Completion:
    def scrubbed(text: str) -> str:
        return text if key is None else key.scrub(text)

    if answer.finish_reason == "content_filter":
        raise Refused(f"{where} declined: its content filter")
    if answer.finish_reason == "error":
        raise EngineDead(f"{where} broke off before the answer was whole")
    calls = tuple(
        ToolCall(part.tool_call_id, part.tool_name, scrubbed(_arguments(part.args)))
        for part in answer.parts
        if part.part_kind == "tool-call"
    )
    text = scrubbed("".join(part.content for part in answer.parts if part.part_kind == "text"))
    reason = _REASONS.get(answer.finish_reason or "stop", "stop")
    choice = Choice(text, calls, "tool_calls" if calls and reason == "stop" else reason)
    counted = answer.usage
    usage = Usage(counted.input_tokens, counted.output_tokens, counted.cache_read_tokens or None)
    if not usage.total_tokens:
        usage = Usage(prompt_tokens(request), count_text(text), estimated=True)
    notes = cut_notes((choice,), usage, request)
    return Completion((choice,), usage, answer.model_name or "", notes=notes)


def _arguments(arguments: Any) -> str:
    """As the model wrote them where that is known; pydantic-ai gives some decoded."""
    if isinstance(arguments, str):
        return arguments
    return msgspec.json.encode(arguments or {}).decode()


def _error(error: Exception, where: str, key: Secret | None) -> LLMError | None:
    """What an error of pydantic-ai means; None if it is none of its own."""
    kinds = optional("pydantic_ai.exceptions", EXTRA, _PURPOSE)
    said = f"{where} failed: {error if key is None else key.scrub(str(error))}"[:_SHOWN]
    wait_s = getattr(error, "retry_after", None)
    match error:
        case kinds.ModelRateLimitError():
            return RateLimited(said, wait_s=wait_s)
        case kinds.ModelContextWindowExceededError():
            return ContextTooLong(said)
        case kinds.ModelUnavailableError() if wait_s is not None:
            return RateLimited(said, wait_s=wait_s)
        case kinds.ModelUnavailableError():
            return EngineDead(said, definite=True)
        case kinds.ModelConnectionError(phase="pool" | "connect"):
            return EngineDead(said, definite=True)
        case kinds.ModelTimeoutError() | kinds.ModelRequestTimeout():
            return DeadlinePassed(said)
        case kinds.ModelQuotaExceededError() | kinds.ModelRequestRejectedError() | kinds.UserError():
            return BadRequest(said)
        case kinds.ContentFilterError():
            return Refused(said)
        case kinds.ModelAPIError():
            return EngineDead(said)
        case kinds.AgentRunError():
            return InvalidAnswer(said)
    return None

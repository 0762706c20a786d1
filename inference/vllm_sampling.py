"""A request's sampling and its form of answer as vLLM's parameters.

Rules:
* Every field of `Sampling` is passed, neutral ones too: nothing comes from a model's `generation_config.json` but its
  end tokens.
* `max_tokens` is cut here to what the context leaves. vLLM would cut it without a word; we say so.
* xgrammar 0.2.8 lets raw control characters into a string whose schema has `maxLength` (mlc-ai/xgrammar#800), which is
  then no JSON. With a `pattern` it does not, so such a string is given one: characters that need no escape.
"""

from typing import Any

from inference.errors import BadRequest, ContextTooLong
from inference.extra import optional
from inference.request import Request, ResponseSchema

_CHARACTERS = r"[ !#-\[\]-~\u00a0-\ud7ff\ue000-\ufffd]"
"""What needs no escape in JSON. Named by what may stand, since xgrammar's complement lets in what is no Unicode."""
LENGTH_CHARACTERS = 1_000
"""A longer maxLength is no pattern any more: a grammar of so many states takes seconds to make."""


def room_for(request: Request, prompt_tokens: int, context_tokens: int) -> int:
    """The most tokens that the answer may have. Raises `ContextTooLong`."""
    if prompt_tokens >= context_tokens:
        raise ContextTooLong(
            f"the prompt has {prompt_tokens:,} tokens and the model's context {context_tokens:,}, answer included: "
            f"shorten the conversation, or raise context_tokens where the model allows it",
            prompt_tokens=prompt_tokens,
            limit_tokens=context_tokens,
        )
    return min(request.sampling.max_tokens, context_tokens - prompt_tokens)


def sampling_parameters(
    request: Request, *, max_tokens: int, streamed: bool, structural_tag: str | None
) -> Any:
    """vLLM's `SamplingParams`. `structural_tag` forms the tool calls."""
    module = optional("vllm.sampling_params", "vllm", "a model in this process")
    kinds = module.RequestOutputKind
    sampling = request.sampling
    form = None
    if request.response_schema is not None:
        form = module.StructuredOutputsParams(**structure(request.response_schema))
    elif structural_tag is not None:
        form = module.StructuredOutputsParams(structural_tag=structural_tag)
    return module.SamplingParams(
        n=sampling.n,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        repetition_penalty=sampling.repetition_penalty,
        stop=list(sampling.stop),
        seed=sampling.seed,
        max_tokens=max_tokens,
        logprobs=sampling.logprobs,
        structured_outputs=form,
        # The tags of a tool call are special tokens with some models: they must be seen to be read.
        skip_special_tokens=not request.tools,
        output_kind=kinds.DELTA if streamed else kinds.FINAL_ONLY,
        skip_clone=True,  # made for this one request
    )


def structure(schema: ResponseSchema) -> dict[str, Any]:
    """The form of an answer by vLLM's names."""
    if schema.kind == "json_schema":
        return {"json": bounded_strings(schema.value)}
    return {schema.kind: schema.value}


def bounded_strings(schema: Any) -> Any:
    """A JSON schema whose strings of bounded length have a pattern, so that they come out as valid JSON."""
    if isinstance(schema, list):
        return [bounded_strings(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: _kept_or_bounded(name, part) for name, part in schema.items()}
    most = schema.get("maxLength")
    if schema.get("type") == "string" and isinstance(most, int) and "pattern" not in schema:
        least = schema.get("minLength", 0)
        if most <= LENGTH_CHARACTERS and least <= most:
            copy = {name: part for name, part in copy.items() if name not in ("maxLength", "minLength")}
            copy["pattern"] = f"^{_CHARACTERS}{{{least},{most}}}$"
    return copy


def _kept_or_bounded(name: str, part: Any) -> Any:
    # What stands there is values, not schemas: a value must not be changed, whatever it looks like.
    return part if name in ("enum", "const", "default", "examples", "required") else bounded_strings(part)


def check_form(request: Request) -> None:
    """Raises `BadRequest` for what cannot be asked together."""
    if request.response_schema is not None and request.tools and request.tool_choice != "none":
        raise BadRequest(
            "the request has tools and a response_schema, and an answer has one form: leave one out, or write "
            "tool_choice='none'"
        )

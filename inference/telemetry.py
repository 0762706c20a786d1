"""What a served model does, seen from outside: a span for each call, and figures by role.

Spans follow the GenAI semantic conventions of OpenTelemetry (semantic-conventions-genai, docs/gen-ai/gen-ai-spans.md:
`chat MODEL` of kind CLIENT, attributes `gen_ai.*`), in their latest, still experimental form. What they have no name
for is called `rayswarm.*`.

Rules:
* No content: no message, no answer, no stop text, no tool, no error's text, which may quote any of them. An error is
  told by its kind (`error.type`). No key either: a model's line holds none.
* Figures are by role, never by agent: a series for each of a million agents would end any dashboard. Beyond
  `ROLES` roles the others are told together, as `*`.
* What was computed once for several is counted once.
* What a provider does not tell (cached tokens, the time of the first token) is in no figure; it is not zero.

Without an OpenTelemetry SDK in the process a span costs about a microsecond and goes nowhere.
"""

from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from inference.completion import Completion, Delta
from inference.errors import LLMError
from inference.limited import SHARED
from inference.llm import BaseLLM, TokenCount
from inference.provider import ModelSpec
from inference.request import Request

ROLES = 256
OTHER_ROLES = "*"
SAMPLES = 10_000
"""Times that are kept until they are reported; beyond, the oldest go."""
_TRACEPARENT = "traceparent"

tracer = trace.get_tracer("rayswarm.inference")
_carrier = TraceContextTextMapPropagator()


def current_trace() -> str:
    """The current span as W3C Trace Context writes it; empty if there is none."""
    if not trace.get_current_span().get_span_context().is_valid:
        return ""
    carried: dict[str, str] = {}
    _carrier.inject(carried)
    return carried.get(_TRACEPARENT, "")


@contextmanager
def caller_span(traceparent: str) -> Iterator[None]:
    """What is done within is part of the caller's trace, in whatever process that runs."""
    if not traceparent:
        yield
        return
    token = contexts.attach(_carrier.extract({_TRACEPARENT: traceparent}))
    try:
        yield
    finally:
        contexts.detach(token)


class ServingFigures:
    """What was served since the start, by role, and the times of the calls that ended last."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        """By (role, outcome): `ok`, or an error's kind with spaces as underscores."""
        self.prompt_tokens: Counter[str] = Counter()
        self.completion_tokens: Counter[str] = Counter()
        self.cached_tokens: Counter[str] = Counter()
        self.countable_tokens: Counter[str] = Counter()
        """Of prompts for which it is known how much was cached: hit rate = cached / countable."""
        self.cost_usd: dict[str, float] = {}
        self.times: deque[tuple[str, float | None, float | None]] = deque(maxlen=SAMPLES)
        """(role, seconds in our queue, seconds to the first token); None where they are not known."""
        self._roles: set[str] = set()

    def role(self, name: str) -> str:
        """The role under which a call is counted."""
        if name in self._roles:
            return name
        if len(self._roles) >= ROLES:
            return OTHER_ROLES
        self._roles.add(name)
        return name

    def answered(self, role: str, completion: Completion) -> None:
        """A call ended with an answer."""
        role = self.role(role)
        usage, timing = completion.usage, completion.timing
        self.requests[role, "ok"] += 1
        if SHARED in completion.notes:
            return  # another's, and counted there
        self.prompt_tokens[role] += usage.prompt_tokens
        self.completion_tokens[role] += usage.completion_tokens
        if usage.cached_tokens is not None:
            self.cached_tokens[role] += usage.cached_tokens
            self.countable_tokens[role] += usage.prompt_tokens
        if completion.cost_usd is not None:
            self.cost_usd[role] = self.cost_usd.get(role, 0.0) + completion.cost_usd
        self.times.append((role, timing.queue_s, timing.first_token_s))

    def failed(self, role: str, kind: str) -> None:
        """A call ended with an error, or was left (`cancelled`)."""
        self.requests[self.role(role), kind] += 1


class ObservedLLM(BaseLLM):
    """A model with a span and figures for each call. It changes nothing else."""

    def __init__(self, model: BaseLLM, spec: ModelSpec, at_close: Callable[[], None] = lambda: None) -> None:
        """`at_close` lets go of what stands beside the model and is used by it to its end."""
        self.model = model
        self.figures = ServingFigures()
        self._at_close = at_close
        self._name = f"chat {spec.name or spec.place}"
        self._fixed = _fixed_attributes(spec)

    @property
    def identity(self) -> str:
        """The model's own."""
        return self.model.identity

    async def complete(self, request: Request) -> Completion:
        """The model's answer."""
        span = self._begin()
        # The span is the current one meanwhile, so that an instrumented HTTP client's spans are its children.
        token = contexts.attach(trace.set_span_in_context(span))
        ended = False
        try:
            _tell_request(span, request, stream=False)
            completion = await self.model.complete(request)
            ended = True
            self._answered(span, request, completion)
            return completion
        except LLMError as error:
            ended = True
            self._failed(span, request, error.reason.replace(" ", "_"))
            raise
        finally:
            if not ended:
                self._failed(span, request, "cancelled")
            contexts.detach(token)
            span.end()

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The model's own stream."""
        span = self._begin()
        ended = False
        try:
            _tell_request(span, request, stream=True)
            async with aclosing(self.model.stream(request)) as stream:
                async for delta in stream:
                    if delta.completion is not None:
                        ended = True
                        self._answered(span, request, delta.completion)
                    yield delta
        except LLMError as error:
            ended = True
            self._failed(span, request, error.reason.replace(" ", "_"))
            raise
        finally:
            if not ended:
                self._failed(span, request, "cancelled")
            span.end()

    async def count_tokens(self, request: Request) -> TokenCount:
        """The model's own count."""
        return await self.model.count_tokens(request)

    def describe(self) -> dict[str, Any]:
        """The model's own."""
        return self.model.describe()

    async def aclose(self) -> None:
        """Closes the model."""
        await self.model.aclose()
        self._at_close()

    def _begin(self) -> Span:
        return tracer.start_span(self._name, kind=SpanKind.CLIENT, attributes=self._fixed)

    def _answered(self, span: Span, request: Request, completion: Completion) -> None:
        self.figures.answered(request.caller.role, completion)
        if span.is_recording():
            span.set_attributes(_answer_attributes(completion))

    def _failed(self, span: Span, request: Request, kind: str) -> None:
        self.figures.failed(request.caller.role, kind)
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR))


def _fixed_attributes(spec: ModelSpec) -> dict[str, Any]:
    """What all calls of a model have in common; there when a span begins, so that samplers see it."""
    fixed: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": spec.provider,
        "gen_ai.request.model": spec.name or spec.place,
    }
    address = urlsplit(spec.place) if "://" in spec.place else None
    if address is not None and address.hostname:
        fixed["server.address"] = address.hostname
        fixed["server.port"] = address.port or (443 if address.scheme == "https" else 80)
    return fixed


def _tell_request(span: Span, request: Request, *, stream: bool) -> None:
    if not span.is_recording():
        return
    sampling, caller = request.sampling, request.caller
    schema = request.response_schema
    told: dict[str, Any] = {
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.frequency_penalty": sampling.frequency_penalty,
        "gen_ai.request.presence_penalty": sampling.presence_penalty,
        "gen_ai.output.type": "json" if schema is not None and schema.kind == "json_schema" else "text",
    }
    if sampling.top_k:
        told["gen_ai.request.top_k"] = sampling.top_k
    if sampling.n != 1:
        told["gen_ai.request.choice.count"] = sampling.n
    if sampling.seed is not None:
        told["gen_ai.request.seed"] = sampling.seed
    if stream:
        told["gen_ai.request.stream"] = True
    named = {
        "gen_ai.conversation.id": caller.conversation,
        "gen_ai.agent.id": caller.agent,
        "rayswarm.role": caller.role,
        "rayswarm.run": caller.run,
    }
    span.set_attributes(told | {name: value for name, value in named.items() if value})


def _answer_attributes(completion: Completion) -> dict[str, Any]:
    usage, timing = completion.usage, completion.timing
    told: dict[str, Any] = {
        "gen_ai.response.finish_reasons": [choice.finish_reason for choice in completion.choices],
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "rayswarm.usage.estimated": usage.estimated,
    }
    known: dict[str, Any] = {
        "gen_ai.response.model": completion.model or None,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.response.time_to_first_chunk": timing.first_token_s,
        "rayswarm.queue_s": timing.queue_s,
        "rayswarm.cost_usd": completion.cost_usd,
    }
    return told | {name: value for name, value in known.items() if value is not None}

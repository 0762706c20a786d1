"""Spans by the GenAI conventions and figures by role, with no content in them, in a real OpenTelemetry SDK."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from inference import telemetry
from inference.clock import VirtualClock
from inference.completion import Choice, Completion, Delta, Timing, Usage
from inference.errors import LLMError, RateLimited
from inference.limited import LimitedLLM
from inference.limits import ServingLimits
from inference.llm import BaseLLM
from inference.price import Price
from inference.provider import parse_model
from inference.request import Caller, Request, ResponseSchema, Sampling, Tool
from inference.scripted import Rule, ScriptedLLM
from inference.service_desk import ServiceDesk
from inference.service_llm import ServiceLLM
from inference.telemetry import OTHER_ROLES, ROLES, ObservedLLM, ServingFigures, caller_span, current_trace
from tests.inference.conformance import check_model
from tests.inference.line import Line

SPEC = parse_model("openai:http://host:8000/v1#some/name")
PRIVATE = "what only the prompt says"
WHO = Caller("voter/1", "voter", "run-1", "c/1")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans that end. The provider of the process is left as it is: it can be set once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


class Engine(BaseLLM):
    """Answers with the secret, and tells its cache and its times."""

    identity = "engine"  # type: ignore[assignment]  # a plain attribute will do

    def __init__(self, error: LLMError | None = None) -> None:
        self.error = error

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        timing = Timing(total_s=0.5, first_token_s=0.25)
        return Completion((Choice(PRIVATE),), Usage(100, 20, 60), "name-2", timing)

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        yield Delta(PRIVATE)
        yield Delta(completion=await self.complete(request))


def asked(**options: object) -> Request:
    sampling = Sampling(max_tokens=50, seed=3, stop=(PRIVATE,), n=1)
    return Request.of(PRIVATE, system=PRIVATE, caller=WHO, sampling=sampling, **options)


def told(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


def test_observing_changes_nothing_of_a_model() -> None:
    async def main() -> None:
        async with ObservedLLM(ScriptedLLM([Rule("", "hello there")]), SPEC) as model:
            await check_model(model)

    asyncio.run(main())


def test_a_call_has_a_span_by_the_conventions(spans: InMemorySpanExporter) -> None:
    async def main() -> None:
        limited = LimitedLLM(Engine(), price=Price(1.0, 2.0))
        tool = Tool("lookup", PRIVATE)
        schema = ResponseSchema.json({"type": "object", "title": PRIVATE})
        async with ObservedLLM(limited, SPEC) as model:
            await model.complete(asked(tools=[tool], response_schema=schema))

    asyncio.run(main())
    span = told(spans)
    assert (span.name, span.kind, span.status.status_code) == (
        "chat some/name",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    attributes = dict(span.attributes or {})
    queue_s = attributes.pop("rayswarm.queue_s")
    assert isinstance(queue_s, float)
    first_s = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert first_s == pytest.approx(0.25 + queue_s)
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "some/name",
        "server.address": "host",
        "server.port": 8000,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.frequency_penalty": 0.0,
        "gen_ai.request.presence_penalty": 0.0,
        "gen_ai.request.seed": 3,
        "gen_ai.output.type": "json",
        "gen_ai.conversation.id": "c/1",
        "gen_ai.agent.id": "voter/1",
        "rayswarm.role": "voter",
        "rayswarm.run": "run-1",
        "gen_ai.response.model": "name-2",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "rayswarm.usage.estimated": False,
        "rayswarm.cost_usd": pytest.approx(140e-6),
    }


@pytest.mark.parametrize("stream", [False, True])
def test_no_content_and_no_errors_text_is_in_a_span(spans: InMemorySpanExporter, stream: bool) -> None:
    async def main() -> None:
        for error in (None, RateLimited(f"slow down, {PRIVATE}", wait_s=1.0)):
            model = ObservedLLM(Engine(error), SPEC)
            try:
                if stream:
                    async with aclosing(model.stream(asked())) as deltas:
                        async for _delta in deltas:
                            pass
                else:
                    await model.complete(asked())
            except RateLimited:
                pass

    asyncio.run(main())
    good, bad = spans.get_finished_spans()
    assert PRIVATE not in good.to_json() + bad.to_json()
    attributes = dict(bad.attributes or {})
    assert attributes["error.type"] == "rate_limited"
    assert bad.status.status_code == StatusCode.ERROR
    assert ("gen_ai.request.stream" in attributes) == stream


def test_a_call_that_is_left_ends_its_span(spans: InMemorySpanExporter) -> None:
    async def main() -> None:
        clock = VirtualClock()
        model = ObservedLLM(ScriptedLLM([Rule("", "x")], first_token_s=9.0, clock=clock), SPEC)
        task = asyncio.ensure_future(model.complete(asked()))
        await clock.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert model.figures.requests["voter", "cancelled"] == 1

    asyncio.run(main())
    assert dict(told(spans).attributes or {})["error.type"] == "cancelled"


def test_a_span_in_the_service_belongs_to_the_trace_of_who_asked(spans: InMemorySpanExporter) -> None:
    async def main() -> None:
        line = Line(lambda: ServiceDesk(ObservedLLM(Engine(), SPEC)))
        async with ServiceLLM(line) as cell:
            with telemetry.tracer.start_as_current_span("an agent's turn"):
                await cell.complete(asked())
        await line.desk.aclose()

    asyncio.run(main())
    served, turn = spans.get_finished_spans()
    assert served.parent is not None
    assert served.parent.span_id == turn.get_span_context().span_id


def test_without_a_span_nothing_is_carried() -> None:
    assert current_trace() == ""
    with caller_span(""):
        assert not trace.get_current_span().get_span_context().is_valid


def test_figures_are_by_role_and_leave_out_what_is_not_known() -> None:
    figures = ServingFigures()
    figures.answered("a", Completion((Choice(),), Usage(100, 20, 60), timing=Timing(1.0, 0.5, 0.1)))
    figures.answered("a", Completion((Choice(),), Usage(50, 10), cost_usd=0.5))
    figures.failed("b", "rate_limited")
    assert (figures.prompt_tokens["a"], figures.completion_tokens["a"]) == (150, 30)
    assert figures.cached_tokens["a"] / figures.countable_tokens["a"] == 0.6
    assert figures.cost_usd == {"a": 0.5}
    assert list(figures.times) == [("a", 0.1, 0.5), ("a", None, None)]
    assert figures.requests == {("a", "ok"): 2, ("b", "rate_limited"): 1}


def test_what_was_computed_once_is_counted_once() -> None:
    async def main() -> None:
        limited = LimitedLLM(ScriptedLLM([Rule("", "x y z")]), price=Price(1.0, 1.0))
        async with ObservedLLM(limited, SPEC) as model:
            request = Request.of("x", caller=WHO, sampling=Sampling(temperature=0))
            done = await asyncio.gather(*(model.complete(request) for _ in range(5)))
        usage = done[0].usage
        assert model.figures.requests["voter", "ok"] == 5
        assert model.figures.completion_tokens["voter"] == usage.completion_tokens
        assert model.figures.cost_usd["voter"] == pytest.approx(usage.total_tokens / 1e6)

    asyncio.run(main())


def test_roles_beyond_the_limit_are_told_together() -> None:
    figures = ServingFigures()
    for number in range(ROLES + 50):
        figures.failed(f"role {number}", "cancelled")
    assert figures.requests[OTHER_ROLES, "cancelled"] == 50
    assert len(figures.requests) == ROLES + 1


def test_waiting_and_running_are_told_by_role() -> None:
    async def main() -> None:
        clock = VirtualClock()
        engine = ScriptedLLM([Rule("", "x")], first_token_s=9.0, clock=clock)
        async with LimitedLLM(engine, ServingLimits(running_requests=1), clock=clock) as model:
            callers = [Caller("a/1", "a"), Caller("a/2", "a"), Caller("b/1", "b")]
            tasks = [
                asyncio.ensure_future(model.complete(Request.of("x", caller=caller))) for caller in callers
            ]
            await clock.sleep(1)
            waiting, running = model.by_role()
            assert (waiting + running) == {"a": 2, "b": 1}
            assert (model.running, model.waiting, running.total()) == (1, 2, 1)
            await asyncio.gather(*tasks)

    asyncio.run(main())

"""Spans of rounds, recoveries and calls outside, in a real OpenTelemetry SDK."""

import subprocess
import sys

PROGRAM = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

from actors import Plan, Role, Swarm
from tests.actors import cast

async def main():
    async with Swarm.local(Plan({"a": Role(cast.Asynchronous)})) as swarm:
        await swarm.ask("a", "effect")

asyncio.run(main())
print(sorted(span.name for span in spans.get_finished_spans()))
print([dict(span.attributes) for span in spans.get_finished_spans() if span.name.startswith("effect")])
"""


def test_rounds_and_effects_have_spans_that_name_the_agent() -> None:
    # In a process of its own: the provider of a process can be set once.
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert "effect Asynchronous.outside" in told
    assert "'round 1'" in told
    assert "'rayswarm.agent': 'a'" in told

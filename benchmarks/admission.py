"""A crowd before one model: 10,000 requests of 1,000 agents at once, what they hold, how long they wait, how fair.

Three things, each alone:
* Speed: the whole way of a service in one process (client, batches, desk, spans, queue, rate, budget) before an engine
  that answers each request after a fixed time. How long the queue takes to drain is told against the best there is,
  which the engine's own time fixes, and what a request costs in CPU time, which a busy machine changes little.
* Memory: bytes that a waiting request holds, measured with tracemalloc before an engine that never answers; and how
  much grows when as many again are asked and refused.
* Fairness, in virtual time by the admission's own state machine: one chatty agent asks for half of all before the
  others ask, fairly queued and first come first served.
"""

import asyncio
import gc
import math
import time
import tracemalloc
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Annotated

import typer

from benchmarks.outcome import AsJson, Outcome, rounded, tell
from inference.admission import Admission, Ticket
from inference.budget import Budget
from inference.completion import Choice, Completion, Usage
from inference.errors import QueueFull
from inference.limited import LimitedLLM
from inference.limits import BudgetLimits, Rate, ServingLimits
from inference.llm import BaseLLM
from inference.provider import parse_model
from inference.request import Caller, Request, Sampling
from inference.service_desk import ServiceDesk
from inference.service_llm import ServiceLLM, ServiceSettings
from inference.telemetry import ObservedLLM

app = typer.Typer(add_completion=False)

_PERSONA = "You are a juror. You weigh what was said, and answer in one word. " * 8
_SAMPLING = Sampling(temperature=1.0, max_tokens=64)


class FixedEngine(BaseLLM):
    """Answers each request after a fixed time; None for never."""

    identity = "fixed"

    def __init__(self, answer_s: float | None) -> None:
        self._answer_s = answer_s

    async def complete(self, _request: Request) -> Completion:
        """The answer, in its time."""
        if self._answer_s is None:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self._answer_s or 0.0)
        return Completion((Choice("guilty"),), Usage(160, 1))


def requests_of(agents: int, count: int) -> list[Request]:
    """`count` requests, agents in turn, each text its own."""
    return [
        Request.of(
            f"Case {number}: is the party of the first part to blame?",
            system=_PERSONA,
            caller=Caller(
                f"juror/{number % agents}", f"bench/{number % 8}", conversation=str(number % agents)
            ),
            sampling=_SAMPLING,
        )
        for number in range(count)
    ]


def _service(engine: BaseLLM, limits: ServingLimits, held: int) -> tuple[ServiceDesk, ServiceLLM]:
    limited = LimitedLLM(engine, limits, rate=Rate(), budget=Budget(BudgetLimits()))
    desk = ServiceDesk(ObservedLLM(limited, parse_model("scripted:bench")), held=held)
    return desk, ServiceLLM(desk, ServiceSettings(waiting_requests=2 * held))


@dataclass(frozen=True)
class Crowd:
    """What happened to requests that were asked at once."""

    total_s: float
    cpu_s: float
    waits_s: list[float]
    """Of each, from the call to its being sent, sorted."""


async def crowd(agents: int, count: int, limits: ServingLimits, answer_s: float) -> Crowd:
    """Asks all at once, through a whole service."""
    desk, cell = _service(FixedEngine(answer_s), limits, 2 * count)
    asked = requests_of(agents, count)
    began, began_cpu = time.perf_counter(), time.process_time()
    done = await asyncio.gather(*(cell.complete(request) for request in asked))
    total_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    await cell.aclose()
    await desk.aclose()
    return Crowd(total_s, cpu_s, sorted(completion.timing.queue_s or 0.0 for completion in done))


async def alone(count: int, limits: ServingLimits) -> list[float]:
    """Seconds of single requests one after the other, before an engine that answers at once; sorted."""
    desk, cell = _service(FixedEngine(0.0), limits, 1_000)
    times = []
    for request in requests_of(1, count):
        began = time.perf_counter()
        await cell.complete(request)
        times.append(time.perf_counter() - began)
    await cell.aclose()
    await desk.aclose()
    return sorted(times)


async def _filled(desk: ServiceDesk, count: int) -> None:
    for _ in range(60_000):
        if desk.held >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("a service takes what it has room for")


async def memory(agents: int, count: int, limits: ServingLimits) -> tuple[float, float]:
    """(bytes that a waiting request holds, megabytes that grow when as many again are refused)."""
    desk, cell = _service(FixedEngine(None), limits, count)
    gc.collect()
    tracemalloc.start()
    tasks = [asyncio.ensure_future(cell.complete(request)) for request in requests_of(agents, count)]
    await _filled(desk, count)
    gc.collect()
    full = tracemalloc.get_traced_memory()[0]
    refused = 0
    more = requests_of(agents, 2 * count)[count:]
    for start in range(0, count, 1_000):
        outcomes = await asyncio.gather(
            *map(cell.complete, more[start : start + 1_000]), return_exceptions=True
        )
        refused += sum(isinstance(outcome, QueueFull) for outcome in outcomes)
    assert refused == count, "a full service takes nothing more"
    del more, outcomes
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await cell.aclose()
    await desk.aclose()
    return full / count, (after - full) / 1e6


def waits(
    *, agents: int, requests: int, chatty: int, running: int, answer_s: float, fair: bool
) -> dict[str, list[float]]:
    """Virtual seconds that requests wait, sorted: of the `chatty` agent, which asks first, of all `others`, and of
    each other's `first`."""
    admission = Admission(
        ServingLimits(running_requests=running, queued_requests=requests, agent_requests=requests)
    )
    for number in range(requests):
        agent = 0 if number < chatty else 1 + (number - chatty) % (agents - 1)
        # Under one name all are one flow, which is first come first served.
        name = f"juror/{agent}" if fair else ""
        admission.offer(Ticket(number, Caller(name, "juror" if fair else ""), 200), 0.0)
    ends: list[tuple[float, int]] = []
    waited: dict[str, list[float]] = {"chatty": [], "others": [], "first": []}
    now_s = 0.0
    while admission.waiting or ends:
        while (ticket := admission.start(now_s)) is not None:
            waited["chatty" if ticket.number < chatty else "others"].append(now_s)
            if chatty <= ticket.number < chatty + agents - 1:
                waited["first"].append(now_s)
            heappush(ends, (now_s + answer_s, ticket.number))
        now_s, ended = heappop(ends)
        admission.finish(ended, now_s, 200, answered=True)
    return {who: sorted(times) for who, times in waited.items()}


def measure(*, agents: int, requests: int, running: int, answer_s: float) -> Outcome:
    """All three."""
    limits = ServingLimits(running_requests=running, queued_requests=requests)
    single = asyncio.run(alone(300, limits))
    burst = asyncio.run(crowd(agents, requests, limits, answer_s))
    held, grown = asyncio.run(memory(agents, requests, limits))
    best_s = math.ceil(requests / running) * answer_s
    figures: dict[str, float] = {
        "agents": agents,
        "requests": requests,
        "single_p50_ms": rounded(1e3 * _percentile(single, 0.5)),
        "single_p99_ms": rounded(1e3 * _percentile(single, 0.99)),
        "requests_per_second": rounded(requests / burst.total_s),
        "cpu_us_a_request": rounded(1e6 * burst.cpu_s / requests),
        "admission_p50_s": rounded(_percentile(burst.waits_s, 0.5)),
        "admission_p99_s": rounded(_percentile(burst.waits_s, 0.99)),
        "drain_s": rounded(burst.total_s),
        "drain_ratio_to_best": rounded(burst.total_s / best_s),
        "waiting_request_bytes": rounded(held),
        "waiting_mb": rounded(held * requests / 1e6),
        "refused_growth_mb": rounded(grown),
    }
    for name, fair in (("fair", True), ("fifo", False)):
        waited = waits(
            agents=agents,
            requests=requests,
            chatty=requests // 2,
            running=running,
            answer_s=answer_s,
            fair=fair,
        )
        for who, times in waited.items():
            figures[f"{name}_{who}_p99_s"] = rounded(_percentile(times, 0.99))
    figures["first_ratio_fifo_to_fair"] = rounded(
        figures["fifo_first_p99_s"] / max(answer_s, figures["fair_first_p99_s"])
    )
    notes = [
        f"{running} requests run at once, {answer_s:g} s each: no queue drains sooner than {best_s:.3g} s.",
        f"Fairness, in virtual time: one agent asks {requests // 2:,} times before {agents - 1:,} others ask the rest.",
        "Client and service share one process and one core here; in a cluster each has its own.",
    ]
    return Outcome("admission", figures, notes)


def _percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]


@app.command()
def admission(
    *,
    agents: Annotated[int, typer.Option(min=2, max=1_000_000, help="Who ask.")] = 1_000,
    requests: Annotated[int, typer.Option(min=20, max=1_000_000, help="Of all agents, at once.")] = 10_000,
    running: Annotated[int, typer.Option(min=1, max=100_000, help="Requests at the engine at once.")] = 256,
    answer_s: Annotated[float, typer.Option(min=0.0001, max=60.0, help="Of the engine, each.")] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Thousands of requests at once before one model: waiting, memory, fairness.

    Examples:

        rayswarm bench admission

        rayswarm bench admission --requests 100000 --running 1024 --json
    """
    tell(measure(agents=agents, requests=requests, running=running, answer_s=answer_s), as_json=as_json)


if __name__ == "__main__":
    app()

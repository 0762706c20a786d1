"""Ray's own actor calls, as fast as they go: what messages between cells are compared with.

Calls carry one small integer and are pipelined: the next batch is under way before the answers to the last are
fetched, so the actor never waits for its caller. Tried are a driver calling an actor, an actor calling an actor, and
an asynchronous actor, each with and without Ray's task events, which cost a third of the throughput. The best
counts: whoever needs speed would choose it.
"""

import time
from typing import Any

_BATCH = 500


class Counter:
    """Takes a small argument and answers with one."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, number: int) -> int:
        """One call."""
        self.taken += number
        return self.taken

    def call(self, other: Any, seconds: float) -> float:
        """Calls another actor for so long; returns the rate."""
        return _calls_per_second(other, seconds)


class AsyncCounter:
    """The same as an asynchronous actor, as cells are."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self, number: int) -> int:
        """One call."""
        self.taken += number
        return self.taken


def ray_calls_per_second(seconds: float) -> dict[str, float]:
    """Calls a second by kind of caller and actor; each is measured for so long, after a warm-up."""
    import ray  # noqa: PLC0415  # `own_ray` sets its environment first

    rates: dict[str, float] = {}
    for events in (True, False):
        options = {"num_cpus": 0, "enable_task_events": events}
        end = "" if events else ", no task events"
        kinds: list[Any] = [Counter, Counter, AsyncCounter]
        caller, called, other = (ray.remote(kind).options(**options).remote() for kind in kinds)
        rates[f"driver to actor{end}"] = _calls_per_second(called, seconds)
        rates[f"driver to async actor{end}"] = _calls_per_second(other, seconds)
        rates[f"actor to actor{end}"] = ray.get(caller.call.remote(called, seconds))
        for actor in (caller, called, other):
            ray.kill(actor)
    return rates


def _calls_per_second(actor: Any, seconds: float) -> float:
    _call_until(actor, time.perf_counter() + seconds / 5)
    began = time.perf_counter()
    calls = _call_until(actor, began + seconds)
    return calls / (time.perf_counter() - began)


def _call_until(actor: Any, end: float) -> int:
    import ray  # noqa: PLC0415  # as above

    calls = _BATCH
    under_way = [actor.take.remote(1) for _ in range(_BATCH)]
    while time.perf_counter() < end:
        following = [actor.take.remote(1) for _ in range(_BATCH)]
        ray.get(under_way)
        under_way = following
        calls += _BATCH
    ray.get(under_way)
    return calls

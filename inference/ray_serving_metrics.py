"""A model service's figures in Ray's metrics, seen in the dashboard and by Prometheus as `ray_rayswarm_llm_...`.

Rules:
* By model and role, never by agent (`inference/telemetry.py`). Told once a second, from what is counted anyway.
* Rates (tokens a second, the share of prompt tokens that a cache held) are of the second before, and of that only:
  a role that asked for nothing has none, and shows 0.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from ray.util import metrics

from inference.service import Opened

PERIOD_S = 1.0
_TAGS = ("model", "role")
_Name = TypeVar("_Name", bound=tuple[str, ...])
_SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]


class ServingMetrics:
    """Reports what a service counts, about once a second."""

    def __init__(self, model: str, opened: Opened) -> None:
        self._model = model
        self._opened = opened
        self._requests = metrics.Counter(
            "rayswarm_llm_requests_total", "Requests that ended, by outcome", tag_keys=(*_TAGS, "outcome")
        )
        self._tokens = metrics.Counter(
            "rayswarm_llm_tokens_total",
            "Tokens of prompts and of answers, and of prompts those cached",
            tag_keys=(*_TAGS, "kind"),
        )
        self._cost = metrics.Counter(
            "rayswarm_llm_cost_usd_total", "US dollars, where the price is known", tag_keys=_TAGS
        )
        self._waiting = _gauge("rayswarm_llm_waiting_requests", "Requests that wait in the queue")
        self._running = _gauge("rayswarm_llm_running_requests", "Requests sent and not answered")
        self._rate = _gauge("rayswarm_llm_tokens_per_second", "Tokens of answers, of the last second")
        self._hits = _gauge(
            "rayswarm_llm_cache_hit_rate",
            "Share of prompt tokens that a prefix cache held, of the last second",
        )
        self._queue_s = _seconds("rayswarm_llm_queue_seconds", "Waited in our queue")
        self._first_s = _seconds(
            "rayswarm_llm_time_to_first_token_seconds", "From the call to the first token, where it is known"
        )
        self._seen: Counter[tuple[str, ...]] = Counter()
        self._cost_seen: dict[str, float] = {}
        self._roles: set[str] = set()
        self._reported_s = time.monotonic()

    async def keep(self) -> None:
        """Reports until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            self.report()

    def report(self) -> None:
        """Reports once."""
        figures = self._opened.observed.figures
        now_s = time.monotonic()
        passed_s, self._reported_s = max(1e-3, now_s - self._reported_s), now_s
        for (role, outcome), grown in self._growth("requests", figures.requests).items():
            self._requests.inc(grown, tags={**self._tags(role), "outcome": outcome})
        grown_of = {
            kind: self._growth(kind, {(role,): tokens for role, tokens in counts.items()})
            for kind, counts in (
                ("prompt", figures.prompt_tokens),
                ("completion", figures.completion_tokens),
                ("cached", figures.cached_tokens),
                ("countable", figures.countable_tokens),
            )
        }
        for kind in ("prompt", "completion", "cached"):
            for (role,), grown in grown_of[kind].items():
                self._tokens.inc(grown, tags={**self._tags(role), "kind": kind})
        waiting, running = (Counter(self._counted(roles)) for roles in self._opened.limited.by_role())
        self._roles |= {role for role, _ in figures.requests} | waiting.keys() | running.keys()
        for role in self._roles:
            tags = self._tags(role)
            self._waiting.set(waiting[role], tags=tags)
            self._running.set(running[role], tags=tags)
            self._rate.set(grown_of["completion"].get((role,), 0) / passed_s, tags=tags)
            countable = grown_of["countable"].get((role,), 0)
            self._hits.set(grown_of["cached"].get((role,), 0) / countable if countable else 0.0, tags=tags)
        self._report_times_and_cost()

    def _report_times_and_cost(self) -> None:
        figures = self._opened.observed.figures
        while figures.times:
            role, queue_s, first_s = figures.times.popleft()
            if queue_s is not None:
                self._queue_s.observe(queue_s, tags=self._tags(role))
            if first_s is not None:
                self._first_s.observe(first_s, tags=self._tags(role))
        for role, usd in figures.cost_usd.items():
            grown_usd = usd - self._cost_seen.get(role, 0.0)
            if grown_usd > 0:
                self._cost.inc(grown_usd, tags=self._tags(role))
                self._cost_seen[role] = usd

    def _counted(self, roles: Mapping[str, int]) -> dict[str, int]:
        """Counts of roles under the names by which they are told."""
        told: Counter[str] = Counter()
        for role, count in roles.items():
            told[self._opened.observed.figures.role(role)] += count
        return told

    def _tags(self, role: str) -> dict[str, str]:
        return {"model": self._model, "role": role}

    def _growth(self, kind: str, values: Mapping[_Name, int]) -> dict[_Name, int]:
        """How much each value has grown since the last call, if it has."""
        grown = {}
        for name, value in values.items():
            growth = value - self._seen[(kind, *name)]
            if growth > 0:
                grown[name] = growth
                self._seen[(kind, *name)] = value
        return grown


def _gauge(name: str, description: str) -> metrics.Gauge:
    return metrics.Gauge(name, description, tag_keys=_TAGS)


def _seconds(name: str, description: str) -> metrics.Histogram:
    return metrics.Histogram(name, description, boundaries=_SECONDS, tag_keys=_TAGS)

"""What an engine tells of itself: its health, and its counts since the start.

Rules:
* Counts only grow while an engine lives and over its restarts; gauges are of the last step.
* The engine hands its statistics over after each step; to take them costs a few additions, no log and no server.
"""

from typing import Any, Literal

import msgspec

State = Literal["starting", "serving", "draining", "dead"]


class Health(msgspec.Struct, frozen=True):
    """How a replica is."""

    state: State
    unfinished: int
    """Requests running and waiting."""
    restarts: int
    """How often its engine was started again."""
    fault: str = ""
    """Why it is starting again, or dead."""


class Metrics(msgspec.Struct):
    """Counts of one replica."""

    running: int = 0
    """Requests that the engine computes."""
    waiting: int = 0
    """Requests that the engine holds back."""
    cache_usage: float = 0.0
    """The share of the cache's blocks that is in use."""
    requests: int = 0
    """Finished; each of n samples is one."""
    prompt_tokens: int = 0
    """Computed or found in the cache."""
    cached_tokens: int = 0
    """Of them, found in the cache."""
    generated_tokens: int = 0
    preemptions: int = 0
    queue_s: float = 0.0
    """Summed over finished requests: from the engine's receipt to its first step."""
    first_token_s: float = 0.0
    """Summed over first tokens: from the call to the first token."""
    first_tokens: int = 0

    @property
    def mean_queue_s(self) -> float | None:
        """None before the first request has ended."""
        return self.queue_s / self.requests if self.requests else None

    @property
    def mean_first_token_s(self) -> float | None:
        """None before the first token."""
        return self.first_token_s / self.first_tokens if self.first_tokens else None

    @property
    def hit_rate(self) -> float | None:
        """Cached prompt tokens of all. None before the first prompt."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None


class Recorder:
    """Takes vLLM's statistics (its `StatLoggerBase`, by shape)."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        """Called after each step."""
        del mm_cache_stats, engine_idx
        metrics = self._metrics
        if scheduler_stats is not None:
            metrics.running = scheduler_stats.num_running_reqs
            metrics.waiting = scheduler_stats.num_waiting_reqs
            metrics.cache_usage = scheduler_stats.kv_cache_usage
        if iteration_stats is None:
            return
        metrics.generated_tokens += iteration_stats.num_generation_tokens
        metrics.preemptions += iteration_stats.num_preempted_reqs
        for first_s in iteration_stats.time_to_first_tokens_iter:
            metrics.first_token_s += first_s
            metrics.first_tokens += 1
        for finished in iteration_stats.finished_requests:
            metrics.requests += 1
            metrics.prompt_tokens += finished.num_prompt_tokens
            metrics.cached_tokens += finished.num_cached_tokens
            metrics.queue_s += finished.queued_time

    def log_engine_initialized(self) -> None:
        """Nothing to say."""

    def log(self) -> None:
        """Nothing to say."""

    def record_sleep_state(self, is_awake: int = 0, level: int = 0) -> None:
        """Engines here do not sleep."""

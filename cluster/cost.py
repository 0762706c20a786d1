"""What a trial's model cost, by role: calls, tokens, money, waits. From the log of its calls.

Rules: a price that is not known is None, never zero; money is known only if it is of every answer; percentiles are by
nearest rank, of answers that were asked for (not of those had again).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.measure import MeasureRow
from cluster.call_log import ANSWERED, Again, Asked, Ended, lines_of

PREFIX = "model_"
SHOWN = ("model_calls", "model_tokens", "model_money_usd")
"""Those that stand in summaries though nobody names them in `measures`; the table of measures has all."""


@dataclass
class RoleCost:
    """The calls of one role, or of all."""

    asked: int = 0
    """Calls that were sent to the model."""
    answered: int = 0
    again: int = 0
    """Answers that were made before: for a cell that was recovered, or to a question that others had asked."""
    errors: dict[str, int] = field(default_factory=dict)
    """Calls without an answer, by reason."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    """Of the prompts' tokens; None where the model tells of none."""
    estimated: bool = False
    """Some counts are ours, by a rule of our own."""
    money_usd: float | None = 0.0
    charged_tokens: int = 0
    """What counts against ceilings: what was used, and of calls that were lost what they might have used."""
    waits_s: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Of prompts and completions."""
        return self.prompt_tokens + self.completion_tokens

    def add(self, line: Asked | Ended | Again) -> None:
        """Takes a line of the log."""
        if isinstance(line, Asked):
            self.asked += 1
        elif isinstance(line, Again):
            self.again += 1
        elif line.outcome == ANSWERED:
            self._answer(line)
        else:
            self.errors[line.outcome] = self.errors.get(line.outcome, 0) + 1
            self.charged_tokens += line.charged_tokens

    def _answer(self, line: Ended) -> None:
        self.answered += 1
        self.prompt_tokens += line.prompt_tokens
        self.completion_tokens += line.completion_tokens
        self.charged_tokens += line.charged_tokens
        self.estimated = self.estimated or line.estimated
        if line.cached_tokens is not None:
            self.cached_tokens = (self.cached_tokens or 0) + line.cached_tokens
        known = self.money_usd is not None and line.cost_usd is not None
        self.money_usd = (self.money_usd or 0.0) + (line.cost_usd or 0.0) if known else None
        if line.queue_s is not None:
            self.waits_s.append(line.queue_s)
        if line.total_s is not None:
            self.seconds.append(line.total_s)

    def join(self, other: "RoleCost") -> None:
        """Adds the calls of another."""
        self.asked += other.asked
        self.answered += other.answered
        self.again += other.again
        for reason, count in other.errors.items():
            self.errors[reason] = self.errors.get(reason, 0) + count
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.charged_tokens += other.charged_tokens
        self.estimated = self.estimated or other.estimated
        if other.cached_tokens is not None:
            self.cached_tokens = (self.cached_tokens or 0) + other.cached_tokens
        known = self.money_usd is not None and other.money_usd is not None
        self.money_usd = (self.money_usd or 0.0) + (other.money_usd or 0.0) if known else None
        self.waits_s += other.waits_s
        self.seconds += other.seconds

    def to_json(self) -> dict[str, Any]:
        """As `result.json` holds it; seconds to the microsecond."""
        return {
            "asked": self.asked,
            "answered": self.answered,
            "again": self.again,
            "errors": dict(sorted(self.errors.items())),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cached_tokens": self.cached_tokens,
            "estimated": self.estimated,
            "charged_tokens": self.charged_tokens,
            "money_usd": None if self.money_usd is None else round(self.money_usd, 9),
            "queue_s": _spread(self.waits_s),
            "latency_s": _spread(self.seconds),
        }


def costs_in(log: Path) -> dict[str, RoleCost]:
    """The cost of each role that called its model, in order of name."""
    found: dict[str, RoleCost] = {}
    for line in lines_of(log):
        found.setdefault(line.role, RoleCost()).add(line)
    return dict(sorted(found.items()))


def rows_of(costs: dict[str, RoleCost], now: float) -> list[MeasureRow]:
    """The costs as measures of the trial: of all roles (`model_tokens`), and of each where there are several."""
    rows: list[MeasureRow] = []
    if not costs:
        return rows
    whole = RoleCost()
    for cost in costs.values():
        whole.join(cost)
    named = [(f"_{role}", cost) for role, cost in costs.items()] if len(costs) > 1 else []
    for suffix, cost in [("", whole), *named]:
        amounts: dict[str, float | None] = {
            "calls": cost.asked,
            "tokens": cost.tokens,
            "cached_tokens": cost.cached_tokens,
            "money_usd": cost.money_usd,
        }
        for name, amount in amounts.items():
            if amount is not None:
                rows.append(_row(f"{PREFIX}{name}{suffix}", now, [float(amount)]))
        if cost.waits_s:
            rows.append(_row(f"{PREFIX}queue_s{suffix}", now, cost.waits_s))
    return sorted(rows, key=lambda row: row.measure)


def is_shown(measure: str) -> bool:
    """Whether a measure stands in summaries where none are chosen."""
    return not measure.startswith(PREFIX) or measure in SHOWN


def _row(measure: str, now: float, values: Sequence[float]) -> MeasureRow:
    total = math.fsum(values)
    return MeasureRow(
        now=now,
        measure=measure,
        count=len(values),
        sum=total,
        mean=total / len(values),
        minimum=min(values),
        maximum=max(values),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value at a share of the values, 0 to 1, by nearest rank. There must be one."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median and 99th percentile."""
    if not values:
        return None
    return {name: round(percentile(values, share), 6) for name, share in (("p50", 0.5), ("p99", 0.99))}

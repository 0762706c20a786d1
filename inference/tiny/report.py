"""What came of a training: exact match by family on held-out prompts with its interval, the loss, the cost.

Intervals are Wilson's at 95% (Wilson 1927), which hold near 0 and 1 too.
"""

import math
from typing import Any

import msgspec

NOTE = (
    "A closed-vocabulary fixture for exercising the real path (tokenizer, template, engine, parser, agents). It knows "
    "the phrasings and the words of its families and little else. It is not evidence of any model's quality."
)


class Score(msgspec.Struct, frozen=True):
    """How many of the held-out prompts of a family were answered exactly."""

    right: int
    asked: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, right: int, asked: int) -> "Score":
        """With the rate and its interval."""
        low, high = wilson(right, asked)
        return cls(right, asked, right / asked, low, high)


class Report(msgspec.Struct, frozen=True):
    """All that is known of a trained model. `losses` are (step, mean loss of the steps since the last)."""

    note: str
    families: dict[str, Score]
    losses: list[tuple[int, float]]
    parameters: int
    vocabulary: int
    steps: int
    conversations: int
    tokens: int
    training_seconds: float
    testing_seconds: float
    threads: int
    load: float
    """Processes that ran beside and with the training: the load average of the last minute at its end."""
    settings: dict[str, Any]
    versions: dict[str, str]


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The 95% interval of a share."""
    z = 1.959964
    share, wide = right / asked, z * z / asked
    middle = share + wide / 2
    half = z * math.sqrt(share * (1 - share) / asked + wide / (4 * asked))
    return max(0.0, (middle - half) / (1 + wide)), min(1.0, (middle + half) / (1 + wide))


def table(report: Report) -> str:
    """The report for people."""
    lines = ["family      exact match   95% interval     right of asked"]
    lines += [
        f"{name:<11} {score.rate:>10.1%}   {score.low:>6.1%} - {score.high:<6.1%}  {score.right:>5} of {score.asked}"
        for name, score in report.families.items()
    ]
    lines += [
        "on held-out prompts, greedy",
        f"{report.parameters:,} parameters, {report.steps:,} steps, {report.conversations:,} conversations, "
        f"{report.tokens:,} tokens",
        f"{report.training_seconds:.0f} s of training, {report.testing_seconds:.0f} s of testing on "
        f"{report.threads} threads, load {report.load:.1f}",
        report.note,
    ]
    return "\n".join(lines)

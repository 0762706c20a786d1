"""An agent that measures one protocol in the simulator, so that an experiment file can sweep over all that matters.

Rules: its parameters are those of `coordination.simulation.trial.Trial`; the seed is the agent's own draw, so the
repeats of an arm differ and the arms of a sweep meet the same seeds. What the trial came to is recorded as measures.
"""

import dataclasses
import math
from typing import Any

from actors import Agent, ConfigurationError, Context
from coordination.catalogue import entry_named
from coordination.simulation.trial import Trial, TrialResult

MEASURES = (
    "throughput_per_s",
    "latency_p50_delays",
    "messages_per_decision",
    "bytes_per_decision",
    "authenticators_per_decision",
    "agreement",
    "validity",
    "termination",
)


class Laboratory(Agent):
    """Runs one trial when it starts."""

    def __init__(self, protocol: str, **settings: Any) -> None:
        known = {field.name for field in dataclasses.fields(Trial)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise ConfigurationError(
                f"laboratory: there is no setting {unknown[0]!r}. There are: {', '.join(sorted(known))}."
            )
        self.settings = {"protocol": protocol, **settings}
        Trial(**self.settings).world()  # all that is wrong is told before anything runs

    async def on_start(self, context: Context) -> None:
        """The trial; its result comes from the journal when the run is replayed."""
        seed = context.rng.getrandbits(31)
        found: dict[str, Any] = await context.effect(measured, self.settings, seed)
        for name in (*MEASURES, "latency_p50_ms", "latency_p99_ms", "outage_ms"):
            if found[name] is not None:
                context.record(name, found[name])
        context.result("costs", found["costs"])
        if found["breaches"]:
            context.result("breaches", "\n".join(found["breaches"]))


def measured(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """A trial's numbers as plain data; None where there is none."""
    result = Trial(**settings).run(seed)
    found = {name: _number(getattr(result, name)) for name in MEASURES}
    found |= {
        "latency_p50_ms": _number(1e3 * result.latency_p50_s),
        "latency_p99_ms": _number(1e3 * result.latency_p99_s),
        "outage_ms": _number(1e3 * result.outage_s),
    }
    return {**found, "costs": costs_of(result), "breaches": list(result.breaches)}


def costs_of(result: TrialResult) -> list[dict[str, Any]]:
    """Measured costs beside the paper's formulas."""
    kind = entry_named(result.trial.protocol).kind
    n = result.trial.replicas
    theory = kind.costs
    return [
        {
            "protocol": kind.title,
            "replicas": n,
            "messages a decision": round(result.messages_per_decision, 2),
            "in theory": None if theory is None else theory.messages(n),
            "signatures a decision": round(result.authenticators_per_decision, 2),
            "signatures in theory": None if theory is None else theory.authenticators(n),
            "delays to a decision": _number(round(result.latency_p50_delays, 2)),
            "delays in theory": None if theory is None else theory.delays,
        }
    ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

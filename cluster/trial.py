"""One trial: a swarm made, started, run to its end, and what it came to.

Rules:
* A trial that was interrupted goes on from its journal; the messages that start it are then not sent again.
* Stop conditions and budgets are looked at between rounds (in `free`, about five times a second), so in `rounds` the
  end depends on the run alone, never on the machine's speed. Wall-clock bounds are the exception, as they must be.
* The result is written last: its being there means that the trial is done.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from actors.errors import HandlerFailed
from actors.llm_seat import SPENT
from actors.measure import MeasureRow
from actors.plan import Plan
from actors.run import Progress, RunResult
from actors.swarm import Swarm
from cluster.call_log import FILE as CALLS
from cluster.cost import costs_in, is_shown, rows_of
from cluster.experiment import Experiment, MeasureSection, substituted
from cluster.results import State, TrialFolder, now, write_json
from cluster.run_memory import with_memory
from cluster.run_model import RunModels, with_model
from cluster.sweep import Trial
from cluster.tables import arm_key, write_messages, write_metrics
from inference.errors import BudgetExceeded

SAVE_INTERVAL_S = 5.0
MAXIMUM_EDGES = 2000


class TrialObserver(Protocol):
    """Somebody who watches a trial."""

    def swarm_began(self, swarm: Swarm) -> None:
        """Its swarm is up."""

    def progressed(self, progress: Progress) -> None:
        """About five times a second."""


@dataclass
class Ending:
    """Says when a trial has reached a bound of its experiment, and remembers which."""

    experiment: Experiment
    spent_s: float = 0.0
    """Wall time that earlier parts of an interrupted trial took."""
    reason: str = ""
    refused_before: Mapping[str, int] = field(default_factory=dict)
    """Counts of a fork's past: what its run was refused does not end it."""

    @property
    def seconds(self) -> tuple[float, str] | None:
        """The wall time that is left and the bound that sets it; None without one."""
        bounds = [
            (bound - self.spent_s, name)
            for bound, name in (
                (self.experiment.stop.seconds, "stop.seconds"),
                (self.experiment.budget.seconds, "budget.seconds"),
            )
            if bound is not None
        ]
        return min(bounds, default=None)

    def reached(self, messages: int, measures: Mapping[str, MeasureRow], counts: Mapping[str, int]) -> bool:
        """Whether the trial ends here, by the messages taken so far, the last row of each measure, and the counts."""
        budget = self.experiment.budget.messages
        if budget is not None and messages >= budget:
            self.reason = "budget.messages"
        for unit, name in (("tokens", "budget.tokens"), ("usd", "budget.money_usd")):
            if counts.get(SPENT + unit, 0) > self.refused_before.get(SPENT + unit, 0):
                self.reason = name
        for condition in self.experiment.stop.when:
            row = measures.get(condition.measure)
            if row is not None and condition.holds(row.mean):
                bound = (
                    f"below {condition.below:g}"
                    if condition.below is not None
                    else f"above {condition.above:g}"
                )
                self.reason = f"{condition.measure} {bound}"
        return bool(self.reason)

    def of(self, result: RunResult) -> str:
        """Why the trial ended."""
        if self.reason:
            return self.reason
        if result.quiet:
            return "quiet"
        rounds = self.experiment.stop.rounds
        if rounds is not None and result.now >= rounds:
            return "stop.rounds"
        return self.seconds[1] if self.seconds is not None else "stopped"


async def run_trial(
    trial: Trial,
    experiment: Experiment,
    plan: Plan,
    folder: TrialFolder,
    models: RunModels,
    *,
    address: str | None = None,
    observer: TrialObserver | None = None,
) -> dict[str, Any]:
    """Runs or continues a trial and returns what its `result.json` says.

    `experiment` is the trial's own, completed by its setup; `plan` is made of it. `address` is that of a Ray cluster,
    if none has been joined. Raises whatever error of the swarm ended the run.
    """
    ending = Ending(experiment, float(folder.status.get("seconds", 0.0)) if folder.journal.exists() else 0.0)
    saver = _Saver(folder, _identity(trial), ending.spent_s)
    saver.save(State.RUNNING)

    def progressed(latest: Progress) -> None:
        saver.progressed(latest)
        if observer is not None:
            observer.progressed(latest)

    async with (
        with_memory(experiment, plan, folder.path, address) as remembering,
        with_model(experiment, remembering, folder.path, models) as seated,
    ):
        swarm = Swarm.on_ray(seated, address) if experiment.on == "ray" else Swarm.local(seated)
        async with swarm:
            if observer is not None:
                observer.swarm_began(swarm)
            result = await _run(swarm, ending, progressed)
            dashboard = swarm.dashboard
    costs = costs_in(folder.path / CALLS)
    result = msgspec.structs.replace(result, measures=[*result.measures, *rows_of(costs, result.now)])
    value = {
        **_identity(trial),
        **_outcome(result, experiment.measures),
        "seconds": round(ending.spent_s + result.seconds, 3),
        "ended": ending.of(result),
        "topology": _topology(plan),
        "dashboard": dashboard,
        **(
            {"model_cost": {role: cost.to_json() for role, cost in costs.items()}} if experiment.model else {}
        ),
    }
    _write_tables(folder.path, trial, experiment.measures, result)
    write_json(folder.path / "result.json", value)
    saver.save(State.DONE, result.seconds)
    return value


async def _run(swarm: Swarm, ending: Ending, progressed: Callable[[Progress], None]) -> RunResult:
    """Starts the swarm, or finds out how far an earlier part of the trial brought it, and runs it to its end."""
    experiment = ending.experiment
    rounds = experiment.stop.rounds
    await swarm.begin([(item.to, substituted(item.content, experiment.input)) for item in experiment.send])
    if swarm.resumed:
        before = await swarm.harvest()
        if swarm.plan.before is not None:
            ending.refused_before = before.counts
        if _reached(ending, before):
            return before
        rounds = None if rounds is None else max(0, rounds - int(before.now))
    left = ending.seconds
    try:
        return await swarm.run(
            rounds=rounds,
            timeout_s=None if left is None else max(left[0], 0.0),
            progress=progressed,
            stop=lambda latest: ending.reached(latest.messages, latest.measures, latest.counts),
        )
    except HandlerFailed as error:
        # A handler that lets the refusal pass, in a swarm that stops at errors: it is the budget that ends the trial.
        if f"{BudgetExceeded.__name__}: the run " not in str(error):
            raise
        result = await swarm.harvest()
        if not _reached(ending, result):
            raise
        return result


def _reached(ending: Ending, result: RunResult) -> bool:
    """Whether a swarm that has left this is at its end."""
    return ending.reached(result.messages, {row.measure: row for row in result.measures}, result.counts)


def save_state(folder: TrialFolder, trial: Trial, state: State, error: str = "") -> None:
    """Writes a trial's state, keeping what its status says of the time spent."""
    kept = {key: value for key, value in folder.status.items() if key not in ("state", "updated", "error")}
    told = {"error": error} if error else {}
    write_json(
        folder.path / "status.json", {"state": state, **_identity(trial), **kept, "updated": now(), **told}
    )


class _Saver:
    """Keeps a trial's status on disk current, without writing it too often."""

    def __init__(self, folder: TrialFolder, identity: dict[str, Any], before_s: float) -> None:
        self._file = folder.path / "status.json"
        self._identity = identity
        self._before_s = before_s
        self._saved = 0.0
        self._latest: dict[str, Any] = {}

    def progressed(self, latest: Progress) -> None:
        self._latest = {"now": latest.now, "agents": latest.agents, "messages": latest.messages}
        if time.monotonic() - self._saved >= SAVE_INTERVAL_S:
            self.save(State.RUNNING, latest.seconds)

    def save(self, state: State, seconds: float = 0.0) -> None:
        self._saved = time.monotonic()
        told = {"seconds": round(self._before_s + seconds, 3), "updated": now(), **self._latest}
        write_json(self._file, {"state": state, **self._identity, **told})


def _identity(trial: Trial) -> dict[str, Any]:
    return {"trial": trial.number, "arm": dict(trial.arm), "replicate": trial.replicate, "seed": trial.seed}


def _outcome(result: RunResult, measures: Sequence[MeasureSection]) -> dict[str, Any]:
    return {
        "fingerprint": result.fingerprint,
        "now": result.now,
        "quiet": result.quiet,
        "messages": result.messages,
        "agents": result.agents,
        "counts": dict(result.counts),
        "measures": last_values(result.measures, measures),
        "traffic": [[*roles, count] for roles, count in sorted(result.traffic.items())],
        "failures": [
            {"address": failure.address, "message_id": failure.message_id, "error": failure.error}
            for failure in result.failures
        ],
        "results": msgspec.to_builtins(result.results),
        "recoveries": list(result.recoveries),
    }


def last_values(rows: Sequence[MeasureRow], wanted: Sequence[MeasureSection]) -> dict[str, float]:
    """For each measure that is kept the value that stands for it: of its last row the mean, or what `show` names."""
    shown = {section.measure: section.show for section in wanted}
    last = {row.measure: row for row in rows if (row.measure in shown if shown else is_shown(row.measure))}
    return {measure: float(getattr(row, shown.get(measure, "mean"))) for measure, row in sorted(last.items())}


def _write_tables(folder: Path, trial: Trial, wanted: Sequence[MeasureSection], result: RunResult) -> None:
    names = {section.measure for section in wanted}
    common = {
        "trial": trial.number,
        "arm": arm_key(trial.arm),
        "replicate": trial.replicate,
        "seed": trial.seed,
    }
    write_metrics(
        folder / "metrics.parquet",
        [
            {
                **common,
                "now": row.now,
                "measure": row.measure,
                "count": row.count,
                "sum": row.sum,
                "mean": row.mean,
                "minimum": row.minimum,
                "maximum": row.maximum,
            }
            for row in result.measures
            if not names or row.measure in names
        ],
    )
    write_messages(
        folder / "messages.parquet",
        [
            {
                "trial": trial.number,
                "now": row.now,
                "sender": row.sender,
                "recipient": row.recipient,
                "kind": row.kind,
                "bytes": row.bytes,
            }
            for row in result.messages_sample
        ],
    )


def _topology(plan: Plan) -> dict[str, Any] | None:
    """What the report draws."""
    if plan.topology is None:
        return None
    drawn = plan.topology.graph(most_nodes=MAXIMUM_EDGES, most_edges=MAXIMUM_EDGES)
    return {"describe": plan.topology.describe(), "edges": [list(edge) for edge in drawn.edges]}

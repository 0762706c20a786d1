"""Agreement protocols under the same load, network and faults: throughput, latency, costs, and whether they held.

In the simulator every protocol meets the same clients, delays and faults, from the same seeds; costs per decision stand
beside the formulas of the papers. On Ray, three replicas are three processes, and pysyncobj, where it is installed, is
measured in the same run with its own three, at the niceness that Ray gives its workers.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from actors.errors import ConfigurationError
from benchmarks import log_on_ray, pysyncobj_peer, raft_speed
from benchmarks.outcome import AsJson, Outcome, in_words, median, rounded, tell
from benchmarks.page import Curve, Plot, write_page
from benchmarks.ray_session import own_ray
from cluster.statistics import Estimate, estimate
from coordination.catalogue import CATALOGUE, entry_named
from coordination.simulation.trial import Trial, TrialResult

app = typer.Typer(add_completion=False)
_WINDOW = 1_000
_MEASURES = (
    "throughput_per_s",
    "latency_p50_s",
    "latency_p99_s",
    "latency_p50_delays",
    "messages_per_decision",
    "bytes_per_decision",
    "authenticators_per_decision",
    "outage_s",
    "agreement",
    "validity",
    "termination",
)


@dataclass(frozen=True)
class Cell:
    """One cell of the comparison: a trial over several seeds."""

    trial: Trial
    results: tuple[TrialResult, ...]

    def estimate(self, measure: str) -> Estimate:
        """Mean over the seeds, with its 95% interval."""
        values = [float(getattr(result, measure)) for result in self.results]
        return estimate(values, share=measure in ("agreement", "validity", "termination"))

    def row(self) -> dict[str, Any]:
        """As JSON: what was set, and for each measure its mean and interval (null where there is none)."""
        kind = entry_named(self.trial.protocol).kind
        setting = {name: value for name, value in asdict(self.trial).items() if name != "options"}
        row: dict[str, Any] = {
            **setting,
            "f": kind.withstands(self.trial.replicas),
            "seeds": len(self.results),
        }
        for measure in _MEASURES:
            found = self.estimate(measure)
            row[measure] = None if math.isnan(found.mean) else rounded(found.mean)
            row[f"{measure}_low"] = None if found.low is None else rounded(found.low)
            row[f"{measure}_high"] = None if found.high is None else rounded(found.high)
        if kind.costs is not None:
            row["messages_in_theory"] = kind.costs.messages(self.trial.replicas)
            row["authenticators_in_theory"] = kind.costs.authenticators(self.trial.replicas)
            row["delays_in_theory"] = kind.costs.delays
        row["breaches"] = [breach for result in self.results for breach in result.breaches][:3]
        row["events"] = sum(result.events for result in self.results)
        return row


def compare(trials: Sequence[Trial], seeds: int) -> list[Cell]:
    """Runs every trial with the same seeds."""
    for trial in trials:
        trial.world()  # all that is wrong is told before anything runs
    return [Cell(trial, tuple(trial.run(seed) for seed in range(seeds))) for trial in trials]


def raft_figures(*, commands: int, repeats: int) -> dict[str, float]:
    """The simulator's speeds, each the median of a few."""
    raft_speed.measure(batch=1, commands=2_000)  # the first run pays for imports
    single = [raft_speed.measure(batch=1, commands=commands) for _ in range(repeats)]
    batched = [raft_speed.measure(batch=raft_speed.BATCH, commands=10 * commands) for _ in range(repeats)]
    return {
        "raft_sim_commits_per_second": median(speed.commits_per_second for speed in single),
        "raft_sim_batched_commits_per_second": median(speed.commits_per_second for speed in batched),
        "sim_events_per_second": median(speed.events_per_second for speed in single),
    }


def ray_figures(
    protocols: Sequence[str], *, seconds: float, repeats: int, batches: Sequence[int]
) -> tuple[dict[str, float], list[str], list[dict[str, Any]]]:
    """The same on Ray, with its peer beside it; also what was left out, and a row for each protocol."""
    with own_ray(2):
        rates = {batch: [_at_leader(batch, _WINDOW, seconds) for _ in range(repeats)] for batch in batches}
        single = [_at_leader(1, 1, seconds) for _ in range(repeats)]
        rows = [
            {"driver": "ray", "protocol": name, "replicas": replicas, **asdict(rate)}
            for name in protocols
            for replicas in [entry_named(name).kind.replicas(1)]
            for rate in [
                log_on_ray.measure(name, replicas=replicas, window=_WINDOW, batch=100, seconds=seconds)
            ]
        ]
    best = max(rates, key=lambda batch: median(rate.commands_per_second for rate in rates[batch]))
    figures = {
        "raft_ray_commits_per_second": median(rate.commands_per_second for rate in rates[best]),
        "raft_ray_latency_p50_s": median(rate.latency_p50_s for rate in single),
    }
    notes = [
        f"On Ray: three actors, requests of {best} commands of 64 bytes, {_WINDOW} in flight at the leader."
    ]
    if not pysyncobj_peer.is_installed():
        return (
            figures,
            [*notes, "pysyncobj is not installed, so nothing stands beside it: pip install pysyncobj"],
            rows,
        )
    tuned = [pysyncobj_peer.measure(tuned=True, window=_WINDOW, seconds=seconds) for _ in range(repeats)]
    default = pysyncobj_peer.measure(tuned=False, window=1, seconds=seconds)
    figures["pysyncobj_commits_per_second"] = median(rate for rate, _ in tuned)
    figures["pysyncobj_default_latency_p50_s"] = rounded(default[1])
    ours = figures["raft_ray_commits_per_second"]
    figures["ratio_to_pysyncobj"] = rounded(ours / figures["pysyncobj_commits_per_second"])
    figures["latency_ratio_to_pysyncobj"] = rounded(default[1] / figures["raft_ray_latency_p50_s"])
    return figures, notes, rows


def _at_leader(batch: int, window: int, seconds: float) -> log_on_ray.Rate:
    return log_on_ray.measure("raft", replicas=3, window=window, batch=batch, seconds=seconds, at_leader=True)


# --- pictures ----------------------------------------------------------------------------------------------------


def plots_of(cells: Sequence[Cell]) -> list[Plot]:
    """Throughput against latency, cost against n with the theory, and the time line of a fault."""
    names = list(dict.fromkeys(cell.trial.protocol for cell in cells))
    colours = {name: index for index, name in enumerate(names)}
    latency, cost, line = [], [], []
    for name in names:
        mine = [cell for cell in cells if cell.trial.protocol == name]
        title = entry_named(name).kind.title
        quiet = [cell for cell in mine if cell.trial.faults == "none"]
        latency.append(
            Curve(
                title,
                [_point(cell, "throughput_per_s", "latency_p50_s", 1e3) for cell in quiet],
                colour=colours[name],
            )
        )
        points = [(float(cell.trial.replicas), cell.estimate("messages_per_decision").mean) for cell in quiet]
        cost.append(Curve(title, points, colour=colours[name]))
        costs = entry_named(name).kind.costs
        if costs is not None:
            theory = [(n, float(costs.messages(int(n)))) for n, _ in points]
            cost.append(Curve(f"{title}, theory", theory, theory=True, colour=colours[name]))
        faulty = [cell for cell in mine if cell.trial.faults != "none"]
        line += [Curve(title, cell.results[0].timeline, colour=colours[name]) for cell in faulty[:1]]
    plots = [
        Plot(
            "Throughput against latency",
            f"{cells[0].trial.replicas} replicas. Each point is one load (clients, batch); down and to the right is "
            f"better. Virtual time.",
            "commands decided a second",
            "median latency, ms",
            latency,
            "log",
        ),
        Plot(
            "Messages for one decision",
            "Measured points, with the formulas of the papers beneath them (dotted). What is sent when idle, such as "
            "heartbeats, counts too.",
            "replicas",
            "messages",
            cost,
            "log",
        ),
    ]
    if line:
        plots.append(
            Plot(
                "Through a fault",
                "Commands answered a second while the faults of the run happen; the gap is the time without service.",
                "virtual seconds",
                "commands a second",
                line,
            )
        )
    return plots


def _point(cell: Cell, x: str, y: str, factor: float) -> tuple[float, float]:
    return cell.estimate(x).mean, cell.estimate(y).mean * factor


def table_of(cells: Sequence[Cell]) -> Table:
    """The comparison for a terminal: of what was set, only what differs."""
    rows = [described(cell) for cell in cells]
    settings = ("n", "faults", "liars", "clients", "batch")
    shown = [name for name in settings if len({row[name] for row in rows}) > 1]
    table = Table(title="comparison, means over seeds", title_justify="left")
    columns = (
        "protocol",
        *shown,
        "commands/s",
        "p50 ms",
        "delays",
        "messages",
        "theory",
        "signatures",
        "outage ms",
        "agreed",
    )
    for name in columns:
        table.add_column(name, justify="left" if name in ("protocol", "faults", "liars") else "right")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def described(cell: Cell) -> dict[str, str]:
    """One cell of the comparison as text, by column."""
    trial, costs = cell.trial, entry_named(cell.trial.protocol).kind.costs
    mean = {name: cell.estimate(name).mean for name in _MEASURES}
    return {
        "protocol": trial.protocol,
        "n": str(trial.replicas),
        "faults": trial.faults,
        "liars": trial.liars,
        "clients": str(trial.clients),
        "batch": str(trial.batch),
        "commands/s": _word(mean["throughput_per_s"]),
        "p50 ms": _word(1e3 * mean["latency_p50_s"]),
        "p99 ms": _word(1e3 * mean["latency_p99_s"]),
        "delays": _word(mean["latency_p50_delays"]),
        "messages": _word(mean["messages_per_decision"]),
        "theory": "" if costs is None else f"{costs.messages(trial.replicas)}",
        "signatures": _word(mean["authenticators_per_decision"]),
        "bytes": _word(mean["bytes_per_decision"]),
        "outage ms": _word(1e3 * mean["outage_s"]),
        "agreed": f"{mean['agreement']:.0%}",
        "valid": f"{mean['validity']:.0%}",
        "ended": f"{mean['termination']:.0%}",
    }


def _word(value: float) -> str:
    return "-" if math.isnan(value) else in_words(value)


# --- the command -------------------------------------------------------------------------------------------------


def _numbers(text: str, name: str) -> list[int]:
    try:
        numbers = [int(item) for item in text.split(",")]
    except ValueError:
        raise ConfigurationError(
            f"--{name}: {text!r} is not a list of whole numbers. Write --{name} 4,7,16."
        ) from None
    if min(numbers) < 1:
        raise ConfigurationError(f"--{name}: {min(numbers)} is too small. Give 1 or more.")
    return numbers


@app.command()
def consensus(
    *,
    protocol: Annotated[str, typer.Option(metavar="P[,P...]", help="Which, or `all`.")] = "all",
    n: Annotated[str, typer.Option("--n", metavar="N[,N...]", help="Numbers of replicas.")] = "4,7",
    faults: Annotated[
        str,
        typer.Option(
            help="`none`, or for example crash:leader@2s (see `docs/consensus.md`); `/` parts several."
        ),
    ] = "none",
    liars: Annotated[
        str, typer.Option(help="`none`, silent:f, equivocating:1, double-voting:f+1 ...")
    ] = "none",
    latency: Annotated[
        str, typer.Option(help="lan, wan, 5ms, uniform:1ms,9ms, lognormal:2ms,0.3, or a file.")
    ] = "1ms",
    bandwidth: Annotated[
        float | None, typer.Option(min=0.001, help="Mbit/s of each replica's line out.")
    ] = None,
    batch: Annotated[str, typer.Option(metavar="B[,B...]", help="Commands in a proposal.")] = "1",
    clients: Annotated[
        str, typer.Option(metavar="C[,C...]", help="Clients, each with one proposal under way.")
    ] = "1,16",
    block: Annotated[
        int, typer.Option(min=1, help="Most commands in a block, where there are blocks.")
    ] = 1000,
    payload: Annotated[int, typer.Option(min=0, help="Bytes of a command.")] = 64,
    driver: Annotated[Literal["sim", "ray", "both"], typer.Option(help="Where.")] = "both",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each cell of the comparison.")] = 5,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Virtual seconds measured; real ones on Ray.")
    ] = 1.0,
    commands: Annotated[
        int, typer.Option(min=1_000, help="Commands when the simulator's speed is measured.")
    ] = 30_000,
    repeats: Annotated[int, typer.Option(min=1, help="Runs behind each speed; the median counts.")] = 3,
    signatures: Annotated[
        Literal["token", "token-vector", "ed25519"],
        typer.Option(help="token: combined certificates count as one."),
    ] = "token",
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write figures and table as a page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare agreement protocols: Raft to Streamlet, simulated and on Ray.

    Examples:

        rayswarm bench consensus --protocol raft,pbft,hotstuff --n 4,7,16,31 --driver sim --report consensus.html

        rayswarm bench consensus --protocol raft --n 5 --faults crash:leader@0.5s --driver sim

        rayswarm bench consensus --driver ray --seconds 5
    """
    chosen = _chosen(protocol)
    trials = [
        Trial(
            name, replicas, fault, liars, latency, bandwidth,
            batch=size, block=block, clients=count, payload_bytes=payload, seconds=seconds, signatures=signatures,
        )
        for fault, name, replicas, size, count in itertools.product(
            faults.split("/"), chosen, _numbers(n, "n"), _numbers(batch, "batch"), _numbers(clients, "clients")
        )
    ]  # fmt: skip
    nothing = Outcome("", {})
    simulated = nothing if driver == "ray" else _simulated(trials, seeds, commands, repeats, report)
    on_ray = nothing if driver == "sim" else _on_ray(chosen, max(seconds, 2.0), repeats)
    tell(_together(simulated, on_ray), as_json=as_json)


def _together(simulated: Outcome, on_ray: Outcome) -> Outcome:
    notes, rows = [*simulated.notes, *on_ray.notes], [*simulated.rows, *on_ray.rows]
    return Outcome("consensus", {**simulated.figures, **on_ray.figures}, notes, simulated.tables, rows)


def _chosen(protocol: str) -> list[str]:
    return (
        list(CATALOGUE)
        if protocol == "all"
        else [entry_named(name).kind.name for name in protocol.split(",")]
    )


def _simulated(
    trials: Sequence[Trial], seeds: int, commands: int, repeats: int, report: Path | None
) -> Outcome:
    cells = compare(trials, seeds)
    figures = raft_figures(commands=commands, repeats=repeats)
    seconds = trials[0].seconds
    notes = [f"Simulated: {seeds} seeds a cell, {seconds:g} virtual seconds each after a warm-up."]
    if report is not None:
        _write_report(report, cells)
        notes.append(f"Page: {report}")
    rows = [{"driver": "sim", **cell.row()} for cell in cells]
    return Outcome("", figures, notes, (table_of(cells),), rows)


def _on_ray(protocols: Sequence[str], seconds: float, repeats: int) -> Outcome:
    figures, notes, rows = ray_figures(protocols, seconds=seconds, repeats=repeats, batches=(100, 250))
    return Outcome("", figures, notes, (), rows)


def _write_report(path: Path, cells: Sequence[Cell]) -> None:
    rows = [described(cell) for cell in cells]
    write_page(
        path,
        "Agreement protocols, side by side",
        "One simulator, the same clients, network, faults and seeds for each protocol; means over seeds.",
        plots_of(cells),
        head=list(rows[0]),
        rows=[list(row.values()) for row in rows],
        command="rayswarm bench consensus --help",
    )


if __name__ == "__main__":
    # Under the name that Ray's workers can import, not as `__main__`.
    from benchmarks.consensus import app as importable

    importable()

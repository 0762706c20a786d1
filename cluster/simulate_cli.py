"""`rayswarm simulate`: one protocol under all faults at once, seed after seed, checked at every step.

Rules: it runs for as long as asked and stops at the first seed that breaks something, with the seed, the last events,
and the command that repeats it. Exit code 1 then; 0 if every seed held.
"""

import json
import math
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from actors.errors import ConfigurationError
from coordination.checker import SafetyViolation
from coordination.simulation.campaign import EVENTS, CaseResult, LivenessFailure, search
from coordination.simulation.search import SEARCHED, Searched, searched_named


def simulate(
    *,
    protocol: Annotated[
        str, typer.Option(metavar="P[,P...]", help=f"Which: {', '.join(SEARCHED)}, or `all`.")
    ] = "all",
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="How long, shared by the protocols; without --seeds: 1.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds of each, from --first on.")] = None,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="This seed alone: repeats what it did.")] = None,
    events: Annotated[int, typer.Option(min=100, help="Events in each run.")] = EVENTS,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Search for a seed that breaks a protocol: loss, disorder, partitions, crashes, liars and skewed clocks at once.

    Every event is checked against the protocol's properties; then everything heals, and decisions must come again, or
    rumours reach all, the dead be found, averages meet, leaders be known. Faults are those that a protocol withstands.

    Examples:

        rayswarm simulate --protocol raft --minutes 10

        rayswarm simulate --protocol pbft,hotstuff,gossip --seeds 1000

        rayswarm simulate --protocol raft --seed 17
    """
    chosen = (
        list(SEARCHED.values())
        if protocol == "all"
        else [searched_named(name) for name in protocol.split(",")]
    )
    if seed is not None and (seeds is not None or minutes is not None or len(chosen) != 1):
        raise ConfigurationError(
            "simulate: --seed repeats one run of one --protocol. Leave out --seeds and --minutes."
        )
    if seed is not None:
        first, seeds = seed, 1
    wall_s = (
        math.inf if minutes is None and seeds is not None else 60.0 * (1.0 if minutes is None else minutes)
    )
    console = Console(stderr=True)
    rows, failure = [], None
    for entry in chosen:
        results, failure = _searched(
            entry, console, first=first, seeds=seeds, wall_s=wall_s / len(chosen), events=events
        )
        rows.append(_row(entry, results, failed=failure is not None))
        typer.echo(_sentence(entry, rows[-1]), err=as_json)
        if failure is not None:
            typer.echo(f"\n{failure}", err=True)
            break
    if as_json:
        typer.echo(json.dumps({"held": failure is None, "protocols": rows}))
    if failure is not None:
        raise typer.Exit(1)


def _searched(
    entry: Searched, console: Console, *, first: int, seeds: int | None, wall_s: float, events: int
) -> tuple[list[CaseResult], str | None]:
    """The results of all seeds that held, and what the first that did not says."""
    results: list[CaseResult] = []
    began = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    total = float(seeds) if seeds is not None else wall_s
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(entry.kind.title, total=total, state="")
        try:
            seeded = range(first, first + (seeds or 2**31))
            for result in search(lambda seed: entry.run(seed, events), seeds=seeded, wall_s=wall_s):
                results.append(result)
                done = len(results) if seeds is not None else time.monotonic() - began
                rate = sum(one.events for one in results) / (time.monotonic() - began)
                progress.update(task, completed=done, state=f"{len(results):,} seeds, {rate:,.0f} events/s")
        except (SafetyViolation, LivenessFailure) as error:
            return results, f"{error.reason}: {error}"
    return results, None


def _row(entry: Searched, results: list[CaseResult], *, failed: bool) -> dict[str, object]:
    recoveries = sorted(result.recovery_delays for result in results)
    wall_s = sum(result.wall_s for result in results)
    return {
        "protocol": entry.kind.name,
        "held": not failed,
        "seeds": len(results),
        "events": sum(result.events for result in results),
        "commands": sum(result.commands for result in results),
        "commands_are": entry.unit,
        "faults": sum(result.faults for result in results),
        "events_per_second": sum(result.events for result in results) / wall_s if wall_s else 0.0,
        "recovery_delays_median": recoveries[len(recoveries) // 2] if recoveries else None,
        "recovery_delays_most": recoveries[-1] if recoveries else None,
        "histories": sum(result.operations > 0 for result in results),
        "histories_undecided": sum(result.undecided for result in results),
        "operations_judged": sum(result.operations for result in results),
    }


def _sentence(entry: Searched, row: dict[str, object]) -> str:
    verdict = "held" if row["held"] else "BROKE"
    text = (
        f"{entry.kind.title}: {verdict}. {row['seeds']:,} seeds, {row['events']:,} events checked, "
        f"{row['faults']:,} faults, {row['commands']:,} {entry.unit}"
    )
    if row["histories"]:
        text += f"; {row['histories']:,} histories of {row['operations_judged']:,} operations judged, "
        text += f"{row['histories_undecided']:,} undecided"
    return f"{text}."

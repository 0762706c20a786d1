"""The commands `rayswarm replay` and `rayswarm fork`."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from actors.errors import ConfigurationError
from actors.player import Diverged
from actors.replay import AgentReport, replay_agent, replay_run
from cluster.display import LiveDisplay, summary_view
from cluster.forking import ForkRequest, fork_run
from cluster.results import RunFolder, State, find_run
from cluster.runner import trial_plan

_SHOWN_STATE_CHARACTERS = 2000

_Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A path, an id or its start, an experiment's name, or `last`.")
]
_Trial = Annotated[
    int | None, typer.Option("--trial", metavar="N", help="The trial; by default each, or the only one.")
]
_Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="The folder of all runs.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def replay(
    run: _Run,
    *,
    trial: _Trial = None,
    agent: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Replay this agent alone.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="MESSAGE", help="Stop where it takes this message.")
    ] = None,
    debug: Annotated[bool, typer.Option("--pdb", help="Stop there in the debugger.")] = False,
    results: _Results = Path("results"),
    as_json: _Json = False,
) -> None:
    """Run a run again from its journal, without model, tool or network, and compare.

    The first difference is named by agent and message, with what was expected and what came; the exit code is then 1.

    Examples:

        rayswarm replay last

        rayswarm replay last --agent worker/3

        rayswarm replay last --agent worker/3 --until 'auctioneer#17' --pdb
    """
    if agent is None and (until is not None or debug):
        raise ConfigurationError("--until and --pdb are for one agent: name it with --agent ADDRESS")
    folder = find_run(run, results)
    try:
        told = (
            _replay_agent(folder, trial, agent, until, debug=debug, aside=as_json)
            if agent
            else _replay_trials(folder, trial, aside=as_json)
        )
    except Diverged as error:
        if as_json:
            problem = {
                "agent": error.address,
                "message": error.message,
                "expected": error.expected,
                "got": error.got,
            }
            typer.echo(json.dumps({"run": str(folder.path), "diverged": problem}))
        typer.echo(f"diverged: {error}", err=True)
        if error.expected or error.got:
            typer.echo(f"  agent    {error.address}\n  message  {error.message}", err=True)
            typer.echo(f"  expected {error.expected}\n  got      {error.got}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps({"run": str(folder.path), **told}))


def _replay_trials(folder: RunFolder, only: int | None, *, aside: bool) -> dict[str, object]:
    numbers = [number for number, _ in enumerate(folder.trials) if only in (None, number)]
    if not numbers:
        raise ConfigurationError(
            f"{folder.name} has no trial {only}: it has {len(folder.trials)}, counted from 0"
        )
    told = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    for number in numbers:
        path = folder.trial(number).journal
        _, plan = trial_plan(folder, number, journal=path)
        with Progress(*columns, console=Console(stderr=True), transient=True) as display:
            line = display.add_task(f"trial {number}")

            def progress(cell: int, entries: int, line: TaskID = line, number: int = number) -> None:
                display.update(line, description=f"trial {number}, cell {cell}: {entries:,} entries")

            report = asyncio.run(replay_run(path, plan, progress))
        result = folder.trial(number).result
        recorded = "" if result is None else str(result["fingerprint"])
        if recorded and report.fingerprint and recorded != report.fingerprint:
            raise Diverged(
                f"trial {number} ended with another fingerprint",
                "",
                "",
                f"fingerprint {recorded}",
                f"fingerprint {report.fingerprint}",
            )
        same = "the same fingerprint" if recorded and report.fingerprint else "no difference"
        typer.echo(
            f"trial {number}: {report.turns:,} turns in {report.cells} cells played again in {report.seconds:.1f} s: "
            f"{same}",
            err=aside,
        )
        told.append({"trial": number, **msgspec.to_builtins(report)})
    return {"trials": told}


def _replay_agent(
    folder: RunFolder, trial: int | None, agent: str, until: str | None, *, debug: bool, aside: bool
) -> dict[str, object]:
    if trial is None and len(folder.trials) > 1:
        last = len(folder.trials) - 1
        raise ConfigurationError(
            f"{folder.name} has {len(folder.trials)} trials: say which with --trial 0 to {last}"
        )
    number = trial or 0
    if not 0 <= number < len(folder.trials):
        raise ConfigurationError(
            f"{folder.name} has no trial {number}: it has {len(folder.trials)}, counted from 0"
        )
    path = folder.trial(number).journal
    _, plan = trial_plan(folder, number, journal=path)
    report: AgentReport = asyncio.run(replay_agent(path, plan, agent, until=until, debug=debug))
    told = {name: repr(value)[:_SHOWN_STATE_CHARACTERS] for name, value in report.state.items()}
    typer.echo(
        f"{report.address}: {report.turns:,} turns and {report.sends:,} sends played again, {report.compared:,} "
        f"compared: no difference",
        err=aside,
    )
    for name, value in told.items():
        typer.echo(f"  {name} = {value}", err=aside)
    return {
        "agent": report.address,
        "turns": report.turns,
        "sends": report.sends,
        "compared": report.compared,
        "state": told,
    }


def fork(
    run: _Run,
    *,
    at: Annotated[
        str, typer.Option("--at", metavar="MESSAGE", help="The id of a message that some agent took.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="What is different from there on; may be repeated."),
    ] = None,
    trial: Annotated[int, typer.Option("--trial", metavar="N", help="The trial.")] = 0,
    results: _Results = Path("results"),
    as_json: _Json = False,
) -> None:
    """Fork a run at a message: the same past, another future.

    All that happened before the message, and all that does not follow from it, stays. From there on the swarm follows
    the changed settings; agents that exist keep their state. The fork is a run of its own, beside the old one.

    Examples:

        rayswarm fork last --at 'worker/3#12' --set seed=8

        rayswarm fork last --at 'worker/3#12' --set 'faults=[{drop: 0.5}]'
    """
    folder = find_run(run, results)
    if not 0 <= trial < len(folder.trials):
        raise ConfigurationError(
            f"{folder.name} has no trial {trial}: it has {len(folder.trials)}, counted from 0"
        )
    with LiveDisplay(Console(stderr=True)) as display:
        summary = fork_run(ForkRequest(folder, trial, at, settings or []), display)
    (Console(stderr=True) if as_json else Console()).print(summary_view(summary))
    if as_json:
        typer.echo(json.dumps(summary.to_json()))
    if summary.state != State.DONE:
        raise typer.Exit(130 if summary.state == State.INTERRUPTED else 1)

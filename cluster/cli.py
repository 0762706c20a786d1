"""The command line: `rayswarm run | list | show | compare | export | replay | fork | recall | memory | check | bench`.

Rules:
* A user's mistake is told in one sentence and never as a traceback. Exit codes: 0 done; 1 the run failed; 2 the
  request was wrong; 130 interrupted.
* Results go to standard output, progress and errors to standard error.
* Benchmarks stand on a floor above; they are found as entry points of the installed distribution, never imported.
"""

import json
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from typer.core import TyperGroup

from actors.errors import ConfigurationError, SwarmError
from cluster import check_cli, memory_cli, raft_cli
from cluster.compare import compare_runs
from cluster.display import LiveDisplay, run_view, runs_view, summary_view
from cluster.experiment import load_experiment
from cluster.export import export_run
from cluster.located_yaml import nearest
from cluster.recall_cli import recall
from cluster.replay_cli import fork, replay
from cluster.results import State, find_run, runs_in
from cluster.runner import Request, run_experiment, summary_of
from cluster.simulate_cli import simulate

BENCHMARKS = "rayswarm.bench"
"""The group of entry points that benchmarks are found by; each is a typer application."""


class _Telling(TyperGroup):
    """Tells errors in a sentence and ends with their exit code."""

    def invoke(self, ctx: Any) -> Any:  # the context's class depends on typer's version
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            text, code = str(error), 2
        except SwarmError as error:
            text, code = f"{error.reason}: {error}", 1
        except BrokenPipeError:
            raise
        except OSError as error:
            text, code = f"cannot read or write {error.filename or 'a file'}: {error.strerror or error}", 1
        except KeyboardInterrupt:
            text, code = "Interrupted.", 130
        typer.echo(text, err=True)
        raise typer.Exit(code)


app = typer.Typer(
    name="rayswarm",
    cls=_Telling,
    help="A laboratory for agent swarms on Ray: run experiments, look at them, replay them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)

Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="The folder of all runs.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A path, an id or its start, an experiment's name, or `last`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The experiment, a YAML file.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Set any value of it; may be repeated."),
    ] = None,
    on: Annotated[
        Literal["local", "ray"] | None, typer.Option(help="Where to run; else as the file says.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="LINE", help="The agents' language model, such as ollama:qwen3:0.6b; else the file's."
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster's address; else one is found, or started.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run anew, beside what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
    results: Results = Path("results"),
) -> None:
    """Run an experiment, or what is missing of it.

    The same command again goes on where the last one ended and computes nothing twice.

    Examples:

        rayswarm run experiments/library_survey.yaml

        rayswarm run experiments/library_survey.yaml --set input=src --set swarm.cells=4 --on ray

        rayswarm run experiments/committee.yaml --model ollama:qwen3:0.6b
    """

    _find_modules_beside(file)
    given = [*([f"model={model}"] if model else []), *(settings or []), *([f"on={on}"] if on else [])]
    experiment = load_experiment(file, given)
    if address is not None and experiment.on != "ray":
        raise ConfigurationError("--address is of a Ray cluster, and this run is local: add --on ray")
    with LiveDisplay(Console(stderr=True)) as display:
        summary = run_experiment(Request(experiment, str(file), given, results, address, fresh), display)
    (Console(stderr=True) if as_json else Console()).print(summary_view(summary))
    if summary.state == State.INTERRUPTED:
        typer.echo("Interrupted. The same command goes on from here.", err=True)
    if as_json:
        typer.echo(json.dumps(summary.to_json()))
    code = {State.DONE: 0, State.INTERRUPTED: 130}.get(summary.state, 1)
    if code:
        raise typer.Exit(code)


@app.command("list")
def list_runs(results: Results = Path("results"), as_json: AsJson = False) -> None:
    """List the runs, the last one first.

    Example:

        rayswarm list
    """

    runs = runs_in(results)
    if as_json:
        typer.echo(json.dumps([{"run": str(run.path), **run.status} for run in runs]))
    elif runs:
        Console().print(runs_view(runs))
    else:
        typer.echo(f"There are no runs in {results}.")


@app.command()
def show(run: RunName, results: Results = Path("results"), as_json: AsJson = False) -> None:
    """Show what a run was and what it came to.

    Examples:

        rayswarm show last

        rayswarm show 3f2a --json
    """

    summary = summary_of(find_run(run, results))
    if as_json:
        typer.echo(
            json.dumps({**summary.to_json(), "state": summary.state, "manifest": summary.folder.manifest})
        )
    else:
        Console().print(run_view(summary))


@app.command()
def compare(
    first: RunName, second: RunName, results: Results = Path("results"), as_json: AsJson = False
) -> None:
    """Compare two runs measure by measure, paired by seed.

    Example:

        rayswarm compare 3f2a 91bc
    """

    comparison = compare_runs(find_run(first, results).path, find_run(second, results).path)
    if as_json:
        typer.echo(json.dumps(comparison.to_json()))
    else:
        Console().print(comparison.render())


@app.command()
def export(
    run: RunName,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR|FILE", help="A folder, or a file for the measures alone.")
    ],
    form: Annotated[
        Literal["csv", "json", "parquet"] | None,
        typer.Option("--format", help="Else by the file's ending, or csv."),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Write a run's tables where other programs read them.

    Examples:

        rayswarm export last --to tables --format parquet

        rayswarm export last --to measures.csv
    """

    for file in export_run(find_run(run, results).path, to, form):
        typer.echo(str(file))


app.command()(replay)
app.command()(fork)
app.command()(simulate)
app.add_typer(check_cli.app, name="check")
app.add_typer(memory_cli.app, name="memory")
app.command()(recall)
app.add_typer(raft_cli.app, name="raft")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def bench(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The benchmark; without one they are listed.")
    ] = "",
) -> None:
    """Measure this machine. Options after the name are the benchmark's own.

    Examples:

        rayswarm bench

        rayswarm bench messaging --json

        rayswarm bench messaging --help
    """
    found = {entry.name: entry for entry in entry_points(group=BENCHMARKS)}
    if name in ("", "--help"):
        typer.echo("Usage: rayswarm bench NAME [OPTIONS]\n\nBenchmarks, each with --help of its own:")
        for known in sorted(found) or ["none is installed: install the project with pip"]:
            typer.echo(f"  {known}")
        return
    if name not in found:
        mend = nearest(name, list(found)) or f"; there are: {', '.join(sorted(found)) or 'none installed'}"
        raise ConfigurationError(f"there is no benchmark '{name}'{mend}")
    found[name].load()(args=context.args, prog_name=f"rayswarm bench {name}")


def main() -> None:
    """The console script."""
    app()


def _find_modules_beside(file: Path) -> None:
    """Lets an experiment name modules of the working folder and of its own; after all others, so none is hidden."""
    for folder in (Path.cwd(), file.parent.resolve()):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


if __name__ == "__main__":
    main()

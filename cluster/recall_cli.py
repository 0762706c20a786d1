"""The command `rayswarm recall`: what a run's swarm knows that answers a need, scored and explained."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cluster.memory_door import memory_of_trial, opened_memory
from cluster.results import find_run
from cluster.section import visible_text
from memory.item import Item
from memory.ranking import K_MAX, Ranked, RankedSession
from memory.subject import Subjects

_REASONS = 3


def recall(
    need: Annotated[str, typer.Argument(metavar="NEED", help="What is wanted, in plain words.")],
    *,
    run: Annotated[
        str,
        typer.Option("--run", metavar="RUN", help="A path, an id or its start, an experiment, or `last`."),
    ] = "last",
    trial: Annotated[
        int | None, typer.Option("--trial", metavar="N", help="The trial; else the first with a memory.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=K_MAX, help="How many answers.")] = 5,
    results: Annotated[Path, typer.Option("--results", metavar="DIR", help="The folder of all runs.")] = Path(
        "results"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the memory that a run left. The survey's answers with modules, and in each the functions that speak for it.

    Scores run from 0 to 1. Behind each function stands what its score is made of, the largest parts first.

    Examples:

        rayswarm recall "parse a date" --run last

        rayswarm recall "compress a file" --run library_survey -k 3 --json
    """
    left = memory_of_trial(find_run(run, results), trial)
    with opened_memory(left.folder, left.embedder) as memory:
        found = Subjects(memory, scope=left.swarm).recall(need, k)
    if as_json:
        answers = [_as_json(each) for each in found]
        typer.echo(json.dumps({"need": need, "memory": str(left.folder), "answers": answers}))
    elif found:
        Console().print(_told(found), soft_wrap=True)
    else:
        typer.echo("The memory of this run holds no notes that its whole swarm sees.")


def _told(found: list[RankedSession]) -> Text:
    text = Text()
    for place, subject in enumerate(found, start=1):
        text.append(f"{place}. {visible_text(subject.session)}", style="bold")
        text.append(f"  {subject.score:.2f}\n")
        for ranked in subject.best:
            text.append(f"   {visible_text(_name_of(ranked.item))}", style="cyan")
            text.append(f"  {ranked.score:.2f} ({_reasons(ranked)})\n", style="dim")
            text.append(f"      {visible_text(ranked.item.text)[:160]}\n")
    text.right_crop(1)
    return text


def _name_of(item: Item) -> str:
    name = item.attributes.get("name")
    return f"{item.session}.{name}" if isinstance(name, str) and name else item.session


def _reasons(ranked: Ranked) -> str:
    parts = sorted(ranked.parts.items(), key=lambda part: (-part[1], part[0]))
    return ", ".join(f"{name} {share:.2f}" for name, share in parts[:_REASONS] if share > 0)


def _as_json(subject: RankedSession) -> dict[str, Any]:
    return {
        "module": subject.session,
        "score": round(subject.score, 6),
        "because": [
            {
                "name": _name_of(ranked.item),
                "text": ranked.item.text,
                "score": round(ranked.score, 6),
                "parts": {name: round(share, 6) for name, share in ranked.parts.items()},
            }
            for ranked in subject.best
        ],
    }

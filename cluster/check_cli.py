"""The command `rayswarm check history`: judges a recorded history.

Exit codes: 0 accepted; 1 refused; 2 the file or the request is wrong; 3 undecided at the limit.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from actors.errors import ConfigurationError
from cluster.history_figure import history_figure, history_page
from cluster.section import visible_text
from coordination.history import History, Operation
from coordination.history_format import Format, read_history
from coordination.linearizability import (
    MOST_STEPS,
    Illegal,
    Linearizable,
    Undecided,
    Verdict,
    check_linearizable,
)
from coordination.object_model import Model, model_for

LARGEST_FILE_BYTES = 1 << 30
_SHOWN_PLACED = 8
_SHOWN_BLOCKED = 12

app = typer.Typer(help="Judge what a run recorded.", no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def check() -> None:
    """Judge what a run recorded."""


@app.command()
def history(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The history.")],
    *,
    model: Annotated[
        Literal["auto", "register", "key-value"],
        typer.Option(help="What the object is: read, write and cas; or get, put, append and cas."),
    ] = "auto",
    form: Annotated[
        Literal["auto", "porcupine", "jepsen", "jsonl"],
        typer.Option("--format", help="Porcupine's key-value format, Jepsen's etcd log, or our JSON lines."),
    ] = "auto",
    limit_steps: Annotated[
        int, typer.Option("--steps", min=1, help="How many steps each key may cost.")
    ] = MOST_STEPS,
    limit_s: Annotated[
        float | None, typer.Option("--seconds", min=0.001, help="Also stop after so many seconds.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the refused part: .svg or .html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell whether a history is linearizable: as if each operation took effect at one moment between call and return.

    Exit codes: 0 accepted; 1 refused; 2 the file or the request is wrong; 3 undecided at the limit.

    Examples:

        rayswarm check history etcd_001.log

        rayswarm check history c10-bad.txt --format porcupine --figure refused.svg

        rayswarm check history mine.jsonl --model register --json
    """
    if figure is not None and figure.suffix.lower() not in (".svg", ".html"):
        raise ConfigurationError(
            f"--figure {figure}: a picture is SVG or HTML. End its name with .svg or .html"
        )
    read = _read(file, form)
    chosen = model_for(read, model)
    verdict = check_linearizable(
        read,
        chosen,
        limit_steps=limit_steps,
        clock=None if limit_s is None else time.monotonic,
        limit_s=limit_s or 1.0,
    )
    if figure is not None and not isinstance(verdict, Undecided):
        draw = history_page if figure.suffix.lower() == ".html" else history_figure
        figure.write_text(draw(read, verdict), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(_as_json(read, chosen, verdict)))
    else:
        typer.echo(visible_text(_told(read, chosen, verdict)))
        if figure is not None:
            undecided = isinstance(verdict, Undecided)
            typer.echo("Nothing is drawn: nothing was decided." if undecided else f"Drawn in {figure}.")
    code = {Linearizable: 0, Illegal: 1}.get(type(verdict), 3)
    if code:
        raise typer.Exit(code)


def _read(file: Path, form: Format) -> History:
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}. Give the path of a history")
    size = file.stat().st_size
    if size > LARGEST_FILE_BYTES:
        raise ConfigurationError(
            f"{file} has {size:,} bytes, over {LARGEST_FILE_BYTES:,}. Check a part of it"
        )
    with file.open(encoding="utf-8", errors="replace") as lines:
        return read_history(lines, str(file), form)


def _told(read: History, model: Model, verdict: Verdict) -> str:
    """The verdict for people."""
    count, keys = len(read.operations), len(read.keys)
    facts = [f"{count:,} operation{'s' * (count != 1)}"]
    if keys > 1:
        facts.append(f"{keys} keys")
    if read.indefinite:
        facts.append(f"{read.indefinite:,} never returned")
    if read.noise_lines:
        facts.append(f"{read.noise_lines:,} lines of noise")
    facts += [f"model {model.name}", f"{verdict.steps:,} steps"]
    about = ", ".join(facts)
    if isinstance(verdict, Linearizable):
        return f"Linearizable: {read.source} ({about})."
    if isinstance(verdict, Undecided):
        return (
            f"Undecided: {read.source} ({about}).\n{len(verdict.keys)} keys are open after {verdict.reason}."
        )
    lines = [f"Not linearizable: {read.source} ({about}).", _sentence(str(verdict))]
    hidden = max(0, len(verdict.placed) - _SHOWN_PLACED)
    lines.append(f"The longest order that can be placed ({verdict.left} that returned are left):")
    lines += [f"  ... {hidden:,} before"] * (hidden > 0)
    for number, operation in enumerate(verdict.placed[hidden:], start=hidden + 1):
        lines.append(f"  {number}. {_line(operation)}")
    lines.append("What might come next:")
    blocked = sorted(verdict.blocked, key=lambda each: each.operation.returned is None)
    lines += [f"  {_line(each.operation)}: {each.reason}" for each in blocked[:_SHOWN_BLOCKED]]
    if len(blocked) > _SHOWN_BLOCKED:
        lines.append(f"  ... and {len(blocked) - _SHOWN_BLOCKED} more")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _line(operation: Operation) -> str:
    where = ""
    if operation.call_line:
        end = f" to {operation.return_line}" if operation.return_line else ""
        where = f" (line {operation.call_line}{end})"
    return f"process {operation.process}: {operation}{where}"


def _as_json(read: History, model: Model, verdict: Verdict) -> dict[str, Any]:
    """The verdict for programs."""
    found: dict[str, Any] = {
        "verdict": {Linearizable: "linearizable", Illegal: "illegal"}.get(type(verdict), "undecided"),
        "file": read.source,
        "format": read.format,
        "model": model.name,
        "operations": len(read.operations),
        "keys": len(read.keys),
        "indefinite": read.indefinite,
        "noise_lines": read.noise_lines,
        "steps": verdict.steps,
    }
    if isinstance(verdict, Undecided):
        found |= {"open_keys": list(verdict.keys), "reason": verdict.reason}
    elif isinstance(verdict, Illegal):
        found |= {
            "explanation": str(verdict),
            "key": verdict.key,
            "state": verdict.state,
            "left": verdict.left,
            "placed": [_operation_json(operation) for operation in verdict.placed],
            "blocked": [
                {**_operation_json(each.operation), "reason": each.reason} for each in verdict.blocked
            ],
        }
    return found


def _operation_json(operation: Operation) -> dict[str, Any]:
    return {
        "process": operation.process,
        "operation": str(operation),
        "call_line": operation.call_line,
        "return_line": operation.return_line,
    }

"""The commands `rayswarm memory add | recall | show | correct | forget | stats | export | import | check`.

Rules:
* Whoever adds, asks or changes says as whom (`--scope`): there is no default, and nothing outside its sight is shown.
  `stats`, `export` and `check` are the owner's of the folder: without a scope they are of all that is in it.
* Exit codes: 0 done; 1 the store is locked, full or not sound; 2 the request was wrong.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from actors.errors import ConfigurationError
from cluster.memory_door import DATABASE, opened_memory
from cluster.memory_file import all_scopes, counts_by_scope, items_in, read_items, write_items
from cluster.number import bytes_text
from cluster.section import visible_text
from memory.audit import Findings
from memory.errors import InvalidScope
from memory.item import TEXT_CHARACTERS, Item, Kind
from memory.ranking import K_MAX, Ranked
from memory.scope import Scope

SHOWN_CHARACTERS = 200

app = typer.Typer(
    help="Work on a memory: add, ask, correct, forget, move, verify.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def _scope(text: str) -> Scope:
    try:
        return Scope.parse(text)
    except InvalidScope as error:
        raise ConfigurationError(f"--scope: {error}") from error


def _time(text: str) -> float:
    """Seconds since 1970 of a number of them, or of a date or time in ISO 8601; UTC where it names no zone."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no time: write 2026-03-01, 2026-03-01T12:30:00+01:00, or seconds since 1970"
        ) from error
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


At = Annotated[Path, typer.Option("--at", metavar="DIR", help="The memory's folder.")]
As = Annotated[
    str, typer.Option("--scope", metavar="SCOPE", help="As whom: tenant=acme/swarm=s1/role=.../agent=...")
]
AnyScope = Annotated[
    str | None, typer.Option("--scope", metavar="SCOPE", help="Only what this scope sees; else everything.")
]
MadeBy = Annotated[
    str | None,
    typer.Option(
        "--embedder", metavar="MODULE:NAME", help="What makes its embedder, if not the built-in one."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[int, typer.Argument(metavar="ID", help="The item.")]
HERE = Path("memory")


@app.callback()
def memory() -> None:
    """Work on a memory: add, ask, correct, forget, move, verify."""


@app.command()
def add(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to remember; `-` reads standard input.")],
    *,
    scope: As,
    at: At = HERE,
    embedder: MadeBy = None,
    kind: Annotated[Kind, typer.Option(help="What it is.")] = Kind.NOTE,
    importance: Annotated[float, typer.Option(min=0, max=1)] = 0.5,
    source: Annotated[str, typer.Option(help="Where it comes from.")] = "",
    trust: Annotated[float, typer.Option(min=0, max=1, help="How far the source is believed.")] = 0.5,
    session: Annotated[str, typer.Option(help="The conversation that it is a turn of.")] = "",
    turn: Annotated[int, typer.Option(min=0, help="Its number there.")] = 0,
    speaker: Annotated[str, typer.Option(help="Who said it.")] = "",
    valid_from: Annotated[str | None, typer.Option(metavar="TIME", help="Since when it holds.")] = None,
    valid_to: Annotated[str | None, typer.Option(metavar="TIME", help="Until when.")] = None,
    as_json: AsJson = False,
) -> None:
    """Remember a text. What the scope holds already is not added again.

    Examples:

        rayswarm memory add "The north dock opens at six" --scope tenant=acme

        rayswarm memory add "I adopted a puppy" --scope tenant=acme/agent=ada --kind episode --speaker Ada --session s1

        fortune | rayswarm memory add - --scope tenant=acme --at notes
    """
    said = sys.stdin.read(TEXT_CHARACTERS + 1) if text == "-" else text
    whose = _scope(scope)
    since = None if valid_from is None else _time(valid_from)
    until = None if valid_to is None else _time(valid_to)
    with opened_memory(at, embedder, new=True) as memory:
        receipt = memory.remember(
            said, scope=whose, kind=kind, importance=importance, source=source, trust=trust, session=session, turn=turn,
            speaker=speaker, valid_from=since, valid_to=until,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"id": receipt.id, "duplicate": receipt.duplicate}))
    else:
        typer.echo(f"{receipt.id} was known already" if receipt.duplicate else f"remembered as {receipt.id}")


@app.command()
def recall(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The question.")],
    *,
    scope: As,
    at: At = HERE,
    embedder: MadeBy = None,
    k: Annotated[int, typer.Option("-k", min=1, max=K_MAX, help="How many items.")] = 10,
    kinds: Annotated[
        list[Kind] | None, typer.Option("--kind", help="Only of this kind; may be repeated.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="As it was believed at that time.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question. Each answer stands with its score, from 0 to 1, and the parts that make it.

    Examples:

        rayswarm memory recall "when does the dock open?" --scope tenant=acme -k 3

        rayswarm memory recall "who leads the team?" --scope tenant=acme --as-of 2026-03-01 --json
    """
    whose, when = _scope(scope), None if as_of is None else _time(as_of)
    if when is not None and kinds:
        raise ConfigurationError("--kind and --as-of do not go together: leave one out")
    with opened_memory(at, embedder) as memory:
        memory.check_known(*whose.seen())
        if when is None:
            found = memory.recall(text, scope=whose, k=k, kinds=kinds or None)
        else:
            found = memory.as_of(when, text, scope=whose, k=k)
    if as_json:
        typer.echo(json.dumps([_ranked_json(ranked) for ranked in found]))
    elif found:
        Console().print(_table_of(found))
    else:
        typer.echo("Nothing is remembered that this scope sees.")


@app.command()
def show(item: Id, *, scope: As, at: At = HERE, embedder: MadeBy = None, as_json: AsJson = False) -> None:
    """Show an item: what it says, where it comes from, what it replaced and what became of it.

    Example:

        rayswarm memory show 1024 --scope tenant=acme
    """
    whose = _scope(scope)
    with opened_memory(at, embedder) as memory:
        told = memory.explain(item, scope=whose)
    if as_json:
        found = {
            "item": told.item.to_json(),
            "versions": [each.to_json() for each in told.versions],
            "made_of": [each.id for each in told.made_of],
            "made_into": [each.id for each in told.made_into],
        }
        typer.echo(json.dumps(found))
        return
    for name, value in told.item.to_json().items():
        if value not in (None, "", [], {}):
            typer.echo(f"{name:14} {visible_text(_as_told(name, value))}")
    for each in told.versions:
        until = "" if each.retired_at is None else f" to {_moment(each.retired_at)}"
        typer.echo(f"{'version':14} {each.id}, {_moment(each.recorded_at)}{until}: {_short(each)}")


@app.command()
def correct(
    item: Id,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it should say.")],
    *,
    scope: As,
    at: At = HERE,
    embedder: MadeBy = None,
    as_json: AsJson = False,
) -> None:
    """Correct an item. A new one takes its place; the old one stays in the past, for --as-of.

    Example:

        rayswarm memory correct 1024 "The north dock opens at seven" --scope tenant=acme
    """
    whose = _scope(scope)
    with opened_memory(at, embedder) as memory:
        receipt = memory.correct(item, text, scope=whose)
    typer.echo(
        json.dumps({"id": receipt.id, "replaces": item})
        if as_json
        else f"{receipt.id} takes the place of {item}"
    )


@app.command()
def forget(
    item: Id,
    *,
    scope: As,
    at: At = HERE,
    embedder: MadeBy = None,
    derived: Annotated[
        bool, typer.Option("--derived", help="Also earlier versions and all that was made of it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase an item: its text, words and vector are gone, from the past too.

    Examples:

        rayswarm memory forget 1024 --scope tenant=acme

        rayswarm memory forget 1024 --scope tenant=acme --derived
    """
    whose = _scope(scope)
    with opened_memory(at, embedder) as memory:
        gone = memory.purge([item], scope=whose) if derived else [memory.forget(item, scope=whose).id]
    listed = ", ".join(map(str, gone))
    typer.echo(json.dumps({"erased": gone}) if as_json else f"erased {listed}")


@app.command()
def stats(at: At = HERE, embedder: MadeBy = None, as_json: AsJson = False) -> None:
    """Tell how much a memory holds, in which scopes, and by which embedder.

    Example:

        rayswarm memory stats --at results/library_survey/3f2a/trials/000/memory
    """
    with opened_memory(at, embedder) as memory:
        counts = counts_by_scope(memory)
        identity = memory.embedder.identity
        size = (memory.shard.store.folder / DATABASE).stat().st_size
    total = sum(sum(kinds.values()) for kinds in counts.values())
    if as_json:
        made = {"name": identity.name, "revision": identity.revision, "dimension": identity.dimension}
        typer.echo(
            json.dumps(
                {
                    "items": total,
                    "bytes": size,
                    "embedder": made,
                    "scopes": counts,
                }
            )
        )
        return
    typer.echo(
        f"{total:,} items, {bytes_text(size)}; embedder {identity.name}, revision {identity.revision}, "
        f"{identity.dimension} dimensions"
    )
    table = Table("scope", *map(str, Kind))
    for path, kinds in counts.items():
        table.add_row(
            visible_text(path), *(f"{kinds[kind]:,}" if kind in kinds else "" for kind in map(str, Kind))
        )
    Console().print(table)


@app.command("export")
def export_items(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends with .jsonl or .parquet.")],
    *,
    scope: AnyScope = None,
    at: At = HERE,
    embedder: MadeBy = None,
) -> None:
    """Write what is believed to a file: JSON Lines or Parquet.

    Examples:

        rayswarm memory export notes.jsonl --at memory

        rayswarm memory export dock.parquet --scope tenant=acme/role=dock
    """
    whose = None if scope is None else _scope(scope)
    with opened_memory(at, embedder) as memory:
        if whose is not None:
            memory.check_known(*whose.seen())
        items = items_in(memory, all_scopes(memory)) if whose is None else memory.items(scope=whose)
        count = write_items(items, file)
    typer.echo(f"{count:,} items in {file}")


@app.command("import")
def import_items(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Ends with .jsonl or .parquet.")],
    *,
    scope: Annotated[
        str | None, typer.Option("--scope", metavar="SCOPE", help="Of rows that name none.")
    ] = None,
    at: At = HERE,
    embedder: MadeBy = None,
    as_json: AsJson = False,
) -> None:
    """Remember the items of a file, in the scopes that they name. Again, it adds only what is not there yet.

    A row needs a `text`; `rayswarm memory export` writes all that it may have.

    Examples:

        rayswarm memory import notes.jsonl --at memory

        rayswarm memory import plain.jsonl --scope tenant=acme
    """
    whose = None if scope is None else _scope(scope)
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}. Give the path of one that `memory export` wrote")
    with opened_memory(at, embedder, new=True) as memory:
        done = read_items(memory, file, whose)
    if as_json:
        typer.echo(json.dumps({"added": done.added, "known": done.known, "links_lost": done.links_lost}))
        return
    lost = f"; of {done.links_lost:,} what they were made of did not come along" if done.links_lost else ""
    typer.echo(f"{done.added:,} items added, {done.known:,} known already{lost}")


@app.command()
def check(
    at: At = HERE,
    embedder: MadeBy = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended, set the rest aside.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a memory: every row against its checksum, both indexes against the rows. Exit code 1 if it is not sound.

    Examples:

        rayswarm memory check --at memory

        rayswarm memory check --at memory --repair --json
    """
    with opened_memory(at, embedder) as memory:
        found = memory.repair() if repair else memory.check()
        sound = found.sound or (repair and memory.check().sound)
    if as_json:
        lists = {name: list(getattr(found, name)) for name in _FAULTS}
        typer.echo(
            json.dumps(
                {
                    "sound": sound,
                    "rows": found.rows,
                    "believed": found.believed,
                    "words": found.words,
                    **lists,
                }
            )
        )
    else:
        typer.echo(_findings(found))
    if not sound:
        raise typer.Exit(1)


_FAULTS = {
    "corrupt": "rows are not as they were written",
    "missing": "are believed and not in the vector index",
    "extra": "are in the vector index and not believed",
    "different": "have another vector in the index",
    "mended": "were mended",
    "aside": "were taken out, to aside.jsonl",
}


def _findings(found: Findings) -> str:
    lines = [f"{found.rows:,} rows, {found.believed:,} believed: {'sound' if found.sound else 'not sound'}"]
    for name, what in _FAULTS.items():
        ids = getattr(found, name)
        if ids:
            lines.append(f"  {len(ids):,} {what}: {', '.join(map(str, ids[:10]))}{', ...' * (len(ids) > 10)}")
    if found.words:
        lines.append(f"  the text index differs from the rows: {found.words}")
    return "\n".join(lines)


def _table_of(found: list[Ranked]) -> Table:
    table = Table("score", "id", "text", "why")
    for ranked in found:
        parts = sorted(ranked.parts.items(), key=lambda part: (-part[1], part[0]))
        why = ", ".join(f"{name} {share:.2f}" for name, share in parts if share >= 0.005)
        table.add_row(f"{ranked.score:.2f}", str(ranked.item.id), _short(ranked.item), why)
    return table


def _ranked_json(ranked: Ranked) -> dict[str, Any]:
    return {"score": ranked.score, "parts": ranked.parts, "item": ranked.item.to_json()}


def _short(item: Item) -> str:
    text = visible_text(" ".join(item.text.split()))
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "\u2026"


def _as_told(name: str, value: object) -> str:
    if isinstance(value, float) and name in ("valid_from", "valid_to", "recorded_at", "retired_at"):
        return _moment(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _moment(time_s: float) -> str:
    try:
        return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):  # a time beyond the calendar is a number
        return f"{time_s:g} s"

"""`rayswarm raft script`: runs transcripts of Raft and compares what they print with what they say.

Rules: exit 0 if all agree, 1 with a diff if one does not, 2 if a file means nothing, with its line and the mend.
"""

import difflib
from pathlib import Path
from typing import Annotated

import typer

from coordination.raft.script import play
from coordination.raft.transcript import Block, read_script, rewritten

app = typer.Typer(
    help="Raft by hand: readable transcripts of what replicas say and do.", no_args_is_help=True
)


@app.callback()
def raft() -> None:
    """Raft by hand: readable transcripts of what replicas say and do."""


@app.command()
def script(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Transcripts; see docs/raft.md.")],
    *,
    rewrite: Annotated[
        bool, typer.Option("--rewrite", help="Write the actual output into the files.")
    ] = False,
) -> None:
    """Run transcripts of a Raft cluster: commands, each with the output that it must give.

    Examples:

        rayswarm raft script tests/coordination/raft/scripts/campaign.txt

        rayswarm raft script my.txt --rewrite
    """
    failed = 0
    for file in files:
        text = read_script(file)
        blocks, outputs = play(text, str(file))
        if rewrite:
            file.write_bytes(rewritten(text, blocks, outputs).encode())
            typer.echo(f"{file}: {len(blocks)} blocks written")
            continue
        wrong = [
            difference
            for block, output in zip(blocks, outputs, strict=True)
            if (difference := _difference(file, block, output))
        ]
        typer.echo(f"{file}: {len(blocks) - len(wrong)} of {len(blocks)} blocks agree")
        for difference in wrong:
            typer.echo(difference)
        failed += bool(wrong)
    if failed:
        raise typer.Exit(1)


def _difference(file: Path, block: Block, output: str) -> str:
    """A diff of what a block should print and what it printed; nothing if they are the same."""
    actual = [line.rstrip() for line in output.splitlines()]
    expected = block.expected.splitlines()
    if actual == expected:
        return ""
    diff = difflib.unified_diff(expected, actual, "expected", "actual", lineterm="")
    return "\n".join([f"\n{file}:{block.line}: {block.command}", *diff])

"""Runs a benchmark's command as a user would, and reads the line that a program would."""

import json
from typing import Any

from typer import Typer
from typer.testing import CliRunner


def figures_of(app: Typer, *arguments: str) -> dict[str, Any]:
    """The figures of a run with `--json`, once its last line has the form that all benchmarks share."""
    figures: dict[str, Any] = told_by(app, *arguments)["figures"]
    return figures


def told_by(app: Typer, *arguments: str) -> dict[str, Any]:
    """All that the last line of a run with `--json` tells."""
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in told if name != "rows"] == ["bench", "figures", "machine", "versions"]
    assert all(isinstance(value, int | float) for value in told["figures"].values())
    return dict(told)

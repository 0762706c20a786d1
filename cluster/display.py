"""What the command line shows: a run as it goes, and runs and their results as tables.

Rule: progress goes to standard error and results to standard output, so a pipe gets results alone.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from actors.run import Progress
from actors.swarm import Swarm
from cluster.number import interval_text, number_text
from cluster.results import RunFolder, State
from cluster.runner import Summary
from cluster.section import is_number
from cluster.setting import arm_text, path_names, value_text
from cluster.statistics import estimate
from cluster.sweep import Trial
from cluster.tables import arm_key

COLOURS = {
    State.PLANNED: "dim",
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "red",
    State.INTERRUPTED: "yellow",
}
LISTED_ROWS = 20
ESTIMATES = 6
"""Measures and results in the table of arms; the report has all."""
REFRESH_PER_S = 4
PLAIN_INTERVAL_S = 10.0


class LiveDisplay:
    """An observer that shows a run in a terminal; where there is none, a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_S, transient=True)
        self._title = ""
        self._trials = 0
        self._rounds = True
        self._trial = ""
        self._latest: Progress | None = None
        self._rate = 0.0
        self._messages = 0
        self._at = self._told = time.monotonic()

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def run_begins(self, folder: RunFolder, trials: int, done: int) -> None:
        """Shows where the results will be."""
        self._title, self._trials = folder.name, trials
        rest = f", {done} done already" if done else ""
        self._console.print(
            f"{folder.path}: {trials} {'trial' if trials == 1 else 'trials'}{rest}", highlight=False
        )

    def note(self, text: str) -> None:
        """Shows a line."""
        self._console.print(text, style="yellow", highlight=False)

    def trial_begins(self, trial: Trial, trials: int) -> None:
        """Shows which trial it is."""
        arm = f": {arm_text(trial.arm)}" if trial.arm else ""
        place = f" ({trial.number + 1} of {trials})" if trials > 1 else ""
        self._trial = f"trial {trial.number}{place}{arm}"
        self._latest, self._rate, self._messages = None, 0.0, 0
        self._at = self._told = time.monotonic()
        self._refresh()

    def swarm_began(self, swarm: Swarm) -> None:
        """Shows whether it begins or goes on."""
        self._rounds = swarm.plan.schedule == "rounds"
        if swarm.resumed:
            self._console.print(f"{self._trial}: goes on from its journal", highlight=False)

    def progressed(self, progress: Progress) -> None:
        """Shows how far the trial is."""
        at = time.monotonic()
        if at > self._at:
            rate = (progress.messages - self._messages) / (at - self._at)
            self._rate = rate if self._latest is None else 0.7 * self._rate + 0.3 * rate
        self._latest, self._messages, self._at = progress, progress.messages, at
        if self._console.is_terminal:
            self._refresh()
        elif at - self._told >= PLAIN_INTERVAL_S:
            self._told = at
            self._console.print(self._line(), highlight=False)

    def trial_ended(self, trial: Trial, state: State) -> None:
        """Leaves a line for each trial of several."""
        self._live.update(Text(""))
        if state != State.DONE or self._trials > 1:
            self._console.print(f"{self._trial}: [{COLOURS[state]}]{state}[/]", highlight=False)

    def _refresh(self) -> None:
        self._live.update(Panel(self._line(), title=self._title, title_align="left", border_style="cyan"))

    def _line(self) -> str:
        latest = self._latest
        if latest is None:
            return f"{self._trial}   starting"
        when = f"round {latest.now:,.0f}" if self._rounds else f"{latest.now:,.1f} s"
        messages = f"{latest.messages:,} messages, {self._rate:,.0f} a second"
        return f"{self._trial}   {when}   {latest.agents:,} agents   {messages}"


def summary_view(summary: Summary) -> RenderableType:
    """What a run has come to: its trials or, of several replicates, its arms; failures; where the report is."""
    parts: list[RenderableType] = []
    if any(result["replicate"] for result in summary.results):
        parts.append(_arms_table(summary.results))
    else:
        parts += [_trials_table(summary), *_results_views(summary.results)]
    for number, error in summary.errors.items():
        parts.append(Text(f"trial {number} failed: {error.strip()}", style="red"))
    failures = sum(result["counts"].get("handler_failures", 0) for result in summary.results)
    if failures:
        parts.append(Text(f"{failures} handlers failed; the report shows them.", style="yellow"))
    report = summary.folder.path / "report.html"
    parts.append(Text(f"report: {report}" if report.exists() else f"results: {summary.folder.path}"))
    return Group(*parts)


def runs_view(runs: Sequence[RunFolder]) -> Table:
    """A line for each run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "state", "trials", "updated", "settings"):
        table.add_column(name, no_wrap=name != "settings")
    for run in runs:
        status, manifest = run.status, run.manifest
        state = State(status["state"])
        done = status.get("trials", {}).get("done", 0)
        updated = str(status.get("updated", ""))[:19].replace("T", " ")
        settings = " ".join(manifest.get("settings", []))
        table.add_row(
            run.name,
            f"[{COLOURS[state]}]{state}[/]",
            f"{done}/{len(manifest['trials'])}",
            updated,
            Text(settings),
        )
    return table


def run_view(summary: Summary) -> RenderableType:
    """All about one run."""
    manifest, status = summary.folder.manifest, summary.folder.status
    commit = manifest.get("git") or {}
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("run", str(summary.folder.path)),
        ("state", str(status["state"])),
        ("description", manifest.get("description", "")),
        ("file", " ".join([manifest["file"], *(f"--set {setting}" for setting in manifest["settings"])])),
        ("seed", str(manifest["configuration"].get("seed", 0))),
        ("fingerprint", summary.fingerprint),
        ("commit", f"{commit.get('commit', 'none')}{' with changes' if commit.get('changed') else ''}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())),
        ("created", manifest["created"]),
    ):
        if value:
            facts.add_row(Text(name, style="dim"), Text(value))
    return Group(facts, Text(""), summary_view(summary))


def _trials_table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    measures = _measures(summary.results)
    if len(measures) > ESTIMATES:  # they stand below, a line for each
        measures = []
    swept = any(result["arm"] for result in summary.results)
    for name in (
        "trial",
        *(["arm"] if swept else []),
        "now",
        "agents",
        "messages",
        "seconds",
        "ended",
        "fingerprint",
    ):
        table.add_column(name, justify="left" if name in ("arm", "ended", "fingerprint") else "right")
    for name in measures:
        table.add_column(name, justify="right")
    for result in summary.results:
        values = [result["measures"].get(name) for name in measures]
        table.add_row(
            str(result["trial"]),
            *([Text(arm_text(result["arm"]))] if swept else []),
            f"{result['now']:,.6g}",
            f"{result['agents']:,}",
            f"{result['messages']:,}",
            f"{result['seconds']:,.2f}",
            result["ended"],
            result["fingerprint"][:12],
            *("" if value is None else f"{value:,.6g}" for value in values),
        )
    return table


def _measures(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({name for result in results for name in result["measures"]})


def _arms_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each arm: means over its replicates, with 95% intervals."""
    names = path_names(list(dict.fromkeys(path for result in results for path in result["arm"])))
    columns = _estimated(results)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names.values():
        table.add_column(name)
    for name in ("n", "now", "messages", "seconds", *list(columns)[:ESTIMATES]):
        table.add_column(name.replace("_", " "), justify="right")
    for key in dict.fromkeys(arm_key(result["arm"]) for result in results):
        arm = [result for result in results if arm_key(result["arm"]) == key]
        table.add_row(
            *(Text(value_text(arm[0]["arm"].get(path))) for path in names),
            str(len(arm)),
            *(_mean_text([result[name] for result in arm]) for name in ("now", "messages", "seconds")),
            *(
                _estimate_text(values.get(key, []), share=_are_answers(values))
                for values in list(columns.values())[:ESTIMATES]
            ),
        )
    if len(columns) > ESTIMATES:
        table.caption = f"The report shows {len(columns) - ESTIMATES} measures and results more."
    return table


def _estimated(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """The values of each measure, and of each number that agents left, by arm."""
    columns: dict[str, dict[str, list[float]]] = {}
    for result in results:
        for name, value in {**result["measures"], **result["results"]}.items():
            if is_number(value):
                columns.setdefault(name, {}).setdefault(arm_key(result["arm"]), []).append(float(value))
    return columns


def _mean_text(values: Sequence[float]) -> str:
    return number_text(sum(values) / len(values))


def _are_answers(by_arm: Mapping[str, Sequence[float]]) -> bool:
    """Whether a measure is yes in some trials and no in others: then its mean is a share of trials."""
    return {value for values in by_arm.values() for value in values} == {0.0, 1.0}


def _estimate_text(values: Sequence[float], *, share: bool) -> str:
    told = estimate(values, share=share)
    interval = "" if told.low is None or told.low == told.high else f" ({interval_text(told.low, told.high)})"
    return f"{number_text(told.mean)}{interval}"


def _results_views(results: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """What agents left: single values of all trials side by side, lists of the first trial."""
    views: list[RenderableType] = []
    names = list(dict.fromkeys(name for result in results for name in result["results"]))
    single = [name for name in names if not any(_is_list(result["results"].get(name)) for result in results)]
    measures = _measures(results)
    if len(measures) <= ESTIMATES:  # they are columns of the trials
        measures = []
    if single or measures:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("measure or result" if measures else "result")
        for result in results[:LISTED_ROWS]:
            table.add_column(arm_text(result["arm"]) or f"trial {result['trial']}", justify="right")
        for name in measures:
            table.add_row(
                name, *(_value_text(result["measures"].get(name)) for result in results[:LISTED_ROWS])
            )
        for name in single:
            table.add_row(
                name, *(_value_text(result["results"].get(name)) for result in results[:LISTED_ROWS])
            )
        views += [Text(""), table]
    for name in names:
        first = next(
            (result["results"][name] for result in results if _is_list(result["results"].get(name))), None
        )
        if first:
            more = f", the first {LISTED_ROWS} of {len(first)}" if len(first) > LISTED_ROWS else ""
            views += [Text(f"\n{name}{more}", style="bold"), _list_table(first[:LISTED_ROWS])]
    return [*views, Text("")] if views else []


def _list_table(rows: list[Any]) -> Table:
    keyed = all(isinstance(row, dict) for row in rows)
    columns = list(dict.fromkeys(key for row in rows for key in row)) if keyed else []
    table = Table(*map(str, columns), box=None, pad_edge=False, show_header=keyed)
    for row in rows:
        cells = [row.get(column) for column in columns] if keyed else row if isinstance(row, list) else [row]
        table.add_row(*map(_value_text, cells))
    return table


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _value_text(value: Any) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, bool | str):
        return Text(str(value))
    return Text(
        f"{value:,.6g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else _json(value)
    )


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else text[:197] + "..."

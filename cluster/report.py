"""The report of a run: one HTML file that opens with no network and says what it does not show.

Rules: all text of the run is untrusted and escaped, and the page forbids scripts and every load by its own
policy, so what an agent wrote cannot act; the same run gives the same bytes, with no date of its own;
whatever is cut, sampled or left out is said beside it and at the end. Intervals are over replicates: see
`cluster.statistics`.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cluster.cost_section import cost_table
from cluster.figures import SERIES, Drawing, role_of, topology_figure
from cluster.findings import FIGURES, Arm, arms_of, figures_of, finals_of, scalar_results_of
from cluster.knowledge import knowledge_of
from cluster.number import bytes_text, number_text, seconds_text
from cluster.record import Json, Record, flat, listed, mapping, number, read_record
from cluster.section import (
    Cell,
    Section,
    bar_section,
    cell,
    heading,
    is_number,
    is_scalar,
    section,
    visible_text,
)
from cluster.statistics import BAND_RESAMPLES, RESAMPLES
from cluster.tables import arm_key

FAILURES = 20
FAILURE_CHARACTERS = 6_000
TRIALS = 500
TRIAL_RESULTS = 8
TOPOLOGIES = 3
MATRIX_ROLES = 16
TRAFFIC_ROWS = 20
CONFIGURATION_CHARACTERS = 60_000
_PAIR = 2
_SPENT = ("token", "money", "cost", "dollar", "price")


@dataclass(frozen=True)
class Fact:
    """A number with its name, and a remark."""

    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Failure:
    """A handler that raised."""

    trial: str
    address: str
    message: str
    summary: str
    trace: str


@dataclass(frozen=True)
class Heat:
    """One cell of the matrix of traffic; `strength` from 0 to 100."""

    text: str
    strength: int


@dataclass(frozen=True)
class Traffic:
    """Messages between roles, over all ended trials."""

    roles: tuple[str, ...]
    matrix: tuple[tuple[Heat, ...], ...]
    bars: Section
    pairs: int
    messages: str


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run's folder and gives its path. ConfigurationError if it is no run."""
    html = _environment().get_template("report.html.jinja").render(_context(read_record(run)))
    path, beside = run / "report.html", run / ".report.html.new"
    beside.write_text(html, encoding="utf-8", errors="replace")
    beside.replace(path)
    return path


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_visible,
    )  # fmt: skip


def _visible(value: object) -> object:
    """What the template writes: text made visible; drawings of our own, where that was done, pass."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else visible_text(value)


def _context(record: Record) -> dict[str, Any]:
    """All that the template shows, by the names it uses."""
    arms = arms_of(record)
    time_label = _time_label(record)
    figures, undrawn = figures_of(record, arms, time_label)
    finals, whole = finals_of(record, arms)
    roles: dict[str, int] = {}
    topologies = _topologies(record, roles)
    failures = _failures(record)
    knowledge = knowledge_of(record.path)
    return {
        "title": heading(str(record.manifest.get("experiment") or record.path.parent.name)),
        "run": str(record.manifest.get("run") or record.path.name),
        "created": str(record.manifest.get("created") or ""),
        "description": str(record.manifest.get("description") or ""),
        "state": str(record.status.get("state") or "state not known"),
        "error": _text(record.status.get("error")),
        "problems": record.problems,
        "facts": _facts(record, time_label),
        "dashboards": _dashboards(record),
        "arms": arms,
        "several": len(arms) > 1,
        "drawn": sum(arm.colour is not None for arm in arms),
        "replicated": len(record.trials) > len(arms),
        # Drawn here, the text in them escaped: the only markup that is not the template's.
        "figures": [(figure, Markup(figure.svg)) for figure in figures],  # noqa: S704 - see above
        "finals": finals,
        "whole": whole,
        "scalars": scalar_results_of(record, arms),
        "results": _results(record, arms),
        "traffic": _traffic(record),
        "kinds": _kinds(record),
        "counts": _counts(record, arms),
        "failures": failures,
        "failed": sum(len(listed(trial.get("failures"))) for trial in record.trials),
        "topologies": [(one, what, Markup(one.svg)) for one, what in topologies],  # noqa: S704 - see above
        "roles": list(roles.items()),
        "knowledge": knowledge and (Markup(knowledge.svg), knowledge.caption),  # noqa: S704 - see above
        "cost": _cost(record),
        "model_cost": cost_table(record, arms),
        "recoveries": _recoveries(record),
        "configuration": _yaml(record.manifest.get("configuration")),
        "command": str(record.manifest.get("command") or ""),
        "provenance": _provenance(record),
        "trials": _trials(record, arms),
        "limits": _limits(record, undrawn, topologies),
        "resamples": f"{RESAMPLES:,}",
        "band_resamples": f"{BAND_RESAMPLES:,}",
    }  # fmt: skip


def _time_label(record: Record) -> str:
    swarm = mapping(mapping(record.manifest.get("configuration")).get("swarm"))
    return {"rounds": "round", "free": "seconds"}.get(str(swarm.get("schedule", "rounds")), "time")


def _text(value: object) -> str:
    if value is None or value == "":
        return ""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _facts(record: Record, time_label: str) -> list[Fact]:
    planned = len(listed(record.manifest.get("trials")))
    ended = len(record.trials)
    facts = [Fact("Trials ended", f"{ended:,}", f"of {planned:,} planned" if planned else "")]
    if not ended:
        return facts
    agents = [number(trial.get("agents")) for trial in record.trials]
    facts.append(Fact("Agents", _range(agents), "in each trial" if ended > 1 else ""))
    messages = sum(number(trial.get("messages")) for trial in record.trials)
    seconds = sum(number(trial.get("seconds")) for trial in record.trials)
    remark = f"{number_text(round(messages / seconds))} a second" if seconds > 0 else ""
    facts.append(Fact("Messages", number_text(messages), remark))
    times = [number(trial.get("now")) for trial in record.trials]
    quiet = sum(bool(trial.get("quiet")) for trial in record.trials)
    ending = (
        "until nothing was left to do"
        if quiet == ended
        else f"{quiet:,} of {ended:,} trials ended by themselves"
    )
    names = {"round": "Rounds", "seconds": "Run time, s"}
    facts.append(Fact(names.get(time_label, "Time"), _range(times), ending))
    facts.append(Fact("Wall time", seconds_text(seconds), "all trials together" if ended > 1 else ""))
    failures = sum(len(listed(trial.get("failures"))) for trial in record.trials)
    facts.append(Fact("Handler failures", f"{failures:,}"))
    return facts


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return number_text(low) if low == high else f"{number_text(low)} to {number_text(high)}"


def _dashboards(record: Record) -> list[str]:
    """Addresses of Ray's dashboard. Only http(s): a link is the one place where text of a run could act."""
    found = dict.fromkeys(str(trial.get("dashboard") or "") for trial in record.trials)
    return [url for url in found if url.startswith(("http://", "https://"))]


def _results(record: Record, arms: list[Arm]) -> list[tuple[str, list[Section]]]:
    """Sections of each trial that left any, headed by the trial; with one trial also its scalars."""
    shown = []
    labels = {arm.key: f": {arm.label}" for arm in arms} if len(arms) > 1 else {}
    for trial in record.trials:
        results = mapping(trial.get("results"))
        scalars = {
            name: value for name, value in results.items() if is_scalar(value) and not _is_prose(value)
        }
        sections = []
        if scalars and len(record.trials) == 1:
            rows = tuple((Cell(heading(name)), cell(value)) for name, value in scalars.items())
            sections.append(Section("Key results", "facts", rows=rows))
        texts = {name: value for name, value in results.items() if name not in scalars}
        if len(record.trials) > 1:
            texts = {name: value for name, value in results.items() if not is_number(value)}
        sections += [section(name, value) for name, value in texts.items()]
        if sections:
            label = labels.get(arm_key(mapping(trial.get("arm"))), "")
            shown.append((f"Trial {trial.get('trial', '?')}{label}", sections))
    return shown[:TRIAL_RESULTS]


def _is_prose(value: object) -> bool:
    return isinstance(value, str)


def _traffic(record: Record) -> Traffic | None:
    pairs: Counter[tuple[str, str]] = Counter()
    for trial in record.trials:
        for row in listed(trial.get("traffic")):
            if isinstance(row, list) and len(row) == 3:
                pairs[str(row[0]), str(row[1])] += int(number(row[2]))
    if not pairs:
        return None
    by_role: Counter[str] = Counter()
    for (sender, recipient), messages in pairs.items():
        by_role[sender] += messages
        by_role[recipient] += messages
    roles = tuple(sorted(by_role, key=lambda role: (-by_role[role], role)))[:MATRIX_ROLES]
    most = max(pairs.values()) or 1
    matrix = tuple(
        tuple(
            Heat(number_text(pairs[a, b]) if pairs[a, b] else "", round(100 * pairs[a, b] / most))
            for b in roles
        )
        for a in roles
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:TRAFFIC_ROWS]
    bars = bar_section("", [(f"{a} \u2192 {b}", float(n)) for (a, b), n in ranked])
    return Traffic(roles, matrix, bars, len(pairs), number_text(sum(pairs.values())))


def _kinds(record: Record) -> Section | None:
    """Kinds of message in the table of messages, with their sizes."""
    if record.messages is None or record.messages.is_empty():
        return None
    groups = sorted(
        record.messages.partition_by("kind", as_dict=True).items(), key=lambda item: -item[1].height
    )
    rows = [
        {
            "kind": str(key[0]),
            "messages kept": frame.height,
            "mean size, bytes": round(float(number(frame["bytes"].mean())), 1),
            "largest, bytes": int(number(frame["bytes"].max())),
        }
        for key, frame in groups
    ]
    return section("kinds", rows)


def _counts(record: Record, arms: list[Arm]) -> Section | None:
    """Messages, faults and dead letters, in each arm and together."""
    totals: dict[str, Counter[str]] = {}
    for trial in record.trials:
        for name, value in flat(mapping(trial.get("counts")), separator=": ").items():
            if is_number(value):
                totals.setdefault(name, Counter())[arm_key(mapping(trial.get("arm")))] += value
    if not totals:
        return None
    columns = [arm for arm in arms if len(arms) > 1 and arm.colour is not None and len(arms) <= SERIES]
    head = [
        Cell("What"),
        *(Cell(arm.label, numeric=True) for arm in columns),
        Cell("All trials", numeric=True),
    ]
    rows = tuple(
        (Cell(heading(name)), *(cell(by_arm[arm.key]) for arm in columns), cell(by_arm.total()))
        for name, by_arm in totals.items()
    )
    return Section("", "table", head=tuple(head), rows=rows)


def _failures(record: Record) -> list[Failure]:
    failures = []
    for trial in record.trials:
        for failure in listed(trial.get("failures")):
            error = str(mapping(failure).get("error") or failure)
            lines = [line.strip() for line in error.strip().splitlines() if line.strip()]
            failures.append(
                Failure(
                    str(trial.get("trial", "?")),
                    str(mapping(failure).get("address") or "not known"),
                    str(mapping(failure).get("message_id") or ""),
                    (lines[-1] if lines else "no text")[:200],
                    error
                    if len(error) <= FAILURE_CHARACTERS
                    else f"{error[:FAILURE_CHARACTERS]}\n(cut here)",
                )
            )
    return failures[:FAILURES]


def _topologies(record: Record, roles: dict[str, int]) -> list[tuple[Drawing, str]]:
    """The different topologies of the trials, drawn; fills in the colour of each role in them."""
    drawn: dict[str, tuple[Drawing, str]] = {}
    for trial in record.trials:
        topology = mapping(trial.get("topology"))
        pairs = [edge for edge in listed(topology.get("edges")) if len(listed(edge)) == _PAIR]
        what = str(topology.get("describe") or "topology")
        if not pairs or what in drawn or len(drawn) >= TOPOLOGIES:
            continue
        edges = [(str(a), str(b)) for a, b in pairs]
        for role in sorted({role_of(node) for edge in edges for node in edge}):
            roles.setdefault(role, len(roles) % SERIES)
        drawn[what] = (topology_figure("The topology", edges, what, roles), what)
    return list(drawn.values())


def _cost(record: Record) -> Section | None:
    """Tokens and money, where trials tell them: under `cost`, or among the counts."""
    total: Counter[str] = Counter()
    for trial in record.trials:
        counts = flat(mapping(trial.get("counts")), separator=": ")
        spent = {name: value for name, value in counts.items() if any(word in name for word in _SPENT)}
        for name, value in (spent | flat(mapping(trial.get("cost")), separator=": ")).items():
            if is_number(value):
                total[name] += value
    if not total:
        return None
    return Section(
        "", "facts", rows=tuple((Cell(heading(name)), cell(value)) for name, value in total.items())
    )


def _recoveries(record: Record) -> Section | None:
    rows: list[Json] = []
    for trial in record.trials:
        for recovery in listed(trial.get("recoveries")):
            row = mapping(recovery) or {"recovery": recovery}
            rows.append({"trial": trial.get("trial", "?"), **row})
    if not rows:
        return None
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return section("recoveries", [{key: row.get(key) for key in keys} for row in rows])


def _yaml(configuration: object) -> str:
    if not isinstance(configuration, Mapping) or not configuration:
        return ""
    plain = json.loads(json.dumps(configuration, default=str))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return text if len(text) <= CONFIGURATION_CHARACTERS else f"{text[:CONFIGURATION_CHARACTERS]}\n(cut here)"


def _provenance(record: Record) -> list[tuple[str, str]]:
    """Where the run came from, name by name."""
    manifest = record.manifest
    git = mapping(manifest.get("git"))
    commit = str(git.get("commit") or git.get("sha") or "")
    changed = bool(git.get("changed") or git.get("dirty"))
    rows = [
        ("Experiment file", str(manifest.get("file") or "")),
        ("Configuration hash", str(manifest.get("configuration_hash") or "")),
        ("Git commit", f"{commit}, with uncommitted changes" if commit and changed else commit),
        ("Seed", str(manifest.get("seed", ""))),
        ("Model", "; ".join(_model(name, told) for name, told in mapping(manifest.get("models")).items())),
        ("Versions", _listing(manifest.get("versions"))),
        ("Machine", _listing(manifest.get("machine"))),
    ]
    return [(name, value) for name, value in rows if value]


def _model(name: str, told: object) -> str:
    """A model of the run: the line that named it, what answered, and what is said of it."""
    known = mapping(told)
    engine = _listing(known.get("engine"))
    return f"{name} ({known.get('identity', 'not known')}){f', {engine}' if engine else ''}"


def _listing(value: object) -> str:
    leaves = flat(mapping(value), separator=" ").items()
    return ", ".join(
        f"{heading(name.removesuffix('_bytes'))} {_quantity(name, item)}" for name, item in leaves
    )


def _quantity(name: str, value: object) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    return bytes_text(value) if name.endswith("_bytes") else number_text(value)


def _trials(record: Record, arms: list[Arm]) -> Section | None:
    labels = {arm.key: arm.label for arm in arms}
    rows = [
        {
            "trial": trial.get("trial"),
            "arm": labels.get(arm_key(mapping(trial.get("arm"))), ""),
            "replicate": trial.get("replicate"),
            "seed": str(trial.get("seed", "")),
            "time": trial.get("now"),
            "wall time, s": round(number(trial.get("seconds")), 2),
            "messages": trial.get("messages"),
            "fingerprint": str(trial.get("fingerprint") or "off"),
        }
        for trial in record.trials[:TRIALS]
    ]
    if len(arms) == 1:
        rows = [{key: value for key, value in row.items() if key != "arm"} for row in rows]
    return section("trials", rows) if rows else None


def _limits(record: Record, undrawn: int, topologies: list[tuple[Drawing, str]]) -> list[str]:
    """What a reader cannot see in this file."""
    planned, ended = len(listed(record.manifest.get("trials"))), len(record.trials)
    with_results = sum(bool(trial.get("results")) for trial in record.trials)
    lines = [
        "What was said: bodies of messages and the states of agents are in the journal, not here.",
        "Differences between machines or versions: replicates, and so intervals, differ by seed alone.",
        "Bands hold at each time by itself, not for a whole line. Many intervals at 95% will miss somewhere.",
    ]
    if planned > ended:
        lines.append(f"{planned - ended:,} of {planned:,} planned trials, which have not ended.")
    if record.metrics is None:
        lines.append("Measures: this run has left none.")
    if undrawn:
        lines.append(f"{undrawn:,} more measures over time: {FIGURES} are drawn, the tables hold all.")
    if with_results > TRIAL_RESULTS:
        lines.append(f"What {with_results - TRIAL_RESULTS:,} more trials left: {TRIAL_RESULTS} are shown.")
    if any(one.drawn_nodes < one.nodes or one.drawn_edges < one.edges for one, _ in topologies):
        lines.append("The whole topology: it is too large to draw, and a part of it stands for the rest.")
    if ended > TRIALS:
        lines.append(f"{ended - TRIALS:,} more rows in the table of trials.")
    if record.messages is not None:
        lines.append("Single messages: messages.parquet holds them, or a seeded sample of them.")
    return lines

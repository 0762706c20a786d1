"""Two runs side by side: paired by seed, measure by measure, with the test used and what was changed.

Rules: two trials are a pair when they have the same seed and, where the runs share arms, the same arm; arms
are never pooled, since the seeds repeat over them and the pairs would not be independent. What has no
partner is left out and said. The value of a trial is the mean recorded at its last time, or a number among
its results (`results.<name>`). Method and references: `cluster.statistics`.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actors.errors import ConfigurationError
from cluster.number import NOTHING, interval_text, number_text, p_text
from cluster.record import Json, Record, flat, mapping, read_record
from cluster.statistics import CONFIDENCE, PairedTest, holm, paired_test
from cluster.tables import arm_key, final_values

Key = tuple[str, int]
"""Arm (empty where arms do not matter) and seed."""

_VALUE_CHARACTERS = 60


@dataclass(frozen=True)
class Change:
    """A setting that differs: dotted path, value in a, value in b (as JSON; None where it is absent)."""

    path: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class MeasureComparison:
    """One measure in one arm."""

    measure: str
    arm: str
    """Key of the arm; empty when the trials are paired by seed alone."""
    test: PairedTest
    p_adjusted: float | None
    """Holm's p value over all the measures and arms of the comparison."""


@dataclass(frozen=True)
class Comparison:
    """What differs between run a and run b."""

    a: str
    b: str
    pairing: str
    """How the trials were paired."""
    pairs: int
    measures: tuple[MeasureComparison, ...]
    changes: tuple[Change, ...]
    fingerprints_equal: bool | None
    """Over all pairs; None where a fingerprint is missing."""
    left_out: tuple[str, ...]
    """What had no partner."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def render(self) -> RenderableType:
        """For a terminal."""
        return Group(
            _heading(self),
            _changes_table(self),
            _measures_table(self),
            *(Text(line, style="dim") for line in _notes(self)),
        )


def compare_runs(a: Path, b: Path) -> Comparison:
    """Compares two run folders. ConfigurationError: one is no run, or no pair or measure is common."""
    first, second = read_record(a), read_record(b)
    pairing, by_arm = _pairing(first, second)
    trials_a, trials_b = _trials(first, by_arm), _trials(second, by_arm)
    keys = [key for key in trials_a if key in trials_b]
    if not keys:
        raise ConfigurationError(
            f"{first.name} and {second.name} have no pair of ended trials with equal {pairing} (seeds "
            f"{_seeds(trials_a)} and {_seeds(trials_b)}). Run both with the same seed."
        )
    values_a, values_b = _values(first), _values(second)
    measures = [name for name in values_a if name in values_b]
    compared: list[tuple[str, str, PairedTest]] = []
    for name in measures:
        for arm in dict.fromkeys(key[0] for key in keys):
            pairs = [(trials_a[key], trials_b[key]) for key in keys if key[0] == arm]
            test = _test(values_a[name], values_b[name], pairs)
            if test is not None:
                compared.append((name, arm, test))
    if not compared:
        raise ConfigurationError(
            f"{first.name} and {second.name} have no measure in common ({_names(values_a)} and "
            f"{_names(values_b)}). Record the same measure in both."
        )
    adjusted = holm([test.p_value for _, _, test in compared])
    return Comparison(
        first.name,
        second.name,
        pairing,
        len(keys),
        tuple(MeasureComparison(*row, p) for row, p in zip(compared, adjusted, strict=True)),
        _changes(first, second),
        _fingerprints_equal([(trials_a[key], trials_b[key]) for key in keys]),
        _left_out(trials_a, trials_b, values_a, values_b),
    )


def _pairing(a: Record, b: Record) -> tuple[str, bool]:
    arms_a, arms_b = list(a.arms), list(b.arms)
    if any(arm in arms_b for arm in arms_a):
        return ("arm and seed" if max(len(arms_a), len(arms_b)) > 1 else "seed"), True
    for record, arms in ((a, arms_a), (b, arms_b)):
        if len(arms) > 1:
            raise ConfigurationError(
                f"{record.name} has {len(arms)} arms and shares none with the other run, so its seeds "
                f"repeat and name no pairs. Compare runs of one arm each, or with the same sweep."
            )
    return "seed", False


def _trials(record: Record, by_arm: bool) -> dict[Key, Json]:
    trials: dict[Key, Json] = {}
    for trial in record.trials:
        if isinstance(trial.get("seed"), int):
            key = (arm_key(mapping(trial.get("arm"))) if by_arm else "", trial["seed"])
            if key in trials:
                raise ConfigurationError(
                    f"{record.name} has two trials with seed {key[1]} in one arm, so the seed names no pair. "
                    f"Give each replicate its own seed."
                )
            trials[key] = trial
    return trials


def _values(record: Record) -> dict[str, dict[int, float]]:
    """Value of each measure for each trial's number."""
    values: dict[str, dict[int, float]] = {}
    if record.metrics is not None:
        for row in final_values(record.metrics).sort("measure", "trial").to_dicts():
            values.setdefault(row["measure"], {})[row["trial"]] = row["value"]
    for trial in record.trials:
        for name, value in mapping(trial.get("results")).items():
            if isinstance(value, (bool, int, float)):
                values.setdefault(f"results.{name}", {})[trial.get("trial", 0)] = float(value)
    return values


def _test(a: dict[int, float], b: dict[int, float], pairs: list[tuple[Json, Json]]) -> PairedTest | None:
    nan = math.nan
    both = [(a.get(one.get("trial", 0), nan), b.get(two.get("trial", 0), nan)) for one, two in pairs]
    finite = [pair for pair in both if all(map(math.isfinite, pair))]
    return paired_test([x for x, _ in finite], [y for _, y in finite]) if finite else None


def _changes(a: Record, b: Record) -> tuple[Change, ...]:
    first, second = (
        flat(mapping(a.manifest.get("configuration"))),
        flat(mapping(b.manifest.get("configuration"))),
    )
    changes = (
        Change(path, *(_json(side[path]) if path in side else None for side in (first, second)))
        for path in dict.fromkeys((*first, *second))
    )
    return tuple(change for change in changes if change.a != change.b)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _fingerprints_equal(pairs: list[tuple[Json, Json]]) -> bool | None:
    prints = [(one.get("fingerprint") or "", two.get("fingerprint") or "") for one, two in pairs]
    if any(one and two and one != two for one, two in prints):
        return False
    return True if all(one and two for one, two in prints) else None


def _left_out(
    trials_a: dict[Key, Json], trials_b: dict[Key, Json], values_a: dict[str, Any], values_b: dict[str, Any]
) -> tuple[str, ...]:
    lines = []
    for side, here, there in (("a", trials_a, trials_b), ("b", trials_b, trials_a)):
        if lonely := [key for key in here if key not in there]:
            lines.append(f"trials of {side} without a partner: {len(lonely)}")
    for side, names, others in (("a", values_a, values_b), ("b", values_b, values_a)):
        if lonely_names := [name for name in names if name not in others]:
            lines.append(f"measures only in {side}: {', '.join(lonely_names)}")
    return tuple(lines)


def _seeds(trials: dict[Key, Json]) -> str:
    return _names(dict.fromkeys(str(seed) for _, seed in trials))


def _names(names: dict[str, Any]) -> str:
    shown = list(names)[:5]
    return (", ".join(shown) + (", ..." if len(names) > len(shown) else "")) or "none"


def _heading(comparison: Comparison) -> Text:
    equal = {True: "equal", False: "different", None: "not known for every pair"}[
        comparison.fingerprints_equal
    ]
    return Text.assemble(
        ("a  ", "bold"), comparison.a, "\n", ("b  ", "bold"), comparison.b, "\n",
        f"{comparison.pairs} pairs, by {comparison.pairing}; fingerprints {equal}",
    )  # fmt: skip


def _changes_table(comparison: Comparison) -> RenderableType:
    if not comparison.changes:
        return Text("The configurations are equal.")
    table = Table("setting", "a", "b", title="What was changed", title_justify="left")
    for change in comparison.changes:
        table.add_row(Text(change.path), Text(_short(change.a)), Text(_short(change.b)))
    return table


def _measures_table(comparison: Comparison) -> Table:
    arms = any(row.arm not in ("", "{}") for row in comparison.measures)
    level = f"{CONFIDENCE:.0%}"
    table = Table("measure", title="What came of it", title_justify="left")
    if arms:
        table.add_column("arm")
    for name in ("pairs", "a", "b", "b \u2212 a", f"{level} interval", "d_z", "p", "p (Holm)"):
        table.add_column(name, justify="right")
    for row in comparison.measures:
        test = row.test
        numbers = (test.n, test.mean_a, test.mean_b, test.difference)
        table.add_row(
            Text(row.measure),
            *([Text(row.arm)] if arms else []),
            *map(number_text, numbers),
            interval_text(test.low, test.high),
            NOTHING if test.effect_size is None else f"{test.effect_size:.2f}",
            p_text(test.p_value),
            p_text(row.p_adjusted),
        )
    return table


def _notes(comparison: Comparison) -> list[str]:
    tests = dict.fromkeys(row.test.test for row in comparison.measures if row.test.p_value is not None)
    intervals = dict.fromkeys(row.test.interval for row in comparison.measures if row.test.low is not None)
    notes = dict.fromkeys(row.test.note for row in comparison.measures if row.test.note)
    return [
        *(f"test: {test}" for test in tests),
        *(f"interval of the mean difference: {interval}" for interval in intervals),
        *notes,
        *(f"left out: {line}" for line in comparison.left_out),
    ]


def _short(value: str | None) -> str:
    if value is None:
        return NOTHING
    return value if len(value) <= _VALUE_CHARACTERS else value[: _VALUE_CHARACTERS - 1] + "\u2026"

"""What a run left in its folder, read without trust: any part may be missing, for a run can fail at any
moment.

Rules: a missing part is an empty value; a part that is there but cannot be read is named in `problems`, so
a report can still be made of the rest. Only a folder with no readable manifest is no run.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from actors.errors import ConfigurationError
from cluster.tables import arm_key, read_messages, read_metrics

Json = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """A run as it was left."""

    path: Path
    manifest: Json
    status: Json
    trials: tuple[Json, ...]
    """The trials that ended, each as its result.json, by number."""
    metrics: pl.DataFrame | None
    messages: pl.DataFrame | None
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """`experiment/run`."""
        experiment = self.manifest.get("experiment", self.path.parent.name)
        return f"{experiment}/{self.manifest.get('run', self.path.name)}"

    @property
    def arms(self) -> dict[str, Json]:
        """Settings of each arm by its key, in the order of manifest, trials and metrics."""
        rows = [*listed(self.manifest.get("trials")), *self.trials]
        if self.metrics is not None:
            rows += [{"arm": json.loads(key)} for key in self.metrics["arm"].unique(maintain_order=True)]
        arms: dict[str, Json] = {}
        for row in rows:
            if isinstance(row, dict):
                arm = mapping(row.get("arm"))
                arms.setdefault(arm_key(arm), arm)
        return arms


def read_record(path: Path) -> Record:
    """Reads a run's folder. ConfigurationError if it holds no readable manifest.json."""
    problems: list[str] = []
    if not (path / "manifest.json").is_file():
        raise ConfigurationError(
            f"{path}: no manifest.json. Give the folder of a run: results/<experiment>/<run id>."
        )
    manifest = _object(path / "manifest.json", problems)
    if problems:
        raise ConfigurationError(f"{problems[0]}. Without its manifest a run cannot be told; run it again.")
    status = _object(path / "status.json", problems)
    trials = [_object(file, problems) for file in sorted(path.glob("trials/*/result.json"))]
    numbered = sorted((t for t in trials if t), key=lambda trial: int(number(trial.get("trial"))))
    metrics = _table(path / "metrics.parquet", _read_metrics, problems)
    messages = _table(path / "messages.parquet", read_messages, problems)
    return Record(path, manifest, status, tuple(numbered), metrics, messages, tuple(problems))


def mapping(value: object) -> Json:
    """The value if it is a mapping, else an empty one."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def listed(value: object) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return list(value) if isinstance(value, (list, tuple)) else []


def number(value: object) -> float:
    """The value if it is a number, else 0."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def flat(value: object, path: str = "", separator: str = ".") -> dict[str, Any]:
    """Nested mappings as one, keys joined: {"a": {"b": 1}} gives {"a.b": 1}. Empty mappings stay."""
    if not isinstance(value, Mapping) or not value:
        return {path: value} if path else {}
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        leaves |= flat(item, f"{path}{separator}{key}" if path else str(key), separator)
    return leaves


def _read_metrics(path: Path) -> pl.DataFrame:
    """The table of measures, its arms in canonical form: another writer may space them otherwise."""
    frame = read_metrics(path)
    try:
        keys = {arm: arm_key(mapping(json.loads(arm))) for arm in frame["arm"].unique()}
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{path}: an arm is no JSON ({error}). Write it by arm_key.") from error
    return frame.with_columns(pl.col("arm").replace_strict(keys, return_dtype=pl.String)) if keys else frame


def _object(path: Path, problems: list[str]) -> Json:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} in {path.parent.name} cannot be read ({error})")
        return {}
    if not isinstance(value, dict):
        problems.append(f"{path.name} in {path.parent.name} holds no object")
        return {}
    return value


def _table(path: Path, read: Callable[[Path], pl.DataFrame], problems: list[str]) -> pl.DataFrame | None:
    if not path.is_file():
        return None
    try:
        return read(path)
    except ConfigurationError as error:
        problems.append(str(error))
        return None

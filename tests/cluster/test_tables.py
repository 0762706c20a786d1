"""The tables of a run: whole or absent, of one schema."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from actors.errors import ConfigurationError
from cluster.tables import (
    MESSAGES_SCHEMA,
    METRICS_SCHEMA,
    arm_key,
    final_values,
    read_messages,
    read_metrics,
    write_messages,
    write_metrics,
)


def metric(**changes: Any) -> dict[str, Any]:
    row = {"trial": 0, "arm": "{}", "replicate": 0, "seed": 1, "now": 0.0, "measure": "load", "count": 2}
    return row | {"sum": 3.0, "mean": 1.5, "minimum": 1.0, "maximum": 2.0} | changes


MESSAGE = {"trial": 0, "now": 1.0, "sender": "a/0", "recipient": "b/1", "kind": "data", "bytes": 120}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [metric(), metric(now=1, mean=2)]
    write_metrics(tmp_path / "metrics.parquet", rows)
    frame = read_metrics(tmp_path / "metrics.parquet")
    assert frame.to_dicts() == rows
    assert dict(frame.schema) == METRICS_SCHEMA
    write_messages(tmp_path / "messages.parquet", [MESSAGE])
    assert read_messages(tmp_path / "messages.parquet").to_dicts() == [MESSAGE]


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    write_messages(tmp_path / "messages.parquet", [])
    frame = read_messages(tmp_path / "messages.parquet")
    assert frame.is_empty()
    assert dict(frame.schema) == MESSAGES_SCHEMA


def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metrics.parquet"
    write_metrics(path, [metric()])
    write_metrics(path, [metric(), metric(trial=1)])
    assert read_metrics(path).height == 2
    assert [file.name for file in path.parent.iterdir()] == ["metrics.parquet"]


def test_a_row_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.parquet"
    write_metrics(path, [metric()])
    with pytest.raises(ConfigurationError, match="not of its column's type"):
        write_metrics(path, [metric(seed="many")])
    with pytest.raises(ConfigurationError, match="not of its column's type"):
        write_metrics(path, [metric(seed=2**70)])
    with pytest.raises(ConfigurationError, match=r"row 0: columns missing \['bytes'\]"):
        write_messages(path, [{key: value for key, value in MESSAGE.items() if key != "bytes"}])
    assert read_metrics(path).height == 1
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.parquet"]


def test_a_missing_broken_or_other_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such table"):
        read_metrics(tmp_path / "metrics.parquet")
    (tmp_path / "metrics.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ConfigurationError, match="not a readable Parquet file"):
        read_metrics(tmp_path / "metrics.parquet")
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "metrics.parquet")
    with pytest.raises(ConfigurationError, match="are missing"):
        read_metrics(tmp_path / "metrics.parquet")


def test_equal_settings_have_one_key() -> None:
    assert (
        arm_key({"b": 1, "a": [True, None]})
        == arm_key({"a": [True, None], "b": 1})
        == '{"a":[true,null],"b":1}'
    )
    assert arm_key({}) == "{}"


def test_the_final_value_is_that_of_the_last_time_in_any_order_of_rows(tmp_path: Path) -> None:
    write_metrics(
        tmp_path / "m.parquet",
        [metric(now=9, mean=7.0, sum=14.0), metric(now=2), metric(trial=1, seed=2, now=4, mean=5.0)],
    )
    finals = final_values(read_metrics(tmp_path / "m.parquet")).to_dicts()
    assert [(row["trial"], row["now"], row["value"]) for row in finals] == [(0, 9.0, 7.0), (1, 4.0, 5.0)]
    assert (finals[0]["recorded"], finals[0]["total"]) == (4, 17.0)

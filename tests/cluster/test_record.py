"""A run's folder, read without trust."""

from pathlib import Path

import pytest

from actors.errors import ConfigurationError
from cluster.record import flat, read_record
from tests.cluster.run_fixture import make_metrics, make_run, make_sweep, make_trial


def test_a_run_is_read_with_its_arms_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    record = read_record(make_sweep(tmp_path / "sweep"))
    assert record.name == "task_auction/sweep"
    assert [arm["faults.drop.share"] for arm in record.arms.values()] == [0.0, 0.1, 0.3]
    assert [trial["trial"] for trial in record.trials] == list(range(15))
    assert record.problems == ()


def test_an_arm_written_with_other_spaces_is_the_same_arm(tmp_path: Path) -> None:
    trial = make_trial(0, {"b": 1, "a": 2})
    rows = [row | {"arm": '{"b": 1,  "a": 2}'} for row in make_metrics(trial, 2)]
    record = read_record(make_run(tmp_path / "run", [trial], rows))
    assert list(record.arms) == ['{"a":2,"b":1}']
    assert record.metrics is not None
    assert record.metrics["arm"].unique().to_list() == ['{"a":2,"b":1}']


def test_an_arm_that_only_the_metrics_know_is_not_lost(tmp_path: Path) -> None:
    rows = make_metrics(make_trial(0, {"a": 2}), 2)
    assert list(read_record(make_run(tmp_path / "run", [make_trial(0)], rows)).arms) == ["{}", '{"a":2}']


def test_an_arm_that_is_no_json_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    rows = [row | {"arm": "a=1"} for row in make_metrics(make_trial(0), 2)]
    record = read_record(make_run(tmp_path / "run", [make_trial(0)], rows))
    assert record.metrics is None
    assert "an arm is no JSON" in record.problems[0]


def test_missing_parts_are_empty_and_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no manifest\.json"):
        read_record(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    record = read_record(tmp_path)
    assert (record.status, record.trials, record.metrics, record.messages) == ({}, (), None, None)


def test_nested_settings_become_dotted_paths() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
    assert flat({"a": {"b": 1}}, separator=": ") == {"a: b": 1}

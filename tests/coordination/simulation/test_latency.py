"""Models of delay, and how people write them."""

import json
from pathlib import Path
from random import Random
from statistics import fmean, median

import pytest

from actors.errors import ConfigurationError
from coordination.simulation.latency import LAN, WAN, Constant, LogNormal, Table, Uniform, latency_from


def test_a_delay_is_written_with_its_unit() -> None:
    assert latency_from("5ms") == Constant(0.005)
    assert latency_from("250us") == Constant(0.00025)
    assert latency_from("1.5s") == Constant(1.5)
    assert latency_from("uniform:1ms,9ms") == Uniform(0.001, 0.009)
    assert latency_from("lognormal:2ms,0.3") == LogNormal(0.002, 0.3)
    assert latency_from("lan") is LAN
    assert latency_from("wan") is WAN


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("5", "has no unit"),
        ("5parsecs", "not a number"),
        ("uniform:1ms", "two parameters"),
        ("lognormal:1ms,wide", "not a number"),
        ("nowhere.json", "cannot be read"),
    ],
)
def test_what_is_no_delay_is_refused_with_an_example(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        latency_from(text)


def test_the_families_have_the_means_that_they_say() -> None:
    rng = Random(1)
    drawn = [LogNormal(0.002, 0.5).sample(0, 1, rng) for _ in range(20_000)]
    assert median(drawn) == pytest.approx(0.002, rel=0.03)
    typical = LogNormal(0.002, 0.5).typical_s
    assert sum(delay > typical for delay in drawn) / len(drawn) == pytest.approx(0.01, abs=0.003)
    drawn = [Uniform(0.001, 0.003).sample(0, 1, rng) for _ in range(20_000)]
    assert min(drawn) >= 0.001
    assert max(drawn) <= 0.003
    assert fmean(drawn) == pytest.approx(0.002, rel=0.01)


def test_the_table_of_regions_is_square_nearly_symmetric_and_half_a_round_trip_is_one_way() -> None:
    rows = WAN.round_trips_s
    assert {len(row) for row in rows} == {len(WAN.regions)}
    assert all(abs(rows[a][b] - rows[b][a]) <= 0.005 for a in range(len(rows)) for b in range(len(rows)))
    exact = Table(WAN.regions, rows, sigma=0.0)
    dallas, sydney = WAN.regions.index("dallas"), WAN.regions.index("sydney")
    assert exact.sample(dallas, sydney, Random(1)) == pytest.approx(0.093)
    assert exact.sample(dallas + 10, sydney, Random(1)) == pytest.approx(0.093)


def test_a_file_of_round_trips_is_read_and_a_wrong_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.json"
    path.write_text(
        json.dumps({"regions": ["here", "there"], "round_trips_ms": [[1, 80], [80, 1]], "sigma": 0})
    )
    assert latency_from(str(path)) == Table(("here", "there"), ((0.001, 0.08), (0.08, 0.001)), 0.0)
    for content, complaint in (
        ("{", "not JSON"),
        ('{"regions": ["a"]}', "lacks something"),
        ('{"regions": ["a", "b"], "round_trips_ms": [[1]]}', "square"),
        ('{"regions": ["a"], "round_trips_ms": [["fast"]]}', "not a number"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigurationError, match=complaint):
            latency_from(str(path))

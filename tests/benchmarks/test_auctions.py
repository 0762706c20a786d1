"""The benchmark of auctions: figures, files, sizes, and what is refused."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import auction_runs
from benchmarks.auctions import app
from benchmarks.cost_curve import Curve, Point, slope
from tests.benchmarks.runs import figures_of
from tests.coordination.auctions.markets import orlib_file

ASKED = {"value", "optimum", "gap", "rounds", "messages", "seconds"}
GAP = "2  2 3  6 5 4 3 2 1  1 1 1 1 1 1  2 1  2 3  6 5 4 3 2 7  1 1 1 1 1 1  2 1"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    texts = {"assignment": "2  3 9  4 5", "generalised": GAP}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in texts}


def refused(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 2
    return done.output


def test_an_assignment_is_solved(files: dict[str, Path]) -> None:
    figures = figures_of(app, "--problem", str(files["assignment"]), "--mechanism", "epsilon")
    assert figures.keys() >= ASKED
    assert (figures["value"], figures["optimum"], figures["gap"]) == (8, 8, 0)


@pytest.mark.parametrize(("number", "best"), [("1", 12), ("2", 18)])
def test_an_instance_of_a_file_is_chosen(files: dict[str, Path], number: str, best: int) -> None:
    file = str(files["generalised"])
    figures = figures_of(app, "--problem", file, "--instance", number, "--mechanism", "vcg")
    assert figures["optimum"] == figures["value"] == best


def test_the_library_is_solved() -> None:
    file = str(orlib_file("assign100.txt"))
    assert figures_of(app, "--problem", file, "--mechanism", "epsilon")["value"] == 305
    greedy = figures_of(app, "--problem", file, "--mechanism", "sequential")
    assert greedy["value"] == 522
    assert greedy["gap"] == pytest.approx(522 / 305 - 1, rel=1e-3)
    file = str(orlib_file("gap2.txt"))
    figures = figures_of(
        app, "--problem", file, "--instance", "4", "--mechanism", "cbba", "--network", "line"
    )
    assert figures["optimum"] == 419
    assert 0 <= figures["gap"] < 0.5


def test_random_markets_small_large_and_of_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    assert figures_of(app, "--generate", "20", "--capacity", "3", "--mechanism", "cbba")["awarded"] == 60
    agents = figures_of(app, "--generate", "40", "--agents", "--exact")
    assert agents["gap"] == 0
    monkeypatch.setattr("benchmarks.auctions.KEPT", 50)
    large = figures_of(app, "--generate", "300")
    assert large["gap"] == 0
    assert large["awarded"] == 300


def test_cost_is_drawn_against_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auction_runs, "KEPT", 100)
    picture = tmp_path / "cost.svg"
    figures = figures_of(
        app, "--scale", "200", "--mechanism", "epsilon", "--mechanism", "parallel", "--figure", str(picture)
    )
    assert figures["epsilon_largest"] == 178
    assert figures["parallel_largest"] == 100
    assert picture.read_text().startswith("<?xml")


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    cubic = Curve("cubic", tuple(Point(n, 1e-9 * n**3, n) for n in (10, 100, 200, 400)))
    assert slope(cubic) == pytest.approx(3)
    assert slope(Curve("short", cubic.points[:2])) == 0


def test_what_cannot_be_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    generalised = str(files["generalised"])
    assert "holds 2, and no 3" in refused("--problem", generalised, "--instance", "3")
    assert "Did you mean 'vickrey'" in refused("--problem", generalised, "--mechanism", "vikrey")
    assert "gives one task to a bidder" in refused("--problem", generalised, "--mechanism", "epsilon")
    assert "cannot be read" in refused("--problem", str(tmp_path / "none"))
    assert "only epsilon runs" in refused("--generate", "5000", "--mechanism", "cbba")
    assert "either --problem or --generate" in refused("--generate", "5", "--problem", generalised)
    assert "Give --generate alone" in refused("--agents", "--problem", generalised)

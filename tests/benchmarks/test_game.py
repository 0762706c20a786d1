"""The benchmark of agents that think at the same time."""

from benchmarks.game import app, guess
from tests.benchmarks.runs import figures_of


def test_all_think_at_once_and_the_mean_is_right_in_each_round() -> None:
    figures = figures_of(app, "--agents", "2000", "--think", "0.05", "--on", "local")
    assert figures["agents"] == 2000
    assert {"round_seconds", "round_1_seconds", "round_2_seconds"} <= figures.keys()
    assert figures["round_seconds"] == max(figures["round_1_seconds"], figures["round_2_seconds"])


def test_guesses_are_spread_and_change_from_round_to_round() -> None:
    assert {guess(number, 1) for number in range(101)} == set(range(101))
    assert guess(5, 1) != guess(5, 2)

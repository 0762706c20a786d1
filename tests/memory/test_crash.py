"""SIGKILL at every named point: nothing acknowledged is lost, nothing deleted is back, the index equals the store."""

from pathlib import Path

from memory.probe import POINTS
from tests.memory.crash import kill_all_over


def test_whatever_was_acknowledged_outlives_a_kill_at_every_point(tmp_path: Path) -> None:
    rounds = 3
    kills = kill_all_over(tmp_path / "memory", seed=1, rounds=rounds)
    assert kills > 0.8 * rounds * len(POINTS)  # where a point was passed often enough, the process died there
